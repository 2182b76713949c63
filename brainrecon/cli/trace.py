"""``brainrecon trace``: how one picture came about, as text and as a page."""

from typing import Annotated

import typer

from brainrecon.cli import option_values, options


def trace(
    run: options.RunFolder,
    stimulus: Annotated[str, typer.Argument(metavar="STIMULUS", help="A test stimulus, for example nsd00042.")],
    condition: Annotated[
        str, typer.Option(metavar="NAME", help="The condition that it was drawn under.")
    ] = "reconstruction",
    sample: Annotated[int, typer.Option(metavar="N", min=0, help="Which sample, from 0.")] = 0,
    features: options.Features = None,
    device: options.Device = "auto",
) -> None:
    """Every value on the way of one stimulus: how near to the truth, the first picture, strength, steps, weights."""
    from brainrecon.cli.console import say
    from brainrecon.report.trace.page import lines, page
    from brainrecon.runs.run import Run
    from brainrecon.runs.trace import trace as follow
    from weights.names import file_name
    from weights.whole_files import write_text

    opened = Run(run, features, option_values.torch_device(device))
    traced = follow(opened, stimulus, condition, sample)
    for line in lines(traced):
        say(line)
    suffix = "" if condition == "reconstruction" else f"_{condition}"
    path = opened.folder / "trace" / f"stim-{file_name(stimulus)}_sample-{sample}{suffix}.html"
    write_text(path, page(traced))
    say()
    say(f"Page: {path}")

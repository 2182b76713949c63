"""``brainrecon reconstruct``: draw the pictures of a fitted run that are not there yet."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli import option_values, options
from stages.ground.errors import InputError


def reconstruct(
    run: options.RunFolder,
    beside: options.Beside = None,
    betas: options.NewPatterns = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With --betas: folder for the pictures.",
            show_default="RUN/new/, and the file's name",
        ),
    ] = None,
    samples: options.SamplesOfRun = None,
    stimuli: options.Stimuli = None,
    controls: options.controls("none") = None,
    control_stimuli: options.control_stimuli() = None,
    batch_size: options.BatchSize = None,
    shard: options.Shard = None,
    reproducible: options.Reproducible = False,
    features: options.Features = None,
    device: options.Device = "auto",
    plan: options.Plan = False,
) -> None:
    """Reconstruct the pictures: stage one, then the diffusion. What is there is left alone.

    Of the run's test stimuli, or with --betas of patterns that nobody has seen the pictures of.
    """
    from brainrecon.assembly.condition import RECONSTRUCTION
    from brainrecon.cli.console import say
    from brainrecon.cli.plan_table import show_plan
    from brainrecon.cli.progress import show_progress
    from brainrecon.runs.draw_new import check_draws
    from brainrecon.runs.estimate import of_drawing
    from brainrecon.runs.plan import works_of_splits
    from brainrecon.runs.run import Run

    conditions = (RECONSTRUCTION, *option_values.parse_conditions(controls))
    part = option_values.parse_shard(shard)
    if betas is None and out is not None:
        raise InputError(
            f"--out {out} is where pictures of new patterns go; name these with --betas FILE, or leave --out out."
        )
    if betas is not None and (controls is not None or control_stimuli is not None):
        raise InputError("Controls are drawn of test stimuli; leave --controls and --control-stimuli out with --betas.")
    if betas is not None and beside is not None:
        raise InputError("Splits are of the data; leave --beside out with --betas.")
    opened = Run(run, features, option_values.torch_device(device))
    check_draws(opened)
    opened.config = option_values.with_beside(opened.config, beside)
    if plan:
        if betas is not None:
            raise InputError("A plan is of test stimuli; leave --plan out with --betas.")
        opened.config = replace(opened.config, samples=samples or opened.config.samples)
        works = works_of_splits(opened, conditions, control_stimuli, 1 if reproducible else batch_size, fits=False)
        show_plan(works, opened.machine.device, run)
        return
    if betas is not None:
        drawing = dict(samples=samples, batch_size=batch_size, shard=part, reproducible=reproducible)
        say(f"Pictures are in {_draw_new(opened, betas, out, option_values.parse_names(stimuli), drawing)}")
        return
    if samples is not None or beside is not None:
        asked = replace(opened.config, samples=opened.config.samples if samples is None else samples)
        opened = Run.create(run, asked, features, opened.machine.device)
    for one in opened.splits.values():
        for line in of_drawing(one, conditions, control_stimuli, 1 if reproducible else batch_size):
            say(line)
    with show_progress() as progress:
        if opened.config.data.beside:
            opened.fit(progress)
        opened.reconstruct(
            conditions,
            stimuli=option_values.parse_names(stimuli),
            control_stimuli=control_stimuli,
            batch_size=batch_size,
            shard=part,
            reproducible=reproducible,
            progress=progress,
        )
    say(f"Pictures are in {opened.folder / 'images'}")


def _draw_new(run, betas, out, stimuli, drawing):
    from brainrecon.cli.progress import show_progress
    from brainrecon.runs.draw_new import draw_new
    from brainrecon.runs.pattern_files import read_patterns

    folder = out or run.layout.new(betas.stem)
    with show_progress() as progress:
        return draw_new(run, *read_patterns(betas), folder, stimuli=stimuli, progress=progress, **drawing)

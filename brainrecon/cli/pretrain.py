"""``brainrecon pretrain``: an encoder from responses alone, of any data, as a checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli import option_values, options


def pretrain(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA",
            help="KIND:PATH, for example nsd:/data/nsd, or a folder of responses without stimuli; may be several.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the checkpoint to make or continue.")],
    subjects: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Subjects of KIND:PATH, for example subj02,subj05.",
            show_default="all that are there",
        ),
    ] = None,
    roi: options.Roi = None,
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="'masked' for voxels in their order, most of them masked; 'surface' for pictures of the flattened cortex "
            "through a bottleneck.",
        ),
    ] = "masked",
    start: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKPOINT",
            help="Encoder to go on with: the name of a checkpoint, or the folder of another pretraining.",
            show_default="none; it begins from nothing",
        ),
    ] = None,
    moments: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Moments of a time series (V1 to V4 of a resting run) that make one response."
        ),
    ] = 10,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Set one setting, for example epochs=100 or width=256; may be repeated.",
            show_default="every setting as published (docs/guide/pretrain.md)",
        ),
    ] = None,
    loader: options.LoaderOptions = None,
    mask: options.Mask = None,
    device: options.Device = "auto",
    plan: options.Plan = False,
) -> None:
    """Pretrain an encoder on responses alone; interrupted, it goes on."""
    from brainrecon.cli.console import say
    from brainrecon.cli.fit import row_in_words
    from brainrecon.cli.progress import show_progress
    from brainrecon.runs.pretraining import BrainPretraining, settings_of
    from stages.ground.process_group import is_first

    made = BrainPretraining(
        [*dict.fromkeys(data)],
        settings_of(assignments, kind),
        subjects=option_values.parse_names(subjects),
        roi=roi,
        loader=option_values.loader_options(loader, mask),
        start=start,
        moments=moments,
        device=option_values.torch_device(device),
    )
    if is_first():
        for line in made.told():
            say(line)
    if plan:
        say("Nothing was computed.")
        return
    with show_progress() as progress:
        rows = made.fit(out, progress)
    if is_first():
        for row in rows:
            say(row_in_words(row))
        named = out if "/" in out.as_posix() else f"./{out}"
        say(f"{out}: a checkpoint; name it where a method takes an encoder, with --set checkpoints.encoder={named}")

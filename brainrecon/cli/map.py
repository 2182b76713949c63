"""``brainrecon map``: the way back to the brain, in files of the subject's own space: NIfTI, GIFTI, ..."""

from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli import option_values, options


def map(
    run: options.RunFolder,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder to write.", show_default="RUN/maps")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="VALUE:COLUMN",
            help="Columns whose own weights are wanted, for example clip_image:12,vdvae:0.",
            show_default="none",
        ),
    ] = None,
    values: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Write values of your own beside: a .npy of one for each voxel, or (n_maps, n_voxels). May be repeated.",
            show_default="none",
        ),
    ] = None,
    features: options.Features = None,
    device: options.Device = "auto",
) -> None:
    """Write noise ceiling, weights and scores of each voxel as files of the subject's own space: NIfTI, or GIFTI."""
    from brainrecon.cli.console import say
    from brainrecon.cli.progress import show_progress
    from brainrecon.runs.maps import own_values, parse_columns, write_maps
    from brainrecon.runs.run import Run

    opened, chosen = Run(run, features, option_values.torch_device(device)), parse_columns(columns)
    with show_progress() as progress:
        files, missing = write_maps(opened, out or opened.folder / "maps", chosen, progress, own_values(values or ()))
    for what, path in files.items():
        say(f"{path}: {what}")
    for why in missing:
        say(f"not written: {why}")

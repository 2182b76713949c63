"""``brainrecon maps``: the way back to the brain, as NIfTI in the subject's own grid, or as GIFTI on its surface."""

from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli import option_values, options


def maps(
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
    features: options.Features = None,
    device: options.Device = "auto",
) -> None:
    """Write the noise ceiling and the decoder's weights of each voxel as NIfTI volumes, or on a surface as GIFTI."""
    from brainrecon.cli.console import say
    from brainrecon.cli.progress import show_progress
    from brainrecon.runs.maps import parse_columns, write_maps
    from brainrecon.runs.run import Run

    opened = Run(run, features, option_values.torch_device(device))
    with show_progress() as progress:
        files = write_maps(opened, out or opened.folder / "maps", parse_columns(columns), progress)
    for what, path in files.items():
        say(f"{path}: {what}")

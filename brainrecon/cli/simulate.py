"""``brainrecon simulate``: a cohort in NSD's own files and folders."""

from pathlib import Path
from typing import Annotated

import typer


def simulate(
    directory: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False)],
    subjects: Annotated[int, typer.Option(min=1, help="Number of subjects.")] = 1,
    sessions: Annotated[int, typer.Option(min=1, help="Sessions per subject.")] = 10,
    trials_per_session: Annotated[int, typer.Option(min=1, help="Trials per session.")] = 390,
    shared: Annotated[int, typer.Option(min=2, help="Pictures that every subject sees; the test set.")] = 100,
    voxels: Annotated[int, typer.Option(min=1, help="Voxels in nsdgeneral.")] = 1500,
    picture_size: Annotated[int, typer.Option(min=16, help="Height and width of the pictures.")] = 64,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    kinds: Annotated[str, typer.Option(help="Kinds of pictures: scene, digit, pattern.")] = "scene,digit,pattern",
    photographs: Annotated[
        Path | None, typer.Option(help="Show these instead: a folder with images/ and COCO's captions.json.")
    ] = None,
    betas_format: Annotated[str, typer.Option(help="hdf5, nifti or both.")] = "hdf5",
) -> None:
    """Write a simulated cohort in NSD's own files and folders, and say which noise ceiling it reached."""
    from brainrecon.cli.console import say
    from brainrecon.cli.progress import show_progress
    from brainrecon.datasets.simulated import simulate as write_cohort

    with show_progress() as progress:
        cohort = write_cohort(
            directory,
            subjects=subjects,
            sessions=sessions,
            trials_per_session=trials_per_session,
            shared=shared,
            voxels=voxels,
            picture_size=picture_size,
            seed=seed,
            kinds=[kind.strip() for kind in kinds.split(",")],
            photographs=photographs,
            betas_format=betas_format,
            progress=progress,
        )
    say(str(cohort))

"""``brainrecon simulate``: a subject, or a cohort, in the own files of the study that it stands for."""

from pathlib import Path
from typing import Annotated

import typer

from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

STUDIES = {
    "nsd": (
        "subjects", "sessions", "trials_per_session", "shared", "voxels", "picture_size", "seed", "kinds", "photographs",
        "betas_format", "surface", "further",
    ),
    "miyawaki": ("voxels", "random_patterns", "figures", "repeats", "noise", "seed"),
}  # fmt: skip
"""Study -> the options that it takes."""


def simulate(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write.")],
    study: Annotated[
        str,
        typer.Option(
            metavar="STUDY",
            help="nsd: photographs and the like; miyawaki: patterns of 10 x 10 checkers (Miyawaki et al. 2008).",
        ),
    ] = "nsd",
    voxels: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Voxels in nsdgeneral (nsd), in V1 and V2 (miyawaki).",
            show_default="1500, miyawaki: 1000",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Same seed, same bytes.")] = 0,
    subjects: Annotated[int, typer.Option(metavar="N", min=1, help="nsd: number of subjects.")] = 1,
    sessions: Annotated[int, typer.Option(metavar="N", min=1, help="nsd: sessions per subject.")] = 10,
    trials_per_session: Annotated[int, typer.Option(metavar="N", min=1, help="nsd: trials per session.")] = 390,
    shared: Annotated[
        int, typer.Option(metavar="N", min=2, help="nsd: pictures that every subject sees; the test set.")
    ] = 100,
    picture_size: Annotated[int, typer.Option(metavar="N", min=16, help="nsd: height and width of the pictures.")] = 64,
    kinds: Annotated[
        str, typer.Option(metavar="KINDS", help="nsd: kinds of pictures, separated by commas: scene, digit, pattern.")
    ] = "scene,digit,pattern",
    photographs: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="nsd: show these instead: a folder with images/ and COCO's captions.json.",
            show_default="drawn pictures of --kinds",
        ),
    ] = None,
    betas_format: Annotated[str, typer.Option(metavar="FORMAT", help="nsd: hdf5, nifti or both.")] = "hdf5",
    surface: Annotated[
        str | None,
        typer.Option(
            metavar="MESH",
            help="nsd: write betas on the cortical surface too: fsaverage3, fsaverage4 or fsaverage5.",
            show_default="none",
        ),
    ] = None,
    further: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="nsd: further sessions of each subject, separated by a comma: synthetic, imagery.",
            show_default="none",
        ),
    ] = None,
    random_patterns: Annotated[
        int, typer.Option(metavar="N", min=2, help="miyawaki: random patterns to train on.")
    ] = 440,
    figures: Annotated[int, typer.Option(metavar="N", min=2, help="miyawaki: shapes and letters to test on.")] = 40,
    repeats: Annotated[int, typer.Option(metavar="N", min=2, help="miyawaki: how often each figure is shown.")] = 3,
    noise: Annotated[
        float,
        typer.Option(
            metavar="FACTOR", min=0, help="miyawaki: noise, relative to what makes decoding as hard as published."
        ),
    ] = 1.0,
) -> None:
    """Write simulated subjects in the own files of a study, and say which noise ceiling they reached."""
    from brainrecon.cli.console import say
    from brainrecon.cli.progress import show_progress

    options = _chosen(context, study)
    if study == "nsd":
        from brainrecon.simulation import simulate as write_study

        options["kinds"] = [kind.strip() for kind in kinds.split(",")]
        if further is not None:
            options["further"] = [name.strip() for name in further.split(",")]
    else:
        from brainrecon.simulation import simulate_miyawaki as write_study

    with show_progress() as progress:
        report = write_study(directory, **options, progress=progress)
    say(str(report))


def _chosen(context, study):
    """The study's own options, but for those left to its default; an InputError if another study's is given."""
    if study not in STUDIES:
        raise InputError(
            f"The study is {study!r} but must be one of {', '.join(STUDIES)}{did_you_mean(study, STUDIES)}; choose "
            "one with --study."
        )
    known = STUDIES[study]
    others = {name for options in STUDIES.values() for name in options} - set(known)
    for name in context.params:
        if name in others and context.get_parameter_source(name).name == "COMMANDLINE":
            raise InputError(
                f"{_flag(name)} does nothing for the study {study}, which takes {', '.join(map(_flag, known))}; "
                "leave it out."
            )
    return {name: context.params[name] for name in known if context.params[name] is not None}


def _flag(name):
    return "--" + name.replace("_", "-")

"""Which further experiments NSD has, and where its bucket keeps them.

synthetic   284 pictures, most of them made by programs, seen in one session (Gifford et al.)
imagery     18 targets that were seen, attended to and imagined in one session (Kneeland et al. 2025)
"""

from __future__ import annotations

from pathlib import Path

from brainrecon.datasets.nsd.hemispheres import HemisphereFiles, hemisphere_files
from brainrecon.datasets.nsd.layout import BETAS_VERSIONS, SUFFIXES, SURFACES, Layout, formats_of
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

EXPERIMENTS = ("synthetic", "imagery")
ALL = "all"
"""The word for every further experiment that the subject has."""
RUNS = tuple("visA attA imgA_1 visB attB imgB_1 visC attC imgC_1 imgA_2 imgB_2 imgC_2".split())
"""The runs of imagery as they were released, in the order of measurement."""
SETS = ("A", "B", "C")
"""The sets of imagery's targets as they were released."""


def read_also(also: str | list | tuple | None) -> tuple[str, ...]:
    """Names of the experiments that are asked for, in the order of `EXPERIMENTS`.

    >>> read_also("imagery, synthetic"), read_also(["imagery"]), read_also("all"), read_also(None)
    (('synthetic', 'imagery'), ('imagery',), ('all',), ())

    Raises
    ------
    InputError
        There is no such experiment.
    """
    if also is None:
        return ()
    asked = [part.strip() if isinstance(part, str) else part for part in _parts(also)]
    known = (*EXPERIMENTS, ALL)
    for name in asked:
        if name not in known:
            raise InputError(
                f"also is {also!r}; expected {', '.join(EXPERIMENTS)}, both separated by a comma, or {ALL}"
                f"{did_you_mean(str(name), known)}: write --option also=imagery."
            )
    return (ALL,) if ALL in asked else tuple(name for name in EXPERIMENTS if name in asked)


def _parts(also):
    return also.split(",") if isinstance(also, str) else also if isinstance(also, list | tuple) else [also]


def further_files(
    layout: Layout, name: str, subject: str, space: str, version: str, file_format: str
) -> Path | HemisphereFiles:
    """The betas of a further experiment, of the volume or of both hemispheres, there or not."""
    folder = layout.betas_root / subject / space / f"nsd{name}{BETAS_VERSIONS[version]}"
    file = f"betas_nsd{name}{SUFFIXES[file_format]}"
    return hemisphere_files(folder, file) if space in SURFACES else folder / file


def on_disk(layout: Layout, subject: str, space: str, version: str, file_format: str | None = None) -> dict:
    """Experiment -> its betas, of those that the subject has in a space and version; HDF5 before NIfTI.

    Of a surface, one hemisphere is enough to count as there.
    """
    found = {}
    for name in EXPERIMENTS:
        for one in formats_of(space, file_format):
            betas = further_files(layout, name, subject, space, version, one)
            if any(file.exists() for file in (betas if isinstance(betas, HemisphereFiles) else (betas,))):
                found[name] = betas
                break
    return found


def chosen_experiments(layout, subject, space, version, file_format, also) -> dict:
    """Experiment -> its betas, of those asked for.

    Raises
    ------
    InputError
        One is asked for that the subject does not have in this space and version, or has of one hemisphere.
    """
    there = on_disk(layout, subject, space, version, file_format)
    asked = read_also(also)
    if asked == (ALL,):
        asked = tuple(there)
        if not asked:
            raise InputError(
                f"{layout.betas_root / subject / space} holds neither {' nor '.join(EXPERIMENTS)} of "
                f"{BETAS_VERSIONS[version]}; leave also out, or add them."
            )
    for name in asked:
        if name not in there:
            first = further_files(layout, name, subject, space, version, formats_of(space, file_format)[0])
            others = [short for short in BETAS_VERSIONS if name in on_disk(layout, subject, space, short)]
            told = f"it has {name} of betas={', '.join(others)}" if others else f"{subject} has no {name} in {space}"
            raise InputError(
                f"There is no {first}; {told}: fetch it with `brainrecon data download nsd:{layout.root} --subject {subject} "
                f"--option also={name}`, or leave {name} out of also."
            )
        if isinstance(there[name], HemisphereFiles) and (
            absent := [file for file in there[name] if not file.is_file()]
        ):
            raise InputError(f"{name} has one hemisphere only: {absent[0]} is not there; add it, or leave {name} out.")
    return {name: there[name] for name in asked}


def synthetic_design(layout: Layout) -> Path:
    """Which picture was shown on which trial."""
    return layout.root / "nsddata/experiments/nsdsynthetic/nsdsynthetic_expdesign.mat"


def synthetic_classes(layout: Layout) -> Path:
    """The table that says what each picture is."""
    return layout.root / "nsddata/experiments/nsdsynthetic/nsdsyntheticimageinformation.csv"


def synthetic_pictures(layout: Layout, subject: str) -> tuple[Path, Path]:
    """The pictures that all subjects saw, and those that were made for one: coloured noise of equal luminance to them."""
    folder = layout.root / "nsddata_stimuli/stimuli/nsdsynthetic"
    return folder / "nsdsynthetic_stimuli.hdf5", folder / f"nsdsynthetic_colorstimuli_{subject}.hdf5"


def imagery_trials(layout: Layout) -> Path:
    """The folder with a table of trials for each subject and run."""
    return layout.root / "nsddata/bdata/nsdimagery"


def imagery_run(layout: Layout, subject: str, run: str) -> Path:
    """The trials of a run, such as ``imgA_1``."""
    return imagery_trials(layout) / f"nsdimagery_{subject}_{run}.tsv"


def imagery_targets(layout: Layout, of_set: str) -> Path:
    """Which target a cue stands for, of one set."""
    return layout.root / f"nsddata/experiments/nsdimagery/{of_set}_pair_list.mat"


def imagery_picture(layout: Layout, of_set: str, target: str) -> Path:
    """The picture of a target."""
    return layout.root / f"nsddata/experiments/nsdimagery/rawtargetimages/set{of_set}/{target}"

"""Where files of LAION-fMRI lie below its folder, and which subjects and sessions are there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from brainrecon.datasets.chosen_subject import chosen_subject
from stages.ground.errors import InputError
from stages.ground.listing import visible

BETAS_ENDS = (".nii", ".nii.gz")
"""Unpacked first: any of its volumes can be read by itself."""
POOLED = "shared"
"""The pool of pictures that everybody saw; every other pool has the name of a subject."""


@dataclass(frozen=True)
class Layout:
    """Paths below the folder of the dataset, as its bucket names them.

    >>> Layout(Path("laion")).trials("sub-01", 4).name
    'sub-01_ses-04_task-images_desc-SingletrialBetas_trials.tsv'
    """

    root: Path

    def subject(self, name: str) -> Path:
        """The folder of a subject's betas."""
        return self.root / "derivatives" / "glmsingle-tedana" / name

    def session(self, name: str, session: int) -> Path:
        """The folder of one session's betas."""
        return self.subject(name) / f"ses-{session:02d}" / "func"

    def betas(self, name: str, session: int) -> Path:
        """Single-trial betas of a session, unpacked if that is there."""
        base = f"{name}_ses-{session:02d}_task-images_space-T1w_stat-effect_desc-SingletrialBetas_statmap"
        files = [self.session(name, session) / f"{base}{end}" for end in BETAS_ENDS]
        return next((file for file in files if file.is_file()), files[-1])

    def trials(self, name: str, session: int) -> Path:
        """What was shown on each trial of a session."""
        return self.session(name, session) / f"{name}_ses-{session:02d}_task-images_desc-SingletrialBetas_trials.tsv"

    def r2(self, name: str) -> Path:
        """Explained variance, averaged over sessions; above 0 in voxels that a model was fitted in."""
        return self.subject(name) / f"{name}_task-images_space-T1w_stat-rsquare_desc-R2mean_statmap.nii.gz"

    def ceiling(self, name: str, repeats: int) -> Path:
        """The noise ceiling of averages over so many presentations, across sessions."""
        return self.subject(name) / f"{name}_task-images_space-T1w_desc-Noiseceiling{repeats}rep_statmap.nii.gz"

    def rois(self, name: str) -> Path:
        """The folder of a subject's regions, a folder for each category."""
        return self.root / "derivatives" / "rois" / name

    def split(self, pool: str, name: str) -> Path:
        """A split as the dataset's package brings it, for a pool of pictures."""
        return self.root / "splits" / pool / f"{name}.json"

    @property
    def pictures(self) -> Path:
        """The pictures, packed."""
        return self.root / "stimuli" / "task-images_stimuli.h5"

    @property
    def metadata(self) -> Path:
        """The name of each packed picture."""
        return self.root / "stimuli" / "task-images_metadata.csv"

    @property
    def captions(self) -> Path:
        """What people wrote of the pictures."""
        return self.root / "stimuli" / "task-images_desc-captions.csv"


def subjects(path: Path) -> list[str]:
    """Names of the subjects found, sorted: ``sub-01``, ..."""
    return [folder.name for folder in visible(Layout(Path(path)).subject(""), "sub-*") if folder.is_dir()]


def choose_subject(path: Path, subject: str | None) -> str:
    """The subject that is meant, the first by default; an InputError if it is not there."""
    nobody = (
        "expected some below derivatives/glmsingle-tedana: name the folder of LAION-fMRI, or fetch one with brainrecon data "
        f"download laion-fmri:{path} --subject sub-01"
    )
    return chosen_subject(path, subjects(path), subject, nobody)


def sessions_there(layout: Layout, subject: str) -> dict[int, Path]:
    """Sessions whose betas are there, by number."""
    found = {}
    for folder in visible(layout.subject(subject), "ses-*"):
        numbered = re.fullmatch(r"ses-(\d{2,3})", folder.name)
        if numbered and (betas := layout.betas(subject, int(numbered[1]))).is_file():
            found[int(numbered[1])] = betas
    if not found:
        raise InputError(
            f"{layout.subject(subject)} holds no session with betas; expected {layout.betas(subject, 1)} or another: fetch it "
            f"with brainrecon data download laion-fmri:{layout.root} --subject {subject}."
        )
    return found

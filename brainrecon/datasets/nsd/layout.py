"""Where the Natural Scenes Dataset keeps what, as in its public bucket.

Follows the NSD data manual's pages "Functional data", "ROIs" and "Experiments"; the annotations folder is the
one that the nsd_access package expects.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from brainrecon.datasets.nsd import hemispheres
from brainrecon.datasets.nsd.hemispheres import hemisphere_files
from brainrecon.datasets.subject import subject_name
from stages.ground.errors import InputError
from stages.ground.listing import visible
from weights.suggestions import did_you_mean

BETAS_VERSIONS = {
    "b3": "betas_fithrf_GLMdenoise_RR",
    "b2": "betas_fithrf",
    "b1": "betas_assumehrf",
}
"""Short name -> folder, best first."""

SPACES = ("func1pt8mm", "func1mm")
"""Volume spaces, the one usually decoded from first."""

SURFACES = {"fsaverage": "mgh", "nativesurface": "hdf5"}
"""Surface spaces and the format of each; a volume is loaded before them."""

STANDARD = "MNI"
"""The standard volume, alike for all subjects; it is loaded if nothing else is there, or when it is asked for."""

STANDARD_VERSION = "b2"
"""The one version of betas that NSD releases in the standard volume."""

SUFFIXES = {"hdf5": ".hdf5", "nifti": ".nii.gz", "mgh": ".mgh"}
"""Format of a betas file -> how its name ends, of volumes those preferred first."""

VOLUME_FORMATS = ("hdf5", "nifti")

COCO_SPLITS = ("train2017", "val2017")


@dataclass(frozen=True)
class Layout:
    """Paths below one root, whether or not they exist."""

    root: Path

    @property
    def marker(self):
        """The file by which a simulated cohort says what it is."""
        return self.root / "simulated.json"

    @property
    def design(self):
        return self.root / "nsddata/experiments/nsd/nsd_expdesign.mat"

    @property
    def stimulus_table(self):
        return self.root / "nsddata/experiments/nsd/nsd_stim_info_merged.csv"

    @property
    def stimuli(self):
        return self.root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"

    def annotations(self, content, coco_split):
        """COCO's file of ``captions`` or ``instances`` for ``train2017`` or ``val2017``."""
        return self.root / f"nsddata_stimuli/stimuli/nsd/annotations/{content}_{coco_split}.json"

    @property
    def betas_root(self):
        return self.root / "nsddata_betas/ppdata"

    def betas(self, subject, space, version):
        return self.betas_root / subject / space / BETAS_VERSIONS[version]

    def betas_session(self, subject, space, version, session, file_format):
        """Of the volume, or of both hemispheres."""
        folder, name = self.betas(subject, space, version), f"betas_session{session:02d}{SUFFIXES[file_format]}"
        return hemisphere_files(folder, name) if space in SURFACES else folder / name

    def ncsnr(self, subject, space, version):
        """Of the volume, or of both hemispheres."""
        folder = self.betas(subject, space, version)
        return hemisphere_files(folder, "ncsnr.mgh") if space in SURFACES else folder / "ncsnr.nii.gz"

    def valid(self, subject, version, session):
        """Which voxels of the standard volume a session reached."""
        return self.betas(subject, STANDARD, version) / f"valid_session{session:02d}.nii.gz"

    def responses(self, subject):
        return self.root / f"nsddata/ppdata/{subject}/behav/responses.tsv"

    def rois(self, subject, space):
        return self.root / f"nsddata/ppdata/{subject}/{space}/roi"

    def roi(self, subject, space, atlas):
        return self.rois(subject, space) / f"{atlas}.nii.gz"

    def labels(self, owner, atlas):
        return self.surface_labels(owner) / f"{atlas}.mgz.ctab"

    def surface_labels(self, owner):
        """FreeSurfer's folder of the labels of a subject, or of fsaverage."""
        return self.root / f"nsddata/freesurfer/{owner}/label"

    def surface_atlas(self, owner, side, atlas):
        return self.surface_labels(owner) / f"{side}.{atlas}.mgz"


def label_owner(subject, space):
    """Whose labels a surface has: those of fsaverage, or the subject's own."""
    return space if space == "fsaverage" else subject


def subjects_on_disk(layout):
    """Names of the subjects that have a betas folder, sorted; empty when there is none."""
    if not layout.betas_root.is_dir():
        return []
    return [folder.name for folder in visible(layout.betas_root, "subj[0-9][0-9]") if folder.is_dir()]


def choose_subject(layout, subject):
    """Name of the subject to load: the one asked for ("subj01", "1" or 1), or the first on disk."""
    if not layout.root.is_dir():
        raise InputError(f"There is no folder {layout.root}; give the folder that holds nsddata and nsddata_betas.")
    present = subjects_on_disk(layout)
    if not present:
        raise InputError(
            f"{layout.root} holds no subject: expected folders {layout.betas_root}/subj01 and so on; "
            f"list what is needed with: brainrecon data files nsd:{layout.root}"
        )
    if subject is None:
        return present[0]
    name = subject_name(subject)
    if name not in present:
        raise InputError(
            f"{layout.root} holds no {name} but {', '.join(present)}{did_you_mean(name, present)}; pass one of these as subject, "
            f"or add {layout.betas_root / name}."
        )
    return name


def choose_space(layout, subject, space):
    """The space asked for, or the first of `SPACES`, `SURFACES` and `STANDARD` that the subject has."""
    folder, known = layout.betas_root / subject, (*SPACES, *SURFACES, STANDARD)
    present = [name for name in known if (folder / name).is_dir()]
    if space is None and present:
        return present[0]
    if space not in present:
        asked = f"no betas in {space}" if space else "no betas"
        raise InputError(
            f"{folder} holds {asked}; it has {', '.join(present) or 'none'} of {', '.join(known)}{did_you_mean(space, known)}: "
            "pass one of these as space, or add the folder."
        )
    return space


def choose_version(layout, subject, space, version):
    """The betas version asked for ("b1" to "b3", or its folder's name), or the best that is on disk."""
    present = [short for short in BETAS_VERSIONS if layout.betas(subject, space, short).is_dir()]
    if version is None and present:
        return present[0]
    short = version_name(version)
    if short not in present:
        asked = f"no betas {version}" if version else "no betas"
        raise InputError(
            f"{layout.betas_root / subject / space} holds {asked}; it has "
            f"{', '.join(f'{name} ({BETAS_VERSIONS[name]})' for name in present) or 'no version'}: "
            f"pass one of {', '.join(BETAS_VERSIONS)} as betas{did_you_mean(version, BETAS_VERSIONS)}, or add its folder."
        )
    return short


def version_name(version):
    """``b3`` for "b3" or "betas_fithrf_GLMdenoise_RR"; any other text as it is."""
    return next((short for short, folder in BETAS_VERSIONS.items() if version == folder), version)


def formats_of(space, file_format=None):
    """The formats in which betas of a space may be, preferred first: the one asked for, or all; an InputError if it has none."""
    known = (SURFACES[space],) if space in SURFACES else VOLUME_FORMATS if space != STANDARD else ("nifti",)
    if file_format is not None and file_format not in known:
        raise InputError(f"'{file_format}' is no format of betas in {space}; allowed values are {', '.join(known)}.")
    return (file_format,) if file_format else known


def session_files(layout, subject, space, version, file_format):
    """Session files of one format, by session number (from 1), in order; empty when there is none."""
    suffix = SUFFIXES[file_format]
    if space in SURFACES:
        return hemispheres.session_files(layout.betas(subject, space, version), suffix)
    found = {}
    for path in visible(layout.betas(subject, space, version), f"betas_session*{suffix}"):
        number = re.fullmatch(r"betas_session(\d+)", path.name.removesuffix(suffix))
        if number:
            found[int(number[1])] = path
    return dict(sorted(found.items()))


def sessions_on_disk(layout, subject, space, version, file_format=None):
    """Session files found, by session number (from 1), in order.

    Parameters
    ----------
    file_format : {"hdf5", "nifti", "mgh"}, optional
        Only files of this format; by default, of a volume, HDF5 if a session has it, else NIfTI.

    Returns
    -------
    files : dict of int to pathlib.Path, or of int to brainrecon.datasets.nsd.hemispheres.HemisphereFiles

    Raises
    ------
    InputError
        An unknown format, or no session file.
    """
    formats = formats_of(space, file_format)
    files = {}
    for name in reversed(formats):
        files |= session_files(layout, subject, space, version, name)
    if not files:
        side = "lh." if space in SURFACES else ""
        wanted = " or ".join(f"{side}betas_session01{SUFFIXES[name]}" for name in formats)
        raise InputError(
            f"{layout.betas(subject, space, version)} holds no session; expected {wanted} and so on: "
            f"list what is needed with: brainrecon data files nsd:{layout.root} --subject {subject}"
        )
    return dict(sorted(files.items()))

"""One's own measurements: a folder of plain arrays, one file, or a BIDS folder of single-trial betas.

`brainrecon.datasets.arrays.folder`, `arrays_file` and `bids_betas` say what each holds; what the path is decides
which of them reads it. A folder of plain arrays is also what another dataset is converted to.
"""

from pathlib import Path

from brainrecon.datasets.arrays import bids_betas
from brainrecon.datasets.arrays import file as arrays_file
from brainrecon.datasets.arrays import folder as arrays_folder
from brainrecon.datasets.arrays.raw_runs import OPTIONS as RAW_OPTIONS
from brainrecon.datasets.arrays.raw_runs import cleaning
from brainrecon.datasets.arrays.writing import write, write_template
from brainrecon.datasets.dataset import DatasetOf, ExpectedFile, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.folds import checked_fold, in_fold
from brainrecon.datasets.named_arrays import SUFFIXES
from brainrecon.datasets.own_mask import OWN_MASK
from brainrecon.datasets.stimulus_images import IMAGE_SIZE, check_image_size
from stages.ground.errors import InputError

__all__ = ["DESCRIPTION", "files", "load", "subjects", "write", "write_template"]

DESCRIPTION = Description(
    measured=(
        "Your own responses to pictures, as a folder of plain arrays, one .npz, HDF5 or .mat file, or a BIDS folder of "
        "single-trial betas such as GLMsingle estimates."
    ),
    available="From you: `brainrecon data template FOLDER` writes an example to fill, and explains each of the forms.",
    citation="Yours; for betas of GLMsingle also Prince et al. 2022, eLife 11:e77599, doi:10.7554/eLife.77599",
    licence="yours to state",
)


def subjects(path):
    """Names of the subjects found, sorted: one of a file or folder of arrays, each ``sub-`` of a BIDS folder."""
    path = Path(path)
    return _form(path).subjects(path)


def load(path, subject=None, roi=None, fold=None, mask=None, image_size=None, **raw):
    """Load one's own data.

    Parameters
    ----------
    path : pathlib.Path
        A folder of plain arrays; a .npz, .h5, .hdf5 or .mat file; a BIDS folder of single-trial betas.
    subject : str, optional
        By default the only one, or the first.
    roi : str, optional
        Name of one of the masks that are there, or several joined by "+" (union) and "-" (difference): "V1+V2",
        "all-V1"; by default all voxels.
    fold : tuple of (int, int), optional
        ``(k, n)``: test part k of n parts of all stimuli, see `brainrecon.datasets.folds`; a split is not needed then.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``: (n_voxels,) or, if places of voxels are known, (x, y, z).
    image_size : int, optional
        Cut and resize picture files to squares of so many pixels; needed only where they differ in size.
    **raw
        Of a file with volumes of raw runs: `shift`, `detrend`, `zscore` and `blocks`, see
        `brainrecon.datasets.arrays.raw_runs.Cleaning`.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Betas and pictures stay on disk until they are asked for, where the form allows it: .npz and MATLAB's older
        .mat are read into memory.

    Raises
    ------
    InputError
        A file is absent, damaged or at odds with the others.
    """
    if fold is not None:
        checked_fold(fold)
    path, form = Path(path), _form(Path(path))
    check_image_size(image_size)
    if form is not arrays_file:
        cleaning(path, False, raw)
        raw = {"image_size": image_size}
    elif image_size is not None:
        raise InputError(
            f"image_size={image_size} is for picture files and {path} holds an array of pictures; leave it out."
        )
    loaded = form.load(path, subject, roi, needs_split=fold is None, own=mask, **raw)
    return loaded if fold is None else in_fold(loaded, fold)


def files(path, subject=None):
    """The files of what is there, or of the folder layout where nothing is."""
    path = Path(path)
    if path.suffix.lower() in SUFFIXES and not path.is_dir():
        return [ExpectedFile(path, "betas, stimulus_ids, split, images and what else describes the trials")]
    if path.is_dir() and _form(path) is bids_betas:
        return bids_betas.files(path, subject)
    return arrays_folder.files(path)


def _form(path):
    """The module that reads what the path is."""
    if path.is_dir():
        plain = (path / "subject.json").exists() or (path / "train").is_dir()
        return bids_betas if not plain and bids_betas.is_bids(path) else arrays_folder
    if path.suffix.lower() in SUFFIXES:
        return arrays_file
    if path.is_file():
        if path.suffix == ".npy" and path.match(bids_betas.GLMSINGLE):
            raise bids_betas.pickled(path)
        raise InputError(f"{path} is none of {', '.join(SUFFIXES)}; give one of these, or a folder.")
    raise InputError(f"There is no folder {path}; type `brainrecon data template {path}` for an example of one.")


FOLD = Option("fold", "(k, n): test part k of n parts of all stimuli; no split is needed then")
register("arrays", DatasetOf(DESCRIPTION, subjects, load, files, (FOLD, OWN_MASK, IMAGE_SIZE, *RAW_OPTIONS)))

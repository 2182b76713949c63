"""NSD as Brain-Diffuser's ``prepare_nsddata.py`` leaves it: responses averaged over repeats, a picture a row.

processed_data/subj01/
  nsd_train_fmriavg_nsdgeneral_sub1.npy   (n, n_voxels) float64, int16 scale: percent signal change times 300
  nsd_train_stim_sub1.npy                 (n, 425, 425, 3) float64, 0 to 255 (38 GB: only ever mapped)
  nsd_train_cap_sub1.npy                  (n, 5) text, the empty string where a caption is lacking    optional
and the same three for test. Rows of the three belong together. They are in the order of first presentation, but
which picture of NSD a row shows is not kept: stimuli are called ``train00000``, ``test00000`` after their rows.
"""

import numpy as np

from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.nsd.betas import SCALE
from brainrecon.datasets.own_mask import chosen_voxels
from brainrecon.datasets.packed.files import find_subjects, map_npy, pictures_of, require, responses_of
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject, stimulus_fingerprint
from stages.ground.errors import InputError
from stages.ground.reading.numpy_files import PickledError, read_npy

NAME = "Brain-Diffuser"
EXAMPLE = "processed_data/subj01/nsd_train_fmriavg_nsdgeneral_sub1.npy"
ROI = "nsdgeneral"
SPLITS = ("train", "test")


def find(path):
    """Subjects below `path`: dict of name to the folder that holds the subject's files."""
    folders = ["", *(f"{base}subj*/" for base in ("", "processed_data/", "data/processed_data/"))]
    found = find_subjects(path, folders, r"nsd_(train|test)_fmriavg_nsdgeneral_sub(?P<number>\d+)\.npy")
    return {subject: files[0].parent for subject, files in found.items()}


def load(folder, subject, roi, source, mask=None):
    """Load one subject; parameters as `brainrecon.datasets.packed.reader.load` has found them."""
    files = {name: _split_files(folder, subject, name) for name in SPLITS}
    notes = [
        "a copy made by Brain-Diffuser's prepare_nsddata.py from betas_fithrf_GLMdenoise_RR",
        "repeats were averaged before the file was written: one response per picture, so there is no noise ceiling",
        f"responses were divided by {SCALE}, which turns NSD's int16 scale into percent signal change",
        "rows do not say which picture of NSD they show: ids are row numbers",
        f"no regions are named in the files: all voxels are {ROI}",
    ]
    splits = {name: _read_split(*files[name], name, notes) for name in SPLITS}
    if splits["train"].n_voxels != splits["test"].n_voxels:
        raise InputError(
            f"{files['train'][0]} has {splits['train'].n_voxels:,} voxels but {files['test'][0].name} "
            f"{splits['test'].n_voxels:,}; take both from the same subject."
        )
    chosen, rois = chosen_voxels(folder, {}, roi, splits["train"].n_voxels, ROI, mask)
    if not chosen.all():
        splits = {name: split.columns(chosen) for name, split in splits.items()}
    sizes = {name: files[name][2].stat().st_size for name in SPLITS if splits[name].has_captions}
    return Subject(
        name=subject,
        dataset="packed",
        source=source,
        splits=splits,
        roi=roi or ROI,
        rois=rois,
        fingerprint=stimulus_fingerprint("packed", splits, layout=NAME, captions=sizes),
        notes=notes,
        details={"layout": NAME, "betas": "b3 (betas_fithrf_GLMdenoise_RR), averaged over repeats", "divisor": SCALE},
    )


def files(path, subject=None):
    """The files of one subject."""
    found = find(path)
    subject = subject or next(iter(found), "subj01")
    folder = found.get(subject, path / "processed_data" / subject)
    rows = []
    for name in SPLITS:
        betas, pictures, captions = _split_files(folder, subject, name)
        rows += [
            ExpectedFile(betas, f"{name} responses, averaged over repeats (n, n_voxels)"),
            ExpectedFile(pictures, f"{name} pictures (n, 425, 425, 3)"),
            ExpectedFile(captions, f"{name} captions (n, 5)", optional=True),
        ]
    return rows


def _split_files(folder, subject, name):
    number = subject.removeprefix("subj").lstrip("0")
    return [folder / f"nsd_{name}_{part}_sub{number}.npy" for part in ("fmriavg_nsdgeneral", "stim", "cap")]


def _read_split(betas_file, pictures_file, captions_file, name, notes):
    betas = responses_of(map_npy(require(betas_file, pictures_file)), betas_file, divisor=SCALE)
    pictures = pictures_of(map_npy(require(pictures_file, betas_file)), pictures_file)
    _same_rows(pictures_file, len(pictures), betas_file, len(betas))
    captions, reason = _read_captions(captions_file)
    if captions is None:
        notes.append(f"no {name} captions: {reason}")
    else:
        _same_rows(captions_file, len(captions), betas_file, len(betas))
    ids = [f"{name}{row:05d}" for row in range(len(betas))]
    return Split(betas, ids, images=pictures, captions=captions)


def _same_rows(path, rows, partner, partner_rows):
    if rows != partner_rows:
        raise InputError(
            f"{path} has {rows:,} rows but {partner.name} {partner_rows:,}; take both from one run of "
            "prepare_nsddata.py."
        )


def _read_captions(path):
    """Captions of every row and None, or None and the reason why there are none."""
    if not path.is_file():
        return None, f"there is no {path}"
    try:
        table = np.atleast_2d(read_npy(path, True, "copy it again, or delete it to go on without captions"))
    except PickledError as error:
        # Captions are a help, not a need: the subject loads without them, and says so.
        return None, str(error).removesuffix(".")
    if table.dtype.kind != "U" or table.ndim != 2:
        return None, f"{path} holds {table.dtype} {table.shape}, not text (n, captions)"
    captions = [[text.strip() for text in row if text.strip()] for row in table.tolist()]
    if [] in captions:
        return None, f"row {captions.index([])} of {path} (counted from 0) has none"
    return captions, None

"""EEG of six people who saw 2,000 photographs of ImageNet (Spampinato and others 2017), in a block design: drift tells classes.

FOLDER/
  eeg_5_95_std.pth                   segments (128, about 500) of all subjects, filtered from 5 to 95 Hz; or
  eeg_14_70_std.pth, eeg_55_95_std.pth
  block_splits_by_image_all.pth      six splits, by segments of all subjects; or
  block_splits_by_image_single.pth   six splits, by segments of one subject
  images/n02389026/n02389026_*.JPEG  the pictures, of ImageNet     optional

All pictures of a class were shown one after the other, so that whatever changes slowly, such as an electrode, tells the class.
The published splits train and test in every block: scores on them are no evidence that anything seen was decoded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from brainrecon.datasets.dataset import DatasetOf, ExpectedFile, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.eeg.epochs import chosen_sensors, epoch_responses, sensors_within
from brainrecon.datasets.eeg.voa_segments import BLOCKS, LENGTHS, RATE, SPLIT_FILES, SPLITS, parts_of, read_recording
from brainrecon.datasets.kamitani.stimuli import PICTURE_SUFFIXES
from brainrecon.datasets.own_mask import OWN_MASK
from brainrecon.datasets.split import Split
from brainrecon.datasets.stimulus_images import IMAGE_SIZE, check_image_size, pictures_of_splits
from brainrecon.datasets.subject import Subject, stimulus_fingerprint, subject_name
from stages.ground.errors import InputError
from stages.ground.listing import visible
from weights.suggestions import did_you_mean

DESCRIPTION = Description(
    measured="Six people saw 50 ImageNet photographs of each of 40 classes, for 0.5 s, all pictures of a class in one block, "
    "in EEG of 128 channels at 1,000 Hz: slow drift tells the class",
    available="https://tinyurl.com/eeg-visual-classification, as perceivelab/eeg_visual_classification says; pictures are "
    "ImageNet's",
    citation="Spampinato, C., Palazzo, S., Kavasidis, I., Giordano, D., Souly, N. and Shah, M. (2017). Deep learning human "
    "mind for automated visual classification. CVPR. https://doi.org/10.1109/CVPR.2017.479",
    licence="Not stated where we read; for research (memory), pictures are under their owners' copyright",
    pictures="photographs",
)
BANDS = ("5-95", "14-70", "55-95")
WINDOW = "0.02-0.46"
"""Samples 20 to 459, as the authors' loader takes them."""
DESIGN = (
    "BLOCK DESIGN: all pictures of a class were shown in one block, so that slow drift tells the class, and the published "
    "splits test pictures of trained blocks: scores are no evidence that anything seen was decoded; --option split=blocks "
    "tests whole blocks"
)


def subjects(path):
    """Names of the subjects found: ``subj01``, ..."""
    try:
        return read_recording(_file(Path(path), None)).subjects
    except InputError:
        return []


def load(
    path,
    subject=None,
    roi=None,
    band=None,
    split=0,
    validation="apart",
    window=WINDOW,
    images=None,
    image_size=None,
    mask=None,
):
    """Load one subject.

    Parameters
    ----------
    path : pathlib.Path
        The folder of ``eeg_5_95_std.pth`` and of the splits.
    subject : str, optional
        ``subj01``; by default the first that is there.
    roi : str, optional
        Times, ``100-200ms``; all by default. The files do not name their channels.
    band : {"5-95", "14-70", "55-95"}, optional
        Hz, of the file; by default the first of these that is there.
    split : int or "blocks"
        Of the six published splits, by default 0. ``blocks`` tests classes of which no picture was learned from.
    validation : {"apart", "train"}
        Whether validation pictures of a published split are a split of their own or learned from.
    window : str
        Seconds from the onset of a picture, by default ``0.02-0.46``, the end not among them.
    images : path, optional
        Folder of the pictures; by default ``images`` in `path`, if that is there.
    image_size : int, optional
        Cut and resize pictures to squares of so many pixels; ImageNet's differ in size.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``, over the values of the window.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Stimuli are named as ImageNet's files, their categories are WordNet ids. A picture was shown once.

    Raises
    ------
    InputError
        Files are absent, damaged or at odds with each other, or something is asked for that is not there.
    """
    path = Path(path)
    if validation not in ("apart", "train"):
        raise InputError(f"validation is {validation!r}; expected apart or train, or leave it out.")
    check_image_size(image_size)
    file = _file(path, band)
    recording = read_recording(file)
    name = _subject(recording, subject, file)
    whole = sensors_within(range(1, recording.n_channels + 1), np.arange(LENGTHS[1]) / RATE, window, file)
    sensors, rois = chosen_sensors(file, whole, roi, mask, with_channels=False)
    parts, notes = parts_of(path, recording, name, split, int(whole.indices[:, 1].max()) + 1)
    if validation == "train" and "validation" in parts:
        parts["train"] = np.sort(np.concatenate([parts["train"], parts.pop("validation")]))
    pictures, told = _pictures(path, {key: recording.stems(rows) for key, rows in parts.items()}, images, image_size)
    splits = {
        key: Split(
            betas=epoch_responses(
                lambda row, rows=rows: recording.epochs[rows[row]], len(rows), sensors, np.float32, file, "session"
            ),
            trial_stimulus_ids=recording.stems(rows),
            images=pictures.get(key),
            categories=[[one] for one in recording.classes(rows)],
        )
        for key, rows in parts.items()
    }
    return Subject(
        name=name,
        dataset="eeg-voa",
        source=f"eeg-voa:{path}",
        splits=splits,
        roi=roi or "all",
        rois=rois,
        fingerprint=stimulus_fingerprint("eeg-voa", splits),
        notes=[
            DESIGN,
            "the files hold no clock and no order of blocks; by which trials they were standardised is not said",
            *notes,
            *told,
        ],
        pictures="photographs",
        details={
            "space": sensors.in_words,
            "band": f"{_band(file)} Hz",
            "split": str(split),
            "window": str(window),
            "units": "standardised",
            # Stands beside every score.
            "design": "a block for each class, which drift tells",
        },
        space=sensors,
    )


def _file(path, band):
    """The file of a band, there or not."""
    if not path.is_dir():
        raise InputError(f"There is no folder {path}; give that of eeg_5_95_std.pth, as eeg-voa:FOLDER.")
    if band is not None and str(band) not in BANDS:
        raise InputError(
            f"band is {band!r}; expected {', '.join(BANDS)}, the Hz in the name of a file, or leave it out."
        )
    there = {one: path / f"eeg_{one.replace('-', '_')}_std.pth" for one in BANDS}
    found = [one for one, file in there.items() if file.exists() and band in (None, one)]
    if not found:
        raise InputError(
            f"{path} has no {there[band or BANDS[0]].name}; fetch it as the README of perceivelab/eeg_visual_classification says."
        )
    return there[found[0]]


def _band(file):
    return file.name.removeprefix("eeg_").removesuffix("_std.pth").replace("_", "-")


def _subject(recording, subject, file):
    if subject is None:
        return recording.subjects[0]
    if subject_name(subject) not in recording.subjects:
        meant = did_you_mean(str(subject), recording.subjects)
        raise InputError(f"{file} has no subject {subject}; it has {', '.join(recording.subjects)}{meant}.")
    return subject_name(subject)


def _pictures(path, stems, images, size):
    folder = Path(images).expanduser() if images else path / "images"
    if not folder.is_dir():
        if images:
            raise InputError(f"There is no folder {folder}; name the folder of the pictures, or leave images out.")
        return {}, [f"no pictures: take them from ImageNet and put them into {folder}, by their names"]
    found = {file.stem: file for file in visible(folder, "**/*") if file.suffix.lower() in PICTURE_SUFFIXES}
    absent = [one for names in stems.values() for one in names if one not in found]
    if absent:
        raise InputError(
            f"{folder} lacks {len(absent):,} pictures, the first is {absent[0]}; add {absent[0]}.JPEG and the others of ImageNet."
        )
    chosen = {key: [found[one] for one in names] for key, names in stems.items()}
    return pictures_of_splits(chosen, size), []


def files(path, subject=None, band=None, images=None):
    """The files of the layout; all subjects are in one."""
    path = Path(path)
    try:
        recording = _file(path, band)
    except InputError:
        recording = path / f"eeg_{str(band or BANDS[0]).replace('-', '_')}_std.pth"
    folder = Path(images).expanduser() if images else path / "images"
    pictures = (file for file in visible(folder, "**/*") if file.suffix.lower() in PICTURE_SUFFIXES)
    splits = next((name for name in SPLIT_FILES if (path / name).exists()), next(iter(SPLIT_FILES)))
    return [
        ExpectedFile(recording, "segments of all subjects"),
        ExpectedFile(path / splits, f"the {len(SPLITS)} published splits, {SPLIT_FILES[splits]}"),
        ExpectedFile(next(pictures, folder), "the pictures, of ImageNet", optional=True),
    ]


register(
    "eeg-voa",
    DatasetOf(
        DESCRIPTION,
        subjects,
        load,
        files,
        (
            Option("band", "5-95, 14-70 or 55-95 Hz; by default the first that is there", for_files=True),
            Option("split", f"0 to {len(SPLITS) - 1}, or {BLOCKS}: whole classes are tested; by default 0"),
            Option("validation", "apart or train: whether validation pictures are learned from; by default apart"),
            Option("window", "seconds from onset, such as 0.02-0.05; by default 0.02-0.46"),
            Option("images", "folder of the pictures, by default the folder images in the path", for_files=True),
            IMAGE_SIZE,
            OWN_MASK,
        ),
    ),
)

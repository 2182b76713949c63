"""EEG of ten people who saw 16,740 photographs (Gifford and others 2022): THINGS-EEG2, as its authors preprocessed it.

FOLDER/
  image_metadata.npy                      which picture each condition is: a dictionary of lists
  sub-01/preprocessed_eeg_training.npy    (16540, 4, 17, 100): pictures x repeats x channels x samples, and names of both
  sub-01/preprocessed_eeg_test.npy        (200, 80, 17, 100), likewise
  training_images/00001_aardvark/*.jpg    the pictures, also below images/ or image_set/     optional
  test_images/00001_aircraft_carrier/*.jpg

The files are pickles, which are read by `stages.ground.reading.pickled_values`: nothing in them is run. A copy that was
preprocessed otherwise, by other scripts that write the same dictionaries, is read in the same way: of 63 channels, at 250 Hz.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np

from brainrecon.datasets.chosen_subject import chosen_subject
from brainrecon.datasets.dataset import DatasetOf, ExpectedFile, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.eeg.epochs import chosen_sensors, epoch_responses, sensors_within
from brainrecon.datasets.eeg.things_eeg2_download import METADATA, PARTS, TERMS, address_of, download
from brainrecon.datasets.eeg.things_eeg2_files import read_epochs, read_metadata
from brainrecon.datasets.own_mask import OWN_MASK
from brainrecon.datasets.split import Split
from brainrecon.datasets.stimulus_images import IMAGE_SIZE, PictureFiles, check_image_size
from brainrecon.datasets.subject import Subject, stimulus_fingerprint
from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.ground.listing import visible

DESCRIPTION = Description(
    measured="Ten people saw 16,540 photographs of 1,654 concepts four times each and 200 of other concepts 80 times each, in "
    "rapid sequences, in EEG; the authors' files hold 17 channels over the back of the head at 100 Hz",
    available="OSF 3jk45: preprocessed and raw recordings, and the pictures",
    citation="Gifford, A. T., Dwivedi, K., Roig, G. and Cichy, R. M. (2022). A large and rich EEG dataset for modeling human "
    "visual object recognition. NeuroImage 264, 119754. https://doi.org/10.1016/j.neuroimage.2022.119754",
    licence="CC BY 4.0; the pictures are THINGS', under their own licence",
    pictures="photographs",
)
WINDOW = "0-0.8"
"""By default all that follows the onset of a picture in the authors' epochs."""
_NUMBER = re.compile(r"\d{5}_")


def subjects(path):
    """Names of the subjects found, sorted: ``sub-01``, ..."""
    return [folder.name for folder in visible(Path(path), "sub-*") if folder.is_dir()]


def load(path, subject=None, roi=None, window=WINDOW, validation=0, images=None, image_size=None, mask=None):
    """Load one subject.

    Parameters
    ----------
    path : pathlib.Path
        The folder of ``sub-01`` and others.
    subject : str, optional
        ``sub-01``; by default the first that is there.
    roi : str, optional
        Channels by name, ``Oz``, ``O* + PO*``; ``occipital`` and ``parietal``; times, ``100-200ms``; all by default.
    window : str
        Seconds from the onset of a picture, ``0-0.8`` by default, the end not among them; ``whole`` is all that was stored.
    validation : int
        So many training concepts, at even spacing, are a split ``validation``; by default none.
    images : path, optional
        Folder of ``training_images`` and ``test_images``; by default that of the data, or ``images`` in it.
    image_size : int, optional
        Cut and resize pictures to squares of so many pixels.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``, over the values of the window.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Stimuli are named as the pictures' files, and their categories are the concepts. There are neither sessions nor runs:
        the authors mixed repeats of different sessions.

    Raises
    ------
    InputError
        Files are absent, damaged or at odds with each other, or something is asked for that is not there.
    """
    path, name = Path(path), _subject(Path(path), subject)
    check("validation", validation, Number(0, whole=True, example=74), "--option {name}={example}")
    check_image_size(image_size)
    shown = read_metadata(path / METADATA)
    recorded = {split: read_epochs(path / name / file, split, shown) for split, (file, _, _) in PARTS.items()}
    channels, times = recorded["train"][1:]
    if any(part[1] != channels or not np.array_equal(part[2], times) for part in recorded.values()):
        raise InputError(
            f"The training and the test file of {path / name} differ in channels or times; take both from the same source."
        )
    sensors, rois = chosen_sensors(path / name, sensors_within(channels, times, window, path / name), roi, mask)
    folder, notes = _pictures(path, images)
    splits = {
        split: _split(
            path / name / PARTS[split][0], recorded[split][0], sensors, shown[split], folder, split, image_size
        )
        for split in PARTS
    }
    if validation:
        splits = _with_validation(splits, shown["train"], validation)
    if both := {concept for concept, _ in shown["train"]} & {concept for concept, _ in shown["test"]}:
        notes.append(f"{len(both):,} concepts are both trained and tested, the first is {min(both)}")
    return Subject(
        name=name,
        dataset="things-eeg2",
        source=f"things-eeg2:{path}",
        splits=splits,
        roi=roi or "all",
        rois=rois,
        fingerprint=stimulus_fingerprint("things-eeg2", splits),
        notes=[
            "the authors whitened channels by noise covariances of training and test trials together, of each session: no "
            "label of a test picture took part, test trials did",
            "a picture was shown every 200 ms (memory), so that responses to neighbours overlap; repeats are in no order of time",
            *notes,
        ],
        pictures="photographs",
        details={"space": sensors.in_words, "window": str(window), "units": "whitened by noise"},
        space=sensors,
    )


def _split(path, epochs, sensors, shown, folder, split, size):
    n_repeats = epochs.shape[1]
    pictures = None
    if folder is not None:
        files = [folder / PARTS[split][2] / concept / file for concept, file in shown]
        absent = [file for file in files if not file.is_file()]
        if absent:
            raise InputError(
                f"{folder / PARTS[split][2]} lacks {len(absent):,} of {len(files):,} {split} pictures, the first is {absent[0]}; "
                "unpack the pictures of OSF y63gw again, or name another folder by --option images=FOLDER."
            )
        pictures = PictureFiles(files, size=size)
    return Split(
        betas=epoch_responses(
            lambda row: epochs[divmod(row, n_repeats)], len(epochs) * n_repeats, sensors, epochs.dtype, path
        ),
        trial_stimulus_ids=np.repeat([PurePosixPath(file).stem for _, file in shown], n_repeats),
        images=pictures,
        categories=[[_NUMBER.sub("", concept, count=1)] for concept, _ in shown],
    )


def _with_validation(splits, shown, n_concepts):
    """Training concepts at even spacing as a split of their own."""
    concepts = list(dict.fromkeys(concept for concept, _ in shown))
    if n_concepts >= len(concepts):
        raise InputError(
            f"validation is {n_concepts:,} but there are {len(concepts):,} training concepts; leave some to learn from."
        )
    held = {concepts[place] for place in np.linspace(0, len(concepts) - 1, n_concepts).round().astype(int)}
    outside = np.array([concept in held for concept, _ in shown])
    whole = splits["train"]
    parts = {name: np.flatnonzero(mask) for name, mask in (("train", ~outside), ("validation", outside))}
    return splits | {
        name: Split(
            betas=whole.betas.take(np.flatnonzero(np.isin(whole.positions, rows))),
            trial_stimulus_ids=whole.trial_stimulus_ids[np.isin(whole.positions, rows)],
            images=None if whole.images is None else whole.images.take(rows),
            categories=[whole.categories[row] for row in rows],
        )
        for name, rows in parts.items()
    }


def _pictures(path, images):
    """The folder of both folders of pictures, or None, and notes."""
    if images is not None:
        folder = Path(images).expanduser()
        if not folder.is_dir():
            raise InputError(
                f"There is no folder {folder}; name that of training_images and test_images, or leave images out."
            )
        return folder, []
    wanted = [folder for _, _, folder in PARTS.values()]
    for folder in (path, path / "images", path / "image_set"):
        if all((folder / one).is_dir() for one in wanted):
            return folder, []
    return None, [f"no pictures: unpack training_images.zip and test_images.zip of OSF y63gw into {path}"]


def files(path, subject=None, images=None):
    """The files of one subject, or of all that are there."""
    path = Path(path)
    rows = [ExpectedFile(path / METADATA, "which picture each condition is", address=address_of(METADATA))]
    for name in [_subject(path, subject)] if subject and subjects(path) else subjects(path) or ["sub-01"]:
        rows += [
            ExpectedFile(
                path / name / file, f"{split} epochs of {name}, in {name}.zip", address=address_of(f"{name}.zip")
            )
            for split, (file, _, _) in PARTS.items()
        ]
    folder = Path(images).expanduser() if images else _pictures(path, None)[0] or path
    for _, _, part in PARTS.values():
        found = visible(folder / part, "*/*.jpg")
        what = f"the pictures, the first of them, in {part}.zip"
        missing = folder / part / "CONCEPT" / "PICTURE.jpg"
        rows.append(ExpectedFile((found or [missing])[0], what, optional=True, address=address_of(f"{part}.zip")))
    return rows


def _subject(path, subject):
    return chosen_subject(path, subjects(path), subject, "give the folder of THINGS-EEG2 that has sub-01, sub-02, ...")


register(
    "things-eeg2",
    DatasetOf(
        DESCRIPTION,
        subjects,
        load,
        files,
        (
            Option("window", "seconds from onset, such as 0.05-0.6, or whole; by default 0-0.8"),
            Option("validation", "so many training concepts are a split 'validation'; by default none"),
            Option("images", "folder of training_images and test_images; by default that of the data", for_files=True),
            IMAGE_SIZE,
            OWN_MASK,
        ),
        download,
        TERMS,
    ),
)

"""Pictures, categories and captions of stimuli.

FOLDER/BOLD5000_Stimuli/
  Scene_Stimuli/Presented_Stimuli/{COCO,ImageNet,Scene}/     the pictures
  Image_Labels/imagenet_final_labels.txt                     WordNet id and words on each line
FOLDER/annotations/
  captions_train2014.json, instances_train2014.json          COCO's own, or those of 2017
FOLDER/captions.json                                         stimulus id -> list of captions, of your own
"""

from __future__ import annotations

import re
from functools import partial
from os import PathLike
from pathlib import Path

from brainrecon.datasets import coco
from brainrecon.datasets.bold5000.layout import STIMULI, below
from brainrecon.datasets.bold5000.lines import AGAIN, read_lines
from brainrecon.datasets.bold5000.names import COCO, ENDINGS, FOLDERS, IMAGENET, Named, named
from brainrecon.datasets.captions import checked_captions
from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.stimulus_images import check_image_size, pictures_of_splits
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.json_files import read_json

PRESENTED = "Scene_Stimuli/Presented_Stimuli"
LABELS = "Image_Labels/imagenet_final_labels.txt"
OWN_CAPTIONS = "captions.json"


def folder_of_pictures(path: Path, images=None) -> Path:
    """Where the pictures lie: what the user names, or where the archive has them."""
    if images is not None and not isinstance(images, str | PathLike):
        raise InputError(f"images is {images!r}; expected the path of a folder.")
    if images and not Path(images).expanduser().is_dir():
        raise InputError(f"There is no folder {images}; name the folder of the pictures, or leave images out.")
    return Path(images).expanduser() if images else below(path, STIMULI, PRESENTED)


def picture_files(path: Path, images=None) -> list[Path]:
    """All pictures that are there."""
    folder = folder_of_pictures(path, images)
    return [file for file in visible(folder, "**/*") if file.suffix.lower() in ENDINGS and file.is_file()]


def read_pictures(path: Path, shown: dict[str, list[Named]], images=None, image_size=None):
    """Pictures of each split, none if there is no folder of them.

    Parameters
    ----------
    path : pathlib.Path
    shown : dict of str to list of Named
        Stimuli of each split.
    images : path, optional
        Folder of the pictures.
    image_size : int, optional
        Side of the square that pictures are cut and resized to.

    Returns
    -------
    pictures : dict of str to brainrecon.datasets.stimulus_images.PictureFiles
    notes : list of str

    Raises
    ------
    InputError
        Pictures are absent, there twice, or of different sizes.
    """
    check_image_size(image_size)
    folder, files = folder_of_pictures(path, images), picture_files(path, images)
    if not files and images:
        raise InputError(f"{folder} holds no pictures; name the folder of the pictures, or leave images out.")
    if not files:
        return {}, [f"no pictures: put those of the archive of stimuli into {folder}/{{{','.join(FOLDERS.values())}}}"]
    exact: dict[str, list[Path]] = {}
    loose: dict[str, list[Path]] = {}
    for file in files:
        name = named(file.name, folder).stimulus_id
        exact.setdefault(name, []).append(file)
        loose.setdefault(name.casefold(), []).append(file)
    pictures = {}
    for split, stimuli in shown.items():
        found = [exact.get(one.stimulus_id) or loose.get(one.stimulus_id.casefold(), []) for one in stimuli]
        absent = [one for one, own in zip(stimuli, found) if not own]
        if absent:
            first = absent[0]
            raise InputError(
                f"{folder} has no picture for {len(absent):,} of {len(stimuli):,} {split} stimuli, the first is "
                f"{first.stimulus_id} ({FOLDERS[first.source]}); add it, or leave pictures out with --option pictures=false."
            )
        if twice := next((own for own in found if len(own) > 1), None):
            raise InputError(
                f"{twice[0]} and {twice[1]} are both {named(twice[0].name, folder).stimulus_id}; keep one of them."
            )
        pictures[split] = [own[0] for own in found]
    return pictures_of_splits(pictures, image_size), []


def annotation_files(path: Path, content: str) -> list[Path]:
    """COCO's annotations, "captions" or "instances", that were put beside the data."""
    return visible(path / "annotations", f"{content}_*.json")


def caption_reader(path: Path, stimuli: list[Named]):
    """What reads a caption or more for each stimulus, None if not all of them can have one."""
    own, annotations = path / OWN_CAPTIONS, annotation_files(path, "captions")
    if not own.exists() and not (annotations and all(one.source == COCO for one in stimuli)):
        return None
    return partial(_captions, own if own.exists() else None, annotations, stimuli)


def _captions(own, annotations, stimuli):
    from_coco = [one for one in stimuli if one.source == COCO] if annotations else []
    texts = coco.read_captions(annotations, [one.coco_id for one in from_coco]) if from_coco else []
    said = {one.stimulus_id: found for one, found in zip(from_coco, texts) if found}
    if own:
        said |= read_json(own, dict)
    where = own or ", ".join(file.name for file in annotations)
    return checked_captions(said, [one.stimulus_id for one in stimuli], where)


def caption_notes(path: Path, has_captions: bool) -> list[str]:
    """What a reader must know of captions that are not there."""
    if has_captions:
        return []
    if annotation_files(path, "captions"):
        return [f"no captions: those of COCO are there (source=coco); {OWN_CAPTIONS} in {path} may hold the others"]
    return []


def category_reader(path: Path, stimuli: list[Named]):
    """What reads the categories of each stimulus: its source, and behind it what is known of what it shows."""
    return partial(_categories, below(path, STIMULI, LABELS), annotation_files(path, "instances"), stimuli)


def _categories(labels, instances, stimuli):
    words = read_labels(labels) if labels.exists() else {}
    things: dict[int, list[str]] = {}
    if instances:
        wanted = [one.coco_id for one in stimuli if one.source == COCO]
        things = dict(zip(wanted, coco.read_categories(instances, wanted)))
    found = []
    for one in stimuli:
        more = [one.word] if one.word else things.get(one.coco_id, [])
        if one.source == IMAGENET and one.word in words:
            more = [one.word, words[one.word]]
        found.append([one.source, *more])
    return found


def read_labels(file: Path) -> dict[str, str]:
    """First word of each WordNet id of the archive's list.

    Raises
    ------
    InputError
        A line is no WordNet id and words.
    """
    found = {}
    for line in read_lines(file):
        wordnet, _, words = line.partition(" ")
        if not re.fullmatch(r"n\d{8}", wordnet) or not words.strip():
            raise InputError(
                f"{file} has the line {line[:60]!r}; expected lines such as n01930112 nematode, roundworm: {AGAIN}."
            )
        found[wordnet] = words.split(",")[0].strip()
    return found


def stimulus_rows(path: Path) -> list[ExpectedFile]:
    """What `files` says of pictures, labels and captions."""
    pictures = picture_files(path)
    missing = below(path, STIMULI, PRESENTED) / "COCO"
    annotations = [*annotation_files(path, "captions"), *annotation_files(path, "instances")]
    return [
        ExpectedFile(
            (pictures or [missing])[0], "the pictures, from bold5000-dataset.github.io, the first of them", True
        ),
        ExpectedFile(below(path, STIMULI, LABELS), "words of ImageNet's classes", True),
        *(ExpectedFile(file, "COCO's captions or objects", True) for file in annotations),
        *(
            []
            if annotations
            else [ExpectedFile(path / "annotations" / "captions_train2014.json", "COCO's captions", True)]
        ),
        ExpectedFile(path / OWN_CAPTIONS, "captions of your own: stimulus id -> list of captions", True),
    ]

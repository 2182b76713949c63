"""Captions and object categories of COCO pictures, from COCO's own annotation files."""

import json
import shutil
import zipfile
from collections import defaultdict
from contextlib import contextmanager

from brainrecon.datasets.download import Remote, fetch
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.ground.reading.wall import reading
from weights.whole_files import whole_file

ANNOTATIONS = "https://s3.amazonaws.com/images.cocodataset.org/annotations/annotations_trainval2017.zip"
"""Captions and instances of COCO's 2017 pictures, CC BY 4.0. The bucket's own name has no certificate."""
_MD5 = "f4bbac642086de4f52a3fdda2de5fa2c"

USED = ("annotations", "image_id", "caption", "category_id", "categories", "id", "name")


def read_captions(paths, coco_ids):
    """Captions of each picture, in the order of the files.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        ``captions_train2017.json``, ``captions_val2017.json`` or files of the same format.
    coco_ids : sequence of int

    Returns
    -------
    captions : list of list of str, as long as `coco_ids`
        An empty list if the files have none.

    Raises
    ------
    InputError
        A file is no JSON of COCO's format.
    """
    wanted = {int(coco_id) for coco_id in coco_ids}
    found = defaultdict(list)
    for path in paths:
        with _format_told(path):
            for annotation in _read(path, ("annotations",))["annotations"]:
                if annotation["image_id"] in wanted:
                    found[annotation["image_id"]].append(" ".join(annotation["caption"].split()))
    return [found.get(int(coco_id), []) for coco_id in coco_ids]


def read_categories(paths, coco_ids):
    """Names of the object categories annotated in each picture, each once, sorted.

    Parameters and errors are those of `read_captions`, with ``instances_train2017.json`` and
    ``instances_val2017.json``. The original training file, 450 MB, takes about 1 GB of memory while it is read.

    Returns
    -------
    categories : list of list of str, as long as `coco_ids`
    """
    wanted = {int(coco_id) for coco_id in coco_ids}
    found = defaultdict(set)
    for path in paths:
        with _format_told(path):
            content = _read(path, ("annotations", "categories"))
            names = {category["id"]: category["name"] for category in content["categories"]}
            for annotation in content["annotations"]:
                if annotation["image_id"] in wanted:
                    found[annotation["image_id"]].add(names[annotation["category_id"]])
    return [sorted(found.get(int(coco_id), ())) for coco_id in coco_ids]


def _read(path, keys):
    with reading(path, "JSON", "fetch COCO's annotations again"):
        # Outlines are most of a file of instances: each entry is reduced to what is used as soon as it is read.
        content = json.loads(path.read_text(encoding="utf-8"), object_hook=_what_is_used)
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            raise InputError(f"{path} has no '{key}'; expected an annotation file in COCO's format, fetch it again.")
    return content


def _what_is_used(entry):
    return {key: entry[key] for key in USED if key in entry}


@contextmanager
def _format_told(path):
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} has annotations of another format than COCO's ({error!r}); fetch COCO's annotations again."
        ) from None


def fetch_annotations(paths, progress=SILENT):
    """Download COCO's annotations and unpack those files of them that are missing.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        All in one folder, named as COCO names them; the archive lies there until it is unpacked.
    progress : callable, optional
        Called as ``progress(label, bytes_done, bytes_of_file)``.
    """
    missing = [path for path in paths if not path.exists()]
    if not missing:
        return
    archive = missing[0].parent / ANNOTATIONS.rpartition("/")[2]
    fetch(Remote(ANNOTATIONS, archive, _MD5), progress)
    try:
        with zipfile.ZipFile(archive) as content:
            for path in missing:
                with content.open(f"annotations/{path.name}") as member, whole_file(path) as partial:
                    with open(partial, "wb") as file:
                        shutil.copyfileobj(member, file)
    except (zipfile.BadZipFile, KeyError) as error:
        raise InputError(
            f"{archive} is not COCO's archive of annotations ({error}); remove it and try again."
        ) from error
    archive.unlink()

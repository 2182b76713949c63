"""A user's own photographs, with COCO's captions, in place of the drawn world.

The simulated higher areas know the drawn world's labels only, so that of a photograph they carry nothing but what
early vision passes on.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from brainrecon.datasets.coco import read_captions
from brainrecon.datasets.stimulus_images import PictureFiles
from brainrecon.simulation.world.pictures import Picture
from stages.ground.errors import InputError

KIND = "photograph"


class Photographs:
    """The photographs of a folder, in an order drawn from a seed.

    FOLDER/
      images/               JPEG or PNG files
      captions.json         COCO's format: images with file_name and id, annotations with image_id and caption
      instances.json        COCO's format, optional: which categories are in a picture and how large

    Parameters
    ----------
    folder : path
    size : int
        Side of the pictures; the middle square of each photograph is resized.
    seed : int

    Attributes
    ----------
    categories : tuple of str
        Names of the categories in `instances.json`.
    digest : str
        Of names, captions and pictures, to tell one set from another.
    """

    def __init__(self, folder, size, seed):
        folder = Path(folder)
        self._ids = _file_names(folder / "captions.json")
        names = sorted(self._ids)
        order = np.random.default_rng([seed, 80]).permutation(len(names))
        self._names = [names[k] for k in order]
        if absent := [name for name in names if not (folder / "images" / name).is_file()]:
            raise InputError(
                f"{folder / 'images'} lacks {len(absent):,} of the {len(names):,} photographs in captions.json, the first "
                f"is {absent[0]}; add them."
            )
        self._images = PictureFiles([folder / "images" / name for name in self._names], size=size)
        ids = [self._ids[name] for name in self._names]
        self._captions = read_captions([folder / "captions.json"], ids)
        if bare := [name for name, own in zip(self._names, self._captions) if not own]:
            raise InputError(f"{folder / 'captions.json'} has no caption for {bare[0]}; add one.")
        instances = folder / "instances.json"
        self.categories, self._things = _things(instances, ids) if instances.is_file() else ((), [()] * len(ids))
        digest = hashlib.sha256(repr((self._names, self._captions)).encode())
        for name in names:
            digest.update((folder / "images" / name).read_bytes())
        self.digest = digest.hexdigest()

    def __len__(self):
        return len(self._names)

    def pictures(self, start, stop):
        """Photographs `start` to `stop` of the drawn order, one after the other, as `Picture`."""
        for k in range(start, stop):
            yield Picture(
                image=self._images[k],
                captions=tuple(self._captions[k]),
                kind=KIND,
                category=self._things[k][0] if self._things[k] else "",
                colour="",
                background="",
                digit=-1,
                place="",
                layout=self._names[k],
                categories=self._things[k],
            )


def _file_names(path) -> dict[str, int]:
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["images"]
        return {Path(image["file_name"]).name: int(image["id"]) for image in listed}
    except FileNotFoundError:
        raise InputError(f"There is no {path}; photographs need captions in COCO's format.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a caption file in COCO's format ({error!r}); give one.") from None


def _things(path, ids: Sequence[int]):
    """Names of all categories, and for each picture those in it, the largest first."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = {int(one["id"]): str(one["name"]) for one in content["categories"]}
        areas = {image: {} for image in ids}
        for one in content["annotations"]:
            if one["image_id"] in areas:
                name = names[one["category_id"]]
                own = areas[one["image_id"]]
                own[name] = own.get(name, 0) + float(one["area"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not an instance file in COCO's format ({error!r}); mend or remove it.") from None
    return tuple(names.values()), [tuple(sorted(own, key=lambda name: -own[name])) for own in areas.values()]

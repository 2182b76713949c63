"""What NSD showed: pictures, and their captions and object categories through COCO's ids."""

from functools import partial

import numpy as np

from brainrecon.datasets import coco
from brainrecon.datasets.nsd import design as nsd_design
from brainrecon.datasets.stimulus_images import stimulus_images


class Stimuli:
    """Access to a subject's stimuli; what is absent is None and told in `notes`.

    Parameters
    ----------
    layout : brainrecon.datasets.nsd.layout.Layout
    pictures : array of int
        All 0-based pictures that the subject saw.
    shown : bool
        Whether the pictures themselves are wanted.

    Attributes
    ----------
    notes : list of str
    facts : dict
        What, beside ids and pictures, identifies the stimuli: the sizes of the caption files in bytes.
    """

    def __init__(self, layout, pictures, shown=True):
        self.layout = layout
        self.notes = []
        self.facts = {}
        self._coco = {}
        self._shown = shown and layout.stimuli.is_file()
        if not self._shown:
            self.notes.append(f"no pictures: {layout.stimuli} is absent" if shown else "no pictures, as was asked")
        self._annotations = {"captions": None, "instances": None}
        if not layout.stimulus_table.is_file():
            self.notes.append(f"no captions or categories: {layout.stimulus_table} is absent")
            return
        pictures = np.unique(pictures)
        ids, splits = nsd_design.read_coco_ids(layout.stimulus_table, pictures)
        self._coco = dict(zip(pictures.tolist(), ids.tolist()))
        for content in self._annotations:
            paths = [layout.annotations(content, split) for split in np.unique(splits)]
            absent = [str(path) for path in paths if not path.is_file()]
            if absent:
                kind = {"captions": "captions", "instances": "categories"}[content]
                self.notes.append(f"no {kind}: {', '.join(absent)} absent (COCO's 2017 annotations go there)")
            else:
                self._annotations[content] = paths
        if self._annotations["captions"]:
            self.facts["caption_bytes"] = [path.stat().st_size for path in self._annotations["captions"]]

    def images(self, pictures):
        """Lazily read pictures, or None."""
        return stimulus_images(self.layout.stimuli, pictures) if self._shown else None

    def captions(self, pictures):
        """A function that reads the captions, or None."""
        return self._reader("captions", coco.read_captions, pictures)

    def categories(self, pictures):
        """A function that reads the categories, or None."""
        return self._reader("instances", coco.read_categories, pictures)

    def _reader(self, content, read, pictures):
        paths = self._annotations[content]
        if paths is None:
            return None
        return partial(read, paths, [self._coco[picture] for picture in np.asarray(pictures).tolist()])

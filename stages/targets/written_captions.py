"""Captions for pictures that have none: a network looks at a picture, writes its caption, and a target of captions encodes it.

Meng and Yang (2023) do so for the pictures of ImageNet that GOD shows, with BLIP, so that a text context can be learned there.
"""

from __future__ import annotations

import math
from types import SimpleNamespace


class WrittenCaptions:
    """What a target of captions makes of the caption that is written about a picture.

    >>> import numpy as np
    >>> from stages.generators.language.blip_captioner import BLIPCaptioner
    >>> from stages.targets.blip import BLIPStates
    >>> from stages.targets.clip import CLIPTextTokens
    >>> from weights import store
    >>> folder, prompt = store.path("tiny-captioner"), {"prompt": "", "max_length": 32}
    >>> states = BLIPStates.from_pretrained(folder, size=64, normalise="CLIP")
    >>> captioner = BLIPCaptioner.from_pretrained(folder, size=64)
    >>> text = CLIPTextTokens.from_pretrained(store.path("tiny-clip"))
    >>> target = WrittenCaptions(states, captioner, text, prompt)
    >>> pictures = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    >>> (caption,) = target.captions(pictures)
    >>> np.array_equal(target.encode(pictures), text.encode([[caption]]))
    True

    Parameters
    ----------
    states : target of pictures
        What the captioner reads of a picture, such as `stages.targets.blip.BLIPStates`.
    captioner : stages.generators.generator.Generator
        Writes captions from these states and from nothing else, without anything drawn by lot.
    text : target of captions
    writing : mapping
        What the captioner's `draw` is told.
    """

    name = "written_captions"
    takes = "images"

    def __init__(self, states, captioner, text, writing):
        self._states, self._captioner, self._text, self.writing = states, captioner, text, dict(writing)

    @property
    def shape(self):
        """That of the text's values."""
        return self._text.shape

    @property
    def n_targets(self):
        """Values per picture."""
        return math.prod(self.shape)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        return {
            "picture": self._states.preprocessing,
            "states": self._states.name,
            "writing": self.writing,
            "caption": self._text.preprocessing,
            "text": self._text.name,
        }

    def captions(self, items, batch_size=8):
        """Write a caption about each picture.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
            Any size.
        batch_size : int
            Pictures that are looked at together. Captions are written one at a time: rounding could change a word.

        Returns
        -------
        captions : list of str, length n

        Raises
        ------
        InputError
            For anything but uint8 colour pictures.
        """
        (name,) = self._captioner.takes
        states = self._states.encode(items, batch_size=batch_size)
        told = [SimpleNamespace(stimulus_id=f"picture number {row}", sample=0) for row in range(len(states))]
        written = dict(self._captioner.draw({name: states}, told, batch_size=1, **self.writing))
        return [written[row] for row in range(len(told))]

    def encode(self, items, batch_size=8):
        """Write a caption about each picture, and encode it.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
        batch_size : int
            Changes the result by float rounding only.

        Returns
        -------
        values : array of shape (n, n_targets), float32

        Raises
        ------
        InputError
            For anything but uint8 colour pictures, and if a caption has no word.
        """
        captions = self.captions(items, batch_size)
        return self._text.encode([[caption] for caption in captions], batch_size=batch_size)

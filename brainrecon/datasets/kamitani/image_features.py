"""`ImageFeatures.h5` of Generic Object Decoding: published features of its pictures, and averages of many categories.

A BData file of 16,622 rows: 1,200 training pictures, 50 test pictures, averages of the 50 test categories and of 15,322
others, as ``FeatureType`` 1 to 4 says. ``ImageID`` is a picture's number and ``CatID`` its category's. Each level of features,
``cnn1`` to ``cnn8``, ``hmax1`` to ``hmax3``, ``gist`` and ``sift``, is a key of about a thousand columns. The file is of
figshare 7387130, where it is 15015971 (``.h5``) and 15015977 (``.mat``).
"""

from functools import cached_property
from pathlib import Path

import numpy as np

from brainrecon.datasets.kamitani.bdata import BData
from brainrecon.datasets.kamitani.stimuli import name_of_text, names_of_codes
from stages.ground.class_labels import labelled
from stages.ground.errors import InputError
from stages.priors.category_means import CategoryMeans
from weights.suggestions import did_you_mean

FILES = ("ImageFeatures.h5", "ImageFeatures.mat")
FACTS = ("FeatureType", "ImageID", "CatID")
PICTURES, AVERAGES = (1, 2), (3, 4)


class ImageFeatures:
    """The file; a level is read when it is asked for.

    >>> features = ImageFeatures("god/ImageFeatures.h5")  # doctest: +SKIP
    >>> features.of("cnn8", ["n01443537_22563"]).shape, features.category_means("cnn8").means.shape  # doctest: +SKIP
    ((1, 1000), (15372, 1000))

    Parameters
    ----------
    path : path

    Attributes
    ----------
    path : pathlib.Path
    levels : tuple of str
        Those that the file has, in its order.

    Raises
    ------
    InputError
        The file is absent, damaged or of another layout.
    """

    def __init__(self, path):
        self.path = Path(path)
        self._data = BData(self.path)
        if absent := [key for key in FACTS if key not in self._data.keys]:
            raise InputError(
                f"{self.path} has {', '.join(self._data.keys)} and no {absent[0]}; expected {', '.join(FACTS)}: name "
                "ImageFeatures.h5 of figshare 7387130, or copy it again."
            )
        self.levels = tuple(key for key in self._data.keys if key not in FACTS)

    def n_units(self, level):
        """Columns of a level."""
        return int(self._columns(level).sum())

    def of(self, level, stimulus_ids):
        """Features of stimuli by their names.

        Parameters
        ----------
        level : str
        stimulus_ids : sequence of str
            ``n01518878_10042`` is a picture, ``n01518878``, as imagery has it, the average of its category.

        Returns
        -------
        features : array of shape (n_stimuli, n_units), float32

        Raises
        ------
        InputError
            There is no such level, or no row of a stimulus.
        """
        names = [name_of_text(str(name)) for name in stimulus_ids]
        if absent := [name for name in names if name not in self._rows]:
            raise InputError(
                f"{self.path} has no features of {len(set(absent)):,} of {len(set(names)):,} stimuli, the first is {absent[0]}; "
                "take features that are computed from pictures: leave the setting features out."
            )
        return self._data.read(self._columns(level), np.array([self._rows[name] for name in names], dtype=int))

    def category_means(self, level):
        """Averages of all categories that the file has, those of the test pictures first: CategoryMeans."""
        rows = np.concatenate([np.flatnonzero(self._types == number) for number in AVERAGES])
        if not len(rows):
            raise InputError(f"{self.path} has no averages of categories, FeatureType 3 and 4; copy the file again.")
        labels = tuple(labelled(self._categories[row]) for row in rows)
        return CategoryMeans(labels, self._data.read(self._columns(level), rows))

    def _columns(self, level):
        if level not in self.levels:
            raise InputError(
                f"{self.path} has no level {level!r}; it has {', '.join(self.levels)}{did_you_mean(level, self.levels)}."
            )
        return self._data.columns(level)

    @cached_property
    def _types(self):
        return self._data.column("FeatureType")

    @cached_property
    def _categories(self):
        return names_of_codes(self._data, np.floor(self._data.column("CatID")))

    @cached_property
    def _rows(self):
        """Row of each picture and of each category's average, by name."""
        pictures = names_of_codes(self._data, self._data.column("ImageID"))
        found = {}
        for row, number in enumerate(self._types):
            name = pictures[row] if number in PICTURES else self._categories[row]
            # Of a category that comes twice, the first: that of the test categories.
            found.setdefault(name, row)
        return found


class PublishedLevel:
    """A level of the file as a target: it takes the names of stimuli, and needs no pictures.

    Parameters
    ----------
    features : ImageFeatures
    level : str
    units : int, optional
        The first so many; by default all.
    """

    takes = "stimulus_ids"

    def __init__(self, features, level, units=None):
        self._features, self.name = features, level
        n_units = features.n_units(level)
        self.n_targets = n_units if units is None else min(units, n_units)
        self.shape = (self.n_targets,)

    @property
    def preprocessing(self):
        """What the values are, as plain data; part of the feature store's key."""
        return {"read from": FILES[0], "level": self.name, "units": self.n_targets}

    def encode(self, items, batch_size=64):
        """Features of stimuli by their names, array of shape (n, n_targets), float32."""
        return self._features.of(self.name, items)[:, : self.n_targets]

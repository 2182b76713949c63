r"""Regions: the columns of the table of voxels that are 0 or 1, or masks beside volumes, under names that can be typed.

=========================  ==========================================================================================
in the files               here
=========================  ==========================================================================================
``V1``, ``hV4``            the same
``LO1 (prf)``              ``LO1``; what stands in brackets is left out unless another region has the name
``glasser-V1``             ``glasser_V1``, as a minus takes voxels away in a roi; ``glasser_*`` is all of them
``glasser-p9-\n46v``       ``glasser_p9-46v``: line breaks and blanks are left out
``lFFA`` and ``rFFA``      the same, and ``FFA`` is both
all but ``glasser-...``    ``visual``: what the study itself found, by retinotopy and by localisers
=========================  ==========================================================================================
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from brainrecon.datasets.voxels import ALL, MASK, masked_regions
from stages.ground.errors import InputError

VISUAL = "visual"
STORED_ATLAS, ATLAS = "glasser-", "glasser_"
_SIDES = re.compile(r"[lr]([A-Z].*)")
_BRACKETS = re.compile(r"\(.*?\)")


def clean_name(column, others=()):
    r"""The name of a region as it can be typed.

    >>> clean_name("LO1 (prf)"), clean_name("glasser-p9-\n46v"), clean_name("LO1 (prf)", ["LO1"])
    ('LO1', 'glasser_p9-46v', 'LO1(prf)')

    Parameters
    ----------
    column : str
    others : collection of str
        Names that are taken.
    """
    whole = re.sub(r"\s", "", column)
    whole = ATLAS + whole.removeprefix(STORED_ATLAS) if whole.startswith(STORED_ATLAS) else whole
    short = _BRACKETS.sub("", whole)
    return short if short and short not in others else whole


def named_regions(masks, where):
    """Masks under the names that can be typed, and what is made of several of them.

    >>> one, other = np.array([True, False]), np.array([False, True])
    >>> found = named_regions({"lFFA": one, "rFFA": one, "glasser-V1": other}, "here")
    >>> {name: mask.tolist() for name, mask in found.items()}
    {'lFFA': [True, False], 'rFFA': [True, False], 'glasser_V1': [False, True], 'FFA': [True, False], 'visual': [True, False]}

    Parameters
    ----------
    masks : dict of str to bool array of shape (n_voxels,)
        By the names of the files.
    where : str or path
        For the message.

    Returns
    -------
    masks : dict of str to bool array

    Raises
    ------
    InputError
        Two would have one name.
    """
    named = {}
    for column, mask in masks.items():
        name = clean_name(column, [other for other in masks if other != column])
        if name in named or name in (VISUAL, ALL, MASK):
            raise InputError(f"{where} has two regions called {name}; rename one of them.")
        named[name] = mask
    both = {}
    for name, mask in named.items():
        if (side := _SIDES.fullmatch(name)) and side[1] not in named:
            both[side[1]] = both[side[1]] | mask if side[1] in both else mask
    own = [mask for name, mask in named.items() if not name.startswith(ATLAS)]
    whole = {VISUAL: np.logical_or.reduce(own)} if own else {}
    return {name: mask for name, mask in (named | both | whole).items() if mask.any()}


def default_roi(rois):
    """``visual`` if the files mark any such region, else all voxels."""
    return VISUAL if VISUAL in rois else ALL


def chosen_in(where, rois, roi, n_voxels, mask=None, space=None):
    """The voxels of a roi, and what each region has of them.

    As `brainrecon.datasets.own_mask.chosen_voxels`, but that messages list the study's own regions alone, as the atlas has 180
    more; ``glasser_V1``, ``glasser_*`` and others are taken all the same.
    """
    if mask is not None:
        rois = rois | {MASK: mask.in_columns(n_voxels, space=space)}
    regions = masked_regions(where, rois, n_voxels)
    told = tuple(name for name in regions.names if not name.startswith(ATLAS))
    regions = replace(
        regions, names=told, aliases=(*regions.aliases, *(name for name in rois if name.startswith(ATLAS)))
    )
    chosen = regions.select(default_roi(rois) if roi is None else roi)
    return chosen, {name: inside[chosen] for name, inside in rois.items() if inside[chosen].any()}

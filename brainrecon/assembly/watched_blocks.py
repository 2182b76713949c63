"""Settings of what looks at pictures: which blocks of CLIP are decoded, and how it is given a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stages.ground.checks import Number, OneOf, check, check_all
from stages.ground.errors import InputError
from stages.targets.clip_names import NORMALISATIONS, RESAMPLINGS


@dataclass(frozen=True)
class Seen:
    """How CLIP is given a picture.

    Attributes
    ----------
    resampling : str
        How it is brought to the size that CLIP reads; see `stages.targets.clip_layers.CLIPLayer`.
    normalise : {"ImageNet", "own"}
        Mean and deviation that are taken off: scripts take ImageNet's, with which CLIP was not trained.
    """

    resampling: str = "bicubic"
    normalise: str = "ImageNet"

    def __post_init__(self):
        rules = {"resampling": OneOf(*RESAMPLINGS), "normalise": OneOf(*NORMALISATIONS)}
        check_all(self, rules, where="seen")


def check_blocks(blocks: Sequence[int], multipliers: Sequence[float], table: str) -> None:
    """Refuse blocks that are not numbers from 1 on, each once, or that have not a multiplier each.

    >>> check_blocks((1, 1), (1.5, 1.2), "search")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    stages.ground.errors.InputError: blocks is [1, 1] with search.multipliers [1.5, 1.2]; expected each block once, ...

    Parameters
    ----------
    blocks : sequence of int
        Of CLIP's image tower.
    multipliers : sequence of float
    table : str
        Of the settings that these stand in.
    """
    for block in blocks:
        check("blocks", block, Number(1, whole=True), typed="--set {name}='[{example}]'")
    if not blocks or len(set(blocks)) < len(blocks) or len(blocks) != len(multipliers):
        raise InputError(
            f"blocks is {list(blocks)} with {table}.multipliers {list(multipliers)}; expected each block once, and a multiplier "
            f"for each: pass --set blocks='[1, 2]' --set {table}.multipliers='[1.5, 1.2]'."
        )

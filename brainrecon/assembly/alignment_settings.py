"""Settings of functional alignment: by what, on how many of the shared stimuli, and which statistics."""

from __future__ import annotations

from dataclasses import dataclass

from stages.adapters.functional_alignment import METHODS, STATISTICS, FunctionalAlignment
from stages.adapters.procrustes import ROTATIONS
from stages.adapters.ridge_alignment import ALPHAS
from stages.ground.checks import Number, Numbers, OneOf, check_all

_RULES = {
    "method": OneOf(*METHODS),
    "alphas": Numbers(Number(0, above=True), example=ALPHAS, alone=False),
    "rotation": OneOf(*ROTATIONS),
    "rank": Number(1, whole=True, optional=True, example=500),
    "n_components": Number(1, whole=True, example=50),
    "statistics": OneOf(*STATISTICS),
    "fraction": Number(0, 1, above=True, example=0.25),
    "seed": Number(0, whole=True),
}


@dataclass(frozen=True)
class AlignmentSettings:
    """How another subject is brought to the one that was learned from.

    Attributes
    ----------
    method : {"ridge", "procrustes", "anatomical", "shared_response", "optimal_transport"}
        See `stages.adapters.functional_alignment.FunctionalAlignment`.
    alphas : tuple of float
        Penalties of ridge to choose from.
    rotation : {"span", "whole", "U V", "transposed"}
        Of Procrustes; the last two are the published forms with their slips, `stages.adapters.procrustes`.
    rank : int, optional
        Leading directions of the rotation "span", or width of the sketch of "transposed".
    n_components : int
        Of the shared response.
    statistics : {"alignment", "transductive", "none"}
        Bring voxels to the target's spread by statistics of the alignment stimuli; by those of the test set itself, as
        published; or not.
    fraction : float
        Share of the alignment stimuli that is used, every kind of them present; published are 0.1, 0.25, 0.5 and 1.
    seed : int
        Of that share, and of the sketch.
    """

    method: str = "ridge"
    alphas: tuple[float, ...] = ALPHAS
    rotation: str = "span"
    rank: int | None = None
    n_components: int = 50
    statistics: str = "alignment"
    fraction: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_all(self, _RULES, where="alignment")

    def alignment(self) -> FunctionalAlignment:
        """What they describe, not fitted.

        >>> AlignmentSettings(method="procrustes", rank=20).alignment().options
        {'rotation': 'span', 'rank': 20, 'seed': 0}
        """
        options = {
            "ridge": {"alphas": self.alphas},
            "procrustes": {"rotation": self.rotation, "rank": self.rank, "seed": self.seed},
            "shared_response": {"n_components": self.n_components},
        }
        return FunctionalAlignment(self.method, self.statistics, **options.get(self.method, {}))

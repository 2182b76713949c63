"""How a latent is searched for through a diffusion, as plain values; `stages.inverters.diffusion_search` has the search."""

from __future__ import annotations

from dataclasses import dataclass

from stages.ground.checks import Number, Numbers, OneOf, check_all
from stages.targets.clip_names import RESAMPLINGS

_RULES = {
    "iterations": Number(1, whole=True, example=300),
    "learning_rate": Number(0, example=0.01),
    "decay": Number(0, 1, above=True, example=0.999),
    "multipliers": Numbers(Number(0), example=(1.5, 1.2, 1.0, 1.0, 1.0, 1.0), alone=False),
    "embedding_weight": Number(0, 1, example=0.5),
    "rate": Number(0, 100, below=True, example=75),
    "noise": OneOf("fresh", "fixed"),
    "optimised": OneOf("latent", "latent and text"),
    "resampling": OneOf(*RESAMPLINGS),
    "checkpointing": OneOf(True, False),
}


@dataclass(frozen=True)
class DiffusionSearchSettings:
    """How a latent is searched for; the defaults are those of MindDiffuser's script, where it has any.

    >>> [round(DiffusionSearchSettings().rate_of(step), 6) for step in (0, 1, 299)]
    [0.00999, 0.00998, 0.007407]

    Attributes
    ----------
    iterations : int
        How often a picture is drawn and looked at. Before each but the last the latent is changed. The script saves the pictures
        of iterations 0, 10, ... 290 of 300; that of the last one is returned here.
    learning_rate : float
        Of Adam.
    decay : float
        What the learning rate is multiplied by at each step, the first included.
    multipliers : tuple of float
        What each layer counts beside its share, in order.
    embedding_weight : float
        The embedding's share of the loss, 0 to 1. **Not known**: the script uses a value that it does not define.
    rate : float
        Percent of the units of each layer that are left out: those that responses predict worst.
    noise : {"fresh", "fixed"}
        Noise the latent anew at each iteration, or always by the first noise.
    optimised : {"latent", "latent and text"}
        What is changed. The paper speaks of both, the script changes the latent alone.
    resampling : str
        How the network's picture is made from the one that is drawn; see `stages.targets.clip_layers.CLIPLayer`.
    checkpointing : bool
        Keep no activation of the denoising network, and compute them a second time on the way back.
    """

    iterations: int = 300
    learning_rate: float = 0.01
    decay: float = 0.999
    multipliers: tuple[float, ...] = (1.5, 1.2, 1.0, 1.0, 1.0, 1.0)
    embedding_weight: float = 0.5
    rate: float = 75.0
    noise: str = "fresh"
    optimised: str = "latent"
    resampling: str = "bicubic"
    checkpointing: bool = True

    def __post_init__(self):
        check_all(self, _RULES, where="search")

    def rate_of(self, step):
        """Learning rate of a step, counted from 0."""
        return self.learning_rate * self.decay ** (step + 1)

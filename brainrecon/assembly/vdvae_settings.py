"""Settings of stage one that all methods with a VDVAE have in common."""

from __future__ import annotations

from dataclasses import dataclass

from stages.ground.checks import Number, OneOf, check_all

_RULES = {
    "sample_seed": Number(0, whole=True, optional=True, example=0),
    "temperature": Number(0, example=1.0),
    "greys": OneOf("rounded", "cut off"),
}


@dataclass(frozen=True)
class VDVAESettings:
    """What of a VDVAE is drawn by lot, and what is a mean.

    Attributes
    ----------
    sample_seed : int, optional
        Learn from draws of the posterior, by this seed, in place of its mean.
    temperature : float
        Spread, around their prior's mean and in its standard deviations, of the layers that are not predicted.
    sample_pixels : bool
        Draw each pixel from its mixture, in place of the expectation.
    greys : {"rounded", "cut off"}
        How the first picture becomes 8 bit.

    Published with Brain-Diffuser: draws without a seed, 1, true, "cut off".
    """

    sample_seed: int | None = None
    temperature: float = 0.0
    sample_pixels: bool = False
    greys: str = "rounded"

    def __post_init__(self):
        check_all(self, _RULES, where="vdvae")

    @property
    def draws(self) -> bool:
        """Whether the first picture depends on more than the predicted latents."""
        return self.temperature > 0 or self.sample_pixels

    @property
    def showing(self) -> dict:
        """What `stages.targets.vdvae.VDVAELatents.decode` is told: what differs from its defaults."""
        options = {"temperature": self.temperature, "sample_pixels": self.sample_pixels, "greys": self.greys}
        return {name: value for name, value in options.items() if value != getattr(type(self), name)}

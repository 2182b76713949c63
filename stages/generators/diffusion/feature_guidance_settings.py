"""How denoising is guided by features, as plain values; `feature_guidance` and `self_attention_guidance` do it."""

from __future__ import annotations

from dataclasses import dataclass

from stages.ground.checks import Number, Numbers, OneOf, check_all

_RULES = {
    "scale": Number(0, example=300000.0),
    "share": Number(0, 1, example=0.2),
    "multipliers": Numbers(Number(0), example=(1.5, 1.2, 1.0, 1.0, 1.0, 1.0), alone=False),
    "noise_taken": OneOf("by its deviation", "by its variance"),
    "self_attention": Number(0, example=0.75),
}


@dataclass(frozen=True)
class FeatureGuidanceSettings:
    """How denoising is guided; the defaults are those of NeuralDiffuser's script.

    >>> FeatureGuidanceSettings().guided_steps(37)
    7

    Attributes
    ----------
    scale : float
        What the gradient of the features' distance is multiplied by; 0 guides by no features.
    share : float
        Of the steps that are done, from the first, in which features guide.
    multipliers : tuple of float
        What each layer counts beside its share, in order.
    noise_taken : {"by its deviation", "by its variance"}
        What is taken off noisy latents for the clean ones that are looked at: the predicted noise by √(1−ᾱ), as the schedule has
        it, or by 1−ᾱ, as the script does.
    self_attention : float
        Scale of self-attention guidance, which goes through all steps; 0 for none.
    """

    scale: float = 300000.0
    share: float = 0.2
    multipliers: tuple[float, ...] = (1.5, 1.2, 1.0, 1.0, 1.0, 1.0)
    noise_taken: str = "by its deviation"
    self_attention: float = 0.75

    def __post_init__(self):
        check_all(self, _RULES, where="guidance")

    def guided_steps(self, n_steps):
        """How many of `n_steps` are guided by features, from the first."""
        return int(n_steps * self.share)

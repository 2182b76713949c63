r"""Stable Diffusion whose first steps are led by decoded layers of CLIP.

Li and others (2025, NeuralDiffuser). A decoded latent is noised and denoised under a decoded text; in the first steps the
distance of what CLIP's image tower has inside, of the picture to come, from what was decoded,

.. math:: L = \sum_l a_l w_l \overline{(f_l - g_l)^2}, \quad w_l = |g_l|^{-1} / \sum_k |g_k|^{-1},

leads the prediction of the noise (`stages.generators.diffusion.feature_guidance`).
"""

from __future__ import annotations

import torch

from stages.generators.diffusion.feature_guidance import FeatureGuidance
from stages.generators.diffusion.feature_guidance_settings import FeatureGuidanceSettings
from stages.generators.diffusion.sampler import denoised
from stages.generators.diffusion.self_attention_guidance import SelfAttentionGuidance
from stages.ground.errors import InputError
from stages.inverters.masked_features import layer_shares
from stages.inverters.watched_diffusion import WatchedDiffusion


class GuidedDiffusion(WatchedDiffusion):
    """Draw pictures with Stable Diffusion 1.x, led by layers of CLIP.

    >>> from weights import store
    >>> from stages.generators.generator import Item, in_order
    >>> guided = GuidedDiffusion.from_pretrained(
    ...     store.path("tiny-stable-diffusion"),
    ...     clip=store.path("tiny-clip"),
    ...     layers={"clip_block_1": "block 1"},
    ...     normalise="own",
    ...     settings=FeatureGuidanceSettings(scale=100.0, multipliers=(1.0,)),
    ... )
    >>> shapes = {name: guided.takes[name] for name in ("clip_text", "clip_block_1", "first_latent")}
    >>> values = {name: torch.ones(1, *shape).numpy() for name, shape in shapes.items()}
    >>> pictures = in_order(guided.draw(values, [Item("nsd00042")], num_inference_steps=4, strength=0.5))
    >>> pictures[0].shape, pictures[0].dtype
    ((64, 64, 3), dtype('uint8'))

    Layers may be absent, of some pictures or of all: the others then share what counts, and a picture without any is not led.

    Parameters
    ----------
    pipeline, empty_text, looking, layers, start, text_required
        As `WatchedDiffusion` takes them, the layers in the order of the multipliers.
    settings : FeatureGuidanceSettings, optional

    Raises
    ------
    InputError
        There is not a multiplier for each layer; or the scheduler or the network cannot be guided.
    """

    def __init__(self, pipeline, empty_text, looking, layers, settings=None, start=None, text_required=False):
        super().__init__(pipeline, empty_text, looking, layers, start, text_required)
        self.settings = settings or FeatureGuidanceSettings()
        multipliers = self.settings.multipliers
        if not self.layers or len(self.layers) != len(multipliers):
            raise InputError(
                f"Guidance is given {len(self.layers)} layers with {len(multipliers)} multipliers; expected one for each layer: "
                "pass --set guidance.multipliers with as many numbers."
            )
        self._multipliers = dict(zip(self.layers, multipliers))
        self.optional |= self.layers.keys()
        if self.settings.self_attention:
            scale = self.settings.self_attention
            self.conditioners += (SelfAttentionGuidance(pipeline.unet, pipeline.scheduler, scale),)
        if self.settings.scale:
            led = FeatureGuidance(self.layers, self._distance_from, self.space, pipeline.scheduler, self.settings)
            self.conditioners += (led,)

    @classmethod
    def from_pretrained(cls, *stable_diffusion, acceleration=None, **watched):
        """Load both networks, as `WatchedDiffusion.from_pretrained` does.

        Raises
        ------
        InputError
            Networks are to be compiled or offloaded, which cannot be differentiated here.
        """
        if acceleration is not None and (acceleration.compile or acceleration.offload != "none"):
            raise InputError(
                f"compile is {acceleration.compile!r} and offload {acceleration.offload!r}, but guidance differentiates the "
                "networks, which then have to stay as and where they are; leave both out."
            )
        return super().from_pretrained(*stable_diffusion, acceleration=acceleration, **watched)

    @torch.no_grad()
    def latents(self, rows, seed, num_inference_steps, guidance_scale, count=None, batch_size=None):
        """Return the denoised latents of a batch of `Row` that start alike, tensor (n, channels, size, size)."""
        sampling = self.prepared(rows, seed, num_inference_steps, guidance_scale)
        stepped = () if count is None else (count.of_a_batch(len(sampling.timesteps)),)
        return denoised(self.pipeline.unet, self.pipeline.scheduler, sampling, *stepped)

    def _distance_from(self, values):
        """The loss of decoded pictures (1, 3, height, width) of -1 to 1, given decoded layers by value."""
        wanted = {
            name: torch.as_tensor(one, dtype=torch.float32).to(self.looking.device) for name, one in values.items()
        }
        shares = layer_shares(values, [self._multipliers[name] for name in values])
        names = [self.layers[name] for name in values]

        def distance(pixels):
            found = self.seen(pixels, names)
            return sum(
                shares[name] * (found[self.layers[name]][0] - one).square().mean() for name, one in wanted.items()
            )

        return distance

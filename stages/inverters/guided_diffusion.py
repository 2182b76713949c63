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
from stages.generators.diffusion.loading import computing_dtype, placed
from stages.generators.diffusion.sampler import denoised
from stages.generators.diffusion.self_attention_guidance import SelfAttentionGuidance
from stages.generators.diffusion.stable_diffusion import StableDiffusionGenerator, load_stable_diffusion
from stages.ground.errors import InputError
from stages.inverters.masked_features import layer_shares
from stages.targets.clip_layers import CLIPLayer, layers_of


class GuidedDiffusion(StableDiffusionGenerator):
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
    pipeline, empty_text, start, text_required
        As `StableDiffusionGenerator` takes them. The networks lose their gradients.
    looking : stages.targets.clip_layers.CLIPLayer
        Of the network that looks, with the preparation of its pictures.
    layers : mapping of str to str
        Value -> layer, as `CLIPLayer` names it, in the order of the multipliers.
    settings : FeatureGuidanceSettings, optional

    Raises
    ------
    InputError
        There is not a multiplier for each layer; or the scheduler or the network cannot be guided.
    """

    def __init__(self, pipeline, empty_text, looking, layers, settings=None, start=None, text_required=False):
        super().__init__(pipeline, empty_text, start, text_required)
        pipeline.unet.requires_grad_(False)
        pipeline.vae.requires_grad_(False)
        self.looking, self.layers, self.settings = looking, dict(layers), settings or FeatureGuidanceSettings()
        multipliers = self.settings.multipliers
        if not self.layers or len(self.layers) != len(multipliers):
            raise InputError(
                f"Guidance is given {len(self.layers)} layers with {len(multipliers)} multipliers; expected one for each layer: "
                "pass --set guidance.multipliers with as many numbers."
            )
        self._multipliers = dict(zip(self.layers, multipliers))
        for value in self.layers:
            self.takes[value] = (1 + looking.n_patches, looking.model.visual.conv1.out_channels)
        self.optional |= self.layers.keys()
        if self.settings.self_attention:
            scale = self.settings.self_attention
            self.conditioners += (SelfAttentionGuidance(pipeline.unet, pipeline.scheduler, scale),)
        if self.settings.scale:
            led = FeatureGuidance(self.layers, self._distance_from, self.space, pipeline.scheduler, self.settings)
            self.conditioners += (led,)

    @classmethod
    def from_pretrained(
        cls,
        folder,
        device="cpu",
        dtype=None,
        scheduler=None,
        acceleration=None,
        start=None,
        text_required=False,
        text_length=None,
        *,
        clip,
        layers,
        normalise="ImageNet",
        resampling="bilinear, antialiased",
        settings=None,
    ):
        """Load both networks; nothing is looked for elsewhere.

        Parameters
        ----------
        folder, device, dtype, scheduler, acceleration, start, text_required, text_length
            As of `StableDiffusionGenerator.from_pretrained`.
        clip : path
            Folder of an open_clip model.
        normalise, resampling : str
            As of `CLIPLayer`.
        layers, settings
            As of the class.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            As of the class; or networks are to be compiled or offloaded, which cannot be differentiated here.
        """
        if acceleration is not None and (acceleration.compile or acceleration.offload != "none"):
            raise InputError(
                f"compile is {acceleration.compile!r} and offload {acceleration.offload!r}, but guidance differentiates the "
                "networks, which then have to stay as and where they are; leave both out."
            )
        pipeline, empty_text, _ = load_stable_diffusion(folder, computing_dtype(dtype, acceleration, device), scheduler)
        looking = CLIPLayer.from_pretrained(clip, device, resampling=resampling, normalise=normalise)
        pipeline = placed(pipeline, device, acceleration)
        return cls(pipeline, empty_text[:text_length], looking, layers, settings, start, text_required)

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
            seen = self.looking.seen((pixels.float() * 0.5 + 0.5).clamp(0, 1))
            found = layers_of(self.looking.model.visual, seen, names)
            return sum(
                shares[name] * (found[self.layers[name]][0] - one).square().mean() for name, one in wanted.items()
            )

        return distance

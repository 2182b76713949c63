"""Stable Diffusion with a second network that looks at its pictures: layers of CLIP, which decoded ones are held against."""

from __future__ import annotations

from stages.generators.diffusion.loading import computing_dtype, placed
from stages.generators.diffusion.stable_diffusion import StableDiffusionGenerator, load_stable_diffusion
from stages.targets.clip_layers import CLIPLayer, layers_of


class WatchedDiffusion(StableDiffusionGenerator):
    """What generators share that draw by what CLIP sees; each says how.

    >>> from weights import store
    >>> folder, clip = store.path("tiny-stable-diffusion"), store.path("tiny-clip")
    >>> layers = {"clip_block_1": "block 1"}
    >>> watched = WatchedDiffusion.from_pretrained(folder, clip=clip, layers=layers, normalise="own")
    >>> watched.takes["clip_block_1"]
    (65, 128)

    Parameters
    ----------
    pipeline, empty_text, start, text_required
        As `StableDiffusionGenerator` takes them. The networks lose their gradients.
    looking : stages.targets.clip_layers.CLIPLayer
        Of the network that looks, with the preparation of its pictures.
    layers : mapping of str to str
        Value -> layer, as `CLIPLayer` names it.
    """

    def __init__(self, pipeline, empty_text, looking, layers, start=None, text_required=False):
        super().__init__(pipeline, empty_text, start, text_required)
        pipeline.unet.requires_grad_(False)
        pipeline.vae.requires_grad_(False)
        self.looking, self.layers = looking, dict(layers)
        for value in self.layers:
            self.takes[value] = (1 + looking.n_patches, looking.model.visual.conv1.out_channels)

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
        normalise="ImageNet",
        resampling="bilinear, antialiased",
        **own,
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
        own
            Further arguments of the class, by name.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            As of the class; or the scheduler is not known.
        """
        pipeline, empty_text, _ = load_stable_diffusion(folder, computing_dtype(dtype, acceleration, device), scheduler)
        looking = CLIPLayer.from_pretrained(clip, device, resampling=resampling, normalise=normalise)
        pipeline = placed(pipeline, device, acceleration)
        return cls(pipeline, empty_text[:text_length], looking, start=start, text_required=text_required, **own)

    def seen(self, pixels, names):
        """Layers of decoded pictures (n, 3, height, width) of -1 to 1, dict of str to tensor; differentiable."""
        seen = self.looking.seen((pixels.float() * 0.5 + 0.5).clamp(0, 1))
        return layers_of(self.looking.model.visual, seen, names)

"""Latent diffusion on a codebook's latents, led by brain tokens or by the label of a class.

Rombach and others (2022) trained it on ImageNet's classes ("cin256-v2"): a label is one token of 512 values. MinD-Vis (Chen and
others, 2023) leads the same network by 77 tokens that are made of brain activity, and adds what a mapper makes of them to the
time embedding.
"""

from pathlib import Path

import torch
from diffusers import DiffusionPipeline

from stages.generators.diffusion.class_labels import LabelToken
from stages.generators.diffusion.latent_diffusion import LatentDiffusionGenerator
from stages.generators.diffusion.loading import computing_dtype, placed
from stages.generators.diffusion.mapped_tokens import MappedTokens
from stages.generators.diffusion.schedulers import read_scheduler
from stages.generators.diffusion.vq_diffusion_model import load_vq_diffusion
from stages.ground.errors import InputError
from stages.networks.latent_space import CodebookLatentSpace

BRAIN_TOKENS, CLASS_LABEL = "brain_tokens", "class_label"


class VQDiffusionPipeline(DiffusionPipeline):
    """Hold the parts: a ``vae`` with a codebook, a ``unet`` and a ``scheduler``."""

    model_cpu_offload_seq = "unet->vae"

    def __init__(self, vae, unet, scheduler):
        super().__init__()
        self.register_modules(vae=vae, unet=unet, scheduler=scheduler)


class VQDiffusionGenerator(LatentDiffusionGenerator):
    """Draw pictures from tokens, or from labels, with latent diffusion on a codebook's latents.

    >>> import numpy as np
    >>> from stages.generators.generator import Item, in_order
    >>> from weights import store
    >>> generator = VQDiffusionGenerator.from_pretrained(store.path("tiny-label2img"), reads="class_label")
    >>> labels = np.float32([[3], [24]])
    >>> items = [Item("a"), Item("b")]
    >>> pictures = in_order(generator.draw({"class_label": labels}, items, num_inference_steps=2))
    >>> pictures[0].shape
    (64, 64, 3)

    There is no guidance unless it is asked for; its unconditional half reads the token of no class, which is the last one of the
    label's table, in every place, or zeros if there is no table.

    Parameters
    ----------
    pipeline : VQDiffusionPipeline
        Its UNet adds ``class_labels`` to the time embedding (``class_embed_type`` "identity").
    labels : float32 tensor of shape (n_classes + 1, width), optional
        The tokens of labels; the last one is that of no class.
    reads : str
        "class_label", or the name of the value that holds tokens.
    n_tokens : int
        Of such a value.
    time_mapper : torch.nn.Module, optional
        ``time_mapper(tokens)`` gives what is added to the time embedding, see `stages.networks.time_mapper.TimeMapper`; by
        default nothing is.
    controls : sequence of Conditioner
        What steers it by maps: `stages.generators.diffusion.controls.ControlBranches`, with networks on the same device.

    See Also
    --------
    stages.generators.diffusion.latent_diffusion.LatentDiffusionGenerator : `draw`, and the attributes.
    """

    default_steps = 250
    default_guidance_scale = 1.0

    def __init__(self, pipeline, labels=None, reads=BRAIN_TOKENS, n_tokens=77, time_mapper=None, controls=()):
        config = pipeline.unet.config
        width, added = config.cross_attention_dim, 4 * config.block_out_channels[0]
        nothing = torch.zeros(1, width) if labels is None else labels[-1:]
        if reads == CLASS_LABEL:
            if labels is None:
                raise InputError(
                    "This folder holds no tokens of labels, from which to draw class_label; let the generator read tokens."
                )
            own, takes = LabelToken(reads, labels, added), {reads: (1,)}
        else:
            own = MappedTokens(reads, nothing.expand(n_tokens, -1), time_mapper, added)
            takes = {reads: (n_tokens, width)}
        super().__init__(pipeline, [own], takes, space=CodebookLatentSpace(pipeline.vae), steering=controls)

    @classmethod
    def from_pretrained(
        cls,
        folder,
        device="cpu",
        dtype=None,
        scheduler=None,
        acceleration=None,
        tuned=None,
        reads=BRAIN_TOKENS,
        n_tokens=77,
        time_mapper=None,
        controls=(),
    ):
        """Load a folder with the published file, or one in diffusers' layout; nothing is looked for elsewhere.

        Parameters
        ----------
        folder : path
            Holds ``unet/config.json``, ``vae/config.json``, ``scheduler/scheduler_config.json``, and one safetensors file with
            ``model.diffusion_model.*``, ``first_stage_model.*`` and ``cond_stage_model.embedding.weight``, as CompVis' training
            leaves it, or else the weights in their folders, and those of labels in ``labels/``.
        device : str or torch.device
        dtype : torch.dtype, optional
            What the networks compute in, whatever the files store; by default float32, or what `acceleration` says.
        scheduler : {"ddim", "dpm++", "unipc", "plms"}, optional
            By default the folder's own, which is PLMS.
        acceleration : Acceleration, optional
            Precision, offloading, compilation; see `stages.generators.diffusion.acceleration`.
        tuned : stages.networks.tuned_network.TunedNetwork, optional
            Its tensors take the place of the UNet's own of the same names.
        reads, n_tokens, time_mapper, controls
            As of the class.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            The scheduler draws noise at every step or is not known; or `dtype` and `acceleration` were both given.
        """
        folder = Path(folder)
        dtype = computing_dtype(dtype, acceleration, device)
        unet, vae, labels = load_vq_diffusion(folder, dtype)
        if tuned is not None:
            tuned.put_into(unet)
        pipeline = VQDiffusionPipeline(vae=vae, unet=unet, scheduler=read_scheduler(folder, scheduler))
        pipeline = placed(pipeline, device, acceleration)
        if time_mapper is not None:
            time_mapper = time_mapper.to(device)
        return cls(pipeline, labels, reads, n_tokens, time_mapper, controls)

    def _check_row(self, item, values):
        super()._check_row(item, values)
        if CLASS_LABEL in values:
            self.conditioners[0].check(values[CLASS_LABEL], item.stimulus_id)

r"""Self-attention guidance: away from what the network predicts once the places that it attends to are blurred.

Hong and others (ICCV 2023). At each step the clean latents are estimated from the unconditional prediction :math:`\epsilon_u`.
Places that get more than their share of the attention of the network's middle are blurred (Gaussian, 9 x 9, deviation 1), the
latents are noised again by :math:`\epsilon_u`, and the network predicts :math:`\epsilon_d` of these:

.. math:: \epsilon \leftarrow \epsilon + s (\epsilon_u - \epsilon_d)

As diffusers' ``StableDiffusionSAGPipeline`` does it, which draws from noise alone. A network that predicts v is led likewise by
its predictions. Without guidance the prediction under the conditions stands for the unconditional one.
"""

from __future__ import annotations

from math import isqrt

import torch
from torch.nn.functional import conv2d, interpolate, pad

from stages.generators.diffusion.conditioners import Conditioner
from stages.generators.diffusion.predictions import check_predictions, noise_of, signal_share
from stages.ground.errors import InputError

_KERNEL, _DEVIATION = 9, 1.0


class SelfAttentionGuidance(Conditioner):
    """Leads denoising away from latents whose attended places are blurred; it reads no value.

    >>> from weights import store
    >>> from stages.generators.diffusion.loading import load_unet
    >>> from stages.generators.diffusion.sampler import Sampling
    >>> from stages.generators.diffusion.schedulers import read_scheduler
    >>> folder = store.path("tiny-stable-diffusion")
    >>> unet = load_unet(folder, torch.float32, "Stable Diffusion")
    >>> guidance = SelfAttentionGuidance(unet, read_scheduler(folder), scale=0.75)
    >>> len(guidance.prepare(None, Sampling(random=())).corrections)
    1

    Parameters
    ----------
    unet : diffusers.UNet2DConditionModel
        Changed in place: the first self-attention of its middle keeps what it attends to from now on.
    scheduler : diffusers.SchedulerMixin
    scale : float

    Raises
    ------
    InputError
        The network's middle has no attention; or as of `FeatureGuidance`.
    """

    def __init__(self, unet, scheduler, scale):
        check_predictions(scheduler)
        attentions = getattr(unet.mid_block, "attentions", None) or [None]
        blocks = getattr(attentions[0], "transformer_blocks", None)
        if not blocks:
            raise InputError(
                "guidance.self_attention is led by attention in the middle of the network, which this one has none of; pass "
                "--set guidance.self_attention=0, or take a generator of Stable Diffusion's kind."
            )
        self._scheduler, self.scale, self._kept = scheduler, scale, KeptAttention()
        blocks[0].attn1.set_processor(self._kept)

    def prepare(self, value, sampling):
        return sampling.with_correction(self._corrected) if self.scale else sampling

    def _corrected(self, unet, sampling, predicted):
        n = len(predicted.latents)
        attention = self._kept.probabilities
        # Of the unconditional rows, which come first.
        attention = attention.reshape(-1, n, *attention.shape[1:])[0]
        base = predicted.conditional if predicted.nothing is None else predicted.nothing
        share = signal_share(self._scheduler, predicted.timestep).to(predicted.latents.dtype)
        noise = noise_of(base, predicted.latents, share, self._scheduler.config.prediction_type)
        clean = (predicted.latents - (1 - share).sqrt() * noise) / share.sqrt()
        degraded = share.sqrt() * blurred_where(attended(attention), clean) + (1 - share).sqrt() * noise
        tokens = [each.nothing if predicted.nothing is not None else each.tokens for each in sampling.contexts]
        tokens = torch.cat(tokens, dim=1).to(sampling.dtype) if tokens else None
        rows = self._scheduler.scale_model_input(degraded, predicted.timestep).to(sampling.dtype)
        without = unet(rows, predicted.timestep, tokens, return_dict=False)[0]
        without = without[:, : base.shape[1]].to(base.dtype)
        return predicted.value + self.scale * (base - without)


class KeptAttention:
    """A processor of diffusers' attention that computes all scores, and keeps what each place attends to.

    Attributes
    ----------
    probabilities : tensor of shape (n_rows, n_heads, n_places, n_places), or None
        Of the last call; each row of places sums to 1 over the last axis.
    """

    def __init__(self):
        self.probabilities = None

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
        read = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            attn.head_to_batch_dim(layer(values))
            for layer, values in ((attn.to_q, hidden_states), (attn.to_k, read), (attn.to_v, read))
        )
        probabilities = attn.get_attention_scores(query, key, attention_mask)
        self.probabilities = probabilities.detach().unflatten(0, (len(hidden_states), -1))
        attended_to = attn.batch_to_head_dim(torch.bmm(probabilities, value))
        for layer in attn.to_out:
            attended_to = layer(attended_to)
        return attended_to


def attended(probabilities):
    """Whether a place gets more than its share of attention, over all places that attend and in the mean of the heads.

    >>> attended(torch.tensor([[[[0.9, 0.1], [0.6, 0.4]]]]))
    tensor([[ True, False]])

    Parameters
    ----------
    probabilities : tensor of shape (n, n_heads, n_places, n_places)

    Returns
    -------
    places : bool tensor of shape (n, n_places)
    """
    return probabilities.mean(dim=1).sum(dim=1) > 1


def blurred_where(places, latents):
    """Latents that are blurred at some of their places.

    Parameters
    ----------
    places : bool tensor of shape (n, n_places)
        Of a square map, whose places are the nearest of those of the latents.
    latents : tensor of shape (n, channels, size, size)

    Returns
    -------
    latents : tensor
    """
    side = isqrt(places.shape[1])
    mask = interpolate(places.view(-1, 1, side, side).to(latents.dtype), latents.shape[-2:])
    return gaussian_blurred(latents) * mask + latents * (1 - mask)


def gaussian_blurred(latents):
    """Blur maps (n, channels, height, width), mirrored at their edges: 9 x 9, standard deviation 1 place."""
    half = _KERNEL // 2
    places = torch.arange(-half, half + 1, dtype=latents.dtype, device=latents.device)
    line = torch.exp(-0.5 * (places / _DEVIATION) ** 2)
    line = line / line.sum()
    channels = latents.shape[1]
    kernel = torch.outer(line, line).expand(channels, 1, _KERNEL, _KERNEL)
    return conv2d(pad(latents, (half,) * 4, mode="reflect"), kernel, groups=channels)

"""A UNet that tokens lead in two ways: through cross-attention, and through what it makes of the time."""

from __future__ import annotations

from torch import Tensor, nn


class TokenDenoiser(nn.Module):
    """Find the noise in latents, led by tokens: ε(z, t, c) = UNet(z, time(t) + mapper(c), attending to c).

    >>> import torch
    >>> from stages.checkpoints.strict_loading import load_strictly
    >>> from stages.networks.time_mapper import TimeMapper
    >>> from diffusers import UNet2DConditionModel
    >>> from weights import store
    >>> unet = load_strictly(UNet2DConditionModel, store.path("tiny-label2img") / "unet")
    >>> denoiser = TokenDenoiser(unet, TimeMapper(n_tokens=5, context_width=64, width=192))
    >>> denoiser(torch.zeros(2, 3, 16, 16), torch.tensor([0, 999]), torch.zeros(2, 5, 64)).shape
    torch.Size([2, 3, 16, 16])

    Parameters
    ----------
    unet : torch.nn.Module
        diffusers' ``UNet2DConditionModel`` with ``class_embed_type`` "identity", which adds ``class_labels`` to its time
        embedding, or a `stages.networks.tuned_network.TunedNetwork` of one.
    time_mapper : torch.nn.Module, optional
        ``time_mapper(tokens)`` gives vectors (n, width), as `stages.networks.time_mapper.TimeMapper`; without it zeros are added.
    width : int
        Of the time embedding.
    """

    def __init__(self, unet: nn.Module, time_mapper: nn.Module | None = None, width: int = 768) -> None:
        super().__init__()
        self.unet, self.time_mapper, self.width = unet, time_mapper, width

    def forward(self, noisy: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """Predict the noise.

        Parameters
        ----------
        noisy : tensor of shape (n, channels, size, size)
        timesteps : int tensor of shape (n,)
        context : tensor of shape (n, n_tokens, width)

        Returns
        -------
        noise : tensor like `noisy`
        """
        added = context.new_zeros(len(context), self.width) if self.time_mapper is None else self.time_mapper(context)
        return self.unet(noisy, timesteps, context, class_labels=added, return_dict=False)[0]

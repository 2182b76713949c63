"""The error of the noise that is found: its formula, what it draws, and where its gradient goes."""

import numpy as np
import torch

from stages.objectives.denoising_error import DenoisingError
from stages.priors.noise_process import NoiseProcess


def test_it_vs_the_formula_written_out():
    process, seen = NoiseProcess.scaled_linear(), {}

    def denoiser(noisy, timesteps, context):
        seen.update(noisy=noisy, timesteps=timesteps, context=context)
        return 0.5 * noisy

    clean, tokens = torch.randn(6, 3, 4, 4), torch.randn(6, 77, 512)
    error = DenoisingError("brain_tokens", "vq_latent", denoiser, process, weight=3.0)
    torch.manual_seed(7)
    loss, parts = error({"brain_tokens": tokens}, {"vq_latent": clean}, step=0)
    torch.manual_seed(7)
    steps, noise = torch.randint(0, 1000, (6,)), torch.randn(6, 3, 4, 4)
    betas = (0.0015**0.5 + np.arange(1000) / 999 * (0.0195**0.5 - 0.0015**0.5)) ** 2
    kept = torch.from_numpy(np.cumprod(1 - betas)).float()[steps].view(-1, 1, 1, 1)
    noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    assert torch.equal(seen["timesteps"], steps) and seen["context"] is tokens
    torch.testing.assert_close(seen["noisy"], noisy)
    torch.testing.assert_close(loss, 3 * (noise - 0.5 * noisy).square().mean())
    torch.testing.assert_close(parts["denoising error"], loss / 3)
    flat = DenoisingError("brain_tokens", "vq_latent", denoiser, process, weight=3.0, latent_shape=(3, 4, 4))
    torch.manual_seed(7)
    assert torch.equal(flat({"brain_tokens": tokens}, {"vq_latent": clean.flatten(1)}, step=0)[0], loss)
    assert error.reads == ("brain_tokens",) and repr(error) == "DenoisingError('brain_tokens', 'vq_latent', weight=3.0)"


def test_its_gradient_reaches_the_denoiser_and_the_value():
    layer, tokens = torch.nn.Linear(5, 3), torch.randn(4, 5, requires_grad=True)
    error = DenoisingError(
        "brain_tokens", "z", lambda noisy, _, context: noisy + layer(context)[..., None, None], NoiseProcess(10)
    )
    error({"brain_tokens": tokens}, {"z": torch.randn(4, 3, 2, 2)}, step=0)[0].backward()
    assert tokens.grad.abs().min() > 0 and layer.weight.grad.abs().min() > 0

"""NeuroPictor at its published size takes a step on random data of the size of NSD.

In bfloat16 on one thread of a CPU: a branch of 363 million weights, both heads and one block of the encoder learn beside a UNet
of 866 million that does not. The whole encoder, 303 million weights, reads a picture.
"""

import numpy as np
import psutil
import pytest
import torch
from diffusers import UNet2DConditionModel

from stages.adapters.subject_rasters import in_order
from stages.networks.feature_control import ControlledDenoiser, branch_config, with_first_half
from stages.networks.neuropictor import NeuroPictorNetwork
from stages.networks.surface_autoencoder import SurfaceEncoder
from stages.objectives.denoising_error import DenoisingError
from stages.priors.noise_process import NoiseProcess

UNET = {
    "sample_size": 64,
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
N_VOXELS, GIGABYTES = 15_724, 8


@pytest.mark.slow
def test_a_step_of_branch_heads_and_encoder():
    if (free := psutil.virtual_memory().available / 1e9) < GIGABYTES:
        pytest.skip(f"{free:.0f} GB of memory are free, and {GIGABYTES} are needed")
    torch.manual_seed(0)
    # In half the memory: what is held is a step, not its numbers.
    unet = UNet2DConditionModel(**UNET).to(torch.bfloat16).requires_grad_(False)
    gives = {"clip_text": (77, 1024), "control_map": (320, 64, 64)}
    network = NeuroPictorNetwork({"subj01": N_VOXELS}, gives, branch_config(unet), depth=1).to(torch.bfloat16)
    network.rasters.put("subj01", in_order(N_VOXELS, 256))
    with_first_half(network.control_model, unet)
    denoiser = ControlledDenoiser(unet, network.control_model)

    def in_half(noisy, timesteps, *contexts):
        return denoiser(noisy.bfloat16(), timesteps, *contexts)

    process = NoiseProcess.scaled_linear(1000, 0.00085, 0.012)
    error = DenoisingError(("clip_text", "control_map"), "sd_latent", in_half, process)
    outputs = network({"subj01": torch.randn(1, N_VOXELS, dtype=torch.bfloat16)})
    assert outputs["clip_text"].shape == (1, 77, 1024) and outputs["control_map"].shape == (1, 320, 64, 64)
    assert not outputs["control_map"].any()
    loss, _ = error(outputs, {"sd_latent": torch.randn(1, 4, 64, 64)}, step=0)
    loss.backward()
    zero = (*network.control_model.controlnet_down_blocks, network.control_model.controlnet_mid_block)
    assert np.isfinite(loss.item()) and len(zero) == 13 and all(one.weight.grad.abs().max() > 0 for one in zero)
    assert network.high_level.main[0].weight.grad.abs().max() > 0 and not any(
        one.grad is not None for one in unet.parameters()
    )
    before = zero[0].weight.detach().clone()
    torch.optim.SGD(network.control_model.parameters(), 1e-3).step()
    assert not torch.equal(before, zero[0].weight)


@pytest.mark.slow
def test_the_whole_encoder_reads_a_picture():
    encoder = SurfaceEncoder().eval()
    with torch.inference_mode():
        tokens = encoder(torch.randn(1, 1, 256, 256))
    assert tokens.shape == (1, 257, 1024) and torch.isfinite(tokens).all()
    assert sum(one.numel() for one in encoder.parameters()) == 302_838_784

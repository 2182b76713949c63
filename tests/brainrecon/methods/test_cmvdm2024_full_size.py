"""CMVDM at its published size: a step of the control branch and the residual block, on random data of GOD's third subject."""

import numpy as np
import psutil
import pytest
import torch
from diffusers import UNet2DConditionModel

from brainrecon.assembly.registry import system_class
from stages.networks.brain_diffusion import BrainDiffusion
from stages.networks.controlled_diffusion import ControlledDiffusion
from stages.networks.structure_decoder import StructureDecoder
from stages.objectives.denoising_error import DenoisingError
from stages.priors.noise_process import NoiseProcess
from weights.manifest import read_manifest


@pytest.mark.slow
def test_a_step_of_the_control_branch_at_its_published_size():
    if (free := psutil.virtual_memory().available / 1e9) < 9:
        pytest.skip(f"{free:.0f} GB of memory are free, and 9 are needed")
    unet = read_manifest()["label2img-ldm"].writes["unet/config.json"]
    own = {"encoder": {"depth": 1}, "unet": unet, "tuned": list(system_class("cmvdm2024")().settings.decoder.tuned)}
    torch.manual_seed(0)
    model = BrainDiffusion(4643, {"brain_tokens": (77, 512)}, **own).take_unet(UNet2DConditionModel.from_config(unet))
    structure = StructureDecoder(4643, {"structure": (3, 112, 112)})
    network = ControlledDiffusion(4643, {"residual": (3, 512, 512)}, (77, 512), own, {"side": 112})
    network.take(model, structure)
    trained = {name: one for name, one in network.named_parameters() if one.requires_grad}
    optimiser = torch.optim.AdamW(trained.values(), 5.3e-5, weight_decay=0.01, foreach=False)
    error = DenoisingError((), "vq_latent", network.denoise, NoiseProcess.scaled_linear(), hidden=("context", "hint"))
    loss, _ = error(network(torch.randn(1, 4643)), {"vq_latent": torch.randn(1, 3, 64, 64)}, step=0)
    loss.backward()
    optimiser.step()
    zeros = [one.weight for one in network.control.controlnet_down_blocks]
    assert np.isfinite(loss.item()) and all(one.any() for one in zeros)
    assert all(one.grad is None for one in model.parameters())

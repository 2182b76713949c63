"""MinD-Vis at its published size takes a step on random data of the size of GOD's third subject.

On one thread of a CPU: 179 million weights that are trained beside 401 million that are not, one sample, half a minute and 7 GB.
"""

import json
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from diffusers import UNet2DConditionModel

from brainrecon.assembly.settings import from_dict
from brainrecon.assembly.tuned_diffusion import StartingEncoder, tuned_diffusion
from brainrecon.assembly.values import Machine
from brainrecon.methods.mindvis2023 import MindVisSettings
from stages.decoders.trained import Training
from weights.manifest import read_manifest

N_VOXELS, N_TRIALS, GIGABYTES = 4643, 4, 9


@pytest.mark.slow
def test_a_step_of_encoder_mappers_and_what_is_tuned(tmp_path):
    if (free := psutil.virtual_memory().available / 1e9) < GIGABYTES:
        pytest.skip(f"{free:.0f} GB of memory are free, and {GIGABYTES} are needed")
    own = from_dict(
        MindVisSettings, {"decoder": {"cropped": 0.0, "epochs": 1, "steps_per_epoch": 1, "batch_size": 1}}
    ).decoder
    for path, written in read_manifest()["label2img-ldm"].writes.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(json.dumps(written))
    step = tuned_diffusion(
        "brain_tokens", None, 256, own, Machine(), lambda check=True: tmp_path, StartingEncoder(dict), "decoder"
    )
    decoder, unets = step.decoder, []

    def begin(network):
        torch.manual_seed(0)
        unets.append(UNet2DConditionModel.from_config(read_manifest()["label2img-ldm"].writes["unet/config.json"]))
        network.take_unet(unets[0])
        return "random"

    decoder.begin, decoder.recipe = begin, replace(decoder.recipe, precision="no")
    decoder.arguments |= step._outlined()
    random = np.random.default_rng(0)
    responses = random.standard_normal((N_TRIALS, N_VOXELS), dtype=np.float32)
    latents = random.standard_normal((N_TRIALS, 3, 64, 64), dtype=np.float32)
    training = Training(
        {"subj03": responses},
        {"subj03": np.arange(N_TRIALS)},
        {},
        beside={"vq_latent": latents},
        free={"brain_tokens": (77, 512)},
    )
    decoder.fit(training)
    (row,) = decoder.summary()
    assert row["parameters"] == 152_138_574 + 396_987 + sum(
        n * (2 * width**2 + 2 * 512 * width + 3 * width) for width, n in {384: 5, 576: 5, 960: 6}.items()
    )
    assert np.isfinite(row["loss"]) and 0 < row["loss"] < 10
    plain, tuned = dict(unets[0].named_parameters()), decoder.network.network.denoiser.unet
    moved = [name for name, value in tuned.named_parameters() if not torch.equal(value, plain[name])]
    assert len(moved) == len(list(tuned.parameters())) == 112
    assert all(not one.requires_grad and torch.isfinite(one).all() for one in plain.values())

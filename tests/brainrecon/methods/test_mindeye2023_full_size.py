"""MindEye's networks at their published size take a step on random data of the size of NSD.

On one thread of a CPU: the tokens and the prior (1,003,635,088 weights) minutes and 17.3 GB, four times 4 GB of weights,
gradients and two moments and the activations of one of 32 parts; the latent's network (206,065,604) half a minute and 4.6 GB.
"""

from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from chains import chain_of

from stages.decoders.trained import Training
from stages.training.batches import random_state_kept, seed_all
from stages.training.recipe import Schedule

N_VOXELS, N_STIMULI = 15_724, 40


def trained(step, shape, names, accumulate, gigabytes):
    """Take a step on random data; returns the decoder, and the network as it was before."""
    if (free := psutil.virtual_memory().available / 1e9) < gigabytes:
        pytest.skip(f"{free:.0f} GB of memory are free, and {gigabytes} are needed")
    decoder, random = step.decoder, np.random.default_rng(0)
    # The first rate of the published schedule of so few steps is too small to move a gain of 1 in float32.
    decoder.recipe = replace(decoder.recipe, steps=1, accumulate=accumulate, schedule=Schedule())
    responses = random.standard_normal((N_STIMULI, N_VOXELS), dtype=np.float32)
    true = random.standard_normal((N_STIMULI, *shape), dtype=np.float32)
    rows = np.arange(N_STIMULI)
    # What a teacher sees in 16 x 16 places.
    places = random.standard_normal((N_STIMULI, 256, 512), dtype=np.float32) if step.beside else None
    beside = dict.fromkeys(step.beside, places)
    decoder.fit(Training({"subj01": responses}, {"subj01": rows}, dict.fromkeys(names, true), "stimuli", beside=beside))
    with random_state_kept():
        seed_all(decoder.recipe.seed)
        before = decoder.make(N_VOXELS, decoder.gives, **decoder.arguments)
    return decoder, before


def assert_moved(before, after, left_alone):
    """Every parameter has changed, but for those that no step changes."""
    later = dict(after.named_parameters())
    for name, parameter in before.named_parameters():
        assert torch.isfinite(later[name]).all(), name
        assert torch.equal(later[name], parameter) == name.startswith(left_alone), name


@pytest.mark.slow
def test_a_step_of_tokens_and_prior():
    step = chain_of("mindeye2023").steps[0]
    decoder, before = trained(step, (257, 768), step.gives, accumulate=32, gigabytes=20)
    (row,) = decoder.summary()
    assert row["parameters"] == 1_003_635_088 and np.isfinite(row["loss"])
    curves = decoder.curves()
    for name in ("clip_retrieval contrast", "clip_rough prior error", "norm of the gradient"):
        assert 0 < curves[name][1][0] < 1e6, name
    frozen = tuple(f"net.causal_transformer.layers.{layer}.0.rotary_emb.freqs" for layer in range(6))
    assert_moved(before, decoder.network.network, frozen)


@pytest.mark.slow
def test_a_step_of_the_latent():
    step = chain_of("mindeye2023").steps[1]
    decoder, before = trained(step, (4, 64, 64), step.gives, accumulate=1, gigabytes=6)
    (row,) = decoder.summary()
    assert row["parameters"] == 206_065_604 and np.isfinite(row["loss"])
    assert decoder.curves()["places contrast"][1][0] > 0
    assert_moved(before, decoder.network.network, ())

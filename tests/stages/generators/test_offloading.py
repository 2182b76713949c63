"""Generators whose networks lie elsewhere between computations draw what they draw otherwise.

accelerate's hooks need no accelerator where they compute on the CPU: layers wait on torch's meta device, and networks know
whom they send back. That anything moves, and memory stays free, only an accelerator can show.
"""

import numpy as np
import pytest
import torch
from accelerate import cpu_offload
from picture_requests import pictures

from stages.generators.diffusion.acceleration import Acceleration
from stages.generators.diffusion.dual_context import DualContextGenerator

KINDS = ("dual", "sd", "sdxl", "unclip", "kandinsky")
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and torch finds none")


@pytest.fixture
def load(pipeline_folder, load_generator):
    def load(kind):
        return DualContextGenerator.from_pretrained(pipeline_folder) if kind == "dual" else load_generator(kind)

    return load


@pytest.fixture
def draw(request_for):
    def draw(generator):
        requests = [
            request_for(generator, 0, strength=0.5),
            request_for(generator, 1, init_image=None, context_weights=(0, 0)),
        ]
        return pictures(generator, requests, seed=3, num_inference_steps=3, guidance_scale=3.0).astype(int)

    return draw


def offload_layers(pipeline):
    """As `enable_sequential_cpu_offload`, which cannot be asked for the CPU: it numbers the device."""
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module) and name not in pipeline._exclude_from_cpu_offload:
            cpu_offload(part, torch.device("cpu"), offload_buffers=bool(part._parameters))


@pytest.mark.parametrize("kind", KINDS)
def test_layers_that_wait_elsewhere_draw_the_same(load, draw, kind):
    generator = load(kind)
    expected = draw(generator)
    offload_layers(generator.pipeline)
    assert generator.pipeline.unet.device.type == "meta" and generator.pipeline._execution_device.type == "cpu"
    for _ in range(2):
        np.testing.assert_array_equal(draw(generator), expected)
    assert generator.pipeline.unet.device.type == "meta"


@pytest.mark.parametrize("kind", KINDS)
def test_one_network_at_a_time_draws_the_same(load, draw, kind):
    generator = load(kind)
    pipeline, expected = generator.pipeline, draw(generator)
    pipeline.enable_model_cpu_offload(device="cpu")
    autoencoder = pipeline.movq if kind == "kandinsky" else pipeline.vae
    for _ in range(2):
        before = autoencoder._hf_hook
        assert before.prev_module_hook.model is pipeline.unet, "which the autoencoder sends back before it computes"
        np.testing.assert_array_equal(draw(generator), expected)
        assert autoencoder._hf_hook is not before, "all are sent back after a batch"


def test_contexts_that_are_read_and_not_called_are_not_sent_away(load, draw, monkeypatch):
    pipeline = load("dual").pipeline
    offload_layers(pipeline)
    assert pipeline.unconditional_contexts.image.device.type == "cpu" and pipeline.vae.device.type == "meta"
    pipeline = load("dual").pipeline
    monkeypatch.setattr(type(pipeline), "_exclude_from_cpu_offload", [])
    offload_layers(pipeline)
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        draw(DualContextGenerator(pipeline))


@NEEDS_CUDA
@pytest.mark.parametrize("offload", ["model", "sequential"])
@pytest.mark.parametrize("kind", KINDS)
def test_offloading_from_an_accelerator_draws_the_same(load, draw, kind, offload):
    expected = draw(load(kind))
    generator = load(kind)
    Acceleration(dtype="float32", offload=offload).apply(generator.pipeline, "cuda")
    for _ in range(2):
        assert np.abs(draw(generator) - expected).max() <= 1
    assert generator.pipeline.unet.device.type in ("cpu", "meta")

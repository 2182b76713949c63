"""The checkpoint that travels with the toolkit, loaded by the same code as a published one."""

import numpy as np
import pytest
import torch
from picture_requests import Request, pictures

from stages.generators.diffusion.dual_context import DualContextGenerator
from weights import store


@pytest.fixture(scope="module")
def generator():
    return DualContextGenerator.from_pretrained(store.path("tiny-generator"))


def some_requests(generator):
    random = np.random.default_rng(0)
    nothing = generator.pipeline.unconditional_contexts
    requests = []
    for k, (weights, start) in enumerate([((0.6, 0.4), True), ((1, 0), True), ((0, 1), True), ((0.6, 0.4), False)]):
        contexts = [
            tokens.numpy() * (1 + 0.3 * random.standard_normal(tokens.shape).astype(np.float32))
            for tokens in (nothing.image, nothing.text)
        ]
        picture = random.integers(0, 256, (64, 64, 3), dtype=np.uint8) if start else None
        requests.append(Request(f"stimulus-{k}", 0, *contexts, weights, picture))
    return requests


def test_shapes_fit_the_embedded_clip(generator):
    assert generator.image_size == 64
    assert (generator.takes["clip_image"], generator.takes["clip_text"]) == ((65, 64), (24, 64))
    assert sum(parameter.numel() for parameter in generator.pipeline.unet.parameters()) <= 6_000_000
    assert generator.pipeline.scheduler.config.clip_sample is False


def test_files_are_half_precision_and_computed_in_single(generator):
    stored = sum(path.stat().st_size for path in store.path("tiny-generator").rglob("*.safetensors"))
    parts = (generator.pipeline.unet, generator.pipeline.vae, generator.pipeline.unconditional_contexts)
    parameters = [parameter for part in parts for parameter in part.parameters()]
    assert {parameter.dtype for parameter in parameters} == {torch.float32}
    assert stored == pytest.approx(2 * sum(parameter.numel() for parameter in parameters), rel=0.05)


def test_batches_change_at_most_one_grey_level(generator):
    requests = some_requests(generator)
    together = pictures(generator, requests, batch_size=8)
    for position, request in enumerate(requests):
        alone = pictures(generator, [request], batch_size=1)[0]
        assert np.abs(together[position].astype(int) - alone).max() <= 1

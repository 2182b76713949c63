"""Compiled networks: one graph, few shapes, and the same pictures. torch.compile's backends here only count, and run eagerly."""

import numpy as np
import pytest
import torch
from bench_generate import PUBLISHED
from picture_requests import pictures
from torch._dynamo.testing import CompileCounter

from stages.generators.diffusion.compilation import SHAPES_OF_A_BLOCK, compiled, is_compiled
from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.networks.dual_context_unet import DualContextUNet2DConditionModel

ONLY_IMAGE, ONLY_TEXT = {"text_context": None}, {"image_context": None}


@pytest.fixture(autouse=True)
def nothing_compiled():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def counter():
    return CompileCounter()


def drawn(pipeline, requests, **options):
    options = {"num_inference_steps": 4, "guidance_scale": 3.0, "batch_size": 4} | options
    return pictures(DualContextGenerator(pipeline), requests, **options).astype(int)


def batches_of_all_kinds(make_request):
    """Twelve pictures in batches of 4: both contexts, each alone beside both, and a last batch of one."""
    kinds = [{}] * 5 + [ONLY_IMAGE, ONLY_TEXT, {}] + [ONLY_TEXT, {}, ONLY_TEXT, {}] + [{}]
    return [make_request(number, **changes) for number, changes in enumerate(kinds)]


@pytest.mark.parametrize("whole, n_graphs", [(True, 1), (False, 4)])
def test_batches_of_any_composition_are_compiled_once(pipeline, make_request, counter, whole, n_graphs):
    """As a whole it is one graph. By blocks it is one for each width of a transformer and length of a context."""
    requests = batches_of_all_kinds(make_request)
    expected = drawn(pipeline, requests)
    compiled(pipeline.unet, whole, backend=counter)
    assert np.abs(drawn(pipeline, requests) - expected).max() <= 1
    assert counter.frame_count == n_graphs
    # Fewer pictures than a batch, and other numbers of steps.
    drawn(pipeline, requests[:3])
    drawn(pipeline, requests[2:9], num_inference_steps=7, guidance_scale=2.0)
    assert counter.frame_count == n_graphs


@pytest.mark.slow
def test_a_context_that_no_row_reads_is_another_graph_of_three(pipeline, make_request, counter):
    compiled(pipeline.unet, whole=True, backend=counter)
    for changes in ({}, ONLY_IMAGE, ONLY_TEXT, ONLY_IMAGE, {}):
        drawn(pipeline, [make_request(number, **changes) for number in range(4)], num_inference_steps=2)
    assert counter.frame_count == 3


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sd", "sdxl", "unclip", "kandinsky", "variations"])
def test_every_other_generator_is_one_graph_too(load_generator, request_for, counter, kind):
    generator = load_generator(kind, scheduler="ddim")
    requests = [request_for(generator, number) for number in range(3)]
    options = {"num_inference_steps": 2, "batch_size": 2}
    expected = pictures(generator, requests, **options).astype(int)
    unet = generator.pipeline.unet
    compiled(unet, whole=True, backend=counter)
    try:
        found = pictures(generator, requests, **options).astype(int)
    finally:
        unet._compiled_call_impl = None
    assert counter.frame_count == 1
    assert np.abs(found - expected).max() <= 1


def test_padded_rows_change_no_other_and_are_dropped(pipeline, make_request, counter):
    requests = [make_request(number) for number in range(3)]
    expected = drawn(pipeline, requests)
    seen = []
    pipeline.unet.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    compiled(pipeline.unet, backend=counter)
    found = drawn(pipeline, requests, batch_size=5)
    assert len(found) == 3 and set(seen) == {10}
    assert np.abs(found - expected).max() <= 1


@pytest.mark.slow
def test_the_published_network_has_eight_shapes_of_transformers_and_stays_within_the_limit(counter):
    """Its layout, at a tenth of its width; a second size of a batch makes them sixteen."""
    unet = DualContextUNet2DConditionModel(
        in_channels=4, out_channels=4, sample_size=8, block_out_channels=(32, 64, 96, 96), cross_attention_dim=16,
        **PUBLISHED["versatile"].unet,
    ).eval()  # fmt: skip
    compiled(unet, backend=counter)
    with torch.inference_mode(), torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        for n, n_graphs in ((2, 8), (4, 16), (2, 16)):
            weights = {"context_weights": torch.full((n, 2), 0.5), "context_rows": (None, None)}
            unet(torch.randn(n, 4, 8, 8), 5, torch.randn(n, 334, 16), cross_attention_kwargs=weights)
            assert counter.frame_count == n_graphs
    assert torch._dynamo.config.recompile_limit >= SHAPES_OF_A_BLOCK


@pytest.mark.slow
def test_rows_given_as_indices_need_no_break_either(pipeline, counter):
    """Whoever calls the network with chosen rows gets one graph as well, though one for each number of rows."""
    unet = compiled(pipeline.unet, whole=True, backend=counter)
    weights = {"context_weights": torch.tensor([[1.0, 0.0], [0.5, 0.5]])}
    given = torch.randn(2, 4, 8, 8), torch.tensor(5), torch.randn(2, 8, 16)
    with torch.inference_mode():
        every = unet(*given, cross_attention_kwargs=weights | {"context_rows": (None, None)}).sample
        rows = (None, torch.tensor([1]))
        chosen = unet(*given, cross_attention_kwargs=weights | {"context_rows": rows}).sample
    torch.testing.assert_close(chosen, every, atol=1e-5, rtol=1e-5)


def test_compiling_changes_no_name_and_no_value(pipeline, counter):
    before = pipeline.unet.state_dict()
    unet = compiled(pipeline.unet, backend=counter)
    assert unet is pipeline.unet and is_compiled(unet) and unet.config.in_channels == 4
    assert unet.state_dict().keys() == before.keys() and not is_compiled(pipeline.vae)

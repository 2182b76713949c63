"""A request's picture does not depend on what else is drawn."""

import numpy as np
import pytest
import torch
from picture_requests import pictures

from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.ground.errors import InputError

STEPS = 12


@pytest.fixture(scope="module")
def requests(make_request):
    """Eight requests of different conditions, which start at different steps."""
    return [
        make_request(0),
        make_request(1, context_weights=(1, 0), text_context=None),
        make_request(2, context_weights=(0, 1), image_context=None),
        make_request(3, init_image=None),
        make_request(4, strength=1),
        make_request(5, strength=0.5),
        make_request(0, sample=1),
        make_request(6, context_weights=(0.3, 0.9)),
    ]


def drawn(generator, requests, **options):
    images = pictures(generator, requests, num_inference_steps=STEPS, **options)
    assert images.dtype == np.uint8 and images.shape[1:] == (16, 16, 3)
    return images


@pytest.fixture(scope="module")
def alone(generator, requests):
    return np.concatenate([drawn(generator, [request], batch_size=1) for request in requests])


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_batches_change_at_most_one_grey_level(generator, requests, alone, batch_size):
    together = drawn(generator, requests, batch_size=batch_size)
    assert np.abs(together.astype(int) - alone).max() <= 1


def test_order_changes_at_most_one_grey_level(generator, requests, alone):
    backwards = drawn(generator, requests[::-1], batch_size=3)[::-1]
    assert np.abs(backwards.astype(int) - alone).max() <= 1


def test_same_seed_same_bytes(generator, requests):
    assert np.array_equal(drawn(generator, requests, seed=4), drawn(generator, requests, seed=4))


def test_seed_and_sample_matter(generator, requests, alone):
    assert not np.array_equal(alone[0], alone[6]), "two samples of one stimulus"
    assert not np.array_equal(drawn(generator, requests[:1], seed=1)[0], alone[0])


def test_every_input_matters(generator, make_request):
    base = drawn(generator, [make_request(0)])[0]
    other = make_request(9)
    for name in ("image_context", "text_context", "init_image"):
        changed = drawn(generator, [make_request(0, **{name: getattr(other, name)})])[0]
        assert not np.array_equal(changed, base), name


def test_absent_start_and_full_strength_are_noise_alone(generator, make_request):
    images = drawn(generator, [make_request(0, init_image=None), make_request(0, strength=1)])
    assert np.abs(images[0].astype(int) - images[1]).max() <= 1


def test_first_pictures_of_another_size_are_resized(generator, make_request):
    request = make_request(0)
    doubled = np.repeat(np.repeat(np.full((16, 16, 3), 90, np.uint8), 3, axis=0), 3, axis=1)
    images = drawn(generator, [make_request(0, init_image=doubled), make_request(0, init_image=doubled[:16, :16])])
    assert np.abs(images[0].astype(int) - images[1]).max() <= 1
    assert generator.image_size == request.init_image.shape[0]


def test_conditions_share_batches_and_unequal_steps_do_not(pipeline, make_request):
    generator = DualContextGenerator(pipeline)
    batches = []
    forward = pipeline.unet.forward
    pipeline.unet.forward = lambda s, t, c, **o: (batches.append((len(s), int(t))), forward(s, t, c, **o))[1]
    requests = [make_request(0), make_request(1, text_context=None), make_request(2, init_image=None)]
    pictures(generator, requests, num_inference_steps=4)
    assert [rows for rows, _ in batches] == [4] * 3 + [2] * 4


def test_an_absent_context_leaves_its_share_to_the_other(generator, make_request):
    asked = [make_request(0, text_context=None), make_request(0, context_weights=(1, 0))]
    assert np.abs(np.diff(drawn(generator, asked).astype(int), axis=0)).max() <= 1
    asked = [make_request(0, image_context=None), make_request(0, context_weights=(0, 1))]
    assert np.abs(np.diff(drawn(generator, asked).astype(int), axis=0)).max() <= 1


def test_what_it_takes(generator):
    assert generator.image_size == 16
    assert generator.takes == {
        "clip_image": (5, 16), "clip_text": (3, 16), "first_picture": (None, None, 3), "first_latent": (4, 8, 8)
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"text_context": None, "image_context": None}, "nsd00001 has neither clip_image nor clip_text"),
        (
            {"context_weights": (0.5, float("inf"))},
            "weight of clip_text is inf; .* finite number for clip_image and for",
        ),
        ({"strength": 2}, "strength is 2"),
        ({"init_image": np.zeros((16, 16, 3))}, "expected uint8"),
        ({"init_image": np.zeros((16, 16), np.uint8)}, r"reads \(any, any, 3\)"),
    ],
)
def test_what_does_not_fit_stops_before_anything_is_drawn(generator, make_request, changes, said):
    with pytest.raises(InputError, match=said):
        drawn(generator, [make_request(1, **changes)])


def test_guidance_may_be_led_away_from_zeros(generator, make_request, pipeline_folder):
    """As if zeros were stored: nothing else of the checkpoint changes."""
    zeros = DualContextGenerator.from_pretrained(pipeline_folder, unconditional="zeros")
    stored = DualContextGenerator.from_pretrained(pipeline_folder)
    with torch.no_grad():
        stored.pipeline.unconditional_contexts.image.zero_()
        stored.pipeline.unconditional_contexts.text.zero_()
    request = [make_request(0)]
    found, usual = (drawn(one, request, guidance_scale=3.5).astype(int) for one in (zeros, generator))
    np.testing.assert_array_equal(found, drawn(stored, request, guidance_scale=3.5))
    assert np.abs(found - usual).max() > 1
    # Without guidance nothing is unconditional.
    np.testing.assert_array_equal(drawn(zeros, request, guidance_scale=1), drawn(generator, request, guidance_scale=1))
    with pytest.raises(InputError, match="unconditional is 'grey'"):
        DualContextGenerator.from_pretrained(pipeline_folder, unconditional="grey")


def test_gradients_are_not_kept(generator, make_request):
    assert torch.is_grad_enabled()
    drawn(generator, [make_request(0)])
    assert torch.is_grad_enabled()

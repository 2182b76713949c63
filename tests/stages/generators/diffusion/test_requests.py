"""Which requests are refused, and which share a batch."""

import numpy as np
import pytest

from stages.generators.diffusion.requests import (
    GenerationRequest,
    check_options,
    check_requests,
    denoising_steps,
    draw_in_batches,
    resized,
)
from stages.ground.errors import InputError

PICTURE = np.zeros((8, 8, 3), np.uint8)


def request(number=0, **changes):
    fields = {"stimulus_id": f"nsd{number:05d}", "sample": 0, "image_context": np.ones(4), "text_context": np.ones(3)}
    return GenerationRequest(**fields | changes)


def batches(requests, **options):
    """Positions per batch, in the order they are drawn."""
    seen = []
    numbered = {id(given): position for position, given in enumerate(requests)}

    def draw(batch):
        seen.append([numbered[id(given)] for given in batch])
        return [given.stimulus_id for given in batch]

    options = {"num_inference_steps": 10, "batch_size": 8} | options
    for position, picture in draw_in_batches(requests, draw, **options):
        assert picture == requests[position].stimulus_id
    return seen


def test_requests_that_start_at_different_steps_do_not_share_a_batch():
    starts = [
        {"init_image": PICTURE, "strength": 0.5},
        {"init_image": PICTURE, "strength": 0.59},
        {"init_image": PICTURE, "strength": 1},
        {"init_image": PICTURE, "strength": 0.6},
        {"init_image": None, "strength": 0.5},
        {"init_image": PICTURE, "strength": 0.5},
    ]
    requests = [request(number, **start) for number, start in enumerate(starts)]
    assert batches(requests) == [[0, 1, 5], [2, 4], [3]]
    assert batches(requests, batch_size=2) == [[0, 1], [5], [2, 4], [3]]


def test_what_must_agree_divides_batches_further():
    requests = [request(number, context_weights=(weight, 0)) for number, weight in enumerate((1, 0.5, 1, 0))]
    assert batches(requests, together=lambda given: given.context_weights[0]) == [[0, 2], [1], [3]]


def test_progress_is_told_after_each_batch():
    calls = []
    batches([request(number) for number in range(5)], batch_size=2, progress=lambda *call: calls.append(call))
    assert calls == [("pictures", 2, 5), ("pictures", 4, 5), ("pictures", 5, 5)]


def test_steps_of_a_strength():
    assert [denoising_steps(strength, 50) for strength in (0, 0.01, 0.75, 0.999, 1)] == [0, 0, 37, 49, 50]
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="strength is"):
            denoising_steps(strength, 50)


@pytest.mark.parametrize("shapes", [((4,), (3,)), ((4,), None), (None, (3,))])
def test_what_fits_passes(shapes):
    contexts = [None if shape is None else np.ones(shape) for shape in shapes]
    weights = tuple(0 if shape is None else 0.5 for shape in shapes)
    check_requests(
        [
            request(image_context=contexts[0], text_context=contexts[1], context_weights=weights),
            request(image_context=None, text_context=None, context_weights=(0, 0), init_image=PICTURE),
        ],
        *shapes,
    )


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"context_weights": (1, 0)}, r"text weight of 0 and one of shape \(3,\) for text context.*takes no text"),
        ({"text_context": None}, "text weight of 0.4 and none for text context"),
        ({"text_context": None, "context_weights": (1, -0.5)}, "text weight of -0.5"),
    ],
)
def test_text_is_refused_where_none_is_read(changes, said):
    with pytest.raises(InputError, match=said):
        check_requests([request(**changes)], (4,), None)


@pytest.mark.parametrize(
    "options, said",
    [((0, 5), "batch_size is 0"), ((1, 0), "num_inference_steps 0"), ((1, 1, float("inf")), "guidance_scale is inf")],
)
def test_options_out_of_range_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        check_options(*options)


def test_pictures_are_resized_only_where_their_size_differs():
    assert np.array_equal(np.asarray(resized(PICTURE + 9, 8)), PICTURE + 9)
    assert resized(PICTURE[:4], 8).size == (8, 8)

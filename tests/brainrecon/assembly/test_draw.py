"""The step that draws, where memory does not suffice for its batch, or a picture is not finite."""

import numpy as np
import pytest
import random_checkpoints
import torch

from brainrecon.assembly.draw import Draw
from brainrecon.assembly.values import ABSENT, Item
from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.ground.errors import InputError
from stages.ground.not_finite import NotFinite
from stages.ground.progress import SILENT
from weights.remark import Remark

ITEMS = [Item("subj01", f"nsd{k:05}", k % 2) for k in range(7)]


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return DualContextGenerator.from_pretrained(random_checkpoints.save_dual_context(tmp_path_factory.mktemp("dual")))


@pytest.fixture
def step(generator):
    def told(present):
        return {"num_inference_steps": 3}

    reads, less = ("clip_image", "clip_text"), ["generator.acceleration.offload=model"]
    return Draw(lambda: generator, reads, ("first_picture",), options=told, less_memory=less)


@pytest.fixture
def room(generator, monkeypatch):
    """Make room for so many rows of the network, of which a picture under guidance has two; the batches are noted."""

    def make(most):
        forward, seen = generator.pipeline.unet.forward, []

        def limited(rows, *arguments, **options):
            if not seen or seen[-1] != len(rows):
                seen.append(len(rows))
            if len(rows) > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return forward(rows, *arguments, **options)

        monkeypatch.setattr(generator.pipeline.unet, "forward", limited)
        return seen

    return make


def values(generator):
    draws = np.random.default_rng(0)
    found = {
        name: draws.standard_normal((7, *generator.takes[name]), np.float32) for name in ("clip_image", "clip_text")
    }
    # Rows as a run hands them over.
    return {"clip_image": found["clip_image"], "clip_text": list(found["clip_text"]), "first_picture": ABSENT}


def pictures(step, generator, batch_size):
    drawn = dict(step.stream(ITEMS, values(generator), batch_size=batch_size))
    return np.stack([drawn[row]["picture"] for row in range(7)]).astype(int)


def test_pictures_in_half_batches_are_the_same_to_a_grey_level(step, generator, room):
    expected = pictures(step, generator, 4)
    seen = room(4)
    with pytest.warns(Remark, match="does not suffice for 4 pictures at a time; going on with 2 at a time"):
        found = pictures(step, generator, 4)
    assert np.abs(found - expected).max() <= 1 and seen[0] == 8 and max(seen[1:]) == 4
    # No batch is too large again.
    del seen[:]
    assert np.abs(pictures(step, generator, 4) - expected).max() <= 1 and max(seen) == 4


def test_if_halves_do_not_fit_either_it_is_said_what_to_type(step, generator, room):
    room(2)
    with pytest.warns(Remark), pytest.raises(InputError) as raised:
        pictures(step, generator, 4)
    said = str(raised.value)
    assert (
        "for 2 pictures at a time, after larger batches" in said
        and "(CUDA out of memory, Tried" in said
        and said.count(". ") == 0
    )
    assert "--batch-size 1, or draw with --set generator.acceleration.offload=model and another --out." in said


def test_what_is_not_finite_is_named_by_its_place_among_all_also_in_half_batches(step, generator, monkeypatch):
    forward = generator.pipeline.unet.forward
    alone = []

    def spoilt(rows, *arguments, **options):
        # The second batch, of three pictures with two rows each, is too large; then each of the three is alone.
        if len(rows) == 6:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        (output,) = forward(rows, *arguments, **options)
        alone.append(len(rows) == 2)
        # At the last step of the second of them.
        return (output * np.nan if sum(alone) == 4 else output,)

    monkeypatch.setattr(generator.pipeline.unet, "forward", spoilt)
    found = []
    with pytest.warns(Remark), pytest.raises(NotFinite, match=r"of nsd00005 \(sample 1\)") as raised:
        for position, _ in step.stream(ITEMS, values(generator), batch_size=4):
            found.append(position)
    assert found == [0, 1, 2, 3, 4, 6] and raised.value.positions == (5,)


class Inverting:
    """A generator that calls what it inverts a first picture."""

    takes, optional, gives, draws_by_lot = {"first_picture": ()}, frozenset(), "picture", False

    def draw(self, values, items, *, seed=0, batch_size=16, progress=SILENT):
        yield from enumerate(255 - np.asarray(one) for one in values["first_picture"])


def test_a_value_may_have_another_name_in_the_generator():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    step = Draw(Inverting, ("drawn_picture",), called={"drawn_picture": "first_picture"})
    found = step.run([Item("", "a"), Item("", "b")], {"drawn_picture": pictures})
    np.testing.assert_array_equal(np.stack(found["picture"]), 255 - pictures)
    with pytest.raises(InputError, match="Inverting takes first_picture of shape .* gives it drawn_picture only"):
        Draw(Inverting, ("drawn_picture",)).run([Item("", "a")], {"drawn_picture": pictures[:1]})

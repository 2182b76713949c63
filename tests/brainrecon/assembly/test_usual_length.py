"""The step that gives directions a length: which, that it is learned on training stimuli, and what stays as it was."""

import numpy as np
import pytest

from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.usual_length import UsualLength
from brainrecon.assembly.values import Training, Workspace

# Wider than what is read at a time.
TRUE = np.random.default_rng(0).standard_normal((7, 5000)).astype(np.float32) * np.arange(1, 8)[:, None].astype(
    np.float32
)


class Tokens:
    shape, n_targets = (50, 100), 5000


def step():
    return UsualLength("direction", "clip_image", TargetSource(Tokens, checkpoints=()), "image_length")


@pytest.fixture(scope="module")
def fitted():
    one = step()
    one.fit(Training({}, lambda names: dict.fromkeys(names, TRUE)), Workspace(store=None))
    return one


def test_rows_get_the_mean_length_of_true_ones(fitted):
    directions = np.random.default_rng(1).standard_normal((4, 5000)).astype(np.float32) * np.float32(30)
    found = fitted.run([], {"direction": directions})["clip_image"]
    expected = np.linalg.norm(TRUE.astype(np.float64), axis=1).mean()
    np.testing.assert_allclose(np.linalg.norm(found.astype(np.float64), axis=1), expected, rtol=1e-6)
    cosines = (found * directions).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(directions, axis=1)
    np.testing.assert_allclose(cosines, 1, atol=1e-6)
    # A row's own length has no part in it, nor who stands beside it.
    np.testing.assert_allclose(fitted.run([], {"direction": directions * 5})["clip_image"], found, rtol=1e-6)
    np.testing.assert_array_equal(fitted.run([], {"direction": directions[2:3]})["clip_image"], found[2:3])


def test_nothing_has_no_direction(fitted):
    zeros = np.zeros((1, 5000), np.float32)
    np.testing.assert_array_equal(fitted.run([], {"direction": zeros})["clip_image"], zeros)


def test_what_was_learned_is_kept(fitted, tmp_path):
    fitted.save(tmp_path)
    again = step()
    again.open(Workspace(store=None, folder=tmp_path))
    np.testing.assert_array_equal(again.fitted["length"], fitted.fitted["length"])
    assert again.summary() == [{"value": "clip_image", "length": float(fitted.fitted["length"][0])}]

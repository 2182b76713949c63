"""The mean of a target over training stimuli, as rows."""

from types import SimpleNamespace

import numpy as np

from brainrecon.assembly.target_means import TrainingMean

VALUES = np.random.default_rng(0).standard_normal((7, 6)).astype(np.float32)


def test_every_row_is_the_mean_and_takes_the_memory_of_one():
    source = SimpleNamespace(outline=SimpleNamespace(shape=(2, 3)))
    training = SimpleNamespace(features=lambda names: {name: VALUES for name in names})
    means = TrainingMean("ip_tokens", source)
    found = means(training)
    assert means.shape == (2, 3) and found.shape == (7, 2, 3) and found.dtype == np.float32 and found.strides[0] == 0
    np.testing.assert_allclose(found[4], VALUES.astype(float).mean(axis=0).reshape(2, 3), atol=1e-6)

"""Linear decoders on a device without numbers of 64 bits compute on the CPU: here torch would refuse that device."""

import numpy as np
import pytest
import torch

from stages.decoders.ridge.kfold_ridge import KFoldRidgeDecoder
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.decoders.ridge.ridge_solver import ridge_predictions

WITHOUT_FLOAT64 = "mps"
pytestmark = pytest.mark.skipif(torch.backends.mps.is_available(), reason="torch would not refuse the device here")

DECODERS = {
    "held out": lambda device: RidgeDecoder(device=device),
    "cross-validated": lambda device: RidgeDecoder(rescale="none", device=device),
    "targets kept": lambda device: RidgeDecoder(keep="targets", device=device),
    "weights kept": lambda device: RidgeDecoder(keep="weights", device=device),
    "folds": lambda device: KFoldRidgeDecoder(device=device),
}


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_fits_and_predicts_as_on_the_cpu(name):
    draw = np.random.default_rng(0)
    X, new = (draw.standard_normal((n, 12)).astype(np.float32) for n in (60, 7))
    Y = (X[:, :5] + draw.standard_normal((60, 5))).astype(np.float32)
    found, expected = (DECODERS[name](device).fit(X, Y).predict(new) for device in (WITHOUT_FLOAT64, "cpu"))
    np.testing.assert_array_equal(found, expected)


def test_predictions_alone_too():
    draw = np.random.default_rng(0)
    arrays = [draw.standard_normal(shape).astype(np.float32) for shape in ((30, 8), (30, 3), (4, 8))]
    found, expected = (ridge_predictions(*arrays, 10.0, device=device) for device in (WITHOUT_FLOAT64, "cpu"))
    np.testing.assert_array_equal(found, expected)

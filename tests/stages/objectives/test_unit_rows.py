"""Objectives of rows of unit length vs their formulas."""

import numpy as np
import torch

from stages.objectives.regression import UnitSquaredError
from stages.objectives.retrieval import SoftContrast


def rows(seed):
    return np.random.default_rng(seed).standard_normal((6, 4, 5)).astype(np.float32)


def unit(values):
    flat = values.reshape(len(values), -1).astype(float)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def test_the_squared_error_of_unit_rows_is_their_cosine():
    predicted, true = rows(0), rows(1)
    cosine = (unit(predicted) * unit(true)).sum(axis=1)
    loss, parts = UnitSquaredError("a", 1e4)({"a": torch.tensor(predicted)}, {"a": torch.tensor(9 * true)}, 0)
    np.testing.assert_allclose(loss.item(), 1e4 * (2 - 2 * cosine).mean() / 20, rtol=1e-5)
    np.testing.assert_allclose(parts["a error"].item() * 1e4, loss.item(), rtol=1e-6)


def test_soft_labels_vs_their_formula():
    predicted, true = rows(0), rows(1)
    logits, alike = unit(predicted) @ unit(true).T / 0.005, unit(true) @ unit(true).T / 0.005
    labels = np.exp(alike - alike.max(axis=1, keepdims=True))
    labels /= labels.sum(axis=1, keepdims=True)

    def log_softmax(values):
        values = values - values.max(axis=1, keepdims=True)
        return values - np.log(np.exp(values).sum(axis=1, keepdims=True))

    expected = -(labels * log_softmax(logits)).sum(1).mean() / 2 - (labels * log_softmax(logits.T)).sum(1).mean() / 2
    objective = SoftContrast("a", weight=2.0)
    loss, _ = objective({"a": torch.tensor(predicted)}, {"a": torch.tensor(true)}, step=3)
    np.testing.assert_allclose(loss.item(), 2 * expected, rtol=1e-4)
    assert objective.compares


def test_samples_that_are_compared_in_parts():
    predicted, true = torch.tensor(rows(0)), torch.tensor(rows(1))
    loss, _ = SoftContrast("a", temperature=0.1, parts=3)({"a": predicted}, {"a": true}, step=0)
    each = [
        SoftContrast("a", temperature=0.1)({"a": predicted[own]}, {"a": true[own]}, step=0)[0]
        for own in ([0, 3], [1, 4], [2, 5])
    ]
    torch.testing.assert_close(loss, torch.stack(each).mean())
    # Nobody is compared with nobody.
    most, _ = SoftContrast("a", temperature=0.1, parts=50)({"a": predicted}, {"a": true}, step=0)
    assert most == loss

"""Contrastive losses against their formulas in plain loops, and the limits that join them."""

import math

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.objectives.contrastive import (
    Mixture,
    draw_mixture,
    info_nce,
    mixed_nce,
    soft_clip,
    soft_clip_temperature,
    soft_views,
)


def rows(n=6, seed=0, shape=(2, 5)):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def unit(values):
    values = values.double().flatten(1).numpy()
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def log_softmax(row):
    return row - row.max() - math.log(np.exp(row - row.max()).sum())


def cross_entropy(labels, logits):
    return -np.mean([labels[i] @ log_softmax(logits[i]) for i in range(len(logits))])


def softmax(matrix):
    return np.array([np.exp(log_softmax(row)) for row in matrix])


def mixtures():
    torch.manual_seed(0)
    return [Mixture(torch.tensor([3, 1, 0, 5, 4, 2]), draw_mixture(6, probability=0.7).shares) for _ in range(5)]


@pytest.mark.parametrize("own_partner", ["whole", "rest"])
def test_mixed_nce_vs_the_formula(own_partner):
    predicted, true = rows(seed=1), rows(seed=2)
    logits = unit(predicted) @ unit(true).T / 0.06
    for mixture in mixtures():
        labels = np.zeros((6, 6))
        for i, (partner, share) in enumerate(zip(mixture.partners.tolist(), mixture.shares.double().tolist())):
            labels[i, i] = share
            if own_partner == "whole":
                labels[i, partner] += 1 - share
            else:
                labels[i, partner] = 1 - share
        expected = (cross_entropy(labels, logits) + cross_entropy(labels.T, logits.T)) / 2
        assert mixed_nce(predicted, true, mixture, 0.06, own_partner).item() == pytest.approx(expected, rel=1e-5)


def test_where_nothing_is_mixed_it_is_info_nce():
    predicted, true = rows(seed=1), rows(seed=2)
    whole = Mixture(torch.tensor([3, 1, 0, 5, 4, 2]), torch.ones(6))
    logits = unit(predicted) @ unit(true).T / 0.1
    expected = (cross_entropy(np.eye(6), logits) + cross_entropy(np.eye(6), logits.T)) / 2
    assert mixed_nce(predicted, true, whole, 0.1).item() == pytest.approx(expected, rel=1e-5)
    assert info_nce(predicted, true, 0.1).item() == pytest.approx(expected, rel=1e-5)
    # As published, a sample that is its own partner has no label at all.
    assert whole.labels("rest").sum(1).tolist() == [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]


def test_soft_clip_vs_the_formula():
    predicted, true = rows(seed=1), rows(seed=2)
    labels = softmax(unit(true) @ unit(true).T / 0.3)
    logits = unit(predicted) @ unit(true).T / 0.3
    expected = (cross_entropy(labels, logits) + cross_entropy(labels, logits.T)) / 2
    assert soft_clip(predicted, true, 0.3).item() == pytest.approx(expected, rel=1e-5)


def test_soft_clip_tends_to_info_nce_and_is_least_where_all_is_right():
    predicted, true = rows(seed=1), rows(seed=2)
    assert soft_clip(predicted, true, 0.01).item() == pytest.approx(info_nce(predicted, true, 0.01).item(), rel=1e-4)
    labels = softmax(unit(true) @ unit(true).T / 0.3)
    entropy = -np.mean([row @ np.log(row) for row in labels])
    assert soft_clip(true, true, 0.3).item() == pytest.approx(entropy, rel=1e-5)
    for size in (0.01, 0.1, 1.0):
        assert soft_clip(true + size * rows(seed=3), true, 0.3).item() > entropy


def test_soft_views_vs_the_formula():
    student, teacher, other = (rows(seed=seed, shape=(7,)) for seed in (1, 2, 3))
    labels, logits = unit(teacher) @ unit(other).T / 0.2, unit(student) @ unit(other).T / 0.2
    expected = (cross_entropy(softmax(labels), logits) + cross_entropy(softmax(labels.T), logits.T)) / 2
    assert soft_views(student, teacher, other, 0.2).item() == pytest.approx(expected, rel=1e-5)
    assert soft_views(teacher, teacher, other, 0.2) < soft_views(student, teacher, other, 0.2)


@pytest.mark.parametrize("loss", [info_nce, soft_clip])
def test_lengths_of_rows_and_the_order_of_samples_do_not_matter(loss):
    predicted, true = rows(seed=1), rows(seed=2)
    expected = loss(predicted, true, 0.1)
    torch.testing.assert_close(loss(3 * predicted, 0.2 * true, 0.1), expected)
    torch.testing.assert_close(loss(predicted.flip(0), true.flip(0), 0.1), expected)


def test_temperatures_go_along_a_cosine():
    for step in range(161):
        expected = 0.0075 - 0.00175 * (1 + math.cos(math.pi * step / 160))
        assert soft_clip_temperature(step / 160) == pytest.approx(expected)


def test_a_mixture_mixes_as_it_labels():
    values = torch.eye(6)
    for mixture in mixtures():
        torch.testing.assert_close(mixture.mix(values), mixture.labels())
    torch.testing.assert_close(mixture.labels().sum(1), torch.ones(6))


def test_shares_are_drawn_from_the_published_distribution():
    torch.manual_seed(0)
    shares = draw_mixture(20_000).shares.double()
    mixed = shares[shares != 1]
    assert abs(len(mixed) / 20_000 - 0.5) < 0.02
    # Of Beta(a, a): the mean is 1/2, the variance 1 / (4 (2 a + 1)).
    assert abs(mixed.mean().item() - 0.5) < 0.02 and abs(mixed.var().item() - 1 / 5.2) < 0.01
    partners = draw_mixture(50).partners
    assert sorted(partners.tolist()) == list(range(50))


def test_a_word_that_is_none_is_refused():
    with pytest.raises(InputError, match="own_partner is 'both'"):
        mixtures()[0].labels("both")


def test_one_way_vs_a_sum_written_out_and_its_direction():
    torch.manual_seed(0)
    predicted, true = torch.randn(5, 7), torch.randn(5, 7)
    one, other = (values / values.norm(dim=1, keepdim=True) for values in (predicted, true))
    products = (one @ other.T / 0.1).exp()
    expected = -(products.diagonal() / products.sum(1)).log().mean()
    torch.testing.assert_close(info_nce(predicted, true, 0.1, "prediction"), expected)
    assert abs(float(info_nce(true, predicted, 0.1, "prediction") - expected)) > 1e-3
    assert abs(float(info_nce(predicted, true[[1, 0, 2, 3, 4]], 0.1, "prediction") - expected)) > 1e-3
    both = (info_nce(predicted, true, 0.1, "prediction") + info_nce(true, predicted, 0.1, "prediction")) / 2
    torch.testing.assert_close(both, info_nce(predicted, true, 0.1))

"""Mixed samples first and soft labels after: when, at which temperature, and that mixing belongs to the loss that follows."""

import math

import pytest
import torch

from stages.ground.errors import InputError
from stages.objectives.contrastive import mixed_nce, soft_clip
from stages.objectives.retrieval import MixedThenSoft


def published():
    return MixedThenSoft("clip_retrieval", n_epochs=240, steps_per_epoch=276)


def test_epochs_and_temperatures_are_the_published_ones():
    objective = published()
    mixed = [epoch for epoch in range(240) if objective.is_mixed(epoch * 276)]
    assert mixed == list(range(79)) and objective.is_mixed(79 * 276 - 1)
    for place in range(161):
        expected = 0.0075 - 0.00175 * (1 + math.cos(math.pi * place / 160))
        for step in ((79 + place) * 276, (79 + place) * 276 + 275):
            assert objective.soft_temperature(step) == pytest.approx(expected)
    # Validation is judged as if training were over.
    assert objective.soft_temperature(240 * 276) == pytest.approx(0.0075)


def test_a_loss_is_of_the_mixture_that_was_read():
    objective, patterns, true = published(), torch.randn(8, 5), torch.randn(8, 5)
    torch.manual_seed(0)
    mixed = objective.before(patterns, step=0)
    mixture = objective._mixture
    torch.testing.assert_close(mixed, mixture.mix(patterns))
    loss, parts = objective({"clip_retrieval": mixed}, {"clip_retrieval": true}, 0)
    torch.testing.assert_close(loss, mixed_nce(mixed, true, mixture, 0.006))
    assert parts["clip_retrieval contrast"] == loss


def test_soft_labels_mix_nothing():
    objective, patterns, true = published(), torch.randn(8, 5), torch.randn(8, 5)
    objective.before(patterns, step=0)
    assert objective.before(patterns, step=200 * 276) is patterns
    loss, _ = objective({"clip_retrieval": patterns}, {"clip_retrieval": true}, 200 * 276)
    torch.testing.assert_close(loss, soft_clip(patterns, true, objective.soft_temperature(200 * 276)))


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="mixed_share is 1.5"):
        MixedThenSoft("clip_retrieval", 240, 276, mixed_share=1.5)
    with pytest.raises(InputError, match="n_epochs is 0"):
        MixedThenSoft("clip_retrieval", 0, 276)

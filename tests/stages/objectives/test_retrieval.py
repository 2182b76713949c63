"""Mixed samples first and soft labels after: when, at which temperature, and that mixing belongs to the loss that follows."""

import math

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.objectives.contrastive import draw_mixture, mixed_nce, soft_clip
from stages.objectives.retrieval import HardContrast, MixedThenSoft


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


# Several subjects


def rows_of_three(n=6):
    random = torch.Generator().manual_seed(3)
    return {name: torch.randn(n, width, generator=random) for name, width in {"b": 5, "a": 7, "c": 5}.items()}


def shares_found(mixed, patterns):
    """How much of each sample is in each mixed row, worked out from the rows alone: (n, n) of one subject."""
    return torch.linalg.lstsq(patterns.T.double(), mixed.T.double()).solution.T


@pytest.mark.parametrize("seed", range(3))
def test_subjects_are_mixed_among_themselves_and_labels_say_so(seed):
    objective, n = published(), 4
    patterns = rows_of_three(n)
    torch.manual_seed(seed)
    mixed = objective.before(patterns, step=0)
    assert list(mixed) == ["b", "a", "c"]
    labels = objective._mixture.labels()
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(3 * n))
    expected = torch.block_diag(*(shares_found(mixed[name], patterns[name]) for name in patterns))
    torch.testing.assert_close(labels.double(), expected, atol=1e-5, rtol=0)
    assert not torch.equal(labels, torch.eye(3 * n))


def test_labels_of_the_published_code_name_samples_of_the_first_subject():
    objective = MixedThenSoft("clip_retrieval", 240, 276, partners_in="group", own_partner="rest")
    torch.manual_seed(0)
    objective.before(rows_of_three(4), step=0)
    torch.manual_seed(0)
    expected = torch.zeros(12, 12)
    for first in (0, 4, 8):
        own = draw_mixture(4)
        for row, (partner, share) in enumerate(zip(own.partners, own.shares)):
            expected[first + row, first + row] = share
            expected[first + row, partner] = 1 - share
    torch.testing.assert_close(objective._mixture.labels("rest"), expected)
    assert expected[4:, 4:].count_nonzero() <= 8


def test_one_subject_by_name_is_mixed_as_its_tensor_is():
    objective, patterns = published(), rows_of_three()["a"]
    torch.manual_seed(5)
    alone = objective.before(patterns, step=0)
    torch.manual_seed(5)
    named = objective.before({"a": patterns}, step=0)
    assert torch.equal(named["a"], alone)


def test_soft_labels_mix_no_subject():
    objective, patterns = published(), rows_of_three()
    assert objective.before(patterns, step=200 * 276) is patterns


def test_another_place_of_partners_is_refused():
    with pytest.raises(InputError, match="partners_in is 'subject'"):
        MixedThenSoft("clip_retrieval", 240, 276, partners_in="subject")


# Hard labels alone


def rows_of_five():
    random = torch.Generator().manual_seed(5)
    return torch.randn(5, 2, 3, generator=random), torch.randn(5, 2, 3, generator=random)


def contrast_written_out(predicted, true, temperature):
    """The formula in numpy's double precision, sample by sample, with the minus that makes it something to be minimised."""
    predicted, true = (each.reshape(len(each), -1).numpy().astype(float) for each in (predicted, true))
    found = 0.0
    for row, one in enumerate(predicted):
        likeness = [one @ other / np.linalg.norm(one) / np.linalg.norm(other) for other in true]
        odds = np.exp(np.array(likeness) / temperature)
        found -= np.log(odds[row] / odds.sum()) / len(predicted)
    return found


def test_hard_contrast_vs_its_formula():
    predicted, true = rows_of_five()
    for options in ({"temperature": 0.07}, {"temperature": 0.5, "weight": 3.0}, {"temperature": 0.5, "learned": True}):
        loss, parts = HardContrast("a", **options)({"a": predicted}, {"a": true}, 0)
        expected = contrast_written_out(predicted, true, options["temperature"])
        assert float(parts["a contrast"]) == pytest.approx(expected, rel=1e-5)
        assert float(loss) == pytest.approx(options.get("weight", 1) * expected, rel=1e-5)
    both, _ = HardContrast("a", 0.5, directions="both")({"a": predicted}, {"a": true}, 0)
    turned = contrast_written_out(true, predicted, 0.5)
    assert float(both) == pytest.approx((contrast_written_out(predicted, true, 0.5) + turned) / 2, rel=1e-5)


def test_hard_contrast_falls_as_predictions_come_nearer_to_their_own():
    predicted, true = rows_of_five()
    objective = HardContrast("a")
    losses = [
        float(objective({"a": (1 - share) * predicted + share * true}, {"a": true}, 0)[0]) for share in (0, 0.3, 0.6, 1)
    ]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.1 * losses[0]
    # And rises as they come nearer to another's.
    assert float(objective({"a": true.roll(1, 0)}, {"a": true}, 0)[0]) > losses[0]


def test_what_all_rows_share_hides_the_contrast_unless_it_is_taken_off():
    predicted, true = rows_of_five()
    mean = 50 * torch.ones(2, 3)
    targets = {"a": true + mean, "mean": mean.expand(5, -1, -1)}
    plain, _ = HardContrast("a")({"a": true + mean}, targets, 0)
    centred, _ = HardContrast("a", centre="mean")({"a": true + mean}, targets, 0)
    alone, _ = HardContrast("a")({"a": true}, {"a": true}, 0)
    torch.testing.assert_close(centred, alone, atol=1e-4, rtol=1e-3)
    assert float(plain) > 1.5 > 10 * float(alone) and HardContrast("a", centre="mean").reads == ("a", "mean")


def test_a_learned_temperature_is_trained_and_another_is_not():
    predicted, true = rows_of_five()
    learned = HardContrast("a", 0.5, learned=True)
    learned({"a": predicted}, {"a": true}, 0)[0].backward()
    assert learned.log_temperature.grad.abs() > 1e-3 and not list(HardContrast("a").parameters())


@pytest.mark.parametrize(
    "options, said", [({"temperature": 0}, "temperature is 0"), ({"directions": "up"}, "directions is 'up'")]
)
def test_hard_contrast_refuses_what_cannot_be(options, said):
    with pytest.raises(InputError, match=said):
        HardContrast("a", **options)


def test_gradients_of_the_mean_absolute_error_do_not_grow_with_the_batch():
    from stages.objectives.regression import MeanAbsoluteError

    norms = []
    for n in (2, 8, 32):
        outputs = torch.zeros(n, 2, 3, requires_grad=True)
        loss, _ = MeanAbsoluteError("a")({"a": outputs}, {"a": torch.ones(n, 2, 3)}, 0)
        loss.backward()
        # Of a parameter that all samples share.
        norms.append(float(outputs.grad.sum(0).norm()))
    assert norms == pytest.approx([norms[0]] * 3)

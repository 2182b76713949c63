"""Contrast within each subject and then across them: the schedule, the formulas, and that one batch is what gathering gives."""

import math
import subprocess
import sys

import gathered_contrast
import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.ground.errors import InputError
from stages.objectives.contrastive import Mixture
from stages.objectives.within_then_across import BalancedPriorError, MixedAbsoluteError, WithinThenAcross

# Of the scripts: 50 epochs of 554 steps.
E, STEPS = 50, 554
NAME = "clip_retrieval"


def made(**changed):
    return WithinThenAcross(NAME, "captions", **{"n_epochs": E, "steps_per_epoch": STEPS} | changed)


def random(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


PATTERNS = {"subj02": random(16, 9, seed=1), "subj01": random(16, 9, seed=2)}
TRUE, CAPTIONS, LAYER = random(32, 3, 5, seed=3), random(32, 5, seed=4), random(9, 15, seed=5)
GROUPS = (slice(0, 16), slice(16, 32))


# The schedule


def test_stages_change_at_35_of_100_epochs():
    objective = made()
    assert objective.n_mixed_epochs == 17 == int(0.35 * E)
    assert objective.is_mixed(17 * STEPS - 1) and not objective.is_mixed(17 * STEPS)
    # 0.35 * 20 is 7 and a little less in floating-point numbers, as it is there.
    assert made(n_epochs=20).n_mixed_epochs == int(0.35 * 20)
    assert made(mixed_share=0.0).n_mixed_epochs == 0


def test_twelve_of_sixteen_count_for_exactly_three_epochs():
    objective = made()
    counted = [objective.n_counted(16, epoch * STEPS) for epoch in range(E)]
    assert counted == [16] * 17 + [12] * 3 + [16] * 30
    assert [objective.n_counted(16, step) for step in (17 * STEPS - 1, 20 * STEPS - 1, 20 * STEPS)] == [16, 12, 16]
    assert made(few_epochs=0).n_counted(16, 17 * STEPS) == 16


def test_the_temperature_goes_from_4_to_6_thousandths_along_half_a_cosine():
    objective = made()
    found = [objective.soft_temperature(epoch * STEPS) for epoch in range(17, E)]
    expected = [0.006 - 0.001 * (1 + math.cos(math.pi * k / 32)) for k in range(33)]
    assert found == pytest.approx(expected, rel=1e-12)
    assert (found[0], found[-1]) == pytest.approx((0.004, 0.006))
    # Within an epoch it stays, and validation has the last one.
    assert objective.soft_temperature(18 * STEPS - 1) == found[0] and objective.soft_temperature(E * STEPS) == found[-1]


# Weights


def drawn(weighting, n_subjects=1, n=3, step=20 * STEPS):
    objective = made(weighting=weighting)
    patterns = {str(one): torch.zeros(1, 1) for one in range(n_subjects)}
    torch.manual_seed(0)
    found = []
    for _ in range(n):
        objective.before(patterns, step)
        found.append(torch.stack([objective.weights(0), objective.weights(1)]))
    return torch.stack(found)


def test_weights_are_the_softmax_of_two_normal_numbers():
    found = drawn("random softmax", n=4000)
    torch.testing.assert_close(found.sum(1), torch.ones(4000, 1))
    first = found[:, 0, 0]
    # log(w0 / w1) is the difference of two standard normal numbers: mean 0 and variance 2. Five standard errors.
    odds = (first / (1 - first)).log()
    assert abs(float(odds.mean())) < 5 * math.sqrt(2 / 4000)
    assert abs(float(odds.var()) - 2) < 5 * 2 * math.sqrt(2 / 4000)
    assert abs(float(first.mean()) - 0.5) < 5 * float(first.std()) / math.sqrt(4000)


def test_each_subject_has_weights_of_its_own_in_each_step():
    found = drawn("random softmax", n_subjects=2, n=500)[:, 0]
    assert found.shape == (500, 2) and (found[:, 0] != found[:, 1]).all()
    assert abs(float(torch.corrcoef(found.T)[0, 1])) < 5 / math.sqrt(500)


def test_weights_may_be_equal_and_are_so_in_validation():
    assert (drawn("equal") == 0.5).all() and (drawn("none") == 1).all()
    assert (drawn("random softmax", step=E * STEPS) == 0.5).all()


# Formulas


class Prior:
    """A prior that finds twice the true tokens, so that its error is known."""

    def errors(self, brain, clean):
        return (brain - 2 * clean).square().flatten(1).mean(1)


def of_one_batch(objective, step, captions=CAPTIONS, layer=LAYER, seed=7):
    """Loss, its gradient for a layer that all share, and the objective after it, of a batch of both subjects."""
    layer = layer.clone().requires_grad_()
    torch.manual_seed(seed)
    changed = objective.before(PATTERNS, step)
    rows = (torch.cat(list(changed.values())) @ layer).unflatten(1, (3, 5))
    outputs, targets = {NAME: rows, "rough": rows}, {NAME: TRUE, "rough": TRUE, "captions": captions}
    loss, _ = objective(outputs, targets, step)
    error, _ = BalancedPriorError("rough", Prior(), 30.0, objective)(outputs, targets, step)
    (loss + error).backward()
    return (loss + error).detach(), layer.grad, changed


def written_out(objective, step, changed, layer=LAYER):
    """The same by the formulas, subject by subject."""
    rows = [(one @ layer).unflatten(1, (3, 5)) for one in changed.values()]
    n, losses = (12 if 17 <= step // STEPS < 20 else 16), []
    if step < 17 * STEPS:
        for own, group, mixture in zip(rows, GROUPS, objective._mixtures):
            labels = torch.zeros(16, 16)
            for row, (partner, share) in enumerate(zip(mixture.partners.tolist(), mixture.shares.tolist())):
                labels[row, row] += share
                labels[row, partner] += 1 - share
            losses.append(
                gathered_contrast.terms(
                    own,
                    TRUE[group],
                    CAPTIONS[group],
                    0.5,
                    lambda *two, by=labels: gathered_contrast.mixed(*two, by, 0.006),
                )
            )
    else:
        k = step // STEPS - 17
        temperature = 0.006 - 0.001 * (1 + math.cos(math.pi * k / 32))
        some = [torch.cat([one[group][:n] for group in GROUPS]) for one in (torch.cat(rows), TRUE, CAPTIONS)]
        losses = 2 * [gathered_contrast.terms(*some, 0.2, lambda *two: gathered_contrast.soft(*two, temperature))]
    errors = [(own - 2 * TRUE[group]).square().mean((1, 2))[:n].mean() for own, group in zip(rows, GROUPS)]
    weights = zip(objective.weights(0), objective.weights(1))
    return sum(w0 * loss + w1 * 30 * error for (w0, w1), loss, error in zip(weights, losses, errors)) / 2


# In the mixed epochs, in the three short ones, and later.
@pytest.mark.parametrize("step", [0, 17 * STEPS, 20 * STEPS, 49 * STEPS])
@pytest.mark.parametrize("weighting", ["random softmax", "equal", "none"])
def test_the_loss_of_both_subjects_vs_its_formula(step, weighting):
    objective = made(weighting=weighting)
    loss, _, changed = of_one_batch(objective, step)
    torch.testing.assert_close(loss, written_out(objective, step, changed), rtol=1e-5, atol=1e-5)


def test_samples_are_mixed_within_their_subject_and_told_apart_there():
    objective = WithinThenAcross(NAME, n_epochs=E, steps_per_epoch=STEPS)
    torch.manual_seed(0)
    changed = objective.before(PATTERNS, 0)
    for (name, rows), mixture in zip(PATTERNS.items(), objective._mixtures, strict=True):
        shares = mixture.shares[:, None]
        torch.testing.assert_close(changed[name], shares * rows + (1 - shares) * rows[mixture.partners])
    assert any((one.shares < 1).any() for one in objective._mixtures)
    rows = torch.randn(32, 3, 5)
    before, _ = objective({NAME: rows}, {NAME: TRUE}, 0)
    # Of a subject's rows alone the other's loss knows nothing; later it does.
    other = torch.cat([rows[:16], rows[16:].flip(0)])
    half = 2 * before - 2 * objective({NAME: other}, {NAME: TRUE}, 0)[0]
    one = {NAME: rows[16:]}, {NAME: TRUE[16:]}
    single = WithinThenAcross(NAME, n_epochs=E, steps_per_epoch=STEPS)
    single._mixtures, single._weights = objective._mixtures[1:], torch.ones(1, 2)
    flipped = {NAME: rows[16:].flip(0)}, one[1]
    torch.testing.assert_close(half, single(*one, 0)[0] - single(*flipped, 0)[0], rtol=1e-4, atol=1e-4)


def test_a_sample_that_is_its_own_partner_is_itself_or_labelled_as_in_the_scripts():
    """The published labels of an unmixed sample that is its own partner are empty, so that it adds nothing to the loss."""
    losses = {}
    for own_partner in ("whole", "rest"):
        objective = made(own_partner=own_partner)
        objective.before(PATTERNS, 0)
        fixed = Mixture(torch.arange(16), torch.ones(16))
        objective._mixtures = [fixed, fixed]
        losses[own_partner] = float(objective({NAME: TRUE}, {NAME: TRUE, "captions": CAPTIONS}, 0)[0])
    assert losses["rest"] == 0 and losses["whole"] > 1


# Captions


def test_a_step_takes_one_caption_of_each_stimulus_at_random():
    objective, several = made(), random(32, 4, 5, seed=6)
    places, losses = torch.zeros(32, 4), []
    for seed in range(60):
        torch.manual_seed(seed)
        objective.before(PATTERNS, 20 * STEPS)
        chosen = objective._captions(several)
        taken = (several == chosen[:, None]).all(2)
        assert (taken.sum(1) == 1).all()
        places += taken
    # Five standard errors of a quarter of 32 * 60.
    assert (places.sum(0) - 480).abs().max() < 5 * math.sqrt(1920 * 3 / 16) and (places > 0).all()
    for seed in (1, 1, 2):
        losses.append(float(of_one_batch(objective, 20 * STEPS, several, seed=seed)[0]))
    assert losses[0] == losses[1] != losses[2]
    torch.testing.assert_close(objective._captions(CAPTIONS), CAPTIONS)


def test_without_captions_the_first_token_is_held_to_the_picture_alone():
    objective = WithinThenAcross(NAME, n_epochs=E, steps_per_epoch=STEPS)
    rows, step = random(32, 3, 5, seed=8), 20 * STEPS
    objective.before(PATTERNS, step)
    temperature = objective.soft_temperature(step)
    expected = gathered_contrast.soft(rows.flatten(1), TRUE.flatten(1), temperature)
    expected = expected + 0.2 * gathered_contrast.soft(rows[:, 0], TRUE[:, 0], temperature)
    torch.testing.assert_close(objective({NAME: rows}, {NAME: TRUE}, step)[0], expected, rtol=1e-5, atol=1e-5)


# Latents


def test_latents_are_held_to_what_is_mixed_as_the_patterns_are():
    contrast, values, found = made(), random(32, 4, 2, 2, seed=9), random(32, 4, 2, 2, seed=10)
    objective = MixedAbsoluteError("sd_latent", 2.0, contrast)
    torch.manual_seed(0)
    contrast.before(PATTERNS, 0)
    expected = []
    for group, mixture in zip(GROUPS, contrast._mixtures):
        for row, (partner, share) in enumerate(zip(mixture.partners, mixture.shares)):
            expected.append(share * values[group][row] + (1 - share) * values[group][partner])
    loss, parts = objective({"sd_latent": found}, {"sd_latent": values}, 0)
    torch.testing.assert_close(loss, 2 * (found - torch.stack(expected)).abs().mean())
    assert list(parts) == ["sd_latent difference"] and objective.compares
    contrast.before(PATTERNS, 20 * STEPS)
    loss, _ = objective({"sd_latent": found}, {"sd_latent": values}, 20 * STEPS)
    torch.testing.assert_close(loss, 2 * (found - values).abs().mean())


# One batch and several processes


def of_two_processes(folder, given):
    save_file(given, folder / "given.safetensors")
    script, paths = gathered_contrast.__file__, [str(folder / "given.safetensors"), str(folder / "found.safetensors")]
    ranks = [subprocess.Popen([sys.executable, script, str(rank), *paths]) for rank in (0, 1)]
    assert [one.wait(timeout=300) for one in ranks] == [0, 0]
    return load_file(paths[1])["found"]


@pytest.mark.slow
@pytest.mark.parametrize("step", [0, 17 * STEPS, 30 * STEPS])
def test_one_batch_of_all_subjects_is_what_processes_gather(step, tmp_path):
    """Loss and gradient of two gloo processes, one subject and one pair of weights each, whose gradients are averaged."""
    objective = made(weighting="random softmax")
    loss, gradient, changed = of_one_batch(objective, step)
    given = {
        "layer": LAYER,
        "counted": torch.tensor(objective.n_counted(16, step)),
        "temperature": torch.tensor(objective.soft_temperature(step), dtype=torch.float64),
    }
    for rank, (rows, group) in enumerate(zip(changed.values(), GROUPS)):
        given |= {f"{rank}.patterns": rows, f"{rank}.true": TRUE[group].clone()}
        given |= {f"{rank}.captions": CAPTIONS[group].clone()}
        given[f"{rank}.weights"] = torch.stack([objective.weights(place)[rank] for place in (0, 1)])
        if objective.is_mixed(step):
            given[f"{rank}.labels"] = objective._mixtures[rank].labels("whole")
    found = of_two_processes(tmp_path, given)
    torch.testing.assert_close(found[-1], loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[:-1].reshape(LAYER.shape), gradient, rtol=1e-4, atol=1e-4 * float(gradient.std()))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"weighting": "softmax"}, "weighting is 'softmax'"),
        ({"few_share": 0}, "few_share is 0"),
        ({"mixed_share": 1.5}, "mixed_share is 1.5"),
        ({"n_epochs": 0}, "n_epochs is 0"),
    ],
)
def test_what_cannot_be_is_refused(changed, said):
    with pytest.raises(InputError, match=said):
        made(**changed)

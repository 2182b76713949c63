"""The noise process: golden numbers of the published one, and the way back against its formulas."""

import math

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.priors.noise_process import NoiseProcess


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_variances_are_the_published_ones():
    process = NoiseProcess(100)
    np.testing.assert_allclose(process.betas[[0, 49, 99]], [6.3128e-4, 0.0305931, 0.999], rtol=1e-5)
    expected = [0.9993687, 0.4938436, 0.00605964, 2.42857e-7]
    np.testing.assert_allclose(process.kept[[0, 49, 94, 99]], expected, rtol=1e-6)
    assert process.betas[1] * (1 - process.kept[0]) / (1 - process.kept[1]) == pytest.approx(4.03489e-4, rel=1e-5)
    # Of step 50, for clean and for noisy values.
    clean, noisy, noise = (coefficient_of(process, 50, part) for part in range(3))
    assert (clean, noisy) == pytest.approx((0.0424907, 0.9547153), abs=5e-8)
    assert noise == pytest.approx(math.sqrt(process.betas[50] * (1 - process.kept[49]) / (1 - process.kept[50])))


def coefficient_of(process, step, part):
    return process._back(step, step - 1, every=True)[part]


def test_variances_vs_the_cosine():
    process = NoiseProcess(40)
    curve = [math.cos((t / 40 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(41)]
    np.testing.assert_allclose(process.kept[:-1], np.array(curve[1:-1]) / curve[0], rtol=1e-12)
    assert process.betas[-1] == 0.999


def test_a_network_that_knows_gives_what_it_knows():
    clean = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    for n_evaluations in (None, 19, 1, 100):
        found = NoiseProcess(100).sample(
            lambda noisy, step: clean, (4, 5), generators(1, 2, 3), n_evaluations=n_evaluations
        )
        assert torch.equal(found, clean)


def test_every_step_back_vs_the_formula():
    process, seen = NoiseProcess(30), []

    def predict(noisy, step):
        seen.append((step, noisy.clone()))
        return 0.5 * noisy + 0.1

    found = process.sample(predict, (2,), generators(7))
    random = torch.Generator().manual_seed(7)
    values = torch.randn(2, generator=random).double()
    for step in reversed(range(30)):
        clean = 0.5 * values + 0.1
        if step:
            beta, kept, before = process.betas[step], process.kept[step], process.kept[step - 1]
            mean = beta * math.sqrt(before) / (1 - kept) * clean
            mean = mean + (1 - before) * math.sqrt(1 - beta) / (1 - kept) * values
            variance = beta * (1 - before) / (1 - kept)
            values = mean + math.exp(0.5 * math.log(max(variance, 1e-20))) * torch.randn(2, generator=random)
    assert [step for step, _ in seen] == list(range(29, -1, -1))
    torch.testing.assert_close(found[0], clean.float(), atol=1e-5, rtol=1e-5)


def test_strides_vs_the_formula():
    """DDIM with eta 1, as the published code strides: variances of one step earlier, no noise at the end."""
    process, seen = NoiseProcess(100), []

    def predict(noisy, step):
        seen.append(step)
        return 0.7 * noisy - 0.2

    found = process.sample(predict, (3,), generators(5), n_evaluations=19)
    times = [int(t) for t in torch.linspace(-1.0, 100, 21)[:-1]][::-1]
    assert seen == times[:-1] == list(range(94, 3, -5)) and times[-1] == -1
    random = torch.Generator().manual_seed(5)
    x = torch.randn(3, generator=random).double()
    for now, after in zip(times[:-1], times[1:]):
        clean = 0.7 * x - 0.2
        if after < 0:
            x = clean
            break
        kept, here, there = process.kept[now], process.kept[now - 1], process.kept[after - 1]
        error = (x / math.sqrt(kept) - clean) / math.sqrt(1 / kept - 1)
        c1 = math.sqrt((1 - here / there) * (1 - there) / (1 - here))
        c2 = math.sqrt(1 - there - c1**2)
        x = math.sqrt(there) * clean + c1 * torch.randn(3, generator=random) + c2 * error
    torch.testing.assert_close(found[0], x.float(), atol=1e-5, rtol=1e-5)


def test_noise_is_mixed_by_the_share_that_is_kept():
    process = NoiseProcess(100)
    clean, noise = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    found = process.noisy(clean, noise, torch.tensor([0, 50, 99]))
    for row, step in enumerate((0, 50, 99)):
        kept = process.kept[step]
        torch.testing.assert_close(found[row], math.sqrt(kept) * clean[row] + math.sqrt(1 - kept) * noise[row])


def test_an_item_does_not_depend_on_its_neighbours():
    process = NoiseProcess(20)
    together = process.sample(lambda noisy, step: torch.tanh(noisy), (3,), generators(1, 2, 3))
    alone = [process.sample(lambda noisy, step: torch.tanh(noisy), (3,), generators(seed)) for seed in (1, 2, 3)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=1e-6)
    assert not torch.allclose(together[0], together[1])


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="n_steps is 0"):
        NoiseProcess(0)
    with pytest.raises(InputError, match="n_evaluations is 101"):
        NoiseProcess(100).sample(lambda noisy, step: noisy, (2,), generators(0), n_evaluations=101)

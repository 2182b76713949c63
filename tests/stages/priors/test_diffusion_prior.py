"""A diffusion prior: its loss written out, what it leaves out, and that it learns what is there to be learned."""

import math

import pytest
import torch
from torch import nn

from stages.ground.errors import InputError
from stages.networks.token_prior import TokenPrior
from stages.priors.diffusion import DiffusionPrior
from stages.priors.noise_process import NoiseProcess


class Noting(nn.Module):
    """Keeps what it is given, and says half of the noisy tokens."""

    def __init__(self):
        super().__init__()
        self.given = []

    def forward(self, noisy, times, brain, without_brain=None, without_image=None):
        self.given.append((noisy, times, brain, without_brain, without_image))
        return noisy / 2


def test_the_loss_vs_the_formula():
    net, process = Noting(), NoiseProcess(100)
    clean, brain = torch.randn(6, 3, 16), torch.randn(6, 3, 16)
    torch.manual_seed(3)
    loss = DiffusionPrior(net, process).loss(brain, clean)
    torch.manual_seed(3)
    times, noise = torch.randint(0, 100, (6,)), torch.randn(6, 3, 16)
    expected = 0.0
    for row, time in enumerate(times.tolist()):
        scaled = clean[row] * 4.0
        noisy = math.sqrt(process.kept[time]) * scaled + math.sqrt(1 - process.kept[time]) * noise[row]
        expected += ((noisy / 2 - scaled) ** 2).mean().item() / 6
        torch.testing.assert_close(net.given[0][0][row], noisy)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(net.given[0][1], times) and net.given[0][2] is brain


def test_tokens_keep_their_scale_if_they_are_to():
    """As MindEye2's prior: noise is added to tokens as they are, and samples are on their scale."""
    net, process = Noting(), NoiseProcess(100)
    clean = 5 * torch.randn(4, 3, 16)
    torch.manual_seed(3)
    loss = DiffusionPrior(net, process, scale=1.0).loss(torch.zeros(4, 3, 16), clean)
    torch.manual_seed(3)
    kept = torch.tensor(process.kept)[torch.randint(0, 100, (4,))].float().reshape(4, 1, 1)
    noisy = kept.sqrt() * clean + (1 - kept).sqrt() * torch.randn(4, 3, 16)
    torch.testing.assert_close(net.given[0][0], noisy)
    assert loss.item() == pytest.approx((noisy / 2 - clean).square().mean().item(), rel=1e-5)

    class Knowing(Noting):
        def forward(self, noisy, times, brain):
            self.given.append(times)
            return clean

    net = Knowing()
    generators = [torch.Generator().manual_seed(seed) for seed in range(4)]
    found = DiffusionPrior(net, process, scale=1.0).sample(torch.zeros(4, 3, 16), generators, n_evaluations=19)
    assert torch.equal(found, clean)
    assert [times.tolist() for times in net.given] == [[time] * 4 for time in range(94, 3, -5)] and len(net.given) == 19


def test_brain_and_noisy_tokens_are_left_out_independently():
    net = Noting()
    prior = DiffusionPrior(net)
    torch.manual_seed(0)
    prior.loss(torch.zeros(40_000, 1, 2), torch.zeros(40_000, 1, 2))
    *_, without_brain, without_image = net.given[0]
    shares = [
        (kept_brain & kept_image).float().mean().item()
        for kept_brain in (~without_brain, without_brain)
        for kept_image in (~without_image, without_image)
    ]
    # Five standard errors of a share of 40,000.
    for share, expected in zip(shares, (0.64, 0.16, 0.16, 0.04)):
        assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / 40_000)


def test_nothing_is_left_out_when_it_samples():
    net = Noting()
    DiffusionPrior(net, NoiseProcess(5)).sample(torch.zeros(2, 3, 4), [torch.Generator(), torch.Generator()])
    assert len(net.given) == 5
    assert all(one[3] is None and one[4] is None for one in net.given)
    assert [one[1].tolist() for one in net.given] == [[step, step] for step in (4, 3, 2, 1, 0)]


def test_it_learns_what_the_brain_says():
    torch.manual_seed(0)
    prior = DiffusionPrior(TokenPrior(n_tokens=2, width=8, depth=2, n_heads=2, head_width=8), NoiseProcess(20))
    kinds = torch.nn.functional.normalize(torch.randn(4, 2, 8), dim=-1)
    optimiser = torch.optim.Adam([one for one in prior.net.parameters() if one.requires_grad], lr=3e-3)
    for _ in range(400):
        rows = torch.randint(0, 4, (32,))
        loss = prior.loss(kinds[rows], kinds.flip(1)[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    prior.net.eval()
    found = prior.sample(kinds, [torch.Generator().manual_seed(seed) for seed in range(4)])
    wanted = kinds.flip(1)
    assert (found - wanted).square().mean() < 0.05 * wanted.square().mean()
    wrong = (found - wanted[[1, 2, 3, 0]]).square().mean()
    assert (found - wanted).square().mean() < 0.1 * wrong


def test_shares_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="without_brain is 2"):
        DiffusionPrior(Noting(), without_brain=2)


def test_errors_of_samples_are_those_that_the_loss_averages():
    net = TokenPrior(n_tokens=2, width=8, depth=1, n_heads=2, head_width=4).eval()
    prior, brain, clean = DiffusionPrior(net), torch.randn(5, 2, 8), torch.randn(5, 2, 8)
    torch.manual_seed(1)
    loss = prior.loss(brain, clean)
    torch.manual_seed(1)
    errors = prior.errors(brain, clean)
    assert errors.shape == (5,) and (errors > 0).all()
    torch.testing.assert_close(errors.mean(), loss)


class Led(nn.Module):
    """Says 1 where it has brain and noisy tokens, and 0.25 where it has neither."""

    def forward(self, noisy, times, brain, without_brain=None, without_image=None):
        assert (without_brain is None) == (without_image is None)
        unled = without_brain is not None
        if unled:
            assert without_brain.all() and without_image.all() and without_brain.shape == (len(noisy),)
        return torch.full_like(noisy, 0.25 if unled else 1.0)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_guidance_leads_away_from_what_is_found_without_brain_and_picture(guidance):
    prior = DiffusionPrior(Led(), NoiseProcess(4), scale=1.0)
    found = prior.sample(torch.zeros(2, 3, 4), [torch.Generator(), torch.Generator()], guidance=guidance)
    torch.testing.assert_close(found, torch.full((2, 3, 4), 0.25 + guidance * 0.75))

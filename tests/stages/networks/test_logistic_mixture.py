import numpy as np
import pytest
import torch

from stages.networks import logistic_mixture


def random_parameters(n_mixtures, size=2, n=2, spread=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(n, 10 * n_mixtures, size, size, generator=generator)


def likelihood_by_hand(parameters, picture, bits):
    """The likelihood of one picture (3, height, width) in float64, pixel by pixel, colour by colour."""
    levels = 2**bits
    k = parameters.shape[0] // 10
    values = parameters.double().numpy()
    logits, rest = values[:k], values[k:].reshape(3, 3 * k, *values.shape[1:])

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    total = 0.0
    for row in range(picture.shape[1]):
        for column in range(picture.shape[2]):
            red, green, blue = picture[:, row, column].double().tolist()
            weights = np.exp(logits[:, row, column]) / np.exp(logits[:, row, column]).sum()
            likelihood = 0.0
            for component in range(k):
                means = [rest[c, component, row, column] for c in range(3)]
                scales = [np.exp(max(rest[c, k + component, row, column], -7)) for c in range(3)]
                lean = [np.tanh(rest[c, 2 * k + component, row, column]) for c in range(3)]
                means[1] += lean[0] * red
                means[2] += lean[1] * red + lean[2] * green
                product = weights[component]
                for colour, mean, scale in zip((red, green, blue), means, scales):
                    upper = 1.0 if colour > 0.999 else sigmoid((colour + 1 / (levels - 1) - mean) / scale)
                    lower = 0.0 if colour < -0.999 else sigmoid((colour - 1 / (levels - 1) - mean) / scale)
                    product *= upper - lower
                likelihood += product
            total -= np.log(likelihood)
    return total / picture.numel()


@pytest.mark.parametrize("n_mixtures", [1, 3])
def test_likelihood_vs_hand(n_mixtures):
    parameters = random_parameters(n_mixtures)
    levels = torch.tensor([0, 17, 128, 255, 254, 1, 0, 255, 90, 91, 30, 200] * 2).reshape(2, 3, 2, 2)
    pictures = levels / 127.5 - 1
    nats = logistic_mixture.negative_log_likelihood(parameters, pictures)
    for k in range(2):
        assert nats[k].item() == pytest.approx(likelihood_by_hand(parameters[k], pictures[k], 8), rel=1e-4)


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_levels_share_out_the_whole_probability(bits):
    """Summed over all of blue, the likelihood of a red and a green knows nothing of blue's parameters."""
    parameters = random_parameters(2, size=1, n=1, seed=1)
    n_levels = 2**bits
    grid = torch.linspace(-1, 1, n_levels)
    for fixed_red, fixed_green in [(0, 0), (n_levels - 1, 1)]:
        pictures = torch.stack(
            (grid[fixed_red].expand(n_levels), grid[fixed_green].expand(n_levels), grid), dim=1
        ).reshape(n_levels, 3, 1, 1)
        other = parameters.clone()
        other[:, 2 + 12 : 2 + 16] += 0.7  # blue's means and log scales
        sums = []
        for each in (parameters, other):
            repeated = each.expand(n_levels, -1, -1, -1)
            sums.append(torch.exp(-3 * logistic_mixture.negative_log_likelihood(repeated, pictures, bits)).sum())
        assert sums[0].item() == pytest.approx(sums[1].item(), rel=1e-3)


def test_likelihood_is_finite_for_what_is_nearly_impossible():
    parameters = torch.full((1, 20, 1, 1), -50.0, requires_grad=True)
    nats = logistic_mixture.negative_log_likelihood(parameters, torch.ones(1, 3, 1, 1))
    nats.sum().backward()
    assert torch.isfinite(nats).all() and torch.isfinite(parameters.grad).all() and nats.item() > 1000


@pytest.mark.parametrize("spread", [0.3, 0.7])
def test_mean_vs_average_of_samples(spread):
    parameters = random_parameters(3, n=1, spread=spread)
    parameters[:, 3:].unflatten(1, (3, 3, 3))[:, :, 1] -= 3.0  # log scales: most of the mass in [-1, 1]
    n = 20_000
    uniform = torch.rand(n, 6, 2, 2, generator=torch.Generator().manual_seed(1))
    average = logistic_mixture.sample(parameters.expand(n, -1, -1, -1), uniform).mean(0)
    # Green and blue are approximate where a colour before them was clipped; a grey level is 0.008.
    torch.testing.assert_close(logistic_mixture.mean(parameters)[0], average, rtol=0, atol=0.008)


def test_mean_of_red_is_exact():
    """Against numerical integration of the clipped logistic's quantiles."""
    parameters = random_parameters(1, size=1, n=40, seed=5)
    quantiles = (torch.arange(20_000) + 0.5) / 20_000
    for k in range(40):
        mean, scale = parameters[k, 1, 0, 0], parameters[k, 2, 0, 0].exp()
        expected = (mean + scale * torch.logit(quantiles)).clamp(-1, 1).mean()
        got = logistic_mixture.mean(parameters[k : k + 1])[0, 0, 0, 0]
        assert got.item() == pytest.approx(expected.item(), abs=1e-4)


def test_colours_stay_in_range():
    parameters = random_parameters(2, n=4, spread=30.0)
    uniform = torch.rand(4, 5, 2, 2, generator=torch.Generator().manual_seed(0))
    for images in (logistic_mixture.mean(parameters), logistic_mixture.sample(parameters, uniform)):
        assert images.shape == (4, 3, 2, 2)
        assert images.min() >= -1.001 and images.max() <= 1.001


def test_a_narrow_component_is_drawn_as_itself():
    parameters = torch.full((1, 20, 1, 1), -20.0)
    parameters[0, 1] = 20.0  # all weight on the second component
    per_colour = parameters[0, 2:].reshape(3, 3, 2)
    per_colour[:, 0] = torch.tensor([[9.0, 0.5], [9.0, 0.1], [9.0, -0.2]])
    per_colour[:, 2] = 0.0
    uniform = torch.rand(1, 5, 1, 1, generator=torch.Generator().manual_seed(0))
    drawn = logistic_mixture.sample(parameters, uniform).flatten()
    torch.testing.assert_close(drawn, torch.tensor([0.5, 0.1, -0.2]), rtol=0, atol=0.02)
    torch.testing.assert_close(logistic_mixture.mean(parameters).flatten(), drawn, rtol=0, atol=0.02)

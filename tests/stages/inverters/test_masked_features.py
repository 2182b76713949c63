"""Distance of features under masks: the formula of the script written out, its weights, and what a mask leaves out."""

import numpy as np
import pytest
import torch

from stages.inverters.masked_features import layer_shares, masked_loss

PUBLISHED = (1.5, 1.2, 1, 1, 1, 1)


@pytest.fixture
def given():
    random = torch.Generator().manual_seed(0)
    found = {name: torch.randn(40, generator=random) for name in ("one", "two")}
    masks = {name: (torch.rand(40, generator=random) > 0.7).float() for name in found}
    wanted = {name: masks[name] * torch.randn(40, generator=random) for name in found}
    embeddings = torch.randn(7, generator=random), torch.randn(7, generator=random)
    return found, wanted, masks, {"one": 0.7, "two": 0.4}, embeddings


def test_the_formula_written_out(given):
    found, wanted, masks, shares, (own, other) = given
    expected = 0.0
    for name in found:
        squares = [
            (t - m * f) ** 2 for t, m, f in zip(wanted[name].tolist(), masks[name].tolist(), found[name].tolist())
        ]
        # By all units of the layer, and not by those of the mask.
        expected += 0.8 * shares[name] * sum(squares) / 40
    cosine = float(own @ other) / float(own.norm() * other.norm())
    expected += 0.1 * 0.2 * (1 - cosine)
    assert float(masked_loss(*given, 0.2)) == pytest.approx(expected, rel=1e-5)


def test_units_outside_the_mask_change_neither_loss_nor_gradient(given):
    found, wanted, masks, shares, embeddings = given
    changed = {name: values + 100 * (1 - masks[name]) for name, values in found.items()}
    losses, gradients = [], []
    for own in (found, changed):
        leaves = {name: values.clone().requires_grad_() for name, values in own.items()}
        loss = masked_loss(leaves, wanted, masks, shares, embeddings, 0.5)
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([leaf.grad for leaf in leaves.values()]))
    assert losses[0] == pytest.approx(losses[1], abs=1e-7) and losses[0] > 0
    torch.testing.assert_close(*gradients)
    assert bool((gradients[0][torch.cat(list(masks.values())) == 0] == 0).all())


def test_a_mask_of_half_as_many_units_halves_a_loss_of_equal_units():
    whole, half = torch.ones(8), torch.tensor([1.0] * 4 + [0.0] * 4)
    same = torch.ones(3)
    losses = [
        float(masked_loss({"a": torch.zeros(8)}, {"a": mask}, {"a": mask}, {"a": 1.0}, (same, same), 0.0))
        for mask in (whole, half)
    ]
    assert losses == [1.0, 0.5]


def test_shares_of_equal_layers_are_the_published_numbers():
    layers = {f"block {number}": np.array([3.0, 4.0]) for number in range(1, 7)}
    assert list(layer_shares(layers, PUBLISHED).values()) == pytest.approx([0.25, 0.2, *[1 / 6] * 4])


def test_shares_sum_to_one_before_the_multipliers_and_go_with_one_over_the_norm():
    random = np.random.default_rng(0)
    layers = {name: by * random.normal(size=50) for name, by in (("a", 1.0), ("b", 10.0), ("c", 0.1))}
    shares = layer_shares(layers, (1.0, 1.0, 1.0))
    assert sum(shares.values()) == pytest.approx(1)
    norms = [np.linalg.norm(values) * shares[name] for name, values in layers.items()]
    assert norms == pytest.approx([norms[0]] * 3)


def test_a_layer_of_zeros_makes_nothing_infinite():
    shares = layer_shares({"a": np.zeros(4), "b": np.ones(4)}, (1.0, 1.0))
    assert all(np.isfinite(share) for share in shares.values())


def test_as_many_multipliers_as_layers():
    with pytest.raises(ValueError):
        layer_shares({"a": np.ones(4)}, PUBLISHED)

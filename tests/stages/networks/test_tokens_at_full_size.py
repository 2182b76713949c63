"""LEA's and VQ-fMRI's networks take a step at their full size; run with --slow."""

import resource
import time

import numpy as np
import pytest
import torch

from stages.networks.masked_tokens import MaskedTokens, MaskedTokensConfig
from stages.networks.maskgit_vqgan import MaskGITVQGAN, MaskGITVQGANConfig
from stages.networks.region_autoencoder import ERROR, RegionAutoencoder
from stages.networks.token_classifier import TokenClassifier
from stages.objectives.token_classes import TokenClasses
from stages.priors.token_learning import TokenLearner

pytestmark = pytest.mark.slow
# Of GOD's second subject.
SIZES = [757, 727, 603, 416, 372, 124, 576, 829]
LEA = MaskedTokensConfig()
GUESSED = MaskedTokensConfig(1024, 0, context=0, width=512, depth=8, n_heads=8, norm="before", dropout=0.1)


def stepped(name, network, loss_of):
    """Take a step of AdamW, and say how long it took; the loss has to be finite and the weights to move."""
    began = time.monotonic()
    optimiser = torch.optim.AdamW(network.parameters(), 5e-5, betas=(0.9, 0.95), weight_decay=0.01)
    before = [one.detach().flatten()[:3].clone() for one in network.parameters() if one.requires_grad]
    loss = loss_of()
    loss.backward()
    optimiser.step()
    after = [one.detach().flatten()[:3] for one in network.parameters() if one.requires_grad]
    assert torch.isfinite(loss) and any(not torch.equal(*pair) for pair in zip(before, after))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    size = sum(one.numel() for one in network.parameters())
    print(
        f"{name}: {size:,} parameters, loss {loss.item():.3f}, {time.monotonic() - began:.0f} s, {peak:.1f} GB so far"
    )


def test_the_autoencoder_of_regions():
    ends = np.cumsum([0, *SIZES])
    network = RegionAutoencoder(4404, {"latent": (1024,)}, [list(range(*pair)) for pair in zip(ends, ends[1:])])
    patterns = torch.randn(8, 4404)
    stepped("autoencoder of regions, 8 patterns", network, lambda: network(patterns)[ERROR].square().mean())


@pytest.mark.parametrize(("name", "config", "n"), [("LEA's transformer", LEA, 4), ("a guessed completion", GUESSED, 8)])
def test_the_networks_over_tokens(name, config, n):
    learner = TokenLearner(MaskedTokens(config))
    batch = {"tokens": torch.randint(1024, (n, 256)), "step": 0}
    batch |= {"context": torch.randn(n, 1024)} if config.context else {}
    stepped(f"{name}, {n} pictures", learner, lambda: learner(batch)[0])


def test_the_classifier_of_tokens():
    network = TokenClassifier(4466, {"t": (256,), "scores": (256, 1024)})
    tokens = torch.randint(1024, (32, 256)).float()
    patterns = torch.randn(32, 4466)
    stepped(
        "classifier, 32 patterns", network, lambda: TokenClasses("t")(network(patterns, tokens), {"t": tokens}, 0)[0]
    )


def test_a_picture_through_the_vqgan():
    network = MaskGITVQGAN(MaskGITVQGANConfig()).eval().requires_grad_(False)
    began = time.monotonic()
    codes = network.encode(torch.rand(1, 3, 256, 256))
    pictures = network.decode(codes)
    assert codes.shape == (1, 16, 16) and pictures.shape == (1, 3, 256, 256) and torch.isfinite(pictures).all()
    print(f"a picture to codes and back: {time.monotonic() - began:.0f} s")

"""MindLDM's parts: the alignment of an encoder to a text, its roles, and what is refused."""

import pytest
import torch

from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import from_dict, with_weights
from brainrecon.assembly.values import Machine
from brainrecon.methods.mindldm2024 import MindLDMSettings
from stages.ground.errors import InputError
from stages.networks.brain_text import BrainText
from stages.objectives.regression import CosineDistance, MeanSquaredError

NAME, LEARNED, HELD_OUT = "mindldm2024", 1000, 100


def cosines_of_an_alignment(steps, shuffled):
    """Cosine of held-out tokens that are linear in voxels, by the network and by the training mean."""
    torch.manual_seed(0)
    voxels, mixed = torch.randn(LEARNED + HELD_OUT, 16), torch.randn(16, 24) / 4
    tokens = (voxels @ mixed + torch.randn(24)).view(-1, 4, 6)
    learned = tokens[:LEARNED][torch.randperm(LEARNED)] if shuffled else tokens[:LEARNED]
    encoder = {"patch_size": 1, "width": 32, "depth": 1, "n_heads": 2}
    network = BrainText(16, {"clip_text": (4, 6)}, encoder)
    objectives = [MeanSquaredError("clip_text"), CosineDistance("clip_text")]
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
        rows = torch.randint(0, LEARNED, (64,))
        loss = sum(each(network(voxels[rows]), {"clip_text": learned[rows]}, step)[0] for each in objectives)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        found = network(voxels[LEARNED:])["clip_text"]
    mean = learned.mean(dim=0).expand_as(found)
    return [torch.cosine_similarity(each, tokens[LEARNED:], dim=-1).mean().item() for each in (found, mean)]


def test_the_alignment_learns_what_is_linear_and_nothing_of_shuffled_pairs():
    own, by_mean = cosines_of_an_alignment(400, shuffled=False)
    assert own > 0.95 > by_mean + 0.2
    shuffled, by_mean = cosines_of_an_alignment(120, shuffled=True)
    assert abs(shuffled - by_mean) < 0.1


def test_the_cosine_is_of_tokens_and_knows_no_length():
    tokens = torch.randn(5, 4, 6)
    other = torch.randn(5, 4, 6)
    loss, _ = CosineDistance("clip_text")({"clip_text": tokens}, {"clip_text": other}, 0)
    expected = 1 - ((tokens * other).sum(-1) / tokens.norm(dim=-1) / other.norm(dim=-1)).mean()
    torch.testing.assert_close(loss, expected)
    longer, _ = CosineDistance("clip_text")({"clip_text": tokens * 7}, {"clip_text": other}, 0)
    torch.testing.assert_close(longer, loss)


def test_an_encoder_is_read_only_if_one_is_named():
    system = system_class(NAME)
    assert system().checkpoints == ("sd-controlnet-canny", "stable-diffusion-1-5", "vdvae-imagenet64")
    named = system({"checkpoints": {"encoder": "mindvis-hcp-encoder"}})
    assert "mindvis-hcp-encoder" in named.checkpoints


@pytest.mark.parametrize(
    "starts, optional", [(False, ("clip_text", "contour")), (True, ("clip_text", "contour", "first_picture"))]
)
def test_denoising_starts_from_noise_unless_it_is_asked_for(starts, optional):
    settings = with_weights({"starts": starts}, system_class(NAME), "tiny")
    steps = system_class(NAME)(settings).steps(Machine("cpu"))
    assert steps[-1].optional == optional
    assert [step.gives for step in steps[1:]] == [
        ("clip_text",),
        ("vdvae",),
        ("first_picture",),
        ("contour",),
        ("picture",),
    ]


def test_scales_are_the_weights_that_the_generator_is_told():
    settings = with_weights({"contour": {"scale": 0.3}}, system_class(NAME), "tiny")
    drawn = system_class(NAME)(settings).steps(Machine("cpu"))[-1]
    assert drawn.told(frozenset({"clip_text", "contour"}))["weights"] == {"clip_text": 1.0, "contour": 0.3}
    assert drawn.told(frozenset({"clip_text"}))["weights"] == {"clip_text": 1.0, "contour": 0.0}


@pytest.mark.parametrize(
    "settings",
    [
        {"contour": {"quantiles": [0.9, 0.7]}},
        {"contour": {"quantiles": [0.7]}},
        {"contour": {"size": 2}},
        {"contour": {"scale": float("nan")}},
        {"alignment": {"cosine": -1.0}},
        {"alignment": {"epochs": 0}},
    ],
)
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(InputError):
        from_dict(MindLDMSettings, settings)

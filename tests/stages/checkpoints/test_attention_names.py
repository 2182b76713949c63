"""Old names of attention against diffusers' own way with them, and outputs of what is loaded."""

import pytest
import torch
from diffusers import AutoencoderKL
from released_mindeye import OLD_NAMES, random_network, released_latent

from stages.checkpoints.attention_names import with_todays_attention_names
from stages.networks.mindeye import MindEyeLatent

CONFIG = dict(
    down_block_types=["DownEncoderBlock2D"] * 2,
    up_block_types=["UpDecoderBlock2D"] * 2,
    block_out_channels=[32, 32],
    latent_channels=4,
)


def old_named(state):
    for today, old in OLD_NAMES.items():
        state = {name.replace(f".{today}.", f".{old}."): value for name, value in state.items()}
    return state


def test_names_vs_diffusers():
    model = AutoencoderKL(**CONFIG)
    theirs = old_named(model.state_dict())
    ours = with_todays_attention_names(theirs)
    assert any(".query." in name for name in theirs)
    model._fix_state_dict_keys_on_load(theirs)
    assert theirs.keys() == ours.keys() == model.state_dict().keys()
    assert all(torch.equal(ours[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("convolutions", [False, True])
def test_a_network_gives_what_it_gave_under_the_old_names(convolutions):
    sizes = dict(hidden=16, n_blocks=1, map_channels=32, channels=(32, 32))
    network = random_network(MindEyeLatent, 9, {"z": (4, 8, 8)}, sizes)
    released = released_latent(network, convolutions)
    assert "upsampler.mid_block.attentions.0.proj_attn.weight" in released
    assert released["upsampler.mid_block.attentions.0.query.weight"].ndim == (4 if convolutions else 2)
    again = MindEyeLatent(9, {"z": (4, 8, 8)}, **sizes).eval()
    again.load_state_dict(with_todays_attention_names(released))
    patterns = torch.randn(3, 9)
    with torch.inference_mode():
        assert torch.equal(again(patterns)["z"], network(patterns)["z"])


def test_other_layers_of_those_names_stay():
    others = {
        "query.weight": torch.zeros(1),
        "attentions.0.norm.key.bias.x": torch.zeros(1),
        "heads.value.weight": torch.zeros(1),
    }
    assert with_todays_attention_names(others).keys() == others.keys()
    todays = {"mid_block.attentions.0.to_q.weight": torch.zeros(2, 2)}
    assert with_todays_attention_names(todays).keys() == todays.keys()

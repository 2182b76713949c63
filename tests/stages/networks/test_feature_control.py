"""A control branch of feature maps: what it adds before it has learned, what it is trained through, and what stays as it is."""

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from stages.ground.errors import InputError
from stages.networks.feature_control import ControlledDenoiser, branch_config, feature_branch, with_first_half

SIZES = {
    "sample_size": 8,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 2,
    "cross_attention_dim": 8,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
PUBLISHED = {
    "sample_size": 64,
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(**SIZES)


@pytest.fixture
def branch(unet):
    return with_first_half(feature_branch(branch_config(unet)), unet)


@pytest.fixture
def given():
    torch.manual_seed(1)
    return torch.randn(3, 4, 8, 8), torch.tensor([5, 500, 999]), torch.randn(3, 7, 8), torch.randn(3, 8, 8, 8)


def trained(branch):
    """Last convolutions that are no longer zero."""
    with torch.no_grad():
        for layer in (*branch.controlnet_down_blocks, branch.controlnet_mid_block):
            layer.weight.normal_(std=0.3)
    return branch


def test_published_sizes_in_outline():
    with torch.device("meta"):
        unet = UNet2DConditionModel(**PUBLISHED)
        branch = feature_branch(branch_config(unet))
        whole = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
    assert sum(one.numel() for one in unet.parameters()) == 865_910_724
    first_half = (unet.conv_in, unet.time_embedding, unet.down_blocks, unet.mid_block)
    copied = sum(one.numel() for part in first_half for one in part.parameters())
    channels = [320] * 4 + [640] * 3 + [1280] * 5 + [1280]
    zero = sum(one**2 + one for one in channels)
    assert sum(one.numel() for one in branch.parameters()) == copied + zero == 363_141_760
    # diffusers' own has an encoder of hints beside that.
    hints = sum(one.numel() for one in whole.controlnet_cond_embedding.parameters())
    assert sum(one.numel() for one in whole.parameters()) == 363_141_760 + hints
    with torch.device("meta"):
        noisy, tokens, hint = torch.empty(1, 4, 64, 64), torch.empty(1, 77, 1024), torch.empty(1, 320, 64, 64)
        down, middle = branch(noisy, torch.empty(1, dtype=torch.long), tokens, hint, return_dict=False)
    assert len([*down, middle]) == 13 and [one.shape[1] for one in (*down, middle)] == channels


def test_an_untrained_branch_changes_no_bit_of_what_the_unet_predicts(unet, branch, given):
    noisy, timesteps, tokens, hint = given
    with torch.no_grad():
        alone = unet(noisy, timesteps, tokens).sample
        assert torch.equal(ControlledDenoiser(unet, branch)(noisy, timesteps, tokens, hint), alone)
        steered = ControlledDenoiser(unet, trained(branch))(noisy, timesteps, tokens, hint)
    assert not torch.allclose(steered, alone, atol=1e-3)


def test_residuals_vs_diffusers_own_with_an_encoder_of_hints(unet, branch, given):
    """The map stands where the encoder's output stands."""
    noisy, timesteps, tokens, hint = given
    other = ControlNetModel.from_config(branch.config)
    other.load_state_dict(trained(branch).state_dict(), strict=False)
    other.controlnet_cond_embedding.forward = lambda given: hint
    theirs = other(noisy, timesteps, tokens, None, return_dict=False)
    ours = branch(noisy, timesteps, tokens, hint, return_dict=False)
    for one, another in zip((*ours[0], ours[1]), (*theirs[0], theirs[1])):
        assert torch.equal(one, another)


def test_the_first_step_reaches_the_zero_convolutions_and_leaves_the_unet_to_the_byte(unet, branch, given):
    noisy, timesteps, tokens, hint = given
    tokens = tokens.requires_grad_()
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    optimiser = torch.optim.AdamW([*branch.parameters()], 1e-2)
    for _ in range(2):
        found = ControlledDenoiser(unet, branch)(noisy, timesteps, tokens, hint)
        (found - torch.randn_like(found)).square().mean().backward()
        for layer in (*branch.controlnet_down_blocks, branch.controlnet_mid_block):
            assert layer.weight.grad.abs().max() > 0
        optimiser.step()
    assert tokens.grad.abs().max() > 0
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())
    assert all(one.grad is None for one in unet.parameters())


def test_gradients_are_those_of_a_first_half_that_is_run_without_any(unet, branch, given):
    """As the authors run it: the first half under no_grad, by the blocks' own outputs."""
    noisy, timesteps, tokens, hint = given
    trained(branch)

    def gradients(predict):
        context = tokens.clone().requires_grad_()
        predict(context).square().mean().backward()
        found = [context.grad, *(one.grad.clone() for one in branch.parameters() if one.grad is not None)]
        branch.zero_grad()
        return found

    def by_hand(context):
        down, middle = branch(noisy, timesteps, context, hint, return_dict=False)
        with torch.no_grad():
            time = unet.time_embedding(unet.time_proj(timesteps))
            hidden = unet.conv_in(noisy)
            skips = [hidden]
            for block in unet.down_blocks:
                more = {"encoder_hidden_states": context} if getattr(block, "has_cross_attention", False) else {}
                hidden, passed = block(hidden_states=hidden, temb=time, **more)
                skips += passed
            hidden = unet.mid_block(hidden, time, encoder_hidden_states=context)
        hidden = hidden + middle
        skips = [skip + one for skip, one in zip(skips, down)]
        for block in unet.up_blocks:
            n = len(block.resnets)
            own, skips = skips[-n:], skips[:-n]
            more = {"encoder_hidden_states": context} if getattr(block, "has_cross_attention", False) else {}
            hidden = block(hidden_states=hidden, temb=time, res_hidden_states_tuple=tuple(own), **more)
        return unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))

    denoiser = ControlledDenoiser(unet, branch)
    ours = gradients(lambda context: denoiser(noisy, timesteps, context, hint))
    for one, another in zip(ours, gradients(by_hand), strict=True):
        torch.testing.assert_close(one, another)
    whole = ControlledDenoiser(unet, branch, first_half="with gradient")
    other = gradients(lambda context: whole(noisy, timesteps, context, hint))
    assert not torch.allclose(other[0], ours[0], rtol=1e-3)
    # Nothing stays behind in the UNet.
    assert not any(block._forward_pre_hooks for block in (*unet.down_blocks, unet.mid_block))


def test_a_branch_of_another_unet_is_refused(branch):
    other = UNet2DConditionModel(**{**SIZES, "block_out_channels": (8, 24)})
    with pytest.raises(InputError, match=r"down_blocks\.1.*of shape"):
        with_first_half(branch, other)

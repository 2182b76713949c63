"""MinD-Vis' second way in: what brain tokens add to the time."""

import torch
from diffusers import UNet2DConditionModel
from single_files import CLASS_WIDTH, CLASSES_UNET_CONFIG

from stages.networks.time_mapper import TimeMapper
from stages.networks.token_denoiser import TokenDenoiser

N_TOKENS, ADDED = 6, 64


def unet():
    torch.manual_seed(0)
    return UNet2DConditionModel.from_config(CLASSES_UNET_CONFIG).eval()


def request():
    random = torch.Generator().manual_seed(1)
    noisy, context = (torch.randn(2, *shape, generator=random) for shape in ((3, 8, 8), (N_TOKENS, CLASS_WIDTH)))
    return noisy, torch.tensor([3, 700]), context


def test_it_vs_the_products_written_out():
    mapper, (_, _, context) = TimeMapper(N_TOKENS, CLASS_WIDTH, ADDED), request()
    first, second, last = mapper.time_embed_condtion
    tokens = torch.einsum("mn,bnw->bmw", first.weight[..., 0], context) + first.bias[:, None]
    token = torch.einsum("n,bnw->bw", second.weight[0, :, 0], tokens) + second.bias
    torch.testing.assert_close(mapper(context), token @ last.weight.T + last.bias)


def test_sizes_and_names_are_the_published_ones():
    mapper = TimeMapper()
    shapes = {name: tuple(value.shape) for name, value in mapper.state_dict().items()}
    part = "time_embed_condtion"
    assert shapes == {
        **{f"{part}.0.weight": (38, 77, 1), f"{part}.0.bias": (38,)},
        **{f"{part}.1.weight": (1, 38, 1), f"{part}.1.bias": (1,)},
        **{f"{part}.2.weight": (768, 512), f"{part}.2.bias": (768,)},
    }
    assert list(TimeMapper(n_tokens=1).state_dict()) == [f"{part}.weight", f"{part}.bias"]
    assert TimeMapper(n_tokens=1)(torch.zeros(2, 1, 512)).shape == (2, 768)


def test_a_mapper_of_zeros_leaves_the_network_of_classes():
    mapper, network = TimeMapper(N_TOKENS, CLASS_WIDTH, ADDED), unet()
    for parameter in mapper.parameters():
        torch.nn.init.zeros_(parameter)
    noisy, timesteps, context = request()
    config = {name: value for name, value in CLASSES_UNET_CONFIG.items() if name != "class_embed_type"}
    plain = UNet2DConditionModel.from_config(config).eval()
    plain.load_state_dict(network.state_dict())
    expected = plain(noisy, timesteps, context).sample
    for denoiser in (TokenDenoiser(network, mapper), TokenDenoiser(network, width=ADDED)):
        assert torch.equal(denoiser(noisy, timesteps, context), expected)


def test_the_time_is_a_way_in_without_cross_attention():
    network, (noisy, timesteps, context) = unet(), request()
    for name, parameter in network.named_parameters():
        if "attn2.to_out" in name:
            torch.nn.init.zeros_(parameter)
    plain = TokenDenoiser(network, width=ADDED)
    assert torch.equal(plain(noisy, timesteps, context), plain(noisy, timesteps, -context))
    double = TokenDenoiser(network, TimeMapper(N_TOKENS, CLASS_WIDTH, ADDED))
    assert (double(noisy, timesteps, context) - double(noisy, timesteps, -context)).abs().max() > 1e-3

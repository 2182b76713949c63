"""The text flow against diffusers' own flat network, and what it shares with the image flow."""

import json

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import UNetFlatConditionModel
from random_checkpoints import save_versatile_diffusion
from safetensors.torch import load_file, save_file

from stages.networks.dual_context_unet import DualContextUNet2DConditionModel
from stages.networks.text_flow import FlatBlock, TextFlow, load_text_flow
from stages.networks.versatile_diffusion_unet import load_versatile_diffusion_unet, text_flow_tensors
from weights.manifest import CheckpointError

TOKENS, WIDTH = (5, 7), 16
FILE = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The tiny folder; its two flows embed time alike, as the published ones do."""
    folder = save_versatile_diffusion(tmp_path_factory.mktemp("published") / "vd")
    image, text = (load_file(folder / name / FILE) for name in ("image_unet", "text_unet"))
    random = torch.Generator().manual_seed(3)
    for name, value in text.items():
        if name.startswith("time_embedding"):
            text[name] = image[name]
        elif name.startswith(("conv_", "mid_block.resnets")) and value.ndim < 2:
            text[name] = torch.randn(value.shape, generator=random)
    save_file(text, folder / "text_unet" / FILE, metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def unet(published):
    return load_versatile_diffusion_unet(published, *TOKENS)


@pytest.fixture(scope="module")
def flow(published, unet):
    return load_text_flow(published, unet)


def inputs(n=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n, WIDTH, 1, 1, generator=random),
        torch.tensor([981, 21, 401])[:n],
        torch.randn(n, TOKENS[0], WIDTH, generator=random),
        torch.randn(n, TOKENS[1], WIDTH, generator=random),
    )


@torch.no_grad()
def predicted(flow, sample, timesteps, image, text, weights):
    weights = torch.tensor([weights], dtype=torch.float32).expand(len(sample), 2)
    tokens = torch.cat([image, text], dim=1)
    return flow(sample, timesteps, tokens, cross_attention_kwargs={"context_weights": weights})[0]


def test_under_the_text_context_vs_diffusers_flat_network(published, flow):
    sample, timesteps, image, text = inputs()
    own = UNetFlatConditionModel.from_pretrained(published / "text_unet").eval()
    with torch.no_grad():
        expected = own(sample, timesteps, text).sample
    found = predicted(flow, sample, timesteps, image, text, (0.0, 1.0))
    assert found.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_under_the_image_context_vs_the_flat_network_with_the_image_flows_transformers(published, flow):
    sample, timesteps, image, text = inputs()
    own = UNetFlatConditionModel.from_pretrained(published / "text_unet").eval()
    lent = UNet2DConditionModel.from_pretrained(published / "image_unet").state_dict()
    own.load_state_dict(own.state_dict() | {name: value for name, value in lent.items() if ".attentions." in name})
    with torch.no_grad():
        expected = own(sample, timesteps, image).sample
    found = predicted(flow, sample, timesteps, image, text, (1.0, 0.0))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_context_without_weight_is_not_heeded_and_one_with_weight_is(flow):
    sample, timesteps, image, text = inputs()
    alone = predicted(flow, sample, timesteps, image, text, (1.0, 0.0))
    assert torch.equal(alone, predicted(flow, sample, timesteps, image, text.flip(0), (1.0, 0.0)))
    mixed = predicted(flow, sample, timesteps, image, text, (0.9, 0.1))
    assert (mixed - alone).abs().max() > 1e-4
    assert (mixed - predicted(flow, sample, timesteps, image, text.flip(0), (0.9, 0.1))).abs().max() > 1e-4


def test_each_context_has_its_own_transformers_whatever_the_order_of_the_sum(flow):
    """h + w1 (T1 h − h) + w2 (T2 h − h), written out for one transformer, in both orders."""
    context = flow.contexts[0]
    random = torch.Generator().manual_seed(1)
    channels = context.transformers[0].config.in_channels
    hidden = torch.randn(2, channels, 4, 1, generator=random)
    image, text = (torch.randn(2, n, WIDTH, generator=random) for n in TOKENS)
    with torch.no_grad():
        one, other = (
            network(hidden, encoder_hidden_states=tokens, return_dict=False)[0] - hidden
            for network, tokens in zip(context.transformers, (image, text))
        )
        weights = {"context_weights": torch.tensor([[0.9, 0.1]] * 2)}
        found = context(hidden, torch.cat([image, text], dim=1), cross_attention_kwargs=weights)[0]
    torch.testing.assert_close(found, hidden + 0.9 * one + 0.1 * other)
    torch.testing.assert_close(found, hidden + 0.1 * other + 0.9 * one)


def test_the_transformers_and_the_time_are_the_image_flows_own_objects(flow, unet):
    blocks = (*unet.down_blocks, unet.mid_block, *unet.up_blocks)
    own = [one for block in blocks for one in getattr(block, "attentions", [])]
    assert len(own) == len(flow.contexts) == 4
    assert all(one is other for one, other in zip(flow.contexts, own))
    assert flow.time_embedding is unet.time_embedding
    assert not any(".attentions." in name or name.startswith("time") for name in flow.own_tensors())


def test_before_training_it_predicts_nothing_for_any_length_of_context():
    sizes = dict(sample_size=8, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1)
    blocks = dict(
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")
    )
    for tokens in (TOKENS, (1, 1), (9, 2)):
        counts = dict(image_context_tokens=tokens[0], text_context_tokens=tokens[1])
        unet = DualContextUNet2DConditionModel(
            **sizes, **blocks, **counts, attention_head_dim=2, cross_attention_dim=WIDTH
        )
        sample, timesteps = inputs()[:2]
        contexts = (torch.randn(3, n, WIDTH) for n in tokens)
        found = predicted(TextFlow(unet, WIDTH), sample, timesteps, *contexts, (0.6, 0.4))
        assert found.shape == (3, WIDTH, 1, 1) and not found.any()


def test_a_map_may_have_other_places_and_the_folder_says_so(published, unet, tmp_path):
    torch.manual_seed(0)
    block = FlatBlock(8, 12, time=6, groups=4, eps=1e-5, places=1)
    torch.nn.init.normal_(block.conv2.weight)
    hidden, time, silu = torch.randn(3, 8), torch.randn(3, 6), torch.nn.functional.silu
    matrices = [getattr(block, name) for name in ("conv1", "conv2", "conv_shortcut")]
    first, second, kept = (lambda x, layer=layer: x @ layer.weight[:, :, 0, 0].T + layer.bias for layer in matrices)
    inner = first(silu(block.norm1(hidden))) + block.time_emb_proj(silu(time))
    expected = kept(hidden) + second(silu(block.norm2(inner)))
    torch.testing.assert_close(block(hidden[:, :, None, None], time)[:, :, 0, 0], expected, atol=1e-5, rtol=1e-5)

    flow = TextFlow(unet, WIDTH, places=1)
    torch.nn.init.normal_(flow.conv_out.weight)
    folder = tmp_path / "text_unet"
    folder.mkdir()
    config = json.loads((published / "text_unet" / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"flat_places": 1}))
    save_file(flow.own_tensors(), folder / FILE, metadata={"format": "pt"})
    read = load_text_flow(tmp_path, unet)
    assert read.conv_in.out_features == unet.conv_in.out_channels
    assert torch.equal(predicted(read, *inputs(), (0.6, 0.4)), predicted(flow, *inputs(), (0.6, 0.4)))
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="conv_in"):
        load_text_flow(tmp_path, unet)


def test_a_row_does_not_depend_on_its_neighbours(flow):
    sample, timesteps, image, text = inputs()
    together = predicted(flow, sample, timesteps, image, text, (0.6, 0.4))
    alone = predicted(flow, sample[1:2], timesteps[1:2], image[1:2], text[1:2], (0.6, 0.4))
    torch.testing.assert_close(alone[0], together[1], atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_names_and_shapes_at_full_size():
    blocks = dict(
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    )
    with torch.device("meta"):
        unet = DualContextUNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8, **blocks)
        own = TextFlow(unet).own_tensors()
    widths = {"in_channels": (768, 1, 1), "out_channels": (768, 1, 1)}
    published = {
        name: tuple(value.shape)
        for name, value in text_flow_tensors(unet.state_dict(), widths).items()
        if ".attentions." not in name and not name.startswith("time_embedding")
    }
    assert {name: tuple(value.shape) for name, value in own.items()} == published
    # 1,708,848,448 of the whole published file, less its transformers and its embedding of time.
    assert sum(value.numel() for value in own.values()) == 1_708_848_448 - 267_239_360 - 2_050_560
    assert len(unet.state_dict()) and len(TextFlow(unet).contexts) == 16


def test_a_file_without_transformers_is_as_good_and_others_are_named(published, unet, flow, tmp_path):
    tensors = load_file(published / "text_unet" / FILE)
    (tmp_path / "text_unet").mkdir()
    (tmp_path / "text_unet" / "config.json").write_bytes((published / "text_unet" / "config.json").read_bytes())
    path = tmp_path / "text_unet" / FILE
    kept = {name: value for name, value in tensors.items() if ".attentions." not in name}
    save_file(kept, path, metadata={"format": "pt"})
    again = load_text_flow(tmp_path, unet)
    assert all(torch.equal(value, again.own_tensors()[name]) for name, value in flow.own_tensors().items())
    save_file({name: value for name, value in kept.items() if name != "conv_out.bias"}, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"the text flow .*missing: conv_out\.bias"):
        load_text_flow(tmp_path, unet)
    save_file(kept | {"mystery": torch.ones(2)}, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="unexpected: mystery"):
        load_text_flow(tmp_path, unet)

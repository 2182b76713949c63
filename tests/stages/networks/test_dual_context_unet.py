"""The dual-context UNet, held against diffusers' one-context UNet and against its layout of published weights."""

import copy
import json
import logging

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.transformers.dual_transformer_2d import DualTransformer2DModel
from safetensors.torch import load_file, save_file

from stages.ground.errors import InputError
from stages.networks.dual_context_unet import DualContextTransformer, DualContextUNet2DConditionModel
from weights.store import CheckpointError

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
IMAGE_TOKENS, TEXT_TOKENS, WIDTH = 5, 3, 16
SHARED = dict(
    sample_size=8,
    in_channels=4,
    out_channels=4,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    block_out_channels=(16, 32),
    layers_per_block=1,
    norm_num_groups=8,
    cross_attention_dim=WIDTH,
    attention_head_dim=2,
)


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return DualContextUNet2DConditionModel(
        **SHARED, image_context_tokens=IMAGE_TOKENS, text_context_tokens=TEXT_TOKENS
    ).eval()


@pytest.fixture(scope="module")
def rows():
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(4, 4, 8, 8, generator=generator),
        torch.tensor([3, 250, 700, 999]),
        torch.randn(4, IMAGE_TOKENS + TEXT_TOKENS, WIDTH, generator=generator),
    )


def run(unet, rows, weights, **options):
    sample, timesteps, contexts = rows
    weights = torch.as_tensor(weights, dtype=torch.float32).expand(len(sample), 2)
    with torch.no_grad():
        return unet(sample, timesteps, contexts, cross_attention_kwargs={"context_weights": weights}, **options).sample


def one_context(unet, context):
    """diffusers' own UNet with the transformers of one context copied into it."""
    state = {}
    for name, tensor in unet.state_dict().items():
        if ".transformers." not in name:
            state[name] = tensor
        elif f".transformers.{context}." in name:
            state[name.replace(f".transformers.{context}", "")] = tensor
    plain = UNet2DConditionModel(**SHARED).eval()
    plain.load_state_dict(state)
    return plain


def test_code_of_the_place_vs_first_convolution_by_hand(unet, rows):
    """A code that is the same everywhere is a bias; another one is not."""
    positioned = DualContextUNet2DConditionModel(
        **SHARED, image_context_tokens=IMAGE_TOKENS, text_context_tokens=TEXT_TOKENS, position_embedding=True
    ).eval()
    codes = {
        "conv_in.position": torch.zeros(16, 8, 8),
        "token_position": torch.zeros(IMAGE_TOKENS + TEXT_TOKENS, WIDTH),
    }
    assert set(positioned.state_dict()) - set(unet.state_dict()) == set(codes)
    positioned.load_state_dict(unet.state_dict() | codes)
    torch.testing.assert_close(run(positioned, rows, (0.6, 0.4)), run(unet, rows, (0.6, 0.4)))
    biased, change = copy.deepcopy(unet), torch.linspace(-1, 1, 16)
    with torch.no_grad():
        biased.conv_in.bias += change
        positioned.conv_in.position += change[:, None, None]
    torch.testing.assert_close(run(positioned, rows, (0.6, 0.4)), run(biased, rows, (0.6, 0.4)))
    sample, timesteps, contexts = rows
    with torch.no_grad():
        positioned.token_position += torch.linspace(-1, 1, WIDTH)
    shifted = (sample, timesteps, contexts + torch.linspace(-1, 1, WIDTH))
    torch.testing.assert_close(run(positioned, rows, (0.6, 0.4)), run(biased, shifted, (0.6, 0.4)))
    with torch.no_grad():
        positioned.token_position.zero_()
        positioned.conv_in.position[:, 0, 0] += 3
    assert not torch.allclose(run(positioned, rows, (0.6, 0.4)), run(biased, rows, (0.6, 0.4)), atol=1e-3)


def test_code_of_the_place_fits_one_size_of_map(rows):
    positioned = DualContextUNet2DConditionModel(
        **SHARED, image_context_tokens=IMAGE_TOKENS, text_context_tokens=TEXT_TOKENS, position_embedding=True
    ).eval()
    sample, timesteps, contexts = rows
    with pytest.raises(InputError, match="16 x 16.*8 x 8"):
        run(positioned, (torch.randn(4, 4, 16, 16), timesteps, contexts), (0.6, 0.4))


@pytest.mark.parametrize(
    "weights, context, tokens",
    [((1, 0), 0, slice(0, IMAGE_TOKENS)), ((0, 1), 1, slice(IMAGE_TOKENS, None))],
    ids=["image", "text"],
)
def test_one_context_vs_diffusers_unet(unet, rows, weights, context, tokens):
    sample, timesteps, contexts = rows
    with torch.no_grad():
        expected = one_context(unet, context)(sample, timesteps, contexts[:, tokens]).sample
    torch.testing.assert_close(run(unet, rows, weights), expected, atol=1e-5, rtol=1e-5)


def test_block_vs_formula(unet, rows):
    block = unet.mid_block.attentions[0]
    hidden = torch.randn(4, 32, 4, 4, generator=torch.Generator().manual_seed(2))
    image, text = rows[2].split([IMAGE_TOKENS, TEXT_TOKENS], dim=1)
    weights = torch.tensor([[0.6, 0.4], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    with torch.no_grad():
        mixed = block(hidden, rows[2], cross_attention_kwargs={"context_weights": weights})[0]
        expected = hidden.clone()
        for row in range(4):
            for transformer, context, weight in zip(block.transformers, (image, text), weights[row]):
                one = hidden[row : row + 1]
                update = transformer(one, encoder_hidden_states=context[row : row + 1]).sample - one
                expected[row] += weight * update[0]
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=1e-5)


def test_block_is_linear_in_the_weights(unet, rows):
    block = unet.mid_block.attentions[0]
    hidden = torch.randn(4, 32, 4, 4, generator=torch.Generator().manual_seed(3))

    def mixed(image, text):
        weights = torch.tensor([[image, text]]).expand(4, 2)
        with torch.no_grad():
            return block(hidden, rows[2], cross_attention_kwargs={"context_weights": weights})[0] - hidden

    torch.testing.assert_close(mixed(0.7, -0.2), 0.7 * mixed(1.0, 0.0) - 0.2 * mixed(0.0, 1.0), atol=1e-5, rtol=1e-5)


def test_rows_of_different_conditions_share_a_batch(unet, rows):
    weights = torch.tensor([[0.6, 0.4], [1.0, 0.0], [0.0, 1.0], [0.2, 0.3]])
    together = run(unet, rows, weights)
    for row in range(4):
        alone = run(unet, tuple(part[row : row + 1] for part in rows), weights[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-5)


def test_training_mode_computes_the_same(unet, rows):
    weights = torch.tensor([[0.6, 0.4], [1.0, 0.0], [0.0, 1.0], [0.2, 0.3]])
    training = copy.deepcopy(unet).train()
    torch.testing.assert_close(run(training, rows, weights), run(unet, rows, weights), atol=1e-5, rtol=1e-5)


def test_masked_tokens_do_not_matter(unet, rows):
    sample, timesteps, contexts = rows
    mask = torch.ones(4, IMAGE_TOKENS + TEXT_TOKENS)
    mask[:, 2] = mask[:, IMAGE_TOKENS] = 0
    changed = contexts.clone()
    changed[:, [2, IMAGE_TOKENS]] += 10
    first = run(unet, rows, (0.6, 0.4), encoder_attention_mask=mask)
    second = run(unet, (sample, timesteps, changed), (0.6, 0.4), encoder_attention_mask=mask)
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)
    assert (run(unet, (sample, timesteps, changed), (0.6, 0.4)) - first).abs().max() > 1e-3


def test_key_names_vs_dual_transformer_of_diffusers(unet):
    """diffusers' own dual network, which cannot run, stores its weights under the same names."""
    published = UNet2DConditionModel(**SHARED, dual_cross_attention=True)
    assert any(isinstance(module, DualTransformer2DModel) for module in published.modules())
    ours, theirs = unet.state_dict(), published.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(ours[name].shape == theirs[name].shape for name in ours)
    assert "down_blocks.0.attentions.0.transformers.1.transformer_blocks.0.attn2.to_k.weight" in ours


def test_published_folder_loads_key_for_key(tmp_path, rows):
    published = UNet2DConditionModel(**SHARED, dual_cross_attention=True)
    published.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"image_context_tokens": IMAGE_TOKENS, "text_context_tokens": TEXT_TOKENS}
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = DualContextUNet2DConditionModel.from_pretrained(tmp_path)
    for name, tensor in published.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert run(loaded, rows, (0.6, 0.4)).isfinite().all()


def test_every_transformer_has_two_contexts(unet):
    blocks = [module for module in unet.modules() if isinstance(module, DualContextTransformer)]
    assert len(blocks) == 4
    for block in blocks:
        first, second = (dict(transformer.named_parameters()) for transformer in block.transformers)
        assert {n: p.shape for n, p in first.items()} == {n: p.shape for n, p in second.items()}
        assert first["proj_in.weight"].data_ptr() != second["proj_in.weight"].data_ptr()


def test_round_trip_keeps_configuration_and_weights(unet, rows, tmp_path, caplog):
    unet.save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        loaded = DualContextUNet2DConditionModel.from_pretrained(tmp_path)
    assert not caplog.records, "a saved configuration reloads without a remark"
    assert torch.equal(run(loaded, rows, (0.6, 0.4)), run(unet, rows, (0.6, 0.4)))
    ours, theirs = (
        {name: value for name, value in model.config.items() if not name.startswith("_")} for model in (unet, loaded)
    )
    assert json.dumps(ours, sort_keys=True) == json.dumps(theirs, sort_keys=True)
    assert str(tmp_path) not in json.dumps(loaded.config), "no folder of this machine in a checkpoint"


def test_half_precision_files_are_computed_in_float32(unet, tmp_path):
    copy.deepcopy(unet).half().save_pretrained(tmp_path)
    assert load_file(tmp_path / WEIGHTS_FILE)["conv_in.weight"].dtype == torch.float16
    loaded = DualContextUNet2DConditionModel.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert not loaded.training


@pytest.mark.parametrize("trouble", ["missing", "unexpected", "misshapen"])
def test_tensors_that_do_not_fit_are_refused_by_name(unet, tmp_path, trouble):
    unet.save_pretrained(tmp_path)
    state = load_file(tmp_path / WEIGHTS_FILE)
    name = "mid_block.attentions.0.transformers.1.norm.weight"
    if trouble == "missing":
        del state[name]
    elif trouble == "unexpected":
        name = "mid_block.attentions.0.transformers.2.norm.weight"
        state[name] = torch.zeros(3)
    else:
        state[name] = state[name][:-1].clone()
    save_file(state, tmp_path / WEIGHTS_FILE)
    with pytest.raises(CheckpointError, match=f"{trouble}: {name}") as caught:
        DualContextUNet2DConditionModel.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_another_network_is_refused(tmp_path):
    UNet2DConditionModel(**SHARED).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="missing: .*transformers"):
        DualContextUNet2DConditionModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("weights", [None, torch.ones(3, 2), torch.ones(4, 3)], ids=["none", "rows", "columns"])
def test_weights_must_fit(unet, rows, weights):
    options = {} if weights is None else {"cross_attention_kwargs": {"context_weights": weights}}
    with pytest.raises(InputError, match="context_weights"):
        unet(*rows, **options)


def test_contexts_must_fit(unet, rows):
    sample, timesteps, contexts = rows
    with pytest.raises(InputError, match="5 image tokens followed by 3 text tokens"):
        run(unet, (sample, timesteps, contexts[:, 1:]), (0.6, 0.4))

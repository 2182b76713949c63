"""The masked autoencoder of responses: what it reads and what its loss looks at, its names and sizes, its files."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stages.ground.errors import InputError
from stages.networks.brain_transformer import resampled, waves
from stages.networks.masked_brain import (
    BrainEncoder,
    MaskedBrainAutoencoder,
    load_brain_encoder,
    load_masked_brain,
    put_encoder,
)
from weights.conversion import convert
from weights.manifest import CheckpointError
from weights.store import entry

SIZES = {"width": 32, "depth": 2, "n_heads": 4, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
ENCODER = {name: SIZES[name] for name in ("width", "depth", "n_heads")}


def autoencoder(n_voxels=200, **more):
    torch.manual_seed(0)
    return MaskedBrainAutoencoder(n_voxels, **SIZES | more).eval()


def written_out(network, patterns):
    """The encoder's tokens by torch's own functions."""
    padded = torch.cat([patterns, patterns[:, : network.n_patches * 16 - patterns.shape[1]]], dim=1)
    weight, bias = network.patch_embed["proj"].weight[:, 0], network.patch_embed["proj"].bias
    tokens = padded.reshape(len(patterns), -1, 16) @ weight.T + bias + waves(network.n_patches, 32)
    tokens = torch.cat([network.cls_token.expand(len(patterns), -1, -1), tokens], dim=1)
    for block in network.blocks:
        attention = nn.MultiheadAttention(32, 4, batch_first=True)
        state = {"in_proj_weight": block.attn.qkv.weight, "in_proj_bias": block.attn.qkv.bias}
        state |= {"out_proj.weight": block.attn.proj.weight, "out_proj.bias": block.attn.proj.bias}
        attention.load_state_dict(state)
        first = block.norm1(tokens)
        tokens = tokens + attention(first, first, first)[0]
        hidden = nn.functional.gelu(block.mlp.fc1(block.norm2(tokens)))
        tokens = tokens + block.mlp.fc2(hidden)
    return network.norm(tokens)


def test_what_is_encoded_is_a_transformer_over_patches():
    network, patterns = autoencoder(), torch.randn(3, 200)
    expected = written_out(network, patterns)[:, 1:]
    assert torch.allclose(network.encode(patterns), expected, atol=1e-5)
    pooled = network.encode(patterns, pooled=True)
    assert pooled.shape == (3, 1, 32)


def test_the_class_token_is_read_by_the_others_but_not_given():
    network, patterns = autoencoder(), torch.randn(2, 200)
    assert network.encode(patterns).shape == (2, network.n_patches, 32)
    # Without blocks nothing mixes, and the tokens do not depend on it.
    flat = autoencoder(depth=1)
    flat.blocks = nn.ModuleList()
    before = flat.encode(patterns)
    nn.init.normal_(flat.cls_token)
    assert torch.equal(flat.encode(patterns), before)


def test_the_loss_is_that_of_masked_patches_alone():
    network, patterns = autoencoder(), torch.randn(4, 200)
    order = torch.stack([torch.randperm(network.n_patches) for _ in range(4)])
    loss, predicted, masked = network(patterns, order)
    n_kept = int(network.n_patches * 0.25)
    assert masked.sum(dim=1).tolist() == [network.n_patches - n_kept] * 4
    errors = (predicted - network.patches(patterns)).square().mean(dim=-1)
    assert loss.item() == pytest.approx(errors[masked].mean().item(), rel=1e-5)
    # Were kept patches told otherwise, the loss would not know; off by d, it is d^2.
    told = network.patches(patterns) + torch.where(masked, 0.5, 7.0)[..., None]
    network._decoded = lambda tokens, order: told
    assert network(patterns, order)[0].item() == pytest.approx(0.25, rel=1e-4)


def test_what_is_masked_is_not_seen():
    network, patterns = autoencoder(), torch.randn(2, 200)
    order = torch.arange(network.n_patches).expand(2, -1)
    _, predicted, masked = network(patterns, order)
    changed = patterns.clone()
    # The last patch has the first voxels behind its own, which are kept.
    changed[:, int(network.n_patches * 0.25) * 16 :] += 5
    assert torch.equal(network(changed, order)[1], predicted)


def test_the_decoder_sees_each_token_at_its_place():
    """Whatever the order of what is kept and of what is masked, the same is predicted."""
    network, patterns = autoencoder(), torch.randn(1, 200)
    order = torch.randperm(network.n_patches)[None]
    n_kept = int(network.n_patches * 0.25)
    other = torch.cat([order[:, :n_kept].flip(1), order[:, n_kept:].flip(1)], dim=1)
    assert torch.allclose(network(patterns, order)[1], network(patterns, other)[1], atol=1e-5)


def test_places_are_not_trained_and_weights_begin_as_published():
    network = autoencoder(n_voxels=1000)
    fixed = {name for name, one in network.named_parameters() if not one.requires_grad}
    assert fixed == {"pos_embed", "decoder_pos_embed"}
    proj = network.patch_embed["proj"]
    assert proj.weight.std().item() == pytest.approx(0.02, rel=0.15) and not proj.bias.any()
    assert 0 < network.cls_token.std() < 0.05 and 0 < network.mask_token.std() < 0.05


def test_parameters_and_names_at_published_sizes():
    with torch.device("meta"):
        network = MaskedBrainAutoencoder(4643)
    count = lambda one: sum(parameter.numel() for parameter in one.parameters())  # noqa: E731
    assert network.n_patches == 291
    assert {count(block) for block in network.blocks} == {6_301_696} and len(network.blocks) == 24
    assert {count(block) for block in network.decoder_blocks} == {1_577_984} and len(network.decoder_blocks) == 8
    block = [
        f"{layer}.{kind}"
        for layer in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
        for kind in ("weight", "bias")
    ]
    names = {"cls_token", "pos_embed", "mask_token", "decoder_pos_embed"}
    for layer in ("patch_embed.proj", "norm", "decoder_embed", "decoder_norm", "decoder_pred"):
        names |= {f"{layer}.weight", f"{layer}.bias"}
    names |= {f"blocks.{i}.{name}" for i in range(24) for name in block}
    names |= {f"decoder_blocks.{i}.{name}" for i in range(8) for name in block}
    assert set(network.state_dict()) == names
    shapes = {name: tuple(one.shape) for name, one in network.state_dict().items()}
    assert shapes["patch_embed.proj.weight"] == (1024, 1, 16) and shapes["pos_embed"] == (1, 292, 1024)
    assert shapes["decoder_pos_embed"] == (1, 292, 512) and shapes["decoder_pred.weight"] == (16, 512)
    trained = sum(one.numel() for one in network.parameters() if one.requires_grad)
    assert entry("mindvis-hcp-encoder").reckoned_size == 4 * (count(network) + 2 * trained)


# Files


def settings_of_its_authors():
    """An object of a class that is not here, as its authors' file has one."""
    kind = type("Config_MBM_fMRI", (), {"__module__": "config"})
    made = kind()
    made.lr, made.seed = 2.5e-4, 2022
    return made


@pytest.fixture
def released(tmp_path, monkeypatch):
    """A file as its authors save it, small: weights beside the state of their training; and what is in it."""
    import sys
    from types import ModuleType

    network, module = autoencoder(), ModuleType("config")
    settings = settings_of_its_authors()
    module.Config_MBM_fMRI = type(settings)
    monkeypatch.setitem(sys.modules, "config", module)
    content = {"model": network.state_dict(), "optimizer": {"state": {}, "param_groups": []}, "epoch": 499}
    torch.save({**content, "scaler": {"scale": 65536.0}, "config": settings}, tmp_path / "fmri_encoder.pth")
    monkeypatch.delitem(sys.modules, "config")
    folder = tmp_path / "encoder"
    folder.mkdir()
    (file,) = entry("mindvis-hcp-encoder").files
    convert(tmp_path / "fmri_encoder.pth", folder / file.converted, entry=file.entry)
    return folder, network


def test_the_authors_file_is_read_by_its_names(released):
    folder, network = released
    # Its sizes are not the published ones.
    (folder / "config.json").write_text(json.dumps({"sizes": SIZES}))
    found = load_masked_brain(folder, None)
    assert found.n_patches == network.n_patches
    assert all(torch.equal(one, network.state_dict()[name]) for name, one in found.state_dict().items())
    patterns = torch.randn(2, 200)
    encoder = load_brain_encoder(folder, 200)
    assert type(encoder) is BrainEncoder and torch.equal(encoder.encode(patterns), network.encode(patterns))


def test_places_are_resampled_to_other_voxels(released):
    folder, network = released
    (folder / "config.json").write_text(json.dumps({"sizes": SIZES}))
    encoder = load_brain_encoder(folder, 500)
    assert encoder.n_patches == 32 and torch.equal(encoder.pos_embed, resampled(network.pos_embed, 32))
    assert torch.equal(load_masked_brain(folder, 500).decoder_pos_embed, resampled(network.decoder_pos_embed, 32))
    other = BrainEncoder(500, **ENCODER)
    put_encoder(other, network)
    assert torch.equal(other.encode(torch.ones(1, 500)), encoder.encode(torch.ones(1, 500)))


def test_a_file_of_other_sizes_is_refused(released):
    folder, _ = released
    with pytest.raises(CheckpointError, match="missing: blocks.10.attn.proj.bias") as caught:
        load_brain_encoder(folder, 200)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda tensors: tensors.pop("pos_embed"), "holds no pos_embed"),
        (lambda tensors: tensors.pop("norm.weight"), "missing: norm.weight"),
        (lambda tensors: tensors.update(head=torch.zeros(2)), "unexpected: head"),
    ],
)
def test_a_file_with_other_tensors_is_refused(tmp_path, spoil, words):
    tensors = {name: one.clone() for name, one in autoencoder().state_dict().items()}
    spoil(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"sizes": SIZES}))
    with pytest.raises(CheckpointError, match=words):
        load_masked_brain(tmp_path, None)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: autoencoder().encode(torch.zeros(1, 199)), "199 voxels but the encoder reads 200"),
        (lambda: autoencoder(mask_ratio=1.0), "mask_ratio is 1.0"),
        (lambda: autoencoder(focus=(150, 100)), r"focus is \(150, 100\), which holds no patch"),
        (lambda: autoencoder(focus=(0, 5)), "holds no patch"),
        (lambda: autoencoder(focus=(0, 100), focus_rate=1.0), "focus_rate is 1.0"),
        (lambda: autoencoder(n_voxels=20)(torch.zeros(1, 20)), "0.75 of 2 tokens keeps 0"),
        (
            lambda: put_encoder(BrainEncoder(50, width=16, depth=2, n_heads=4), autoencoder()),
            "width 16 but the pretrained one 32",
        ),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_focus_is_by_whole_patches_of_the_voxels():
    torch.manual_seed(0)
    network = autoencoder(focus=(32, 100), focus_rate=1 - 1e-6, mask_ratio=0.3)
    _, _, masked = network(torch.zeros(50, 200))
    # 32 // 16 to 100 // 16.
    assert masked[:, 2:6].all() and masked.sum(dim=1).tolist() == [13 - 9] * 50

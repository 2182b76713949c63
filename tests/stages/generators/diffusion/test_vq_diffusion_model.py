"""Latent diffusion on a codebook's latents: CompVis' file is read as diffusers' converter reads it, and wholly."""

import pytest
import single_files
import torch
from diffusers import UNet2DConditionModel, VQModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from single_files import CIN256_UNET, CIN256_VQ, autoencoder_tensors, classes_state, save_classes, unet_tensors

from stages.checkpoints.single_file_names import AUTOENCODER, UNET, unet_places, vq_places
from stages.generators.diffusion.class_labels import ClassTokens
from stages.generators.diffusion.vq_diffusion_model import load_vq_diffusion, load_vq_unet, unet_config
from stages.networks.codebook_autoencoder import load_vq
from weights.conversion import convert
from weights.manifest import CheckpointError, read_manifest

ENTRY = read_manifest()["label2img-ldm"]


def test_all_networks_vs_diffusers_converter(tmp_path):
    unet, vae, labels = load_vq_diffusion(save_classes(tmp_path), torch.float32)
    theirs = convert_ldm_unet_checkpoint(classes_state(), single_files.CLASSES_UNET_CONFIG)
    assert theirs.keys() == unet.state_dict().keys()
    for name, value in unet.state_dict().items():
        assert torch.equal(value, theirs[name]), name
    theirs = convert_ldm_vae_checkpoint(classes_state(), single_files.CLASSES_VQ_CONFIG)
    # Of codebooks the converter knows nothing.
    theirs["quantize.embedding.weight"] = classes_state()["first_stage_model.quantize.embedding.weight"]
    assert theirs.keys() == vae.state_dict().keys()
    for name, value in vae.state_dict().items():
        assert torch.equal(value, theirs[name].reshape(value.shape)), name
    assert torch.equal(labels, classes_state()["cond_stage_model.embedding.weight"])
    for network, alone in ((vae, load_vq(tmp_path)), (unet, load_vq_unet(tmp_path))):
        assert all(torch.equal(value, alone.state_dict()[name]) for name, value in network.state_dict().items())
    assert unet_config(tmp_path)["cross_attention_dim"] == single_files.CLASS_WIDTH


def test_the_published_file_has_a_place_for_every_tensor():
    for network_class, path, stored, places, part, n_tensors, count in (
        (UNet2DConditionModel, "unet", unet_tensors(**CIN256_UNET, context=512), unet_places, UNET, 688, 400_920_579),
        (VQModel, "vae", autoencoder_tensors(**CIN256_VQ), vq_places, AUTOENCODER, 205, 55_322_782),
    ):
        stored = dict(stored)
        with torch.device("meta"):
            network = network_class.from_config(ENTRY.writes[f"{path}/config.json"])
        state = network.state_dict()
        found = places(network.config, state)
        assert {place.name for place in found.values()} == {part + name for name in stored}
        assert len(found) == len(stored) == n_tensors
        for name, place in found.items():
            # What diffusers has as a linear layer is stored as a convolution of 1 x 1 in an autoencoder.
            assert state[name].numel() == torch.Size(stored[place.name.removeprefix(part)]).numel(), name
        assert sum(value.numel() for value in state.values()) == count
    assert ENTRY.reckoned_size == 4 * (400_920_579 + 55_322_782 + 1001 * 512)


def changed(folder, change):
    state = classes_state()
    change(state)
    return save_classes(folder, state)


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda state: state.pop("model.diffusion_model.out.2.bias"), "missing: model.diffusion_model.out.2.bias"),
        (
            lambda state: state.pop("first_stage_model.quantize.embedding.weight"),
            "missing: first_stage_model.quantize.embedding.weight",
        ),
        (
            lambda state: state.update({"first_stage_model.loss.logvar": torch.zeros(1)}),
            "unexpected: first_stage_model.loss.logvar",
        ),
        (
            lambda state: state.update({"first_stage_model.quantize.embedding.weight": torch.zeros(512, 4)}),
            r"embedding.weight \(512, 4\) instead of \(512, 3\)",
        ),
        (lambda state: state.update({"cond_stage_model.a": torch.zeros(1)}), "cond_stage_model.a, which nothing reads"),
        (lambda state: state.update({"betas": 2 * state["betas"]}), "trained with other betas"),
        (lambda state: state.update({"betas": state["betas"][:10]}), "trained with other betas"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, told):
    with pytest.raises(CheckpointError, match=told):
        load_vq_diffusion(changed(tmp_path, change), torch.float32)


def test_labels_and_tables_may_be_absent(tmp_path):
    def without(state):
        for name in ("cond_stage_model.embedding.weight", "betas", "alphas_cumprod"):
            del state[name]

    assert load_vq_diffusion(changed(tmp_path, without), torch.float32)[2] is None


def test_the_published_pickle_is_converted_without_tables_and_average(tmp_path):
    (file,) = ENTRY.files
    pickled = tmp_path / file.path
    torch.save({"state_dict": classes_state(), "global_step": 3}, pickled)
    save_classes(tmp_path / "read")
    (tmp_path / "read" / "model.safetensors").unlink()
    convert(pickled, tmp_path / "read" / file.converted, keeps=file.keeps, entry=file.entry)
    unet, _, labels = load_vq_diffusion(tmp_path / "read", torch.float32)
    assert torch.equal(unet.conv_out.bias, classes_state()["model.diffusion_model.out.2.bias"])
    assert labels.shape == (single_files.N_CLASSES + 1, single_files.CLASS_WIDTH)


def test_diffusers_layout_holds_the_same(tmp_path):
    unet, vae, labels = load_vq_diffusion(save_classes(tmp_path / "file"), torch.float32)
    folder = tmp_path / "folders"
    unet.save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    assert load_vq_diffusion(folder, torch.float32)[2] is None
    tokens = ClassTokens(*labels.shape)
    tokens.embedding.weight.data.copy_(labels)
    tokens.save_pretrained(folder / "labels")
    read = load_vq_diffusion(folder, torch.float32)
    assert torch.equal(read[2], labels)
    for ours, theirs in zip(read[:2], (unet, vae)):
        assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())

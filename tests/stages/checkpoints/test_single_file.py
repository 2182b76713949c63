"""Single files of latent diffusion models: read as diffusers' own converter reads them, and every tensor accounted for."""

import pytest
import single_files
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors import safe_open
from safetensors.torch import save_file
from single_files import SDXL_UNET, SDXL_VAE, autoencoder_tensors, save_unclip, unclip_state, unet_tensors

from stages.checkpoints.single_file_names import AUTOENCODER, UNET, autoencoder_places, unet_places
from stages.generators.diffusion.single_file_model import load_unet_and_autoencoder
from stages.networks.latent_space import overflows_in_half
from weights.conversion import convert
from weights.manifest import CheckpointError, read_manifest

MANIFEST = read_manifest()


def load(folder, dtype=torch.float32, **expected):
    return load_unet_and_autoencoder(folder, dtype, "SDXL unCLIP", **expected)


def test_both_networks_vs_diffusers_converter(tmp_path):
    unet, vae = load(save_unclip(tmp_path))
    theirs = convert_ldm_unet_checkpoint(unclip_state(), single_files.UNCLIP_CONFIG)
    assert theirs.keys() == unet.state_dict().keys()
    for name, value in unet.state_dict().items():
        assert torch.equal(value, theirs[name]), name
    theirs = convert_ldm_vae_checkpoint(unclip_state(), single_files.VAE_CONFIG)
    assert theirs.keys() == vae.state_dict().keys()
    for name, value in vae.state_dict().items():
        assert torch.equal(value, theirs[name].reshape(value.shape)), name


@pytest.mark.parametrize(
    "name, context, labels, count",
    [("sdxl-unclip", 1664, 1024, 2_501_272_324), ("sdxl-zavychroma", 2048, 2816, 2_567_463_684)],
)
def test_published_unets_have_a_place_of_the_right_shape_for_every_tensor(name, context, labels, count):
    stored = dict(unet_tensors(**SDXL_UNET, context=context, labels=labels))
    with torch.device("meta"):
        network = UNet2DConditionModel.from_config(MANIFEST[name].writes["unet/config.json"])
    state = network.state_dict()
    places = unet_places(network.config, state)
    assert {place.name for place in places.values()} == {UNET + name for name in stored}
    assert len(places) == len(stored) == 1680
    for name, place in places.items():
        assert tuple(state[name].shape) == stored[place.name.removeprefix(UNET)], name
    assert sum(value.numel() for value in state.values()) == count


def test_published_autoencoder_has_a_place_for_every_tensor():
    stored = dict(autoencoder_tensors(**SDXL_VAE))
    with torch.device("meta"):
        network = AutoencoderKL.from_config(MANIFEST["sdxl-unclip"].writes["vae/config.json"])
    assert (network.config.scaling_factor, overflows_in_half(network)) == (0.13025, True)
    state = network.state_dict()
    places = autoencoder_places(network.config, state)
    assert {place.name for place in places.values()} == {AUTOENCODER + name for name in stored}
    for name, place in places.items():
        assert state[name].numel() == torch.Size(stored[place.name.removeprefix(AUTOENCODER)]).numel(), name
    assert sum(value.numel() for value in state.values()) == 83_653_863


def changed(tmp_path, change):
    state = unclip_state()
    change(state)
    return save_unclip(tmp_path, state)


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda state: state.pop("model.diffusion_model.out.2.bias"), "missing: model.diffusion_model.out.2.bias"),
        (lambda state: state.pop("first_stage_model.quant_conv.bias"), "missing: first_stage_model.quant_conv.bias"),
        (
            lambda state: state.update({"model.diffusion_model.input_blocks.9.0.op.bias": torch.zeros(16)}),
            "unexpected: model.diffusion_model.input_blocks.9.0.op.bias",
        ),
        (
            lambda state: state.update({"model.diffusion_model.out.2.bias": torch.zeros(5)}),
            r"out.2.bias \(5,\) instead of \(4,\)",
        ),
        (
            lambda state: state.update({"first_stage_model.encoder.mid.attn_1.q.weight": torch.zeros(8, 8, 3, 3)}),
            r"attn_1.q.weight \(8, 8, 3, 3\) instead of \(8, 8\)",
        ),
        (lambda state: state.update({"model_ema.decay": torch.zeros(1)}), "holds model_ema.decay, which nothing reads"),
        (lambda state: state.update({"denoiser.sigmas": 2 * single_files.sigmas()}), "other noise levels"),
        (lambda state: state.update({"denoiser.sigmas": single_files.sigmas()[:10]}), "other noise levels"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, told):
    with pytest.raises(CheckpointError, match=told):
        load(changed(tmp_path, change))


def test_noise_levels_may_be_absent_or_stand_the_other_way_round(tmp_path):
    load(changed(tmp_path / "absent", lambda state: state.pop("denoiser.sigmas")))
    load(changed(tmp_path / "turned", lambda state: state.update({"denoiser.sigmas": single_files.sigmas().flip(0)})))


def test_it_computes_in_another_precision_than_is_stored_and_the_autoencoder_does_not_overflow(tmp_path):
    unet, vae = load(save_unclip(tmp_path), torch.float16)
    assert {value.dtype for value in unet.parameters()} == {torch.float16}
    assert {value.dtype for value in vae.parameters()} == {torch.float32}


def test_another_network_a_pickle_a_cut_file_and_two_files_are_refused(tmp_path):
    folder = save_unclip(tmp_path / "whole")
    with pytest.raises(CheckpointError, match="class_embed_type 'projection', but that of SDXL unCLIP has None"):
        load(folder, class_embed_type=None)
    file = folder / "unclip.safetensors"
    save_file({"a": torch.zeros(1)}, folder / "other.safetensors")
    with pytest.raises(CheckpointError, match="one file was expected"):
        load(folder)
    (folder / "other.safetensors").unlink()
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="is damaged"):
        load(folder)
    torch.save(unclip_state(), folder / "unclip.pth")
    file.unlink()
    with pytest.raises(CheckpointError, match="is a pickle"):
        load(folder)


def test_the_published_pickle_is_converted_without_the_state_of_its_training(tmp_path):
    folder, (file,) = save_unclip(tmp_path), MANIFEST["sdxl-unclip"].files
    (folder / "unclip.safetensors").unlink()
    spare = {"model_ema.decay": torch.zeros(()), "conditioner.embedders.0.model.visual.proj": torch.zeros(2)}
    training = {
        "state_dict": unclip_state() | spare,
        "epoch": 0,
        "global_step": 110_000,
        "optimizer_states": [{"a": 1}],
    }
    torch.save(training, folder / file.path)
    convert(folder / file.path, folder / file.converted, keeps=file.keeps, entry=file.entry)
    unet, _ = load(folder, class_embed_type="projection")
    assert torch.equal(unet.conv_out.bias, unclip_state()["model.diffusion_model.out.2.bias"])
    with safe_open(folder / file.converted, framework="pt") as stored:
        names = set(stored.keys())
    # The image tower is kept: it makes the tokens.
    assert "conditioner.embedders.0.model.visual.proj" in names and "model_ema.decay" not in names
    assert "conditioner.embedders.0.model.logit_scale" not in names

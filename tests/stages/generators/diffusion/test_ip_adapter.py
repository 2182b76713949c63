"""Stable Diffusion and its XL with an IP-Adapter, held against diffusers' own pipelines, one picture at a time."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from picture_requests import pictures
from random_checkpoints import EMBED_DIM, save_generator
from safetensors.torch import load_file, save_file

from stages.generators.diffusion.ip_adapter import (
    StableDiffusionIPAdapterGenerator,
    StableDiffusionXLIPAdapterGenerator,
)
from stages.generators.diffusion.ip_adapter_weights import load_ip_adapter
from stages.generators.diffusion.start_rule import StartRule
from stages.ground.item_seeds import item_generator
from weights.store import CheckpointError

STEPS = 8
CLASSES = {"sd": StableDiffusionIPAdapterGenerator, "sdxl": StableDiffusionXLIPAdapterGenerator}


@pytest.fixture(params=["sd", "sdxl"])
def kind(request):
    return request.param


@pytest.fixture
def folder(tmp_path, kind):
    return save_generator(kind, tmp_path / "generator")


@pytest.fixture
def adapter(adapter_state, tmp_path):
    save_file(adapter_state, tmp_path / "ip-adapter.safetensors")
    return tmp_path / "ip-adapter.safetensors"


def conditions(generator, request, kind):
    """What diffusers' pipelines are called with for a request."""
    empty = generator.empty_text
    text = empty + request.context_weights[1] * (torch.from_numpy(request.text_context) - empty)
    image = torch.from_numpy(request.image_context)[None, None]
    generator.pipeline.set_ip_adapter_scale(request.context_weights[0])
    told = {
        "ip_adapter_image_embeds": [torch.cat([torch.zeros_like(image), image])],
        "generator": [item_generator(0, request.stimulus_id, request.sample)],
        "num_inference_steps": STEPS,
        "output_type": "np",
    }
    if kind == "sd":
        return told | {"prompt_embeds": text[None], "negative_prompt_embeds": empty[None]}
    # By hand: 7 tokens of 16 values, then 10.
    tokens, pooled = text[: 7 * 16].view(1, 7, 16), text[7 * 16 :].view(1, 10)
    negative = {"negative_prompt_embeds": tokens * 0, "negative_pooled_prompt_embeds": pooled * 0}
    return told | {"prompt_embeds": tokens, "pooled_prompt_embeds": pooled} | negative


def drawn(generator, request, **options):
    return pictures(generator, [request], num_inference_steps=STEPS, **options)[0].astype(float)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "unipc"])
@pytest.mark.parametrize("guidance_scale", [None, 3.0])
def test_image_to_image_vs_diffusers_pipeline(load_generator, request_for, kind, scheduler, guidance_scale):
    generator = load_generator(kind, scheduler=scheduler)
    request = request_for(generator, 3)
    ours = drawn(generator, request, guidance_scale=guidance_scale)
    pixels = torch.from_numpy(request.init_image).permute(2, 0, 1)[None].float() / 127.5 - 1
    pipeline = generator.pipeline
    with torch.no_grad():
        latents = pipeline.vae.encode(pixels).latent_dist.mode() * 0.7
    guided = {} if guidance_scale is None else {"guidance_scale": guidance_scale}
    theirs = pipeline(image=latents, strength=0.75, **guided, **conditions(generator, request, kind)).images[0]
    assert np.abs(ours - theirs * 255).max() <= 1


@pytest.mark.parametrize("scheduler", ["ddim", None])
def test_from_noise_vs_diffusers_pipeline(load_generator, request_for, kind, scheduler):
    generator = load_generator(kind, scheduler=scheduler)
    request = request_for(generator, 3, init_image=None)
    parts = {"sd": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
    options = {"requires_safety_checker": False} if kind == "sd" else {"add_watermarker": False}
    pipeline = parts[kind](**generator.pipeline.components, **options)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(**conditions(generator, request, kind), guidance_scale=generator.default_guidance_scale).images[0]
    assert np.abs(drawn(generator, request) - theirs * 255).max() <= 1


def test_the_adapter_vs_diffusers_own_loader(load_generator, adapter_state, kind, folder):
    generator = load_generator(kind)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    pipeline = type(generator.pipeline)(**generator.pipeline.components | {"unet": unet}, **(
        {"requires_safety_checker": False} if kind == "sd" else {"add_watermarker": False}
    ))  # fmt: skip
    state = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in adapter_state.items():
        part, rest = name.split(".", 1)
        state[part][rest] = tensor
    pipeline.load_ip_adapter(state, subfolder="", weight_name="", image_encoder_folder=None)
    ours, theirs = generator.pipeline.unet.state_dict(), unet.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_start_may_be_prepared_otherwise(load_generator, request_for):
    """Of Stable Diffusion: from a sample of the posterior, of pixels as CLIP is given them."""
    start = StartRule(posterior="sample", pixels="for CLIP")
    usual, other = load_generator("sd", scheduler="ddim"), load_generator("sd", scheduler="ddim", start=start)
    assert other.start == start and usual.start == StartRule()
    request = request_for(usual, 3)
    assert np.abs(drawn(usual, request) - drawn(other, request)).max() > 1


def test_pictures_without_an_image_do_not_share_a_batch_with_others(load_generator, request_for):
    generator = load_generator("sd", scheduler="ddim")
    requests = [request_for(generator, number) for number in range(4)]
    requests[1:4:2] = [request_for(generator, number, image_context=None) for number in (1, 3)]
    rows = []
    handle = generator.pipeline.unet.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    try:
        together = pictures(generator, requests, num_inference_steps=2, guidance_scale=1)
    finally:
        handle.remove()
    assert rows == [2, 2]
    assert len({image.tobytes() for image in together}) == 4


def test_no_encoder_is_kept_and_none_is_needed_a_second_time(request_for, kind, folder, adapter):
    generator = CLASSES[kind].from_pretrained(folder, adapter)
    kept = {name for name, part in generator.pipeline.components.items() if part is not None}
    assert kept - {"force_zeros_for_empty_prompt", "requires_aesthetics_score"} == {"vae", "unet", "scheduler"}
    assert (folder / "unconditional_contexts" / "diffusion_pytorch_model.safetensors").is_file()
    for part in folder.glob("*t*_encoder*"):
        shutil.rmtree(part)
    for part in folder.glob("tokenizer*"):
        shutil.rmtree(part)
    again = CLASSES[kind].from_pretrained(folder, adapter.parent)
    request = request_for(generator, 0)
    assert np.array_equal(drawn(generator, request), drawn(again, request))


def test_zeros_guide_the_xl_only_where_its_folder_says_so(request_for, tmp_path, adapter):
    folder = save_generator("sdxl", tmp_path / "generator")
    zeros = StableDiffusionXLIPAdapterGenerator.from_pretrained(folder, adapter)
    (folder / "model_index.json").write_text(json.dumps({"force_zeros_for_empty_prompt": False}))
    empty = StableDiffusionXLIPAdapterGenerator.from_pretrained(folder, adapter)
    request = request_for(zeros, 0)
    assert (zeros.zero_negative, empty.zero_negative) == (True, False)
    assert np.abs(drawn(zeros, request) - drawn(empty, request)).max() > 1
    nothing = request_for(zeros, 0, context_weights=(0, 0), text_context=None, image_context=None)
    assert np.abs(drawn(empty, nothing, guidance_scale=9) - drawn(empty, nothing, guidance_scale=1)).max() <= 1
    (folder / "model_index.json").write_text(json.dumps({"requires_aesthetics_score": True}))
    with pytest.raises(CheckpointError, match="refiner"):
        StableDiffusionXLIPAdapterGenerator.from_pretrained(folder, adapter)


def test_a_weights_only_bin_is_read_too(adapter_state, tmp_path, folder, kind):
    state = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in adapter_state.items():
        part, rest = name.split(".", 1)
        state[part][rest] = tensor
    torch.save(state, tmp_path / "ip-adapter.bin")
    generator = CLASSES[kind].from_pretrained(folder, tmp_path / "ip-adapter.bin")
    assert generator.takes["clip_image"] == (12,)
    assert torch.equal(
        generator.pipeline.unet.encoder_hid_proj.image_projection_layers[0].image_embeds.weight,
        adapter_state["image_proj.proj.weight"],
    )


@pytest.fixture
def unet(tmp_path):
    return UNet2DConditionModel.from_pretrained(save_generator("sd", tmp_path / "generator") / "unet")


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda state: state.pop("ip_adapter.3.to_k_ip.weight"), "missing: ip_adapter.3.to_k_ip.weight"),
        (lambda state: state.pop("image_proj.norm.bias"), "missing: image_proj.norm.bias"),
        (lambda state: state.update({"ip_adapter.9.to_k_ip.weight": torch.zeros(2)}), "unexpected: ip_adapter.9"),
        (
            lambda state: state.update({"ip_adapter.7.to_v_ip.weight": torch.zeros(16, 16)}),
            r"misshapen: ip_adapter.7.to_v_ip.weight \(16, 16\) instead of \(32, 16\)",
        ),
        (lambda state: state.update({"image_proj.proj.weight": torch.zeros(8, 12)}), "misshapen: image_proj.proj"),
        (lambda state: state.update({"image_proj.proj.weight": torch.zeros(8)}), "pooled image embedding"),
        (lambda state: state.pop("image_proj.proj.weight"), "no image_proj.proj.weight .*not a plus or face one"),
        (lambda state: state.update({"unet.weight": torch.zeros(8)}), "holds unet.weight, but names of image_proj"),
    ],
)
def test_adapters_that_do_not_fit_are_refused_by_name(unet, adapter, change, said):
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    state = load_file(adapter)
    change(state)
    save_file(state, adapter)
    with pytest.raises(CheckpointError, match=said):
        load_ip_adapter(unet, adapter)
    assert before.keys() == unet.state_dict().keys()


class Surprise:
    """What a pickle may not bring along."""

    def __reduce__(self):
        return (print, ("unpickled",))


def test_files_that_are_no_adapter_are_refused(unet, adapter, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, said in (
        (empty, "holds no file that ends in"),
        (tmp_path / "absent.safetensors", "is no file that ends in"),
        (tmp_path / "generator" / "unet" / "config.json", "is no file that ends in"),
    ):
        with pytest.raises(CheckpointError, match=said):
            load_ip_adapter(unet, path)
    assert load_ip_adapter(unet, tmp_path) == EMBED_DIM  # the networks below it have their configurations beside them
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "two.safetensors").write_bytes(adapter.read_bytes())
    with pytest.raises(CheckpointError, match="holds 2 files .*ip-adapter.safetensors, two.safetensors"):
        load_ip_adapter(unet, tmp_path)
    adapter.write_bytes(adapter.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="is damaged"):
        load_ip_adapter(unet, adapter)
    for held, said in (
        ({"image_proj": {"proj.weight": Surprise()}}, "damaged or holds more than tensors"),
        ([torch.zeros(2)], "no groups of tensors"),
        ({"image_proj": torch.zeros(2)}, "no groups of tensors"),
        ({"image_proj": {"proj.weight": 3}}, "holds a int for image_proj.proj.weight"),
    ):
        torch.save(held, tmp_path / "held.bin")
        with pytest.raises(CheckpointError, match=said):
            load_ip_adapter(unet, tmp_path / "held.bin")
    assert "unpickled" not in capsys.readouterr().out


@pytest.mark.parametrize("other", ["unclip", "kandinsky"])
def test_folders_of_another_model_are_refused(tmp_path, adapter, kind, other):
    folder = save_generator(other, tmp_path / "other")
    with pytest.raises(CheckpointError, match="that of Stable Diffusion"):
        CLASSES[kind].from_pretrained(folder, adapter)


def test_tensors_missing_from_a_part_are_named(folder, adapter, kind):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    del state["conv_in.bias"]
    save_file(state, path)
    with pytest.raises(CheckpointError, match="missing: conv_in.bias"):
        CLASSES[kind].from_pretrained(folder, adapter)

"""The published folder of Versatile Diffusion, held against diffusers' own deprecated classes for it."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.transformers.dual_transformer_2d import DualTransformer2DModel
from diffusers.pipelines.deprecated.versatile_diffusion import (
    VersatileDiffusionDualGuidedPipeline,
    VersatileDiffusionTextToImagePipeline,
)
from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import UNetFlatConditionModel
from random_checkpoints import END, SIZE, START, TEXT_TOKENS, save_versatile_diffusion, versatile_diffusion_parts
from random_checkpoints import VERSATILE_WIDTH as WIDTH
from safetensors.torch import load_file, save_file

from stages.generators.diffusion import versatile_diffusion
from stages.generators.diffusion.dual_context import DualContextGenerator, GenerationRequest
from stages.generators.diffusion.unconditional_contexts import UnconditionalContexts
from stages.generators.diffusion.versatile_diffusion import (
    ddim_scheduler,
    encode_unconditional_contexts,
    is_versatile_diffusion,
    load_unconditional_contexts,
    load_versatile_diffusion,
)
from weights.store import CheckpointError

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
IMAGE_TOKENS = 5


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return versatile_diffusion_parts(tmp_path_factory.mktemp("parts") / "tokenizer")


@pytest.fixture(scope="module")
def published(parts, tmp_path_factory):
    """The folder as diffusers writes it, without unconditional contexts."""
    folder = tmp_path_factory.mktemp("published")
    return save_versatile_diffusion(folder, parts)


@pytest.fixture
def folder(published, tmp_path):
    """A copy to be changed."""
    return shutil.copytree(published, tmp_path / "folder")


@pytest.fixture(scope="module")
def pipeline(published, tmp_path_factory):
    pipeline = load_versatile_diffusion(shutil.copytree(published, tmp_path_factory.mktemp("loaded") / "folder"))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def rows():
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(3, 4, 8, 8, generator=generator),
        torch.tensor([3, 250, 981]),
        torch.randn(3, IMAGE_TOKENS, WIDTH, generator=generator),
        torch.randn(3, TEXT_TOKENS, WIDTH, generator=generator),
    )


def unet_under(pipeline, rows, weights):
    sample, timesteps, image, text = rows
    weights = torch.tensor([weights], dtype=torch.float32).expand(len(sample), 2)
    with torch.no_grad():
        return pipeline.unet(
            sample, timesteps, torch.cat([image, text], dim=1), cross_attention_kwargs={"context_weights": weights}
        ).sample


def copies(published):
    """Both of diffusers' own networks from the folder, to be changed."""
    flows = (
        UNet2DConditionModel.from_pretrained(published / "image_unet"),
        UNetFlatConditionModel.from_pretrained(published / "text_unet"),
    )
    return SimpleNamespace(image_unet=flows[0].eval(), text_unet=flows[1].eval())


def dual_guided(published, monkeypatch, mix_ratio):
    """diffusers' dual-guided network; its block is given the argument that it does not take any more."""
    flows = copies(published)
    VersatileDiffusionDualGuidedPipeline._convert_to_dual_attention(flows)
    forward = DualTransformer2DModel.forward
    monkeypatch.setattr(
        DualTransformer2DModel, "forward", lambda self, *given, encoder_attention_mask, **o: forward(self, *given, **o)
    )
    for module in flows.image_unet.modules():
        if isinstance(module, DualTransformer2DModel):
            module.mix_ratio, module.condition_lengths = mix_ratio, [TEXT_TOKENS, IMAGE_TOKENS]
            module.transformer_index_for_condition = [1, 0]
    return lambda sample, t, image, text: flows.image_unet(sample, t, torch.cat([text, image], dim=1)).sample


# The network


def test_image_alone_vs_image_flow(pipeline, published, rows):
    sample, timesteps, image, _ = rows
    with torch.no_grad():
        expected = copies(published).image_unet(sample, timesteps, image).sample
    torch.testing.assert_close(unet_under(pipeline, rows, (1, 0)), expected, atol=1e-5, rtol=1e-5)


def test_text_alone_vs_image_flow_with_exchanged_transformers(pipeline, published, rows):
    sample, timesteps, _, text = rows
    flows = copies(published)
    VersatileDiffusionTextToImagePipeline._swap_unet_attention_blocks(flows)
    with torch.no_grad():
        expected = flows.image_unet(sample, timesteps, text).sample
    torch.testing.assert_close(unet_under(pipeline, rows, (0, 1)), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("text_share", [0.4, 0.9])
def test_mixture_vs_dual_guided_network(pipeline, published, rows, text_share, monkeypatch):
    with torch.no_grad():
        expected = dual_guided(published, monkeypatch, text_share)(*rows)
    result = unet_under(pipeline, rows, (1 - text_share, text_share))
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    assert (result - unet_under(pipeline, rows, (text_share, 1 - text_share))).abs().max() > 1e-3


def test_every_tensor_has_its_place(pipeline, parts):
    state, image, text = (part.state_dict() for part in (pipeline.unet, parts["image_unet"], parts["text_unet"]))
    from_image = {name for name in state if ".transformers.1." not in name}
    assert len(from_image) == len(image)
    for name, tensor in state.items():
        source = image if name in from_image else text
        assert torch.equal(tensor, source[name.replace(".transformers.0", "").replace(".transformers.1", "")]), name
    assert pipeline.unet.context_tokens == (IMAGE_TOKENS, TEXT_TOKENS)
    assert not pipeline.unet.training


# The contexts that mean nothing


def test_unconditional_contexts_vs_diffusers_pipeline(pipeline, parts):
    """diffusers computes them, first of two, beside every prompt."""
    dual = VersatileDiffusionDualGuidedPipeline(**{**parts, "text_unet": None})
    image = dual._encode_image_prompt([np.full((512, 512, 3), 0.2)], "cpu", 1, True)[0]
    text = dual._encode_text_prompt(["abc"], "cpu", 1, True)
    torch.testing.assert_close(pipeline.unconditional_contexts.image.data, image, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pipeline.unconditional_contexts.text.data, text[0], atol=1e-5, rtol=1e-5)
    assert (text[1] - text[0]).abs().max() > 1e-3, "a caption is something else"
    assert pipeline.unconditional_contexts.image[0].norm() == pytest.approx(1, abs=1e-5)


def test_vocabulary_as_it_is_published(folder, parts):
    """Two files of 2022, and not the one file that transformers writes now."""
    expected = encode_unconditional_contexts(folder).text
    assert (folder / "tokenizer" / "tokenizer.json").is_file()
    shutil.rmtree(folder / "tokenizer")
    shutil.copytree(parts["tokenizer"].name_or_path, folder / "tokenizer")
    assert {path.name for path in (folder / "tokenizer").iterdir()} == {
        "vocab.json",
        "merges.txt",
        "tokenizer_config.json",
    }
    assert torch.equal(encode_unconditional_contexts(folder).text, expected)


def test_end_tokens_fill_the_caption_whatever_the_tokenizer_pads_with(folder):
    expected = encode_unconditional_contexts(folder).text
    path = folder / "tokenizer" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_token": "a"}))
    assert torch.equal(encode_unconditional_contexts(folder).text, expected)


def test_unconditional_contexts_are_computed_once(folder, monkeypatch):
    first = load_unconditional_contexts(folder)
    assert {path.name for path in folder.glob("*unconditional*")} == {"unconditional_contexts"}
    for part in ("image_encoder", "text_encoder", "tokenizer", "image_feature_extractor"):
        shutil.rmtree(folder / part)
    monkeypatch.setattr(versatile_diffusion, "encode_unconditional_contexts", None)
    again = load_versatile_diffusion(folder).unconditional_contexts
    assert torch.equal(first.image, again.image) and torch.equal(first.text, again.text)


def test_a_folder_that_cannot_be_written_to_stays_as_it_is(folder, monkeypatch):
    def refuse(self, place):
        place.mkdir()
        (place / "half").write_text("")
        raise PermissionError(place)

    monkeypatch.setattr(UnconditionalContexts, "save_pretrained", refuse)
    before = sorted(folder.rglob("*"))
    assert load_unconditional_contexts(folder).image.isfinite().all()
    assert sorted(folder.rglob("*")) == before


def test_contexts_of_another_run_are_not_replaced(folder, monkeypatch):
    """Two runs may compute them at once; the later one finds the folder there."""
    theirs = UnconditionalContexts.from_contexts(torch.ones(IMAGE_TOKENS, WIDTH), torch.ones(TEXT_TOKENS, WIDTH))
    compute = encode_unconditional_contexts

    def slow(place):
        theirs.save_pretrained(place / "unconditional_contexts")
        return compute(place)

    monkeypatch.setattr(versatile_diffusion, "encode_unconditional_contexts", slow)
    load_unconditional_contexts(folder)
    assert torch.equal(load_unconditional_contexts(folder).image, theirs.image)
    assert not list(folder.glob(".*"))


def test_files_of_2022_load(folder):
    """Older transformers kept the numbers of the places as a tensor."""
    path = folder / "text_encoder" / "model.safetensors"
    expected = encode_unconditional_contexts(folder).text
    places = torch.arange(TEXT_TOKENS)[None]
    save_file(load_file(path) | {"text_model.embeddings.position_ids": places}, path, metadata={"format": "pt"})
    assert torch.equal(encode_unconditional_contexts(folder).text, expected)


# Sampler


def test_sampler_is_ddim_over_the_published_betas(pipeline, parts):
    scheduler = pipeline.scheduler
    assert isinstance(scheduler, DDIMScheduler) and not scheduler.config.clip_sample
    scheduler.set_timesteps(50)
    assert scheduler.timesteps.tolist() == list(range(981, 0, -20))
    assert torch.equal(scheduler.alphas_cumprod, parts["scheduler"].alphas_cumprod)
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    np.testing.assert_allclose(scheduler.alphas_cumprod.numpy(), np.cumprod(1 - betas), rtol=1e-4)
    assert scheduler.final_alpha_cumprod == scheduler.alphas_cumprod[0]
    assert pipeline.config.guidance_scale == 7.5


def test_schedulers_without_betas_are_refused(folder):
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in config.items() if name != "beta_end"}))
    with pytest.raises(CheckpointError, match="does not say beta_end"):
        ddim_scheduler(path)


# From embeddings to pictures


def requests_for(weights, strength):
    random = np.random.default_rng(5)
    return [
        GenerationRequest(
            f"nsd{number}",
            0,
            random.standard_normal((IMAGE_TOKENS, WIDTH)).astype(np.float32),
            random.standard_normal((TEXT_TOKENS, WIDTH)).astype(np.float32),
            weights,
            random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),
            strength,
        )
        for number in range(2)
    ]


def pictures(pipeline, requests, **options):
    drawn = dict(DualContextGenerator(pipeline).generate(requests, **options))
    return np.stack([drawn[position] for position in range(len(requests))]).astype(int)


@torch.no_grad()
def by_hand(pipeline, parts, unet, requests, seed, steps, guidance_scale):
    """DDIM from first pictures under diffusers' own networks, written out."""
    from stages.ground.item_seeds import item_generator

    vae, alphas = parts["vae"].eval(), parts["scheduler"].alphas_cumprod
    image, text = (
        torch.tensor(np.stack([getattr(r, f"{name}_context") for r in requests])) for name in ("image", "text")
    )
    nothing = [each.data.expand(len(requests), -1, -1) for each in pipeline.unconditional_contexts.parameters()]
    pixels = torch.tensor(np.stack([r.init_image for r in requests])).permute(0, 3, 1, 2).float() / 127.5 - 1
    latents = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
    noise = torch.cat([torch.randn(1, 4, 8, 8, generator=item_generator(seed, r.stimulus_id, 0)) for r in requests])
    stride = 1000 // steps
    timesteps = [1 + stride * k for k in range(int(steps * requests[0].strength))][::-1]
    latents = alphas[timesteps[0]].sqrt() * latents + (1 - alphas[timesteps[0]]).sqrt() * noise
    for t in timesteps:
        without, under = unet(latents, t, *nothing), unet(latents, t, image, text)
        predicted = without + guidance_scale * (under - without)
        clean = (latents - (1 - alphas[t]).sqrt() * predicted) / alphas[t].sqrt()
        before = alphas[max(t - stride, 0)]
        latents = before.sqrt() * clean + (1 - before).sqrt() * predicted
    decoded = vae.decode(latents / vae.config.scaling_factor).sample
    return ((decoded + 1) * 127.5).clamp(0, 255).round().int().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(
    "weights, strength, seed, guidance_scale",
    [((0.6, 0.4), 0.75, 0, 7.5), ((0.6, 0.4), 0.5, 3, 2.0), ((0.1, 0.9), 0.75, 0, 7.5)],
)
def test_pictures_vs_loop_over_diffusers_networks(
    pipeline, parts, published, monkeypatch, weights, strength, seed, guidance_scale
):
    requests = requests_for(weights, strength)
    result = pictures(pipeline, requests, seed=seed, num_inference_steps=10, guidance_scale=guidance_scale)
    unet = dual_guided(published, monkeypatch, weights[1])
    expected = by_hand(pipeline, parts, unet, requests, seed, 10, guidance_scale)
    assert np.abs(result - expected).max() <= 1
    assert result.std() > 1


def test_strength_guidance_seed_and_weights_matter(pipeline):
    base = pictures(pipeline, requests_for((0.6, 0.4), 0.75), num_inference_steps=8)
    assert np.array_equal(base, pictures(pipeline, requests_for((0.6, 0.4), 0.75), num_inference_steps=8))
    changed = (
        pictures(pipeline, requests_for((0.6, 0.4), 0.5), num_inference_steps=8),
        pictures(pipeline, requests_for((0.4, 0.6), 0.75), num_inference_steps=8),
        pictures(pipeline, requests_for((0.6, 0.4), 0.75), num_inference_steps=8, seed=1),
        pictures(pipeline, requests_for((0.6, 0.4), 0.75), num_inference_steps=8, guidance_scale=3),
    )
    for other in changed:
        assert np.abs(other - base).max() > 1


# Kinds of folders


def test_folders_are_recognised(published, pipeline_folder, tmp_path):
    assert is_versatile_diffusion(published)
    assert not is_versatile_diffusion(pipeline_folder)
    assert not is_versatile_diffusion(tmp_path)


def test_generators_join_the_published_folder_on_loading(folder, pipeline):
    requests = requests_for((0.6, 0.4), 0.75)
    generator = DualContextGenerator.from_pretrained(folder, dtype=torch.float32)
    assert generator.image_size == SIZE
    assert (generator.image_context_shape, generator.text_context_shape) == ((5, WIDTH), (7, WIDTH))
    drawn = dict(generator.generate(requests, num_inference_steps=4))
    expected = pictures(pipeline, requests, num_inference_steps=4)
    assert np.array_equal(np.stack([drawn[0], drawn[1]]), expected)
    half = DualContextGenerator.from_pretrained(folder, dtype=torch.bfloat16)
    assert half.pipeline.unet.dtype == torch.bfloat16


def test_shards_load_as_one_file_does(folder, pipeline):
    for flow, network in (("image_unet", UNet2DConditionModel), ("text_unet", UNetFlatConditionModel)):
        loaded = network.from_pretrained(folder / flow)
        (folder / flow / WEIGHTS_FILE).unlink()
        loaded.save_pretrained(folder / flow, max_shard_size="100KB")
        assert len(list((folder / flow).glob("*.safetensors"))) > 2
    state = load_versatile_diffusion(folder).unet.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in pipeline.unet.state_dict().items())


def test_a_tensor_in_two_shards_is_refused(folder):
    network = UNet2DConditionModel.from_pretrained(folder / "image_unet")
    (folder / "image_unet" / WEIGHTS_FILE).unlink()
    network.save_pretrained(folder / "image_unet", max_shard_size="100KB")
    first, second = sorted((folder / "image_unet").glob("*.safetensors"))[:2]
    name, tensor = next(iter(load_file(first).items()))
    save_file(load_file(second) | {name: tensor}, second)
    with pytest.raises(CheckpointError, match=f"holds {name}, which another shard"):
        load_versatile_diffusion(folder)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_half_precision_files_are_computed_in_what_was_asked_for(folder, pipeline, dtype):
    for flow in ("image_unet", "text_unet", "vae"):
        state = load_file(folder / flow / WEIGHTS_FILE)
        save_file({name: tensor.half() for name, tensor in state.items()}, folder / flow / WEIGHTS_FILE)
    loaded = load_versatile_diffusion(folder, dtype)
    networks = (loaded.unet, loaded.unconditional_contexts)
    assert {parameter.dtype for network in networks for parameter in network.parameters()} == {dtype}
    assert loaded.vae.dtype == (torch.float32 if dtype == torch.float16 else dtype), "it overflows in float16"
    name = "mid_block.attentions.0.transformers.1.proj_in.weight"
    assert torch.equal(loaded.unet.state_dict()[name], pipeline.unet.state_dict()[name].half().to(dtype))
    if dtype != torch.float16:
        assert np.isfinite(pictures(loaded, requests_for((0.6, 0.4), 0.75), num_inference_steps=2)).all()


def test_weights_are_in_memory_and_not_in_the_files(folder):
    loaded = load_versatile_diffusion(folder).unet
    before = loaded.conv_in.weight.clone()
    path = folder / "image_unet" / WEIGHTS_FILE
    with open(path, "r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert torch.equal(loaded.conv_in.weight, before)


def test_an_open_size_is_512_pixels_of_the_published_autoencoder(folder):
    path = folder / "image_unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sample_size": None}))
    assert load_versatile_diffusion(folder).unet.config.sample_size == 64


def test_a_network_saved_with_both_transformers_loads(folder, parts, pipeline, tmp_path):
    flows = VersatileDiffusionDualGuidedPipeline(**parts | vars(copies(folder)))
    flows.remove_unused_weights()
    flows.save_pretrained(tmp_path / "dual")
    state = load_versatile_diffusion(tmp_path / "dual").unet.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in pipeline.unet.state_dict().items())


def test_exchanged_transformers_are_refused(folder, parts, tmp_path):
    needed = ("tokenizer", "text_encoder", "vae", "scheduler")
    flows = VersatileDiffusionTextToImagePipeline(**{name: parts[name] for name in needed}, **vars(copies(folder)))
    flows.save_pretrained(tmp_path / "exchanged")
    assert is_versatile_diffusion(tmp_path / "exchanged")
    with pytest.raises(CheckpointError, match="VersatileDiffusionTextToImagePipeline.*both flows in their places"):
        load_versatile_diffusion(tmp_path / "exchanged")


def test_diffusers_deprecated_modules_are_not_imported(folder):
    program = (
        "import sys\n"
        "from stages.generators.diffusion.versatile_diffusion import load_versatile_diffusion\n"
        f"load_versatile_diffusion({str(folder)!r})\n"
        "print(*(name for name in sys.modules if name.startswith('diffusers.pipelines.')), sep='\\n')"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = told.stdout.split()
    assert "diffusers.pipelines.pipeline_utils" in imported
    assert not [name for name in imported if "versatile" in name or "deprecated" in name]


# What is refused


@pytest.mark.parametrize("trouble", ["missing", "unexpected", "misshapen"])
@pytest.mark.parametrize(
    "flow, name",
    [
        ("image_unet", "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"),
        ("image_unet", "down_blocks.1.resnets.0.conv1.weight"),
        ("text_unet", "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"),
        ("text_unet", "down_blocks.1.resnets.0.conv_shortcut.weight"),
        ("text_unet", "up_blocks.0.upsamplers.0.weight"),
        ("text_unet", "conv_out.bias"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(folder, flow, name, trouble):
    path = folder / flow / WEIGHTS_FILE
    state = load_file(path)
    if trouble == "missing":
        del state[name]
    elif trouble == "unexpected":
        state[f"{name}_2"] = torch.zeros(3)
        name = f"{name}_2"
    else:
        state[name] = state[name][:-1].clone()
    save_file(state, path)
    with pytest.raises(CheckpointError, match=f"{flow} .*{trouble}: {name}") as caught:
        load_versatile_diffusion(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "file, changes, said",
    [
        ("model_index.json", {"_class_name": "StableDiffusionPipeline"}, "describes a StableDiffusionPipeline"),
        ("text_unet/config.json", {"_class_name": "UNet2DConditionModel"}, "a UNetFlatConditionModel was expected"),
        ("text_unet/config.json", {"attention_head_dim": 4}, "attention_head_dim 4, but the image flow.* has 2"),
        ("text_unet/config.json", {"norm_num_groups": 4}, "norm_num_groups 4"),
        ("text_unet/config.json", {"in_channels": 4.5}, "does not describe a text flow"),
        ("image_unet/config.json", {"_class_name": "VQModel"}, "describes a VQModel"),
        ("image_unet/config.json", {"block_out_channels": [16, 30]}, "does not describe|block_out_channels"),
        ("image_encoder/config.json", {"num_hidden_layers": 3}, "image_encoder.*missing: vision_model"),
        ("image_encoder/config.json", {"num_hidden_layers": 1}, "image_encoder.*unexpected: vision_model"),
        ("image_encoder/config.json", {"projection_dim": 8}, "image_encoder.*misshapen: visual_projection.weight"),
        ("image_feature_extractor/preprocessor_config.json", {"image_std": [1]}, "image_mean and image_std"),
        ("text_encoder/config.json", {"vocab_size": 9}, "text_encoder.*misshapen: .*token_embedding.weight"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(folder, file, changes, said):
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError, match=said) as caught:
        load_versatile_diffusion(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "file",
    [
        "image_unet/config.json",
        "text_unet/config.json",
        f"image_unet/{WEIGHTS_FILE}",
        f"text_unet/{WEIGHTS_FILE}",
        f"vae/{WEIGHTS_FILE}",
        "scheduler/scheduler_config.json",
        "image_encoder/model.safetensors",
        "image_encoder/config.json",
        "text_encoder/model.safetensors",
        "image_feature_extractor/preprocessor_config.json",
    ],
)
@pytest.mark.parametrize("trouble", ["absent", "cut"])
def test_absent_and_damaged_files_are_refused(folder, file, trouble):
    path = folder / file
    if trouble == "absent":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=file.split("/")[0]) as caught:
        load_versatile_diffusion(folder)
    assert "\n" not in str(caught.value)


def test_an_absent_vocabulary_is_refused(folder):
    for path in (folder / "tokenizer").iterdir():
        if path.name != "tokenizer_config.json":
            path.unlink()
    with pytest.raises(CheckpointError, match="vocab.json is absent"):
        load_versatile_diffusion(folder)


@pytest.mark.parametrize("extra", [{"d": 8}, {}])
def test_a_vocabulary_of_another_encoder_is_refused(folder, extra):
    for name in ("tokenizer.json", "vocab.json"):
        (folder / "tokenizer" / name).unlink(missing_ok=True)
    tokens = {START: 0, END: 1, "a": 2} | extra
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(tokens))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(CheckpointError, match=f"knows {len(tokens)} tokens"):
        load_versatile_diffusion(folder)


def test_stored_contexts_that_do_not_fit_are_refused(folder):
    tokens = torch.zeros(3, WIDTH)
    stored = folder / "unconditional_contexts"
    UnconditionalContexts.from_contexts(tokens[:, :8], tokens[:, :8]).save_pretrained(stored)
    with pytest.raises(CheckpointError, match="tokens of 8 values, but its UNet reads 16"):
        load_versatile_diffusion(folder)
    UnconditionalContexts.from_contexts(tokens * float("nan"), tokens).save_pretrained(stored)
    with pytest.raises(CheckpointError, match="not finite"):
        load_versatile_diffusion(folder)


def test_pickles_are_not_read(folder):
    path = folder / "image_unet" / WEIGHTS_FILE
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()
    with pytest.raises(CheckpointError, match="convert a .bin"):
        load_versatile_diffusion(folder)

"""Stable Diffusion under image tokens themselves, held against diffusers' own IP-Adapter-Plus, which resamples them."""

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from random_checkpoints import (
    adapter_plus_state,
    adapter_state,
    save_adapter_plus,
    save_generator,
    save_open_clip,
    save_vae,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from stages.checkpoints.ip_adapter_file import grouped
from stages.generators.diffusion.ip_tokens import StableDiffusionIPTokensGenerator
from stages.generators.generator import Item, in_order
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from stages.targets.ip_tokens import IPTokens
from weights.store import CheckpointError

STEPS = 6
MEAN, STD = [0.48, 0.45, 0.40], [0.26, 0.25, 0.27]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("ip-tokens")
    return {
        "generator": save_generator("sd", root / "generator"),
        "adapter": save_adapter_plus(root / "adapter"),
        "clip": save_open_clip(root / "clip", layers=3),
    }


@pytest.fixture(scope="module")
def ours(folders):
    return loaded(folders)


def loaded(folders, **options):
    return StableDiffusionIPTokensGenerator.from_pretrained(
        folders["generator"], folders["adapter"], folders["clip"], **{"scheduler": "ddim", **options}
    )


@pytest.fixture(scope="module")
def encoder(folders):
    """transformers' own image encoder with the weights of the open_clip folder."""
    stored = load_file(folders["clip"] / "open_clip_model.safetensors")
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2, image_size=8, patch_size=4,
        projection_dim=12, hidden_act="gelu",
    )  # fmt: skip
    network = CLIPVisionModelWithProjection(config).eval()
    state = {
        "embeddings.class_embedding": stored["visual.class_embedding"],
        "embeddings.position_embedding.weight": stored["visual.positional_embedding"],
        "embeddings.patch_embedding.weight": stored["visual.conv1.weight"],
    }
    for kind in ("weight", "bias"):
        state |= {f"pre_layrnorm.{kind}": stored[f"visual.ln_pre.{kind}"]}
        state |= {f"post_layernorm.{kind}": stored[f"visual.ln_post.{kind}"]}
        for place in range(3):
            own, theirs = f"visual.transformer.resblocks.{place}", f"encoder.layers.{place}"
            for part, rows in zip("qkv", stored[f"{own}.attn.in_proj_{kind}"].chunk(3)):
                state[f"{theirs}.self_attn.{part}_proj.{kind}"] = rows
            state[f"{theirs}.self_attn.out_proj.{kind}"] = stored[f"{own}.attn.out_proj.{kind}"]
            for number in (1, 2):
                state[f"{theirs}.layer_norm{number}.{kind}"] = stored[f"{own}.ln_{number}.{kind}"]
            state[f"{theirs}.mlp.fc1.{kind}"] = stored[f"{own}.mlp.c_fc.{kind}"]
            state[f"{theirs}.mlp.fc2.{kind}"] = stored[f"{own}.mlp.c_proj.{kind}"]
    state = {f"vision_model.{name}": value for name, value in state.items()}
    network.load_state_dict(state | {"visual_projection.weight": stored["visual.proj"].T})
    return network


@pytest.fixture(scope="module")
def theirs(folders, encoder):
    """diffusers' own pipeline with the adapter, loaded by diffusers' own loader, and the image encoder."""
    usual = loaded(folders)
    unet = UNet2DConditionModel.from_pretrained(folders["generator"] / "unet")
    processor = CLIPImageProcessor(
        size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}, image_mean=MEAN, image_std=STD
    )
    parts = {"vae": usual.pipeline.vae, "scheduler": usual.pipeline.scheduler, "tokenizer": None, "text_encoder": None}
    pipeline = StableDiffusionPipeline(
        **parts,
        unet=unet,
        safety_checker=None,
        feature_extractor=processor,
        image_encoder=encoder,
        requires_safety_checker=False,
    )
    pipeline.load_ip_adapter(grouped(adapter_plus_state()), subfolder="", weight_name="", image_encoder_folder=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def picture(number=0):
    return np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def pipeline_states(theirs, image):
    """What diffusers encodes of a picture for the adapter: hidden states of nothing, and of the picture."""
    (states,) = theirs.prepare_ip_adapter_image_embeds([Image.fromarray(image)], None, "cpu", 1, True)
    nothing, states = states.chunk(2)
    return nothing, states


# To the bit


def test_tokens_through_the_bypass_vs_hidden_states_through_diffusers_own_adapter(ours, theirs):
    """The UNet's output, to the bit, for tokens that the resampler made of the hidden states of a picture."""
    nothing, states = pipeline_states(theirs, picture())
    (resampler,) = theirs.unet.encoder_hid_proj.image_projection_layers
    noisy, text = torch.randn(2, 4, 8, 8), torch.randn(2, 7, 16)
    ours.pipeline.set_ip_adapter_scale(0.7)
    theirs.set_ip_adapter_scale(0.7)
    with torch.no_grad():
        # Resampled together, as within the UNet: products of one row and of two differ by rounding.
        tokens = resampler(torch.cat([nothing, states])[:, 0])[:, None]
        assert tokens.shape == (2, 1, 3, 16)
        usual = theirs.unet(noisy, 500, text, added_cond_kwargs={"image_embeds": [torch.cat([nothing, states])]}).sample
        found = ours.pipeline.unet(noisy, 500, text, added_cond_kwargs={"image_embeds": [tokens]}).sample
        other = ours.pipeline.unet(noisy, 500, text, added_cond_kwargs={"image_embeds": [tokens.flip(0)]}).sample
    assert torch.equal(found, usual) and not torch.equal(other, usual)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_pictures_vs_diffusers_ip_adapter_image(ours, theirs, folders, guidance):
    """The whole way: our encoder, our resampler, our sampler, against diffusers' ``ip_adapter_image``."""
    target = IPTokens.from_pretrained(folders["clip"], adapter=folders["adapter"])
    tokens = target.encode(picture()[None]).reshape(1, *target.shape)
    (found,) = in_order(
        ours.draw({"ip_tokens": tokens}, [Item("a")], num_inference_steps=STEPS, guidance_scale=guidance)
    )
    theirs.set_ip_adapter_scale(1.0)
    usual = theirs(
        prompt_embeds=ours.empty_text[None],
        negative_prompt_embeds=ours.empty_text[None],
        ip_adapter_image=Image.fromarray(picture()),
        generator=[item_generator(0, "a", 0)],
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        output_type="np",
    ).images[0]
    assert np.abs(found - 255 * usual).max() <= 1


def test_tokens_of_nothing_vs_diffusers(ours, theirs):
    nothing, _ = pipeline_states(theirs, picture())
    (resampler,) = theirs.unet.encoder_hid_proj.image_projection_layers
    with torch.no_grad():
        torch.testing.assert_close(ours.nothing, resampler(nothing[0])[0], atol=1e-5, rtol=1e-5)
    assert ours.nothing.abs().max() > 0.1


def test_a_guidance_of_1_reads_the_tokens_alone(ours):
    """Other tokens of nothing change a guided picture, and none that is not guided."""
    tokens, items = np.random.default_rng(1).standard_normal((2, 3, 16)).astype(np.float32), [Item("a"), Item("b")]
    conditioner = ours.conditioners[0]
    kept = conditioner._nothing
    rows = []
    handle = ours.pipeline.unet.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))

    def drawn(guidance):
        rows.clear()
        found = ours.draw({"ip_tokens": tokens}, items, num_inference_steps=2, guidance_scale=guidance)
        return np.stack(in_order(found)), set(rows)

    try:
        alone, guided = drawn(1), drawn(5.0)
        conditioner._nothing = kept + 3
        assert drawn(1)[0].tobytes() == alone[0].tobytes() and drawn(5.0)[0].tobytes() != guided[0].tobytes()
    finally:
        conditioner._nothing = kept
        handle.remove()
    assert (alone[1], guided[1]) == ({2}, {4})


def test_absent_tokens_and_a_scale_of_0_are_the_text_alone(ours):
    tokens, items = np.random.default_rng(1).standard_normal((1, 3, 16)).astype(np.float32), [Item("a")]

    def drawn(values, **options):
        return in_order(ours.draw(values, items, num_inference_steps=2, guidance_scale=3.0, **options))[0]

    text = np.random.default_rng(2).standard_normal((1, 7, 16)).astype(np.float32)
    alone = drawn({"clip_text": text})
    assert np.array_equal(drawn({"clip_text": text, "ip_tokens": tokens}, weights={"ip_tokens": 0}), alone)
    assert not np.array_equal(drawn({"clip_text": text, "ip_tokens": tokens}), alone)


# What it is loaded from


def test_tokens_of_nothing_are_kept_beside_the_adapter(folders, ours):
    stored = folders["adapter"] / "unconditional_contexts"
    assert (stored / "diffusion_pytorch_model.safetensors").is_file()
    again = StableDiffusionIPTokensGenerator.from_pretrained(
        folders["generator"], folders["adapter"], folders["clip"] / "absent", scheduler="ddim"
    )
    assert torch.equal(again.nothing, ours.nothing)


def test_another_autoencoder_takes_the_place_of_the_generators_own(folders, ours, tmp_path):
    save_vae(tmp_path / "vae")
    state = load_file(tmp_path / "vae" / "diffusion_pytorch_model.safetensors")
    state["decoder.conv_out.bias"] += 1
    save_file(state, tmp_path / "vae" / "diffusion_pytorch_model.safetensors")
    other = loaded(folders, autoencoder=tmp_path / "vae")
    assert torch.equal(other.pipeline.vae.decoder.conv_out.bias, ours.pipeline.vae.decoder.conv_out.bias + 1)
    tokens = np.ones((1, 3, 16), np.float32)

    def drawn(generator):
        return in_order(generator.draw({"ip_tokens": tokens}, [Item("a")], num_inference_steps=2))[0].astype(int)

    assert (drawn(other) - drawn(ours)).mean() > 20


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda state: state.pop("ip_adapter.3.to_k_ip.weight"), "missing: ip_adapter.3.to_k_ip.weight"),
        (lambda state: state.pop("image_proj.layers.3.1.1.weight"), "missing: image_proj.layers.3.1.1.weight"),
        (
            lambda state: state.update({"image_proj.layers.4.0.norm1.bias": torch.zeros(8)}),
            "unexpected: image_proj.layers.4",
        ),
        (
            lambda state: state.update({"image_proj.layers.1.1.3.weight": torch.zeros(8, 9)}),
            "misshapen: image_proj.layers.1.1.3",
        ),
        (lambda state: state.pop("image_proj.latents"), "no resampler of hidden states .*no IP-Adapter-Plus"),
        (
            lambda state: state.update({"image_proj.proj_out.weight": torch.zeros(12, 8)}),
            "makes tokens of 12 values but the UNet reads 16",
        ),
    ],
)
def test_adapters_that_do_not_fit_are_refused_by_name(folders, tmp_path, change, said):
    state = adapter_plus_state()
    change(state)
    save_file(state, tmp_path / "adapter.safetensors")
    with pytest.raises(CheckpointError, match=said):
        loaded(folders | {"adapter": tmp_path / "adapter.safetensors"})


def test_an_adapter_of_pooled_embeddings_is_refused(folders, tmp_path):
    save_file(adapter_state(), tmp_path / "adapter.safetensors")
    with pytest.raises(
        CheckpointError, match="no resampler .*image_proj.norm.bias.*; expected one such as ip-adapter-plus_sd15"
    ):
        loaded(folders | {"adapter": tmp_path})


def test_an_encoder_of_another_width_is_refused(folders, tmp_path):
    adapter = save_adapter_plus(tmp_path / "adapter", embed_dim=24)
    with pytest.raises(CheckpointError, match="reads states of 24 values but the image encoder in .* gives 16"):
        loaded(folders | {"adapter": adapter})
    with pytest.raises(InputError, match="reads states of 24 values but the image encoder gives 16"):
        IPTokens.from_pretrained(folders["clip"], adapter=adapter)

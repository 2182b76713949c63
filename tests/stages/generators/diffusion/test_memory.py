"""The arithmetic of memory: its laws, and against what the networks hold while they compute."""

import dataclasses
import weakref

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, VQModel
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from transformers import DPTConfig, DPTForDepthEstimation

from stages.generators.diffusion.memory import (
    GeneratorSize,
    batch_size_for,
    decoder_values,
    memory_need,
    sliced_scores,
    unet_values,
)
from stages.generators.diffusion.published_sizes import PUBLISHED_SIZES
from stages.networks.dual_context_unet import DualContextUNet2DConditionModel
from weights.manifest import read_manifest

VD = PUBLISHED_SIZES["versatile-diffusion"]
# `most_values` puts another one in its place.
_ATTENTION = torch.nn.functional.scaled_dot_product_attention
SMALL = {
    "sample_size": 32,
    "block_out_channels": (32, 64),
    "layers_per_block": 2,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "attention_head_dim": 4,
}


class Living(TorchDispatchMode):
    """Counts the values of the tensors that are alive, and remembers the most."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.known = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        given = {id_of(each) for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)}
        for each in tree_leaves(found):
            if isinstance(each, torch.Tensor) and id_of(each) not in given | self.known:
                self.known.add(id_of(each))
                self.now += each.untyped_storage().nbytes() // 4
                weakref.finalize(each.untyped_storage(), self.forget, id_of(each), each.untyped_storage().nbytes() // 4)
        self.peak = max(self.peak, self.now)
        return found

    def forget(self, identity, values):
        self.known.discard(identity)
        self.now -= values


def id_of(tensor):
    return tensor.untyped_storage()._cdata


@pytest.fixture
def most_values(monkeypatch):
    """The most values alive during a call, on the meta device: nothing is computed and nothing is held."""
    # torch's decomposition for this device holds all scores, which no device that draws does.
    attention = "scaled_dot_product_attention"
    monkeypatch.setattr(torch.nn.functional, attention, lambda query, *_, **__: torch.empty_like(query))

    def measure(call):
        with torch.no_grad(), Living() as living, torch.device("meta"):
            call()
        return living.peak

    return measure


def values(*shape):
    return torch.empty(*shape, device="meta")


def on_meta(network_class, **config):
    with torch.device("meta"):
        return network_class(**config)


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def operations(call):
    """What torch counts, as the published sizes have it."""
    with pytest.MonkeyPatch.context() as patch, FlopCounterMode(display=False) as counter:
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", _ATTENTION)
        with torch.no_grad(), torch.device("meta"):
            call()
    return counter.get_total_flops()


def shape_of(size):
    """The configuration of a published UNet, as diffusers' constructor takes it."""
    return dict(size.unet)


# --- the published sizes


def test_versatile_diffusion_at_full_size(most_values):
    unet = on_meta(DualContextUNet2DConditionModel, cross_attention_dim=768, **shape_of(VD))
    assert parameters(unet) == VD.unet_parameters
    unet.train()  # rows without a context's weight are left out in evaluation, which needs the weights themselves
    weights = {"context_weights": values(1, 2)}
    tokens = values(1, 257 + 77, 768)
    peak = most_values(lambda: unet(values(1, 4, 64, 64), values(1), tokens, cross_attention_kwargs=weights))
    counted = operations(lambda: unet(values(1, 4, 64, 64), values(1), tokens, cross_attention_kwargs=weights))
    assert counted == VD.unet_operations
    assert unet_values(VD.unet, two_contexts=True) == pytest.approx(peak, rel=0.02)


def test_stable_diffusion_at_full_size(most_values):
    size, alone = PUBLISHED_SIZES["stable-diffusion-1-5"], PUBLISHED_SIZES["stable-diffusion-1-4"]
    assert alone == dataclasses.replace(size, other_parameters=0)
    unet = on_meta(UNet2DConditionModel, cross_attention_dim=768, **shape_of(size))
    assert parameters(unet) == size.unet_parameters
    peak = most_values(lambda: unet(values(1, 4, 64, 64), values(1), values(1, 77, 768)))
    assert operations(lambda: unet(values(1, 4, 64, 64), values(1), values(1, 77, 768))) == size.unet_operations
    assert unet_values(size.unet) == pytest.approx(peak, rel=0.02)
    attended = [module.to_k.in_features for name, module in unet.named_modules() if name.endswith("attn2")]
    widths = [module.to_k.out_features for name, module in unet.named_modules() if name.endswith("attn2")]
    assert attended == [768] * 16
    # IP-Adapter: keys and values of each attention, the projection of 1024 values to four tokens, and its layer norm.
    assert size.other_parameters == 2 * 768 * sum(widths) + (1024 + 1) * 4 * 768 + 2 * 768


def test_image_variations_at_full_size():
    size, text = PUBLISHED_SIZES["sd-image-variations"], PUBLISHED_SIZES["stable-diffusion-1-4"]
    unet = on_meta(UNet2DConditionModel, cross_attention_dim=768, **shape_of(size))
    counted = operations(lambda: unet(values(1, 4, 64, 64), values(1), values(1, 1, 768)))
    assert size == dataclasses.replace(text, unet_operations=counted)


def test_codebook_diffusion_at_full_size(most_values):
    size, written = PUBLISHED_SIZES["label2img-ldm"], read_manifest()["label2img-ldm"].writes
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(written["unet/config.json"])
        vae = VQModel.from_config(written["vae/config.json"])
    for name, value in size.unet.items():
        found = unet.config[name]
        assert (tuple(found) if isinstance(found, list) else found) == value, name
    assert (parameters(unet), parameters(vae)) == (size.unet_parameters, size.vae_parameters)

    def denoise():
        return unet(values(1, 3, 64, 64), values(1), values(1, 77, 512), class_labels=values(1, 768))

    assert operations(denoise) == size.unet_operations
    assert operations(lambda: vae.decode(values(1, 3, 64, 64))) == size.vae_operations
    assert unet_values(size.unet) == pytest.approx(most_values(denoise), rel=0.02)
    # Codes are sought beside the decoder, one picture at a time.
    decoded = most_values(lambda: vae.decode(values(1, 3, 64, 64), force_not_quantize=True))
    assert decoder_values(size.vae, 64) == pytest.approx(decoded, rel=0.02)


def test_stable_diffusion_under_depth_at_full_size(most_values):
    size = PUBLISHED_SIZES["stable-diffusion-2-depth"]
    unet = on_meta(
        UNet2DConditionModel, in_channels=5, cross_attention_dim=1024, use_linear_projection=True, **shape_of(size)
    )
    assert parameters(unet) == size.unet_parameters
    peak = most_values(lambda: unet(values(1, 5, 64, 64), values(1), values(1, 77, 1024)))
    assert operations(lambda: unet(values(1, 5, 64, 64), values(1), values(1, 77, 1024))) == size.unet_operations
    assert unet_values(size.unet) == pytest.approx(peak, rel=0.02)
    with torch.device("meta"):
        reader = DPTForDepthEstimation(
            DPTConfig(hidden_size=1024, num_attention_heads=16, neck_hidden_sizes=[256, 512, 1024, 1024])
        )
    # The first fusion's first layer is read by nothing.
    unread = parameters(reader.neck.fusion_stage.layers[0].residual_layer1)
    assert size.other_parameters == parameters(reader.neck) - unread + parameters(reader.head)


def test_stable_diffusion_xl_at_full_size(most_values):
    size = PUBLISHED_SIZES["stable-diffusion-xl-base"]
    unet = on_meta(
        UNet2DConditionModel,
        cross_attention_dim=2048,
        transformer_layers_per_block=(1, 2, 10),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
        **shape_of(size),
    )
    assert parameters(unet) == size.unet_parameters
    added = {"text_embeds": values(1, 1280), "time_ids": values(1, 6)}
    call = lambda: unet(values(1, 4, 128, 128), values(1), values(1, 77, 2048), added_cond_kwargs=added)  # noqa: E731
    assert unet_values(size.unet) == pytest.approx(most_values(call), rel=0.02)
    assert operations(call) == size.unet_operations
    widths = [module.to_k.out_features for name, module in unet.named_modules() if name.endswith("attn2")]
    assert len(widths) == 70
    assert size.other_parameters == 2 * 2048 * sum(widths) + (1024 + 1) * 4 * 2048 + 2 * 2048


@pytest.mark.parametrize("name, context", [("sdxl-unclip", (256, 1664)), ("sdxl-zavychroma", (77, 2048))])
def test_mindeye2s_networks_at_full_size(most_values, name, context):
    size = PUBLISHED_SIZES[name]
    labels = {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 1024}
    told = {"class_labels": values(1, 1024)}
    if name == "sdxl-zavychroma":
        labels = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
        labels["projection_class_embeddings_input_dim"] = 2816
        told = {"added_cond_kwargs": {"text_embeds": values(1, 1280), "time_ids": values(1, 6)}}
    shape = {"transformer_layers_per_block": (1, 2, 10), "use_linear_projection": True} | shape_of(size)
    unet = on_meta(UNet2DConditionModel, cross_attention_dim=context[1], **labels, **shape)
    assert parameters(unet) == size.unet_parameters
    call = lambda: unet(values(1, 4, 96, 96), values(1), values(1, *context), **told)  # noqa: E731
    assert unet_values(size.unet) == pytest.approx(most_values(call), rel=0.02)
    assert operations(call) == size.unet_operations
    # What is fetched says the same of itself.
    written = read_manifest()[name].writes["unet/config.json"]
    config = dict(unet.config) | {"sample_size": written["sample_size"]}
    assert all(
        config[key] == (tuple(value) if isinstance(value, list) else value) for key, value in list(written.items())[1:]
    )


@pytest.mark.parametrize("name, embed_dim", [("stable-unclip", 1024), ("stable-unclip-small", 768)])
def test_stable_unclip_at_full_size(most_values, name, embed_dim):
    size = PUBLISHED_SIZES[name]
    unet = on_meta(
        UNet2DConditionModel,
        cross_attention_dim=1024,
        use_linear_projection=True,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=2 * embed_dim,
        **shape_of(size),
    )
    assert parameters(unet) == size.unet_parameters
    labels = values(1, 2 * embed_dim)
    peak = most_values(lambda: unet(values(1, 4, 96, 96), values(1), values(1, 77, 1024), class_labels=labels))
    counted = operations(lambda: unet(values(1, 4, 96, 96), values(1), values(1, 77, 1024), class_labels=labels))
    assert counted == size.unet_operations
    assert unet_values(size.unet) == pytest.approx(peak, rel=0.02)


def test_kandinsky_at_full_size(most_values):
    size = PUBLISHED_SIZES["kandinsky-2-2-decoder"]
    unet = on_meta(
        UNet2DConditionModel,
        in_channels=4,
        out_channels=8,
        cross_attention_dim=768,
        encoder_hid_dim=1280,
        encoder_hid_dim_type="image_proj",
        addition_embed_type="image",
        resnet_time_scale_shift="scale_shift",
        **shape_of(size),
    )
    assert parameters(unet) == size.unet_parameters
    added = {"image_embeds": values(1, 1280)}
    peak = most_values(lambda: unet(values(1, 4, 64, 64), values(1), None, added_cond_kwargs=added))
    counted = operations(lambda: unet(values(1, 4, 64, 64), values(1), None, added_cond_kwargs=added))
    assert counted == size.unet_operations
    assert unet_values(size.unet) == pytest.approx(peak, rel=0.02)
    movq = on_meta(
        VQModel,
        down_block_types=(*("DownEncoderBlock2D",) * 3, "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", *("UpDecoderBlock2D",) * 3),
        layers_per_block=2,
        latent_channels=4,
        num_vq_embeddings=16384,
        vq_embed_dim=4,
        **size.vae,
    )
    assert parameters(movq) == size.vae_parameters
    peak = most_values(lambda: movq.decode(values(1, 4, 64, 64), force_not_quantize=True))
    assert operations(lambda: movq.decode(values(1, 4, 64, 64), force_not_quantize=True)) == size.vae_operations
    assert decoder_values(size.vae, 64) == pytest.approx(peak, rel=0.02)


def test_the_autoencoder_at_full_size(most_values):
    vae = on_meta(
        AutoencoderKL,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        **VD.vae,
    )
    assert parameters(vae) == VD.vae_parameters
    peak = most_values(lambda: vae.decode(values(1, 4, 64, 64)))
    assert decoder_values(VD.vae, 64) == pytest.approx(peak, rel=0.02)
    assert most_values(lambda: vae.encode(values(1, 3, 512, 512))) < peak


def test_published_sizes_are_of_checkpoints_that_are_known():
    assert PUBLISHED_SIZES.keys() <= read_manifest().keys()
    sizes = {name: size.image_size for name, size in PUBLISHED_SIZES.items()}
    assert sizes["versatile-diffusion"] == sizes["kandinsky-2-2-decoder"] == 512
    assert sizes["stable-diffusion-xl-base"] == 1024 and sizes["stable-unclip"] == 768


# --- against what is allocated


def allocated(call):
    """The most bytes that torch's allocator hands out on the CPU during a call, kernels' own buffers included."""
    with torch.no_grad():
        call()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            call()
    now = peak = 0
    for event in sorted(recorded.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return peak


@pytest.mark.parametrize("rows", [1, 4])
def test_a_small_unet_allocates_what_the_arithmetic_says(rows):
    unet = UNet2DConditionModel(cross_attention_dim=16, norm_num_groups=8, **SMALL).eval()
    sample, context = torch.randn(rows, 4, 32, 32), torch.randn(rows, 5, 16)
    peak = allocated(lambda: unet(sample, 1, context))
    assert peak == pytest.approx(4 * rows * unet_values(SMALL), rel=0.1)


def test_a_small_autoencoder_allocates_up_to_a_third_more():
    vae = AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=2,
        norm_num_groups=8,
    ).eval()
    latents = torch.randn(2, 4, 32, 32)
    peak = allocated(lambda: vae.decode(latents))
    assert 0.95 <= peak / (4 * 2 * decoder_values(vae.config, 32)) <= 4 / 3


# --- laws


@pytest.mark.parametrize("name", PUBLISHED_SIZES)
def test_half_precision_halves_what_is_not_kept_in_float32(name):
    size = PUBLISHED_SIZES[name]
    plain = dataclasses.replace(size, vae=size.vae | {"force_upcast": False})
    whole, half = (memory_need(plain, dtype) for dtype in ("float32", "float16"))
    assert 2 * half.weights == whole.weights
    assert 2 * half.activations == pytest.approx(whole.activations, abs=2)
    assert memory_need(plain, "bfloat16") == half
    upcast = dataclasses.replace(size, vae=size.vae | {"force_upcast": True})
    assert memory_need(upcast, "float16").weights == half.weights + 2 * size.vae_parameters
    assert memory_need(upcast, "float32") == whole


def test_memory_grows_with_the_batch_and_guidance_and_shrinks_by_slicing():
    totals = [memory_need(VD, batch_size=n).total for n in range(1, 17)]
    assert totals == sorted(totals) and totals[0] < totals[-1]
    assert memory_need(VD, batch_size=8, guided=True) == memory_need(VD, batch_size=16, guided=False)
    assert memory_need(VD, batch_size=8, vae_slicing=False).total > memory_need(VD, batch_size=8).total
    assert memory_need(VD, batch_size=1, vae_slicing=False) == memory_need(VD, batch_size=1)
    offloads = [memory_need(VD, offload=each).total for each in ("none", "model", "sequential")]
    assert offloads == sorted(offloads, reverse=True) and len(set(offloads)) == 3
    assert memory_need(VD, set_aside=7).total == memory_need(VD).total + 7


def test_attention_slicing_costs_memory_beside_attention_that_holds_no_scores():
    assert sliced_scores(VD.unet) == 2 * 4 * 4096**2
    assert sliced_scores(SMALL) == 2 * 2 * 1024**2
    assert memory_need(VD, batch_size=8, attention_slicing=True).total > memory_need(VD, batch_size=8).total


def test_the_batch_is_the_largest_that_fits():
    for free in (3e9, 5.5e9, 6e9, 7e9, 12e9, 80e9):
        found = batch_size_for(VD, free, dtype="float32")
        if found:
            assert memory_need(VD, "float32", found).total <= free
        if found < 16:
            assert memory_need(VD, "float32", found + 1).total > free
    assert batch_size_for(VD, 3e9) == 0 and batch_size_for(VD, 80e9) == 16
    assert batch_size_for(VD, 80e9, largest=3) == 3


@pytest.mark.parametrize("dtype, gigabytes", [("float16", 4.0), ("float32", 6.9)])
def test_versatile_diffusion_draws_on_a_card_of_12_gigabytes(dtype, gigabytes):
    need = memory_need(VD, dtype, batch_size=1, set_aside=10**9)
    assert need.total / 1e9 == pytest.approx(gigabytes, abs=0.1)
    assert need.total < 12e9
    assert memory_need(VD, dtype, batch_size=16, set_aside=10**9).total < 12e9


def test_a_pipeline_is_measured(pipeline):
    size = GeneratorSize.of(pipeline)
    assert size.image_size == 16 and size.two_contexts
    assert size.unet_parameters == parameters(pipeline.unet)
    assert size.vae_parameters == parameters(pipeline.vae)
    assert size.other_parameters == parameters(pipeline.unconditional_contexts)
    assert memory_need(size).weights == 4 * sum(
        parameters(part) for part in pipeline.components.values() if isinstance(part, torch.nn.Module)
    )

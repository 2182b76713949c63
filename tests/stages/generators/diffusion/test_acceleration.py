"""Settings of acceleration applied to tiny pipelines: what they change, and that pictures stay the same."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionImg2ImgPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0, SlicedAttnProcessor
from picture_requests import pictures
from safetensors.torch import load_file

from stages.generators.diffusion.acceleration import Acceleration, free_memory
from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.diffusion.dual_context_pipeline import DualContextImg2ImgPipeline
from stages.generators.diffusion.memory import GeneratorSize, memory_need
from stages.ground.errors import InputError
from stages.networks.latent_space import load_autoencoder

NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and torch finds none")


def drawn(pipeline, make_request, guidance_scale=3.0):
    generator = DualContextGenerator(pipeline)
    requests = [make_request(number, strength=0.5 if number else 1.0) for number in range(3)]
    options = {"num_inference_steps": 4, "guidance_scale": guidance_scale}
    return pictures(generator, requests, **options)


@pytest.fixture
def plain(generator, make_request):
    return drawn(generator.pipeline, make_request).astype(int)


def stable_diffusion():
    """diffusers' own pipeline, of tiny random parts."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8, down_block_types=("CrossAttnDownBlock2D",), up_block_types=("CrossAttnUpBlock2D",),
        block_out_channels=(16,), layers_per_block=1, norm_num_groups=8, cross_attention_dim=16, attention_head_dim=2,
    )  # fmt: skip
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4)
    return StableDiffusionImg2ImgPipeline(
        vae=vae, unet=unet, scheduler=DDIMScheduler(clip_sample=False), text_encoder=None, tokenizer=None,
        safety_checker=None, feature_extractor=None, image_encoder=None, requires_safety_checker=False,
    )  # fmt: skip


# --- pictures stay the same


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"attention_slicing": True},
        {"vae_slicing": True},
        {"channels_last": True},
        {"joined_projections": True},
        {"channels_last": True, "joined_projections": True},
        {"attention_slicing": True, "vae_slicing": True, "channels_last": True, "dtype": "float32"},
    ],
)
def test_pictures_change_by_one_grey_level_at_most(pipeline, plain, make_request, settings):
    assert Acceleration(**settings).apply(pipeline) is pipeline
    assert np.abs(drawn(pipeline, make_request) - plain).max() <= 1
    assert plain.std() > 5


def test_bfloat16_draws_nearly_the_same(pipeline, plain, make_request):
    Acceleration(dtype="bfloat16").apply(pipeline)
    assert {parameter.dtype for parameter in pipeline.unet.parameters()} == {torch.bfloat16}
    difference = np.abs(drawn(pipeline, make_request) - plain)
    assert 0 < difference.mean() < 8


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="torch.compile needs a C++ compiler")
def test_a_compiled_unet_computes_the_same(tmp_path, monkeypatch):
    # Away from the user's cache, where a run that was cut short may have left half a library.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    pipeline = stable_diffusion()
    sample, context = torch.randn(2, 4, 8, 8), torch.randn(2, 3, 16)
    with torch.no_grad():
        expected = pipeline.unet(sample, 5, context).sample
        Acceleration(compile=True).apply(pipeline)
        torch.testing.assert_close(pipeline.unet(sample, 5, context).sample, expected, rtol=1e-4, atol=1e-4)


# --- what the settings do


def test_slicing_and_layout_are_set(pipeline):
    Acceleration(attention_slicing=True, vae_slicing=True, channels_last=True).apply(pipeline)
    assert {type(each) for each in pipeline.unet.attn_processors.values()} == {SlicedAttnProcessor}
    assert pipeline.vae.use_slicing
    for network in (pipeline.unet, pipeline.vae):
        weights = [value for value in network.parameters() if value.ndim == 4]
        assert all(value.is_contiguous(memory_format=torch.channels_last) for value in weights)


def test_without_settings_nothing_is_set(pipeline):
    before = {type(each) for each in pipeline.unet.attn_processors.values()}
    Acceleration().apply(pipeline, free_bytes=10**12)
    assert {type(each) for each in pipeline.unet.attn_processors.values()} == before
    assert not pipeline.vae.use_slicing and pipeline.unet._compiled_call_impl is None
    assert pipeline.unet.dtype == pipeline.vae.dtype == torch.float32


def test_the_autoencoder_is_sliced_when_memory_is_short(pipeline):
    settings = {"batch_size": 8, "dtype": "float32"}
    need = memory_need(GeneratorSize.of(pipeline), batch_size=8, vae_slicing=False).total
    Acceleration(**settings).apply(pipeline, free_bytes=need)
    assert not pipeline.vae.use_slicing
    Acceleration(**settings).apply(pipeline, free_bytes=need - 1)
    assert pipeline.vae.use_slicing


def test_compiling_leaves_the_unet_what_it_is(pipeline, monkeypatch):
    unet, compiled = pipeline.unet, []
    monkeypatch.setattr(torch, "compile", lambda call, **_: compiled.append(call) or call)
    Acceleration(compile=True).apply(pipeline)
    blocks = [module for module in unet.modules() if type(module).__name__ == "BasicTransformerBlock"]
    assert compiled == [block._call_impl for block in blocks] and len(blocks) == 8
    Acceleration(compile="whole").apply(pipeline)
    assert compiled[len(blocks) :] == [unet._call_impl]
    assert pipeline.unet is unet and unet._compiled_call_impl is not None and unet.config.in_channels == 4


def test_joined_projections_are_used_and_leave_no_trace_on_disk(pipeline, tmp_path):
    unet, names = pipeline.unet, set(pipeline.unet.state_dict())
    attention = unet.mid_block.attentions[0].transformers[0].transformer_blocks[0]
    Acceleration(joined_projections=True).apply(pipeline)
    with torch.no_grad():
        attention.attn1.to_q.weight.zero_()
    used = []
    attention.attn1.to_qkv.register_forward_hook(lambda *_: used.append("qkv"))
    attention.attn2.to_kv.register_forward_hook(lambda *_: used.append("kv"))
    weights = {"context_weights": torch.full((1, 2), 0.5)}
    unet(torch.randn(1, 4, 8, 8), 5, torch.randn(1, 8, 16), cross_attention_kwargs=weights)
    assert used == ["qkv", "kv"]
    assert set(unet.state_dict()) == names
    unet.save_pretrained(tmp_path)
    assert set(load_file(tmp_path / "diffusion_pytorch_model.safetensors")) == names
    assert {name.removeprefix("unet.") for name in torch.nn.ModuleDict({"unet": unet}).state_dict()} == names


def test_auto_lays_out_and_joins_in_half_precision_on_cuda_alone():
    for settings, device, expected in [
        ({}, "cuda", True), ({"dtype": "bfloat16"}, "cuda:1", True), ({"dtype": "float32"}, "cuda", False),
        ({}, "cpu", False), ({"dtype": "bfloat16"}, "cpu", False), ({}, "mps", False),
    ]:  # fmt: skip
        acceleration, unet = Acceleration(**settings), stable_diffusion().unet
        assert acceleration._chosen(acceleration.channels_last, torch.device(device)) is expected
        assert acceleration._joins(unet, torch.device(device)) is expected
    for settings in ({"attention_slicing": True}, {"offload": "model"}):
        assert not Acceleration(**settings)._joins(unet, torch.device("cuda"))
    unet.mid_block.attentions[0].transformer_blocks[0].attn2.set_processor(
        IPAdapterAttnProcessor2_0(hidden_size=16, cross_attention_dim=16)
    )
    assert not Acceleration()._joins(unet, torch.device("cuda"))


def test_auto_is_half_precision_on_cuda_alone():
    devices = ("cpu", "cuda", "cuda:1", "mps")
    found = [Acceleration().dtype_for(device) for device in devices]
    assert found == [torch.float32, torch.float16, torch.float16, torch.float32]
    assert Acceleration(dtype="bfloat16").dtype_for("cuda") == torch.bfloat16


@pytest.mark.parametrize("said", [{"force_upcast": True}, {"force_upcast": False}, {}], ids=str)
def test_an_autoencoder_whose_file_says_that_it_overflows_stays_in_float32(tmp_path, said):
    pipeline, upcast = stable_diffusion(), bool(said.get("force_upcast"))
    pipeline.vae.save_pretrained(tmp_path / "vae")
    path = tmp_path / "vae" / "config.json"
    config = {name: value for name, value in json.loads(path.read_text()).items() if name != "force_upcast"}
    path.write_text(json.dumps(config | said))
    assert load_autoencoder(tmp_path, torch.float16).dtype == (torch.float32 if upcast else torch.float16)
    pipeline.register_modules(vae=load_autoencoder(tmp_path, torch.float32))
    assert GeneratorSize.of(pipeline).vae["force_upcast"] is upcast
    Acceleration(dtype="float16").apply(pipeline)
    assert pipeline.unet.dtype == torch.float16
    assert pipeline.vae.dtype == (torch.float32 if upcast else torch.float16)
    Acceleration(dtype="bfloat16").apply(pipeline)
    assert pipeline.vae.dtype == torch.bfloat16


# --- how many at a time


def test_the_batch_is_the_one_set_or_the_largest_that_fits(pipeline):
    assert Acceleration(batch_size=5).batch_size_for(pipeline, free_bytes=0) == 5
    size = GeneratorSize.of(pipeline)
    for batch in (1, 3, 16):
        free = memory_need(size, batch_size=batch).total
        assert Acceleration().batch_size_for(size, free_bytes=free) == batch
        assert Acceleration().batch_size_for(pipeline, free_bytes=free) == batch
    settings = {"dtype": "float16", "set_aside": 10**9}
    for batch in (17, 64):
        free = memory_need(size, batch_size=batch, **settings).total
        assert Acceleration().batch_size_for(size, "cuda", free_bytes=free) == batch
    assert Acceleration().batch_size_for(size, "cuda", free_bytes=10 * free) == 64
    assert Acceleration().batch_size_for(size, free_bytes=10 * free) == 16
    assert Acceleration(dtype="bfloat16").batch_size_for(size, free_bytes=memory_need(size, batch_size=4).total) > 4
    with pytest.raises(InputError, match="One picture of 16 x 16 in float32 needs .* GB but 0.0 GB are free on cpu"):
        Acceleration().batch_size_for(size, free_bytes=1000)


def test_free_memory_of_the_host_is_a_number():
    assert 10**6 < free_memory() < 10**14


# --- what cannot be


@pytest.mark.parametrize(
    "settings",
    [
        {"dtype": "float64"},
        {"dtype": torch.float16},
        {"offload": "disk"},
        {"offload": True},
        {"vae_slicing": "yes"},
        {"attention_slicing": "auto"},
        {"compile": 1},
        {"compile": "graphs"},
        {"channels_last": "yes"},
        {"joined_projections": 0},
        {"batch_size": 0},
        {"batch_size": 2.0},
        {"batch_size": True},
    ],
)
def test_settings_that_cannot_be_are_refused(settings):
    (name,) = settings
    with pytest.raises(InputError, match=name):
        Acceleration(**settings)


def test_two_replacements_of_attention_are_refused():
    with pytest.raises(InputError, match="attention_slicing and joined_projections.*one of them to False"):
        Acceleration(attention_slicing=True, joined_projections=True)


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offloading_to_where_it_is_anyway_is_refused(pipeline, offload):
    with pytest.raises(InputError, match="offload.*accelerator"):
        Acceleration(offload=offload).apply(pipeline)


def test_offloading_a_pipeline_without_an_order_is_refused(pipeline, monkeypatch):
    monkeypatch.setattr(DualContextImg2ImgPipeline, "model_cpu_offload_seq", None, raising=False)
    with pytest.raises(InputError, match="model_cpu_offload_seq"):
        Acceleration(offload="model").apply(pipeline, "cuda")


def test_slicing_does_not_throw_an_adapter_away():
    pipeline = stable_diffusion()
    processor = IPAdapterAttnProcessor2_0(hidden_size=16, cross_attention_dim=16)
    pipeline.unet.mid_block.attentions[0].transformer_blocks[0].attn2.set_processor(processor)
    with pytest.raises(InputError, match="IPAdapterAttnProcessor2_0"):
        Acceleration(attention_slicing=True).apply(pipeline)
    with pytest.raises(InputError, match="IPAdapterAttnProcessor2_0.*joined_projections to 'auto'"):
        Acceleration(joined_projections=True).apply(pipeline)
    Acceleration(vae_slicing=True).apply(pipeline)
    assert pipeline.unet.mid_block.attentions[0].transformer_blocks[0].attn2.processor is processor


# --- with an accelerator


@NEEDS_CUDA
def test_half_precision_on_cuda(pipeline, plain, make_request):
    Acceleration().apply(pipeline, "cuda")
    assert pipeline.unet.dtype == torch.float16 and pipeline.unet.device.type == "cuda"
    assert np.abs(drawn(pipeline, make_request) - plain).mean() < 2


@NEEDS_CUDA
@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offloading_leaves_the_weights_in_host_memory(offload):
    pipeline = Acceleration(offload=offload).apply(stable_diffusion(), "cuda")
    assert pipeline.unet.device.type in ("cpu", "meta") and pipeline._execution_device.type == "cuda"

"""Whole pipelines of tiny random parts, in folders, and requests for them."""

import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, PNDMScheduler, UNet2DConditionModel, VQModel
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from safetensors.torch import save_file

from stages.generators.dual_context import DualContextGenerator, GenerationRequest
from stages.generators.dual_context_pipeline import DualContextImg2ImgPipeline
from stages.generators.unconditional_contexts import UnconditionalContexts
from stages.networks.dual_context_unet import DualContextUNet2DConditionModel

IMAGE_SHAPE, TEXT_SHAPE, SIZE = (5, 16), (3, 16), 16


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory):
    torch.manual_seed(0)
    pipeline = DualContextImg2ImgPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
            latent_channels=4,
            sample_size=SIZE,
            scaling_factor=0.7,
        ),
        unet=DualContextUNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            cross_attention_dim=16,
            attention_head_dim=2,
            image_context_tokens=IMAGE_SHAPE[0],
            text_context_tokens=TEXT_SHAPE[0],
        ),
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            steps_offset=1,
            set_alpha_to_one=False,
            clip_sample=False,
        ),
        unconditional_contexts=UnconditionalContexts.from_contexts(torch.randn(IMAGE_SHAPE), torch.randn(TEXT_SHAPE)),
        guidance_scale=3.0,
    )
    folder = tmp_path_factory.mktemp("generator")
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def pipeline(pipeline_folder):
    pipeline = DualContextImg2ImgPipeline.from_pretrained(pipeline_folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def generator(pipeline_folder):
    return DualContextGenerator.from_pretrained(pipeline_folder)


@pytest.fixture(scope="session")
def make_request():
    def make(number, **changes):
        random = np.random.default_rng(number)
        fields = {
            "stimulus_id": f"nsd{number:05d}",
            "sample": 0,
            "image_context": random.standard_normal(IMAGE_SHAPE).astype(np.float32),
            "text_context": random.standard_normal(TEXT_SHAPE).astype(np.float32),
            "init_image": random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),
        }
        return GenerationRequest(**fields | changes)

    return make


BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
EMBED_DIM, TEXT_TOKENS = 12, 7


def save_tokenizer(folder):
    folder.mkdir()
    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "b</w>": 3}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": TEXT_TOKENS, "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def save_text_encoder(folder, width, projected=False):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=4,
        hidden_size=width,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=TEXT_TOKENS,
        projection_dim=width,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).save_pretrained(folder)


def save_unet(folder, **changes):
    torch.manual_seed(1)
    UNet2DConditionModel(
        **{
            "sample_size": 8,
            "in_channels": 4,
            "out_channels": 4,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            "block_out_channels": (16, 32),
            "layers_per_block": 1,
            "norm_num_groups": 8,
            "cross_attention_dim": 16,
            "attention_head_dim": 2,
        }
        | changes
    ).save_pretrained(folder)


def save_vae(folder, **changes):
    torch.manual_seed(2)
    AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=SIZE,
        scaling_factor=0.7,
        **changes,
    ).save_pretrained(folder)


@pytest.fixture(scope="session")
def save_generator():
    """Writer of a tiny generator of one of four kinds, in diffusers' layout, and its IP-Adapter where it has one."""

    def save(kind, folder):
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        index = {}
        PNDMScheduler(**BETAS, skip_prk_steps=True).save_pretrained(folder / "scheduler")
        if kind != "kandinsky":
            save_vae(folder / "vae", force_upcast=kind == "sdxl")
            save_tokenizer(folder / "tokenizer")
            save_text_encoder(folder / "text_encoder", 6 if kind == "sdxl" else 16)
        if kind == "sd":
            save_unet(folder / "unet")
        elif kind == "sdxl":
            save_tokenizer(folder / "tokenizer_2")
            save_text_encoder(folder / "text_encoder_2", 10, projected=True)
            save_unet(
                folder / "unet",
                addition_embed_type="text_time",
                addition_time_embed_dim=4,
                projection_class_embeddings_input_dim=6 * 4 + 10,
            )
            index = {"force_zeros_for_empty_prompt": True}
        elif kind == "unclip":
            save_unet(
                folder / "unet", class_embed_type="projection", projection_class_embeddings_input_dim=2 * EMBED_DIM
            )
            normalizer = StableUnCLIPImageNormalizer(EMBED_DIM)
            normalizer.mean.data.normal_()
            normalizer.std.data.uniform_(0.5, 2)
            normalizer.save_pretrained(folder / "image_normalizer")
            DDPMScheduler(beta_schedule="squaredcos_cap_v2").save_pretrained(folder / "image_noising_scheduler")
        else:
            save_unet(
                folder / "unet",
                out_channels=8,
                addition_embed_type="image",
                encoder_hid_dim_type="image_proj",
                encoder_hid_dim=EMBED_DIM,
            )
            VQModel(
                block_out_channels=(32, 32),
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                norm_num_groups=4,
                norm_type="spatial",
                latent_channels=4,
                vq_embed_dim=4,
                num_vq_embeddings=12,
            ).save_pretrained(folder / "movq")
            DDPMScheduler(
                beta_schedule="linear", beta_start=0.00085, beta_end=0.012, variance_type="learned_range",
                clip_sample=False,
            ).save_pretrained(folder / "scheduler")  # fmt: skip
        (folder / "model_index.json").write_text(json.dumps(index))
        return folder

    return save


@pytest.fixture(scope="session")
def adapter_state():
    """An IP-Adapter for the tiny UNets, name -> tensor."""
    random = torch.Generator().manual_seed(3)
    shapes = {"proj.weight": (4 * 16, EMBED_DIM), "proj.bias": (4 * 16,), "norm.weight": (16,), "norm.bias": (16,)}
    shapes = {f"image_proj.{name}": shape for name, shape in shapes.items()}
    # Down, up, middle: the layers in the UNet's order; of each pair the second is cross-attention.
    for number, width in ((1, 16), (3, 16), (5, 16), (7, 32)):
        shapes |= {f"ip_adapter.{number}.to_{matrix}_ip.weight": (width, 16) for matrix in "kv"}
    return {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}


@pytest.fixture(scope="session")
def load_generator(save_generator, adapter_state, tmp_path_factory):
    """Loader of the tiny generators by kind; a folder is written once, and keyword arguments are passed on."""
    from stages.generators.ip_adapter import StableDiffusionIPAdapterGenerator, StableDiffusionXLIPAdapterGenerator
    from stages.generators.kandinsky import KandinskyGenerator
    from stages.generators.stable_unclip import StableUnCLIPGenerator

    root = tmp_path_factory.mktemp("generators")
    save_file(adapter_state, root / "ip-adapter.safetensors")
    with_adapter = {"sd": StableDiffusionIPAdapterGenerator, "sdxl": StableDiffusionXLIPAdapterGenerator}
    without = {"unclip": StableUnCLIPGenerator, "kandinsky": KandinskyGenerator}

    def load(kind, **options):
        folder = root / kind
        if not folder.exists():
            save_generator(kind, folder)
        if kind in with_adapter:
            return with_adapter[kind].from_pretrained(folder, root / "ip-adapter.safetensors", **options)
        return without[kind].from_pretrained(folder, **options)

    return load


@pytest.fixture(scope="session")
def request_for():
    """Maker of requests that fit a generator."""

    def make(generator, number, **changes):
        random = np.random.default_rng(number)

        def drawn(shape):
            return None if shape is None else random.standard_normal(shape).astype(np.float32)

        fields = {
            "stimulus_id": f"nsd{number:05d}",
            "sample": 0,
            "image_context": drawn(generator.image_context_shape),
            "text_context": drawn(generator.text_context_shape),
            "context_weights": (0.8, 0 if generator.text_context_shape is None else 0.7),
            "init_image": random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),
        }
        return GenerationRequest(**fields | changes)

    return make

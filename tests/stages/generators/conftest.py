"""A whole pipeline of tiny random parts, in a folder, and requests for it."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler

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

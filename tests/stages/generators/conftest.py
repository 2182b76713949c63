"""Whole pipelines of tiny random parts, in folders, and requests for them."""

import numpy as np
import pytest
import random_checkpoints
from picture_requests import Request
from random_checkpoints import IMAGE_SHAPE, SIZE, TEXT_SHAPE
from safetensors.torch import save_file

from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.diffusion.dual_context_pipeline import DualContextImg2ImgPipeline


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory):
    return random_checkpoints.save_dual_context(tmp_path_factory.mktemp("generator"))


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
        return Request(**fields | changes)

    return make


@pytest.fixture(scope="session")
def adapter_state():
    """An IP-Adapter for the tiny UNets, name -> tensor."""
    return random_checkpoints.adapter_state()


@pytest.fixture(scope="session")
def load_generator(adapter_state, tmp_path_factory):
    """Loader of the tiny generators by kind; a folder is written once, and keyword arguments are passed on."""
    from stages.generators.diffusion.image_variations import ImageVariationsGenerator
    from stages.generators.diffusion.ip_adapter import (
        StableDiffusionIPAdapterGenerator,
        StableDiffusionXLIPAdapterGenerator,
    )
    from stages.generators.diffusion.kandinsky import KandinskyGenerator
    from stages.generators.diffusion.stable_unclip import StableUnCLIPGenerator

    root = tmp_path_factory.mktemp("generators")
    save_file(adapter_state, root / "ip-adapter.safetensors")
    with_adapter = {"sd": StableDiffusionIPAdapterGenerator, "sdxl": StableDiffusionXLIPAdapterGenerator}
    without = {
        "unclip": StableUnCLIPGenerator,
        "variations": ImageVariationsGenerator,
        "kandinsky": KandinskyGenerator,
    }

    def load(kind, **options):
        folder = root / kind
        if not folder.exists():
            random_checkpoints.save_generator(kind, folder)
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
            "image_context": drawn(generator.takes["clip_image"]),
            "text_context": drawn(generator.takes.get("clip_text")),
            "context_weights": (0.8, 0.7 if "clip_text" in generator.takes else 0),
            "init_image": random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),
        }
        return Request(**fields | changes)

    return make

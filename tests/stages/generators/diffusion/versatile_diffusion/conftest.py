"""The published folder of Versatile Diffusion, of tiny random parts."""

import shutil

import pytest
import torch
from random_checkpoints import TEXT_TOKENS, save_versatile_diffusion, versatile_diffusion_parts
from random_checkpoints import VERSATILE_WIDTH as WIDTH
from versatile_requests import IMAGE_TOKENS

from stages.generators.diffusion.versatile_diffusion import load_versatile_diffusion


@pytest.fixture(scope="session")
def parts(tmp_path_factory):
    return versatile_diffusion_parts(tmp_path_factory.mktemp("parts") / "tokenizer")


@pytest.fixture(scope="session")
def published(parts, tmp_path_factory):
    """The folder as diffusers writes it, without unconditional contexts."""
    folder = tmp_path_factory.mktemp("published")
    return save_versatile_diffusion(folder, parts)


@pytest.fixture
def folder(published, tmp_path):
    """A copy to be changed."""
    return shutil.copytree(published, tmp_path / "folder")


@pytest.fixture(scope="session")
def pipeline(published, tmp_path_factory):
    pipeline = load_versatile_diffusion(shutil.copytree(published, tmp_path_factory.mktemp("loaded") / "folder"))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def rows():
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(3, 4, 8, 8, generator=generator),
        torch.tensor([3, 250, 981]),
        torch.randn(3, IMAGE_TOKENS, WIDTH, generator=generator),
        torch.randn(3, TEXT_TOKENS, WIDTH, generator=generator),
    )

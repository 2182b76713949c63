"""Loading writes nothing to standard error: the libraries' bars and remarks are ours to show or not."""

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from stages.checkpoints.quiet_loading import quietly
from tests.support.random_checkpoints import save_generator, save_open_clip, save_versatile_diffusion

HERE = Path(__file__).resolve().parents[3]

LOADING = """
import sys
from pathlib import Path
from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.diffusion.stable_diffusion import StableDiffusionGenerator
from stages.targets.clip import CLIPTextTokens
from stages.targets.diffusion_text import DiffusionTextTokens

folder = Path(sys.argv[1])
DualContextGenerator.from_pretrained(folder / "vd")
StableDiffusionGenerator.from_pretrained(folder / "sd")
DiffusionTextTokens.from_pretrained(folder / "sdxl")
CLIPTextTokens.from_pretrained(folder / "clip")
import transformers.utils.logging as log
print(log.is_progress_bar_enabled())
"""


@pytest.mark.slow
def test_published_layouts_are_loaded_without_a_word_on_standard_error(tmp_path):
    # A process of its own: pytest's handlers would catch what a user sees.
    save_versatile_diffusion(tmp_path / "vd")
    # A setting that diffusers' class of today does not know, as published configurations have some.
    config = save_generator("sd", tmp_path / "sd") / "vae" / "config.json"
    config.write_text(config.read_text().replace("{", '{"of_another_version": 1,', 1))
    save_generator("sdxl", tmp_path / "sdxl")
    save_open_clip(tmp_path / "clip")
    done = subprocess.run(
        [sys.executable, "-c", LOADING, tmp_path], cwd=HERE, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    # The library is left as it was found.
    assert done.stdout.split() == ["True"]


def test_errors_pass_and_everything_is_as_before(caplog):
    with pytest.raises(ZeroDivisionError), quietly():
        logging.getLogger("open_clip").warning("unheard")
        warnings.warn("unheard", stacklevel=1)
        raise ZeroDivisionError
    assert not caplog.records
    logging.getLogger("open_clip").warning("heard")
    assert [record.message for record in caplog.records] == ["heard"]
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)

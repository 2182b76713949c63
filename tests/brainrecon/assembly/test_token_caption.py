"""The step from tokens to a caption: what its captioner writes, one at a time, under its settings."""

import numpy as np
import pytest
import random_git
import torch

from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.token_caption import TokenCaptionSettings, token_caption
from brainrecon.assembly.values import Item
from stages.generators.generator import in_order
from stages.generators.language.bridged_captioner import BridgedCaptioner
from stages.generators.language.git_captioner import GITCaptioner
from stages.ground.errors import InputError
from stages.networks.caption_bridge import CaptionBridge

ITEMS = [Item("subj01", f"nsd{number:05d}") for number in range(6)]


@pytest.fixture(scope="module")
def captioner(tmp_path_factory):
    folder = tmp_path_factory.mktemp("git")
    random_git.save_git(folder)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        bridge = CaptionBridge((16, 9), (17, 12)).eval().requires_grad_(False)
    return BridgedCaptioner(bridge, GITCaptioner.from_pretrained(folder), reads="decoded")


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(0).normal(size=(len(ITEMS), 16 * 9)).astype(np.float32) * 4


@pytest.mark.parametrize("settings", [None, TokenCaptionSettings(num_beams=3, max_length=9, prompt="a picture of ")])
def test_the_step_writes_what_the_captioner_writes(captioner, tokens, settings):
    step = token_caption(lambda: captioner, "decoded", "said", settings)
    assert step.batch_size() == 1 and not step.by_lot and step.medium("said") == "caption"
    expected = in_order(captioner.draw({"decoded": tokens}, ITEMS, **vars(settings or TokenCaptionSettings())))
    assert step.run(ITEMS, {"decoded": tokens})["said"] == expected
    assert step.told(frozenset({"decoded"})) == vars(settings or TokenCaptionSettings())


def test_tokens_of_another_shape_are_refused(captioner):
    class Other:
        shape, takes = (16, 8), "images"

    step = token_caption(lambda: captioner, "decoded", targets={"decoded": TargetSource(Other, ())})
    with pytest.raises(InputError, match=r"shape \(16, 8\) but the generator takes \(16, 9\)"):
        step.load()


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="max_length"):
        TokenCaptionSettings(max_length=0)

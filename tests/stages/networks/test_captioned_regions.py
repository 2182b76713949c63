"""The caption model behind the decoder that trains it: its sixteen states, what is frozen, and what a killed training ends in."""

import os
import signal

import numpy as np
import pytest
import torch
from random_gpt2 import sizes

from stages.decoders.trained import TrainedDecoder, Training
from stages.ground.errors import InputError
from stages.networks.captioned_regions import CaptionedRegions
from stages.objectives.next_words import IGNORED, NextWords
from stages.objectives.regression import MeanSquaredError
from stages.training.pairs import Pairs
from stages.training.recipe import OptimiserSpec, Recipe, Schedule
from stages.training.state import FILE

N_VOXELS, WIDTH, N_REGIONS = 14, 12, 7
REGIONS = [[2 * region, 2 * region + 1] for region in range(N_REGIONS)]
MATCHING = {"width": 8, "depth": 1, "n_heads": 2, "graph_heads": 2}
ARGUMENTS = {
    **dict(regions=REGIONS, matching=MATCHING, language=sizes(), factor=4),
    **dict(depth=1, n_heads=2),
}
RECIPE = Recipe(
    steps=6,
    batch_size=4,
    validate_every=2,
    seed=3,
    optimiser=OptimiserSpec("adamw", 1e-3, weight_decay=1e-4),
    schedule=Schedule("linear"),
)


def network(**changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CaptionedRegions(N_VOXELS, {"caption_states": (16, WIDTH)}, **ARGUMENTS | changes).train()


def data():
    random = np.random.default_rng(0)
    rows = random.integers(0, 40, (8, 2, 9)).astype(np.float32)
    rows[:, 1, :4] = rows[:, 1, 7:] = IGNORED
    return Training(
        {"subj01": random.standard_normal((24, N_VOXELS)).astype(np.float32)},
        {"subj01": np.repeat(np.arange(8), 3)},
        {},
        "pictures",
        beside={
            "caption_tokens": rows,
            "clip_class": random.standard_normal((8, WIDTH)).astype(np.float32),
        },
        pairs=Pairs("own", shared=False, categories=np.arange(8) // 2),
        free={"caption_states": (16, WIDTH)},
    )


class Killing(NextWords):
    """Kills its process."""

    def __call__(self, outputs, targets, step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(outputs, targets, step)


Killing.__qualname__ = "NextWords"


def fitted(folder=None, words=NextWords):
    objectives = [words("caption_tokens"), MeanSquaredError("clip_class", 10.0)]
    decoder = TrainedDecoder(CaptionedRegions, RECIPE, objectives, ARGUMENTS, seconds_between_checkpoints=0.0)
    return decoder.fit(data(), folder=folder)


def test_sixteen_states_the_first_of_which_is_the_class_token_of_what_is_trained():
    made = network().eval()
    patterns, rows = torch.randn(3, N_VOXELS), torch.zeros(3, 2, 5)
    with torch.no_grad():
        found = made(patterns, rows)
        tokens = made.regions(patterns)
        trained, matched = made.tokens.encoder(tokens), made.tokens.proj(made.tokens.fmrigm.encode(tokens))
    assert found["caption_states"].shape == (3, 16, WIDTH)
    torch.testing.assert_close(found["caption_states"], torch.cat([trained, matched], dim=1))
    torch.testing.assert_close(found["clip_class"], trained[:, 0])


def test_what_is_frozen_has_no_gradient_and_everything_else_has_one():
    made, training = network(), data()
    targets = {name: torch.from_numpy(values[:4]) for name, values in training.beside.items()}
    outputs = made(torch.randn(4, N_VOXELS), targets["caption_tokens"])
    words, error = NextWords("caption_tokens"), MeanSquaredError("clip_class", 10.0)
    (words(outputs, targets, 0)[0] + error(outputs, targets, 0)[0]).backward()
    free = {name for name, one in made.named_parameters() if one.grad is not None}
    frozen = {name for name, _ in made.named_parameters()} - free
    assert {name.split(".")[0] for name in free} == {"tokens", "decoder"}
    assert all(name.startswith(("tokens.encoder.", "tokens.proj.")) or ".crossattention." in name for name in free)
    assert all(name.startswith(("tokens.fmrigm.", "decoder.")) and ".crossattention." not in name for name in frozen)


def test_the_loss_is_the_cross_entropy_behind_the_prefix():
    scores, rows = torch.randn(2, 5, 9), torch.zeros(2, 2, 5)
    rows[:, 1] = torch.tensor([[IGNORED, IGNORED, 4, 1, IGNORED], [IGNORED, 3, 2, 8, 0]])
    loss, _ = NextWords("words", weight=2.0)({"words": scores}, {"words": rows}, 0)
    chances = torch.log_softmax(scores, dim=-1)
    learned = [(0, 2, 4), (0, 3, 1), (1, 1, 3), (1, 2, 2), (1, 3, 8), (1, 4, 0)]
    expected = -2 * torch.stack([chances[row, place, word] for row, place, word in learned]).mean()
    torch.testing.assert_close(loss, expected)


def test_a_training_changes_what_is_free_alone_and_repeats():
    one, again, before = fitted(), fitted(), None
    assert one.curves() == again.curves()
    with torch.random.fork_rng():
        torch.manual_seed(RECIPE.seed)
        before = CaptionedRegions(N_VOXELS, {"caption_states": (16, WIDTH)}, **ARGUMENTS).state_dict()
    after = one.network.network.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    free = {name for name, value in network().named_parameters() if value.requires_grad}
    assert changed and changed <= free
    assert any(".crossattention." in name for name in changed) and "tokens.proj.weight" in changed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_killed_and_started_again_it_ends_in_the_same_bytes(tmp_path):
    whole = fitted(tmp_path / "whole")
    if not (process := os.fork()):
        try:
            fitted(tmp_path / "parts", Killing)
        finally:
            os._exit(1)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) and (tmp_path / "parts" / FILE).exists()
    resumed = fitted(tmp_path / "parts")
    assert (tmp_path / "parts" / FILE).read_bytes() == (tmp_path / "whole" / FILE).read_bytes()
    assert resumed.curves() == whole.curves()


def test_saved_and_opened_it_predicts_the_same(tmp_path):
    decoder, patterns = fitted(), np.random.default_rng(1).standard_normal((3, N_VOXELS)).astype(np.float32)
    decoder.save_pretrained(tmp_path)
    again = TrainedDecoder.from_pretrained(tmp_path)
    (one,), (other,) = (list(each.predict_blocks(patterns)) for each in (decoder, again))
    np.testing.assert_array_equal(one[2], other[2])


def test_another_number_of_states_is_refused():
    with pytest.raises(InputError, match="caption_states has 9 states but 7 regions make 16"):
        CaptionedRegions(N_VOXELS, {"caption_states": (9, WIDTH)}, **ARGUMENTS)

"""The text context from a decoded caption: the scripts' settings, and each value of a run held against its own maker."""

import numpy as np
import pytest
from chains import chain_of
from small_systems import SMALL, pull_random

from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.registry import system_class
from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run
from stages.decoders.ridge.kfold_ridge import KFoldRidgeDecoder
from stages.generators.generator import Item, in_order
from stages.generators.language.blip_captioner import BLIPCaptioner
from stages.ground.errors import InputError
from stages.targets.blip import BLIPStates

NAME = "takagi2023-text"


def test_the_chain_in_the_published_order():
    assert repr(chain_of(NAME)) == (
        "Chain(takagi2023-text: Decode(sd_latent) -> Decode(blip) -> Draw(caption) -> Encode(clip_text) -> "
        "Show(first_picture) -> Draw(picture))"
    )
    latent, states, *_ = chain_of(NAME).steps
    assert latent.roi == "early"
    assert set(states.roi.split(" + ")) == {"early", "ventral", "midventral", "midlateral", "lateral", "parietal"}
    without = chain_of(NAME, {"text_context": False})
    assert repr(without) == "Chain(takagi2023-text: Decode(sd_latent) -> Show(first_picture) -> Draw(picture))"


def test_the_decoders_are_those_of_the_scripts():
    latent, states = (step.decoder for step in chain_of(NAME).steps[:2])
    assert isinstance(states, KFoldRidgeDecoder) and (states.folds, states.folds_of) == (5, "trials")
    assert states.alphas == (10_000.0, 20_000.0, 40_000.0) and not states.intercept
    assert latent.alphas == chain_of("takagi2023").steps[0].decoder.alphas


def test_what_is_drawn_is_what_takagi2023_draws():
    """Same settings but for the caption, so that both differ in where the text context comes from alone."""
    own, other = (system_class(name)().settings for name in (NAME, "takagi2023"))
    for name in (
        "generator",
        "decoder",
        "latent_size",
        "latent_posterior",
        "latent_greys",
        "noised_to",
        "start_posterior",
    ):
        assert getattr(own, name) == getattr(other, name)
    writing = {"num_beams": 3, "max_length": 20, "min_length": 5, "repetition_penalty": 1.5, "prompt": "a picture of "}
    assert own.caption.writing == writing and (own.caption.size, own.caption.normalise) == (240, "none")


def test_no_true_captions_are_needed():
    assert system_class(NAME).without_captions == {} and not system_class(NAME).needs.captions


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"caption": {"normalise": "ImageNet"}}, "caption.normalise is 'ImageNet'"),
        ({"caption": {"num_beams": 0}}, "caption.num_beams is 0"),
        ({"caption": {"repetition_penalty": 0.0}}, "caption.repetition_penalty is 0"),
        ({"states": {"folds": 1}}, "folds is 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


@pytest.fixture(scope="module")
def run(cohort, features, tmp_path_factory):
    """A run on small random networks in the published layouts, through the command line."""
    root = tmp_path_factory.mktemp(NAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINRECON_WEIGHTS", str(root / "store"))
        pull_random(NAME, root / "origins")
        chosen = [part for setting in SMALL[NAME].settings for part in ("--set", setting)]
        line = ["run", NAME, f"nsd:{cohort}", "--out", str(root / "run"), "--features", str(features), *chosen]
        assert run_command([*line, "--roi", "early + ventral", "--controls", "without_text_context"]) == 0
        yield Run(root / "run", features)


def caption_of(run, item):
    return run.layout.on_the_way("caption", "caption", item.stimulus_id).read_text(encoding="utf-8").strip()


def test_the_caption_is_what_blip_writes_from_the_decoded_states(run):
    items = [Item(str(name)) for name in run.subject.test.stimulus_ids]
    folder, size = run.config.system.folder("captioner"), run.config.settings.caption.size
    captioner = BLIPCaptioner.from_pretrained(folder, size=size)
    decoded = run.chain.predict(run.subject.test.patterns)["blip"].reshape(-1, *captioner.takes["blip"])
    expected = in_order(captioner.draw({"blip": decoded}, items))
    assert [caption_of(run, item) for item in items] == expected and len(set(expected)) > 1


def test_the_states_are_decoded_from_their_own_region(run):
    states = run.chain.steps[1]
    rois = run.subject.rois
    np.testing.assert_array_equal(states.voxels, rois["early"] | rois["ventral"])
    target = BLIPStates.from_pretrained(run.config.system.folder("captioner"), size=run.config.settings.caption.size)
    assert run.chain.targets["blip"].outline.shape == target.shape


def test_the_context_is_the_encoding_of_the_caption(run):
    item, chain = Item(str(run.subject.test.stimulus_ids[0])), run.chain
    caption = caption_of(run, item)
    encode = next(step for step in chain.steps if step.gives == ("clip_text",))
    expected = chain.targets["clip_text"].target.encode([[caption]])
    np.testing.assert_allclose(encode.run([item], {"caption": [caption]})["clip_text"], expected, atol=1e-5)


def test_pictures_and_their_control_are_scored_and_reported(run):
    assert {"reconstruction", "without_text_context"} <= set(run.scores.conditions)
    assert "takagi2023-text" in run.layout.report.read_text(encoding="utf-8")


def test_which_conditions_apply():
    chain = chain_of(NAME)
    applied = {name for name, one in CONDITIONS.items() if one.applies_to(chain)}
    assert {"oracle_embeddings", "shuffled_responses", "without_text_context", "without_stage_one"} <= applied

"""Brain-Streams' steps and drawing: shares of the contexts, the start, where the text comes from, and what is refused."""

import numpy as np
import pytest
from chains import chain_of
from small_systems import SMALL

from brainrecon.assembly.registry import system_class
from brainrecon.assembly.values import ABSENT, Item, Machine
from brainrecon.datasets.split import Split
from stages.generators.diffusion.start_rule import denoising_steps
from stages.generators.generator import in_order
from stages.generators.language.instructed_rewriter import InstructedRewriter
from stages.ground.errors import InputError

NAME = "brainstreams2024"
ITEMS = [Item("subj01", f"nsd{row:05d}") for row in range(2)]
FEW = {"generator": {"num_inference_steps": 4}}


def steps(chain):
    return [f"{type(step).__name__} {' '.join(step.gives)}" for step in chain.steps]


def test_the_steps_of_each_output():
    heads = ["Learn image_direction", "UsualLength clip_image", "Learn first_latent"]
    drawn = ["Show first_picture", "Draw picture"]
    assert steps(chain_of(NAME)) == ["Learn text_direction", "UsualLength clip_text", *heads, *drawn]
    from_caption = ["Learn optimus", *heads, "Draw caption", "Encode clip_text", *drawn]
    assert steps(chain_of(NAME, {"text_source": "caption"})) == from_caption
    assert steps(chain_of(NAME, {"output": "caption"})) == ["Learn optimus", "Draw caption"]
    assert steps(chain_of(NAME, {"text_context": False})) == [*heads, *drawn]
    by_ridge = [f"Decode {name}" for name in ("clip_text", "clip_image", "first_latent")]
    assert steps(chain_of(NAME, {"estimator": "ridge"})) == [*by_ridge, *drawn]
    for lengths, kind in {"first token": "AsDecoded", "mean and spread": "MatchMoments"}.items():
        assert [type(step).__name__ for step in chain_of(NAME, {"lengths": lengths}).steps].count(kind) == 2


def test_each_head_reads_its_own_region():
    regions = {"text": "T", "caption": "C", "image": "I", "layout": "L"}
    for settings in ({}, {"estimator": "ridge"}):
        found = {
            step.part: step.roi for step in chain_of(NAME, {"regions": regions, **settings}).steps if step.roi != "all"
        }
        assert found == {"text": "T", "image": "I", "layout": "L"}
    captions = chain_of(NAME, {"regions": regions, "output": "caption"})
    assert captions.steps[0].roi == "C"
    everywhere = chain_of(NAME, {"regions": regions, "routing": "all voxels"})
    assert {step.roi for step in everywhere.steps} == {"all"}


def test_checkpoints_are_those_that_are_read():
    kind = system_class(NAME)
    pictures = {"clip-vit-l-14-quickgelu", "versatile-diffusion"}
    captions = {"optimus", "bert-base-cased-tokenizer", "gpt2-tokenizer"}
    assert set(kind().checkpoints) == pictures
    assert set(kind({"output": "caption"}).checkpoints) == captions
    assert set(kind({"text_source": "caption"}).checkpoints) == pictures | captions
    assert kind({"output": "caption"}).protocol == "brainhub-2024" and kind().protocol == "brain-diffuser-2023"


def test_what_is_trained_is_what_the_page_says():
    settings = system_class(NAME)().settled(
        Split(np.zeros((8859, 1), np.float32), [f"s{row:04d}" for row in range(8859)])
    )
    for own in (settings.decoder, settings.layout):
        assert own.steps_per_epoch == 168 and own.validation == 0.05
        recipe = own.recipe(1)
        assert recipe.steps == 200 * 168 and recipe.batch_size == 50 and recipe.seed == 42
        assert recipe.optimiser.name == "adamw" and recipe.optimiser.learning_rate == 3e-4
        assert recipe.schedule.kind == "one-cycle"
    text, _, image, _, layout, *_ = chain_of(NAME).steps
    for step, name in ((text, "text_direction"), (image, "image_direction")):
        assert [repr(one) for one in step.decoder.objectives] == [
            f"UnitSquaredError('{name}', weight=10000.0)",
            f"SoftContrast('{name}', 0.005)",
        ]
    assert [type(one).__name__ for one in layout.decoder.objectives] == ["MeanAbsoluteError"]
    (latent,) = chain_of(NAME, {"output": "caption"}).steps[0].decoder.objectives
    assert repr(latent) == "MeanSquaredError('optimus', weight=1.0)"


# Drawing


@pytest.fixture(scope="module")
def drawer():
    """The last two steps with embedded networks, and values for them."""
    chain = chain_of(NAME, FEW, weights="tiny")
    random = np.random.default_rng(0)
    values = {
        name: random.standard_normal((2, chain.targets[name].outline.n_targets)).astype(np.float32)
        for name in ("clip_text", "clip_image", "first_latent")
    }
    # As long as true ones.
    values["clip_text"] /= 4
    values["clip_image"] /= 8
    return chain.steps[-1].generator, values


def drawn(drawer, values=None, **generator):
    loaded, own = drawer
    settings = {"generator": FEW["generator"] | generator}
    step = chain_of(NAME, settings, weights="tiny").steps[-1]
    vars(step)["generator"] = loaded
    return np.stack(step.run(ITEMS, own | (values or {}), seed=3)["picture"])


def test_a_share_of_none_or_all_is_one_context_alone(drawer):
    """(c)"""
    both = drawn(drawer)
    for share, alone in ((0.0, "clip_text"), (1.0, "clip_image")):
        found = drawn(drawer, text_weight=share, image_weight=1 - share)
        left_out = drawn(drawer, {alone: ABSENT}, text_weight=share, image_weight=1 - share)
        # The other context has no part in it.
        changed = drawn(drawer, {alone: -3 * drawer[1][alone]}, text_weight=share, image_weight=1 - share)
        np.testing.assert_array_equal(found, changed)
        assert np.abs(found.astype(int) - left_out).max() <= 1
        assert np.abs(found.astype(int) - both).max() > 1


def test_strength_none_keeps_the_layout_and_all_ignores_it(drawer):
    """(d)"""
    shown = chain_of(NAME, FEW, weights="tiny").steps[-2]
    expected = shown.run(ITEMS, {"first_latent": drawer[1]["first_latent"]})["first_picture"]
    assert np.abs(drawn(drawer, strength=0.0).astype(int) - expected).max() <= 1
    other = {"first_latent": -drawer[1]["first_latent"]}
    np.testing.assert_array_equal(drawn(drawer, strength=1.0), drawn(drawer, other, strength=1.0))
    np.testing.assert_array_equal(drawn(drawer, strength=1.0), drawn(drawer, {"first_latent": ABSENT}))
    assert np.abs(drawn(drawer).astype(int) - drawn(drawer, other)).max() > 1


def test_37_of_50_steps_from_the_step_that_is_denoised_first():
    settings = system_class(NAME)().settings
    assert denoising_steps(settings.generator.strength, settings.generator.num_inference_steps) == 37
    start = system_class(NAME)()._arguments()["start"]
    assert start.noised_to == "first step" and start.earlier == 0
    told = chain_of(NAME).steps[-1].told(frozenset({"clip_text", "clip_image", "first_latent"}))
    assert told["weights"] == {"clip_image": 0.6, "clip_text": 0.4} and told["guidance_scale"] == 7.5


# Captions


def test_without_refinement_the_text_is_the_decoded_caption_and_with_it_what_the_model_made_of_that(
    tmp_path, monkeypatch
):
    """(e), to the encoded context; the model is told the decoded caption and nothing else."""
    random = np.random.default_rng(1)
    told = []
    monkeypatch.setattr(
        InstructedRewriter, "from_pretrained", classmethod(lambda cls, folder, device: InstructedRewriter(None, None))
    )
    monkeypatch.setattr(
        InstructedRewriter, "rewrite", lambda self, caption, *how: told.append(caption) or f"a picture of {caption}"
    )
    (tmp_path / "llm").mkdir()
    (tmp_path / "llm" / "config.json").write_text("{}")
    refinement = {"model": str(tmp_path / "llm"), "cache": str(tmp_path / "cache")}
    found = {}
    for how, own in (("off", {}), ("on", {"refinement": refinement})):
        chain = chain_of(NAME, {"text_source": "caption", "estimator": "network", **own}, weights="tiny")
        writer, *_, encode = chain.steps[4 : 6 + bool(own)]
        latents = random.standard_normal((2, 64)).astype(np.float32) if how == "off" else found["latents"]
        values = {"optimus": latents}
        for step in chain.steps[4 : 6 + bool(own)]:
            values |= step.run(ITEMS, values)
        assert encode.gives == ("clip_text",) and not writer.by_lot
        target = chain.targets["clip_text"].target
        expected = np.stack([target.encode([[caption]], batch_size=1)[0] for caption in values["caption"]])
        np.testing.assert_array_equal(values["clip_text"], expected)
        found |= {how: values, "latents": latents}
    written = in_order(writer.generator.draw({"optimus": found["latents"]}, ITEMS))
    assert found["off"]["caption"] == written == found["on"]["decoded_caption"] == told
    assert "decoded_caption" not in found["off"]
    assert found["on"]["caption"] == [f"a picture of {caption}" for caption in written]


def test_a_refined_run_says_so_and_takes_the_same_decoder():
    kind, plain = system_class(NAME), {"text_source": "caption"}
    refined = kind(plain | {"refinement": {"model": "llm"}})
    assert any("language model" in note and "without it" in note for note in refined.notes)
    assert not any("language model" in note for note in kind(plain).notes)
    # A run may take the heads of one without it.
    assert "refinement" in kind.of_drawing


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"output": "film"}, "output is 'film'"),
        ({"routing": "none"}, "routing is 'none'"),
        ({"estimator": "lasso"}, "estimator is 'lasso'"),
        ({"text_source": "title"}, "text_source is 'title'"),
        ({"lengths": "one"}, "lengths is 'one'"),
        ({"noised_to": "never"}, "noised_to is 'never'"),
        ({"latent_size": 0}, "latent_size is 0"),
        ({"layout": {"teacher": True}}, "layout.teacher is true but no teacher"),
        (
            {"text_context": False, "text_source": "caption"},
            "text_context is false with output 'picture' and text_source",
        ),
        ({"refinement": {"model": "llm"}}, "but no caption is written"),
        ({"decoder": {"temperature": 0}}, "decoder.temperature is 0"),
        ({"decoder": {"squared_weight": 0}}, "decoder.squared_weight is 0"),
        ({"caption": {"max_length": 1}}, "caption.max_length is 1"),
        ({"generator": {"strength": 1.5}}, "generator.strength is 1.5"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        system_class(NAME)(settings)


def test_the_small_twin_has_its_regions_in_simulated_data():
    regions = system_class(NAME)(SMALL[NAME].nested()).settings.regions
    assert regions == system_class(NAME)().settings.regions
    assert system_class(NAME)({}).steps(Machine()) and system_class(NAME).many_subjects == ""

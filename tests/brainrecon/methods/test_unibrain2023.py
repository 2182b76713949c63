"""Picture and caption from one regression and one diffusion model: the chain, its defaults, and runs held against their parts."""

import numpy as np
import pytest
import random_optimus
from chains import chain_of
from small_systems import SMALL, pull_random

from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.registry import system_class
from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run
from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.diffusion.start_rule import StartRule, denoising_steps
from stages.generators.generator import Item, in_order
from stages.generators.language.optimus_flow import OptimusFlowCaptioner
from stages.ground.errors import InputError
from stages.ground.media import PICTURE
from weights import store

NAME = "unibrain2023"
# Of words alone, since the published one asks for Java.
PROTOCOL = """
name = "words"
[captions.rouge_l]
measure = "rouge_l"
tokenisation = "simple"
[captions.bleu_1]
measure = "bleu_1"
tokenisation = "simple"
"""
CONTROLS = {"picture": "without_text_context", "caption": "without_image_context"}


def test_the_chains():
    assert repr(chain_of(NAME)) == (
        "Chain(unibrain2023: Decode(first_latent, clip_image, clip_text) -> Show(first_picture) -> Draw(picture))"
    )
    assert repr(chain_of(NAME, {"output": "caption"})) == (
        "Chain(unibrain2023: Decode(optimus, clip_image, clip_text) -> Draw(caption))"
    )
    assert repr(chain_of(NAME, {"text_context": False})) == (
        "Chain(unibrain2023: Decode(first_latent, clip_image) -> Show(first_picture) -> Draw(picture))"
    )


def test_the_defaults_are_the_papers():
    settings = system_class(NAME)().settings
    assert (settings.generator.strength, settings.caption.strength) == (0.75, 0.75)
    assert (settings.vision_weight, settings.caption.vision_weight) == (0.6, 0.9)
    assert settings.generator.num_inference_steps == settings.caption.num_inference_steps == 50
    assert denoising_steps(settings.caption.strength, settings.caption.num_inference_steps) == 37
    # Versatile Diffusion's guidance is its checkpoint's own, 7.5.
    assert settings.generator.guidance_scale is None and settings.caption.guidance_scale is None
    assert settings.latent_size == 512
    caption = settings.caption
    assert (caption.writing, caption.temperature, caption.max_length) == ("by lot", 1.0, 30)


def test_pictures_need_no_checkpoint_of_captions():
    of_pictures, of_captions = (set(system_class(NAME)({"output": one}).checkpoints) for one in ("picture", "caption"))
    assert of_pictures == {"clip-vit-l-14-quickgelu", "versatile-diffusion"}
    more = {"versatile-diffusion-text-flow", "optimus", "bert-base-cased-tokenizer", "gpt2-tokenizer"}
    assert of_captions == of_pictures | more
    known = store.checkpoints()
    assert all(NAME in known[one].needed_by for one in of_captions)
    target = chain_of(NAME, {"output": "caption"}).targets["optimus"]
    # Other words make other latents, so that stored features are kept apart by both.
    assert target.checkpoints == ("optimus", "bert-base-cased-tokenizer")


def test_pictures_have_an_embedded_twin():
    chain = chain_of(NAME, weights="tiny")
    assert chain.system.checkpoints == ("tiny-clip", "tiny-generator")
    latent, generator = chain.targets["first_latent"].outline, chain.steps[-1].generator
    assert latent.shape == generator.takes["first_latent"] == (12, 8, 8)
    # What is known of the published generator's size is about pictures.
    assert system_class(NAME)().generator_size is not None
    assert system_class(NAME)({"output": "caption"}).generator_size is None


def test_captions_have_an_embedded_twin():
    chain = chain_of(NAME, {"output": "caption"}, weights="tiny")
    assert set(chain.system.checkpoints) == {"tiny-clip", "tiny-generator", "tiny-text-flow", "tiny-optimus"}
    target, captioner = chain.targets["optimus"], chain.steps[-1].generator
    assert target.outline.shape == captioner.takes["optimus"] == (64,)
    assert target.checkpoints == ("tiny-optimus", "tiny-optimus")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"output": "film"}, "output is 'film'"),
        ({"vision_weight": 1.2}, "vision_weight is 1.2"),
        ({"noised_to": "never"}, "noised_to is 'never'"),
        ({"latent_posterior": "mode"}, "latent_posterior is 'mode'"),
        ({"generator": {"image_weight": 0.9}}, r"generator.image_weight is 0.9 but vision_weight \(0.6\)"),
        ({"caption": {"vision_weight": 2}}, "caption.vision_weight is 2"),
        ({"caption": {"writing": "beam"}}, "caption.writing is 'beam'"),
        ({"caption": {"temperature": 0}}, "caption.temperature is 0"),
        ({"output": "caption", "text_context": False}, "output is 'caption' but text_context is false"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


def test_which_conditions_apply():
    applied = {
        output: {name for name, one in CONDITIONS.items() if one.applies_to(chain_of(NAME, {"output": output}))}
        for output in ("picture", "caption")
    }
    both = {"reconstruction", "oracle_embeddings", "shuffled_responses", "mean_response"}
    both |= {"without_image_context", "without_text_context"}
    assert all(both <= found for found in applied.values())
    assert "stage_one" in applied["picture"] and "stage_one" not in applied["caption"]


@pytest.fixture(scope="module")
def runs(cohort, features, tmp_path_factory):
    """A run of pictures and one of captions on small random networks in the published layouts, through the command line."""
    root, found = tmp_path_factory.mktemp(NAME), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINRECON_WEIGHTS", str(root / "store"))
        more = ("versatile-diffusion-text-flow", "bert-base-cased-tokenizer", "gpt2-tokenizer")
        pull_random(NAME, root / "origins", more)
        # A pull would write the sizes of the published network beside it.
        random_optimus.convert_authors_optimus(root / "optimus")
        for output, controls in CONTROLS.items():
            settings = [*SMALL[NAME].settings, f"output={output}", f"checkpoints.optimus={root / 'optimus'}"]
            line = ["run", NAME, f"nsd:{cohort}", "--out", str(root / output), "--features", str(features)]
            line += [part for setting in settings for part in ("--set", setting)]
            if output == "caption":
                (root / "words.toml").write_text(PROTOCOL)
                line += ["--protocol", str(root / "words.toml")]
            assert run_command([*line, "--controls", controls]) == 0
            found[output] = Run(root / output, features)
        yield found


def decoded(run):
    chain = run.chain
    return chain.predict(run.subject.test.patterns)


def test_the_picture_begins_with_the_decoded_latent_itself(runs):
    run = runs["picture"]
    names, values = list(map(str, run.subject.test.stimulus_ids)), decoded(run)
    generator = DualContextGenerator.from_pretrained(
        run.config.system.folder("generator"), start=StartRule(noised_to="step before")
    )
    drawn = in_order(
        generator.draw(
            values,
            [Item(name) for name in names],
            seed=run.config.seed,
            num_inference_steps=4,
            weights={"clip_image": 0.6, "clip_text": 0.4},
            greys="cut off",
        )
    )
    for name, expected in zip(names, drawn):
        found = PICTURE.read(run.image_path("reconstruction", name))
        assert np.abs(found.astype(int) - expected).max() <= 1


def test_stage_one_is_the_decoded_latent_shown(runs):
    run = runs["picture"]
    shown = run.chain.targets["first_latent"].target.decode(decoded(run)["first_latent"])
    for name, expected in zip(run.subject.test.stimulus_ids, shown):
        found = PICTURE.read(run.image_path("stage_one", str(name)))
        assert np.abs(found.astype(int) - expected).max() <= 1


def test_the_caption_is_what_the_text_flow_writes_from_what_is_decoded(runs):
    run = runs["caption"]
    system = run.config.system
    captioner = OptimusFlowCaptioner.from_pretrained(
        *(system.folder(role) for role in ("generator", "text_flow", "optimus", "writes_with"))
    )
    names = list(map(str, run.subject.test.stimulus_ids))
    expected = in_order(
        captioner.draw(
            decoded(run),
            [Item(name) for name in names],
            seed=run.config.seed,
            num_inference_steps=4,
            weights={"clip_image": 0.9, "clip_text": 0.1},
        )
    )
    found = [run.image_path("reconstruction", name).read_text(encoding="utf-8") for name in names]
    assert found == expected and len(set(found)) > len(names) // 2


def test_both_are_scored_and_reported(runs):
    for output, run in runs.items():
        assert "reconstruction" in run.scores.conditions
        assert NAME in run.layout.report.read_text(encoding="utf-8"), output
    scores = runs["caption"].scores
    assert all(0 <= scores.mean("reconstruction", metric).mean <= 1 for metric in ("rouge_l", "bleu_1"))
    assert system_class(NAME)().protocol == "brain-diffuser-2023"
    assert system_class(NAME)({"output": "caption"}).protocol == "brainhub-2024"


def test_values_are_decoded_independently(runs):
    """Without the text's context, or beside another latent, what is decoded of the others stays the same."""
    run, patterns = runs["picture"], runs["picture"].subject.test.patterns
    whole = decoded(run)
    alone = chain_of(NAME, SMALL[NAME].nested() | {"text_context": False})
    alone.fit_in_memory(run.subject, run.store)
    found = alone.predict(patterns)
    assert found.keys() == {"first_latent", "clip_image"}
    for name, value in found.items():
        np.testing.assert_allclose(value, whole[name], atol=1e-4 * whole[name].std())
    other = decoded(runs["caption"])
    np.testing.assert_allclose(other["clip_image"], whole["clip_image"], atol=1e-4 * whole["clip_image"].std())


def test_the_texts_latent_is_not_scaled_and_the_pictures_is(runs):
    captions = [list(said) for said in runs["caption"].subject.train.captions[:3]]
    target = runs["caption"].chain.targets["optimus"].target
    mean = target.encoder.posterior(target.tokens(captions[0][:1]))[0].detach().numpy()
    np.testing.assert_allclose(target.encode([captions[0][:1]]), mean, atol=1e-6)
    latents = runs["picture"].chain.targets["first_latent"].target
    assert latents.space.network.config.scaling_factor == 0.18215

"""MindDiffuser: the scripts' settings, and each value of a run held against its own maker."""

import dataclasses

import numpy as np
import pytest
from chains import chain_of
from small_systems import SMALL

from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import with_weights
from brainrecon.cli.main import run_command
from brainrecon.datasets.stimulus_images import read_picture
from brainrecon.runs.run import Run
from stages.decoders.unit_scores import kept_units, unit_scores
from stages.decoders.unitwise.unitwise import UnitwiseDecoder
from stages.generators.generator import Item, in_order
from stages.ground.errors import InputError
from stages.inverters.diffusion_search import DiffusionSearch
from weights import store

NAME = "minddiffuser2023"
LAYERS = tuple(f"clip_block_{number}" for number in range(1, 7))


# What is published


def test_the_chain_in_the_published_order():
    layers = ", ".join((*LAYERS, "clip_image"))
    decoded = "DecodeScoredUnits(first_latent) -> DecodeScoredUnits(clip_text) -> "
    drawn = f"DecodeScoredUnits({layers}) -> Draw(first_picture) -> Draw(picture)"
    assert repr(chain_of(NAME)) == f"Chain({NAME}: {decoded}{drawn})"
    without = chain_of(NAME, {"text_context": False})
    assert "clip_text" not in without.given and without.image_embedding == "clip_image"


def test_the_decoders_are_those_of_the_scripts():
    for step, voxels in zip(chain_of(NAME).steps, (3000, 450, 850)):
        decoder = step.decoder
        assert isinstance(decoder, UnitwiseDecoder) and (decoder.kind, decoder.voxels, decoder.alpha) == (
            "ridge",
            voxels,
            0.15,
        )
        assert step.settings.trials == "averaged" and step.inputs == "training"
    scored = chain_of(NAME).steps[2]
    assert scored.scored == LAYERS and (scored.scoring.way, scored.scoring.folds) == ("least squares", 5)


def test_the_drawing_is_that_of_the_scripts():
    settings = system_class(NAME)().settings
    drawing, search, start = settings.generator, settings.search, settings.start()
    assert (drawing.num_inference_steps, drawing.guidance_scale, drawing.scheduler) == (50, 5.0, "ddim")
    assert start.steps(drawing.strength, drawing.num_inference_steps) == 35
    assert (drawing.acceleration.dtype, drawing.acceleration.batch_size) == ("float32", 1)
    assert (search.iterations, search.learning_rate, search.decay, search.rate) == (300, 0.01, 0.999, 75)
    assert search.multipliers == (1.5, 1.2, 1, 1, 1, 1) and (search.noise, search.optimised) == ("fresh", "latent")
    # Mended at the default, published by name: noise of index 37 for a start at index 34.
    assert start.earlier == 0 and system_class(NAME)({"noised_to": "three steps before"}).settings.start().earlier == 3
    # Not known, and guessed.
    assert search.embedding_weight == 0.5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"blocks": [1, 2]}, "a multiplier for each"),
        ({"blocks": [1, 1, 2, 3, 4, 5]}, "each block once"),
        ({"blocks": [0, 1, 2, 3, 4, 5]}, "blocks is 0"),
        ({"latent_voxels": 0}, "latent_voxels is 0"),
        ({"text_voxels": "some"}, "text_voxels is 'some'"),
        ({"inputs": "own"}, "inputs is 'own'"),
        ({"noised_to": "later"}, "noised_to is 'later'"),
        ({"seen": {"normalise": "none"}}, "seen.normalise is 'none'"),
        ({"scoring": {"way": "lasso"}}, "scoring.way is 'lasso'"),
        ({"search": {"iterations": 0}}, "search.iterations is 0"),
        ({"decoder": {"alpha": 0.0}}, "decoder.alpha is 0.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


def test_which_conditions_apply():
    applied = {name for name, one in CONDITIONS.items() if one.applies_to(chain_of(NAME))}
    expected = {"reconstruction", "stage_one", "oracle_embeddings", "shuffled_responses", "mean_response"}
    assert expected | {"without_text_context", "nearest_training_picture"} <= applied
    assert "without_image_context" not in applied
    assert "spread" in CONDITIONS["mean_response"].why_not(chain_of(NAME, {"inputs": "transductive"}))


# A whole run


@pytest.fixture(scope="module")
def run(cohort, features, tmp_path_factory):
    """A run of the twin, two of whose stimuli are drawn."""
    root = tmp_path_factory.mktemp(NAME)
    chosen = [part for setting in SMALL[NAME].settings for part in ("--set", setting)]
    line = ["fit", NAME, f"nsd:{cohort}", "--weights", "tiny", "--out", str(root / "run"), "--features", str(features)]
    assert run_command([*line, *chosen]) == 0
    fitted = Run(root / "run", features)
    fitted.reconstruct(stimuli=[str(name) for name in fitted.subject.test.stimulus_ids[:2]])
    return fitted


def predicted(run, number=0):
    return run.chain.predict(run.subject.test.patterns[number : number + 1])


def test_each_unit_is_ridge_with_a_penalised_constant(run):
    """Of all voxels FastL2LiR is ridge on standardised voxels and one more column of ones."""
    train, test = run.subject.train, run.subject.test
    step = run.chain.steps[2]
    assert step.decoder.voxels == "all"
    patterns, new = np.float64(train.patterns), np.float64(test.patterns)
    mean, spread = patterns.mean(axis=0), patterns.std(axis=0, ddof=1)
    known, asked = ((values - mean) / spread for values in (patterns, new))
    known, asked = (np.c_[values, np.ones(len(values))] for values in (known, asked))
    units = np.float64(run.chain.targets["clip_image"].target.encode(train.images[:]))
    centre, scale = units.mean(axis=0), units.std(axis=0, ddof=1)
    gram = known.T @ known + 1000.0 * np.eye(known.shape[1])
    expected = asked @ np.linalg.solve(gram, known.T @ ((units - centre) / scale)) * scale + centre
    found = run.chain.predict(test.patterns)["clip_image"]
    assert np.abs(found - expected).max() < 1e-3 * expected.std()


def test_the_first_token_is_the_true_one_for_every_response(run):
    """It is the same in every caption, so that its spread is 0 and its mean is put in again."""
    source = run.chain.targets["clip_text"]
    shape = source.outline.shape
    assert shape == (15, 128)
    decoded = run.chain.predict(run.subject.test.patterns)["clip_text"].reshape(-1, *shape)
    true = source.target.encode([["a boat"], ["two red things on a hill"]]).reshape(-1, *shape)
    np.testing.assert_allclose(decoded[:, 0], np.broadcast_to(true[0, 0], decoded[:, 0].shape), atol=1e-5)
    np.testing.assert_allclose(true[0, 0], true[1, 0], atol=1e-6)
    assert np.ptp(decoded[:, 1], axis=0).max() > 1e-3


def test_the_scores_are_those_of_the_training_patterns_and_are_kept(run):
    train, step = run.subject.train, run.chain.steps[2]
    table = run.chain.targets["clip_block_2"].target.encode(train.images[:])
    expected = unit_scores(train.patterns, {"layer": table})["layer"]
    np.testing.assert_allclose(step.scores["clip_block_2"], expected, atol=1e-4)
    assert set(step.scores) == {f"clip_block_{number}" for number in (1, 2)}
    assert any("held-out |r|" in remark for remark in step.remarks())


def test_the_picture_is_that_of_the_search_under_the_masks_of_the_scores(run):
    settings, step = run.chain.system.settings, run.chain.steps[2]
    name = str(run.subject.test.stimulus_ids[0])
    search = DiffusionSearch.from_pretrained(
        store.path("tiny-stable-diffusion"),
        scheduler="ddim",
        clip=store.path("tiny-clip"),
        layers={f"clip_block_{number}": f"block {number}" for number in (1, 2)} | {"clip_image": "embedding"},
        normalise="own",
        masks={value: kept_units(scores, 75) for value, scores in step.scores.items()},
        settings=settings.search,
        text_length=15,
    )
    drawing = settings.generator
    options = {
        "num_inference_steps": drawing.num_inference_steps,
        "guidance_scale": drawing.guidance_scale,
        "strength": drawing.strength,
    }
    (expected,) = in_order(search.draw(predicted(run), [Item(name)], seed=run.config.seed, **options))
    found = read_picture(run.image_path("reconstruction", name)).astype(int)
    assert np.abs(found - expected).max() <= 1 and found.std() > 5
    search.settings = dataclasses.replace(settings.search, iterations=1)
    (first,) = in_order(search.draw(predicted(run), [Item(name)], seed=run.config.seed, **options))
    shown = read_picture(run.image_path("stage_one", name)).astype(int)
    # Drawn by the generator without a search.
    assert np.abs(shown - first).max() <= 1 and np.abs(shown - found).max() > 1


def test_stage_one_has_a_noise_of_its_own_for_each_sample(run):
    step = run.chain.steps[3]
    read = {name: predicted(run)[name].repeat(2, axis=0) for name in ("first_latent", "clip_text")}
    one, other = step.run([Item("a", 0), Item("a", 1)], read)["first_picture"]
    assert np.abs(one.astype(int) - other).max() > 3


def test_transductive_inputs_have_the_training_patterns_mean_and_spread(run):
    """Responses of another scale, and of another place, decode to what they would at the training responses' own."""
    few = {"inputs": "transductive", "blocks": [1], "search": {"multipliers": [1.5]}, "text_context": False}
    chain = chain_of(NAME, SMALL[NAME].nested() | few, "tiny")
    chain.fit_in_memory(run.subject)
    patterns = run.subject.test.patterns
    one, other = (chain.predict(values)["clip_image"] for values in (patterns, 3 * patterns + 2))
    np.testing.assert_allclose(one, other, atol=1e-3 * one.std())
    assert np.abs(one - run.chain.predict(patterns)["clip_image"]).max() > 1e-2 * one.std()


def test_the_twin_reads_embedded_networks_alone():
    kind = system_class(NAME)
    twin = kind(with_weights({}, kind, "tiny"))
    assert set(twin.checkpoints) == {"tiny-stable-diffusion", "tiny-clip"}
    assert twin.settings.search.iterations < kind().settings.search.iterations

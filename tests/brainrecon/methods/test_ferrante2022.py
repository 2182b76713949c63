"""Names and pictures of names: the notebooks' settings, scikit-learn's regression, and a run held against its own makers."""

import numpy as np
import pytest
import torch
from chains import chain_of
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from published_checkpoints import write_published
from random_checkpoints import save_resnet
from safetensors.numpy import save_file
from sklearn.linear_model import Ridge
from transformers import CLIPTextModel, CLIPTokenizer

from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.registry import system_class
from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from stages.priors.label_memory import open_label_memory

NAME = "ferrante2022"


def test_the_chain_in_the_published_order():
    assert repr(chain_of(NAME)) == (
        "Chain(ferrante2022: Decode(class_features) -> NameClasses(labels) -> EachSample(picture))"
    )
    by_neighbours = chain_of(NAME, {"labels": {"by": "neighbours"}})
    assert [step.part for step in by_neighbours.steps if step.is_learned] == ["", "labels"]
    remembered = chain_of(NAME, {"labels": {"by": "neighbours", "memory": "elsewhere"}})
    assert [step.is_learned for step in remembered.steps] == [True, False, False]


def test_defaults_are_the_notebooks():
    settings = system_class(NAME)().settings
    assert (settings.decoder.alpha, settings.decoder.rescale, settings.decoder.trials) == (1000.0, "none", "single")
    assert (settings.labels.n, settings.labels.prompt) == (5, "An image of a {label}")
    generator = settings.generator
    assert (generator.num_inference_steps, generator.guidance_scale, generator.scheduler) == (50, 7.5, None)
    assert settings.checkpoints.generator == "stable-diffusion-1-4" and settings.size == 224


def test_the_regression_is_scikit_learns():
    draws = np.random.default_rng(0)
    patterns = draws.standard_normal((90, 40)) * draws.uniform(0.2, 3, 40) + draws.normal(size=40)
    features = np.maximum(patterns @ draws.standard_normal((40, 25)) + 3, 0)
    new = draws.standard_normal((7, 40))
    decoder = chain_of(NAME).steps[0].decoder
    found = decoder.fit(np.float32(patterns), np.float32(features)).predict(np.float32(new))
    expected = Ridge(alpha=1000).fit(patterns, features).predict(new)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_rescaled_features_have_the_mean_and_spread_of_training_or_do_not_depend_on_each_other():
    draws = np.random.default_rng(1)
    patterns, new = draws.standard_normal((2, 60, 30))
    features = patterns @ draws.standard_normal((30, 12)) * draws.uniform(0.1, 9, 12) + draws.normal(size=12)

    def predicted(new, rescale):
        decoder = chain_of(NAME, {"decoder": {"rescale": rescale}}).steps[0].decoder
        return decoder.fit(patterns, features).predict(new)

    found = predicted(new, "transductive")
    np.testing.assert_allclose(found.mean(axis=0), features.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(found.std(axis=0), features.std(axis=0), rtol=1e-4)
    # Written out as in the notebooks.
    raw = predicted(new, "none")
    written = (raw - raw.mean(0)) / (raw.std(0) + 1e-10) * features.std(0) + features.mean(0)
    np.testing.assert_allclose(found, written, rtol=1e-4, atol=1e-4)
    for rescale in ("none", "held_out"):
        np.testing.assert_allclose(predicted(new, rescale)[:5], predicted(new[:5], rescale), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"labels": {"by": "vote"}}, "labels.by is 'vote'"),
        ({"labels": {"n": 0}}, "labels.n is 0"),
        ({"labels": {"prompt": "An image"}}, "labels.prompt is 'An image'; expected {label} once"),
        ({"labels": {"memory": "folder"}}, "labels.by is 'classifier', which reads none"),
        ({"batchnorm": "both"}, "batchnorm is 'both'"),
        ({"size": 0}, "size is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


def test_which_conditions_apply():
    applied = {name for name, one in CONDITIONS.items() if one.applies_to(chain_of(NAME))}
    assert {"oracle_embeddings", "shuffled_responses", "mean_response", "nearest_training_picture"} <= applied
    assert "without_stage_one" not in applied


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    """A folder with both networks, at random in the layouts that they are published in."""
    root = tmp_path_factory.mktemp("weights")
    save_resnet(root / "resnet")
    write_published("stable-diffusion-1-4", root / "origin", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINRECON_WEIGHTS", str(root / "store"))
        assert run_command(["weights", "pull", "stable-diffusion-1-4", "--from", str(root / "origin")]) == 0
        yield root


@pytest.fixture(scope="module")
def run_with(random_weights, cohort, features):
    def make(folder, *settings, samples="2"):
        small = ("size=32", "generator.num_inference_steps=4", f"checkpoints.classifier={random_weights / 'resnet'}")
        chosen = [part for setting in (*small, *settings) for part in ("--set", setting)]
        line = ["run", NAME, f"nsd:{cohort}", "--out", str(folder), "--features", str(features), "--samples", samples]
        assert run_command([*line, *chosen, "--controls", "shuffled_responses"]) == 0
        return Run(folder, features)

    return make


@pytest.fixture(scope="module")
def run(run_with, random_weights):
    return run_with(random_weights / "run")


def labels_of(run, condition="reconstruction"):
    places = [
        run.layout.on_the_way("labels", "caption", name, condition) for name in map(str, run.subject.test.stimulus_ids)
    ]
    return [place.read_text(encoding="utf-8").splitlines() for place in places]


def test_labels_are_what_the_networks_own_head_makes_of_decoded_features(run):
    target = run.chain.targets["class_features"].target
    decoded = run.chain.predict(run.subject.test.patterns)["class_features"]
    logits = decoded.astype(np.float64) @ target.network.fc.weight.numpy().T + target.network.fc.bias.numpy()
    expected = np.argsort(-logits, axis=1)[:, :5]
    found = labels_of(run)
    assert found == [[target.labels[number] for number in own] for own in expected]
    assert len({tuple(own) for own in found}) > 1 and found[0][0].startswith("n")


def test_a_run_has_pictures_of_all_samples_scores_and_a_report(run):
    assert len(list((run.folder / "images").glob("*.png"))) == 2 * run.subject.test.n_stimuli
    assert {"reconstruction", "shuffled_responses"} <= set(run.scores.conditions)
    assert NAME in run.layout.report.read_text(encoding="utf-8")


def drawn_by_diffusers(folder, prompt, stimulus_id, sample):
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet"),
        scheduler=PNDMScheduler.from_pretrained(folder / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    generator = item_generator(0, stimulus_id, sample)
    with torch.no_grad():
        (picture,) = pipeline(prompt, num_inference_steps=4, guidance_scale=7.5, generator=generator).images
    return np.asarray(picture)


def test_sample_k_is_what_diffusers_draws_of_label_k(run_with, random_weights):
    memory = random_weights / "memory"
    memory.mkdir()
    rows = np.abs(np.random.default_rng(0).standard_normal((6, 2048))).astype(np.float32)
    save_file({"features": rows}, memory / "a.safetensors")
    # The small tokenizer knows two words.
    (memory / "labels.txt").write_text("a\nb\na b\nb a\nb b\na a\n")
    settings = ("labels.by=neighbours", f"labels.memory={memory}", "labels.n=3", "labels.prompt={label}")
    run = run_with(random_weights / "by neighbours", *settings, samples="3")
    decoded = run.chain.predict(run.subject.test.patterns)["class_features"]
    assert labels_of(run) == open_label_memory(memory, 3).nearest(decoded)
    folder, stimulus = run.config.system.folder("generator"), str(run.subject.test.stimulus_ids[0])
    for sample, prompt in enumerate(labels_of(run)[0]):
        found = run.read_value(run.image_path("reconstruction", stimulus, sample), "picture").astype(int)
        assert np.abs(found - drawn_by_diffusers(folder, prompt, stimulus, sample)).max() <= 1
        # And not what it draws of another label.
        other = next(text for text in ("a", "b") if text != prompt)
        assert np.abs(found - drawn_by_diffusers(folder, other, stimulus, sample)).max() > 1


def test_training_stimuli_are_a_memory_by_their_categories(run_with, random_weights):
    run = run_with(random_weights / "of training", "labels.by=neighbours", "labels.n=1", samples="1")
    train = run.subject.train
    true = run.chain.targets["class_features"].target.encode(np.asarray(train.images[:])).astype(np.float64)
    decoded = run.chain.predict(run.subject.test.patterns)["class_features"]
    nearest = np.linalg.norm(decoded[:, None] - true, axis=2).argmin(axis=1)
    assert labels_of(run) == [[train.categories[row][0]] for row in nearest]
    again = Run(run.folder, run.store.folder)
    assert again.chain.steps[1].run([None], {"labels": None, "class_features": decoded[:1]}) == {
        "labels": ["\n".join(labels_of(run)[0])]
    }

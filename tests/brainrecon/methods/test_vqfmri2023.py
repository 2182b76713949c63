"""VQ-fMRI: every number a guess that says so, cues, the prior alone, and what tokens are worth beside their marginals."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from chains import chain_of, pictures_of

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.settings import from_dict, to_dict
from brainrecon.assembly.values import Item
from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.methods.vqfmri2023 import VQfMRI2023, VQfMRI2023Settings
from brainrecon.runs.run import Run
from stages.ground.errors import InputError
from stages.training.batches import held_out

PAGE = Path(__file__).parents[3] / "docs" / "systems" / "vqfmri2023.md"
FEW = {"decoder": {"epochs": 4, "hidden": 24, "width": 8}, "generator": {"num_inference_steps": 3}}


def tiny(subject=None, **settings):
    system = chain_of("vqfmri2023", FEW | settings, "tiny").system
    return Chain(type(system)(system.settled(subject.train)) if subject is not None else system)


@pytest.fixture(scope="module")
def subject(small_cohort):
    return load(f"nsd:{small_cohort}")


@pytest.fixture(scope="module")
def fitted(subject):
    return tiny(subject).fit_in_memory(subject)


def items_of(subject):
    return [Item(subject.name, str(name)) for name in subject.test.stimulus_ids]


def values_of(chain, subject):
    """Scores, tokens and cues of the test stimuli."""
    values, items = {"patterns": np.asarray(subject.test.patterns, dtype=np.float32)}, items_of(subject)
    for step in chain.steps[:2]:
        values |= step.run(items, values)
    return values


def guesses():
    """Settings that are numbers or words, by the names by which they are typed."""
    for name, value in to_dict(VQfMRI2023Settings()).items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", one) for inner, one in value.items())
        else:
            yield name, value


def test_its_page_lists_every_guess():
    text = PAGE.read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `([\w.]+)` \| `([^`]*)` \|", text, re.MULTILINE))
    wanted = {name: json.dumps(value) for name, value in guesses() if not name.startswith("checkpoints.")}
    assert {name: told.get(name) for name in wanted} == wanted
    assert text.index("one sentence of a survey") < 600


def test_settings_survive_and_the_impossible_is_refused():
    assert from_dict(VQfMRI2023Settings, to_dict(VQfMRI2023Settings())) == VQfMRI2023Settings()
    for settings, said in (
        ({"cues": {"share": 1.5}}, "cues.share is 1.5"),
        ({"cues": {"choose": "all"}}, "cues.choose is 'all'"),
        ({"experience": "ImageNet"}, "experience is 'ImageNet'"),
        ({"decoder": {"dropout": 1.0}}, "decoder.dropout is 1.0"),
        ({"decoder": {"smoothing": -0.1}}, "decoder.smoothing is -0.1"),
    ):
        with pytest.raises(InputError) as error:
            chain_of("vqfmri2023", settings)
        assert said in str(error.value)


def test_its_chains_and_what_is_read():
    assert repr(chain_of("vqfmri2023")) == (
        "Chain(vqfmri2023: Learn(vq_tokens, vq_scores) -> SelectCues(vq_cues) -> Draw(picture))"
    )
    own = chain_of("vqfmri2023", {"experience": "training pictures", "cues": {"soft": True}})
    assert "SelectCues(vq_cues, vq_weights) -> LearnTokens() -> Draw(picture)" in repr(own)
    assert own.system.needs.disjoint_pictures and len(own.system.notes) == 1
    assert "may have seen the tested ones" in VQfMRI2023().notes[1]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_is_so_many_cues_and_its_ends_are_the_prior_and_the_classifier(subject, share):
    chain = tiny(subject, cues={"share": share}).fit_in_memory(subject)
    values = values_of(chain, subject)
    assert ((values["vq_cues"] >= 0).sum(axis=1) == round(share * 256)).all()
    kept = values["vq_cues"] >= 0
    np.testing.assert_array_equal(values["vq_cues"][kept], values["vq_tokens"][kept])
    drawn = pictures_of(chain, subject)
    generator = chain.steps[-1].generator
    if share == 0:
        free = dict(generator.draw({}, items_of(subject), num_inference_steps=3))
        np.testing.assert_array_equal(drawn, np.stack([free[row] for row in range(4)]))
    if share == 1:
        tokens = dict(generator.draw({"vq_cues": values["vq_tokens"]}, items_of(subject)))
        np.testing.assert_array_equal(drawn, np.stack([tokens[row] for row in range(4)]))


def test_the_temperature_is_of_stimuli_that_were_held_out(fitted, subject):
    classifier, cues = fitted.steps[:2]
    recipe = classifier.decoder.recipe
    rows = held_out(subject.train.n_stimuli, recipe.validation, recipe.seed)
    scores = classifier.run([], {"patterns": np.asarray(subject.train.patterns[rows], dtype=np.float32)})["vq_scores"]
    tokens = fitted.targets["vq_tokens"].target.encode(subject.train.images[rows]).astype(int)
    scores = scores.reshape(*tokens.shape, -1).astype(float)

    def surprise(temperature):
        logs = scores / temperature
        logs -= np.log(np.exp(logs - logs.max(-1, keepdims=True)).sum(-1, keepdims=True)) + logs.max(-1, keepdims=True)
        return -np.take_along_axis(logs, tokens[..., None], -1).mean()

    found = surprise(cues.temperature)
    assert all(found <= surprise(cues.temperature * factor) + 1e-9 for factor in (0.8, 0.95, 1.05, 1.25))
    with pytest.raises(InputError, match="No training stimulus is held out"):
        tiny(decoder={"epochs": 1, "validation": 0.0, "patience": None, "hidden": 8}).fit_in_memory(subject)


def test_the_prior_alone_is_a_control_that_no_response_reaches(fitted, subject):
    condition = CONDITIONS["prior_only"]
    assert condition.applies_to(fitted) and condition.is_essential and condition.is_control
    assert not condition.applies_to(chain_of("lea2024"))
    draw = fitted.steps[-1]
    from brainrecon.assembly.values import ABSENT

    drawn = draw.run(items_of(subject), {"vq_cues": ABSENT})["picture"]
    free = dict(draw.generator.draw({}, items_of(subject), num_inference_steps=3))
    np.testing.assert_array_equal(np.stack(drawn), np.stack([free[row] for row in range(4)]))


def test_a_run_draws_the_prior_alone_beside_the_score(small_cohort, features, tmp_path):
    out = tmp_path / "run"
    line = [
        "run",
        "vqfmri2023",
        "--weights",
        "tiny",
        f"nsd:{small_cohort}",
        "--out",
        str(out),
        "--features",
        str(features),
    ]
    few = [f"--set=decoder.{name}={value}" for name, value in FEW["decoder"].items()]
    controls = ["--controls", "prior_only,shuffled_responses,oracle_embeddings"]
    assert run_command([*line, *few, "--set=generator.num_inference_steps=3", *controls]) == 0
    scores = Run(out).scores
    assert {"reconstruction", "prior_only", "shuffled_responses", "oracle_embeddings"} <= set(scores.conditions)
    assert "Prior only" in (out / "report.html").read_text()


def test_all_true_tokens_are_what_the_autoencoder_makes_of_the_picture(fitted, subject):
    target, draw = fitted.targets["vq_cues"].target, fitted.steps[-1]
    true = target.encode(subject.test.images[:])
    drawn = np.stack(draw.run(items_of(subject), {"vq_cues": true})["picture"]).astype(float)
    errors = ((drawn - np.asarray(subject.test.images[:])) ** 2).mean(axis=(1, 2, 3))
    assert (10 * np.log10(255**2 / errors)).mean() > 22

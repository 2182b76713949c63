"""Psychometry: its chain, its options, what is drawn with, a new subject, folds, and the method without its memory."""

import json

import numpy as np
import pytest
from chains import chain_of
from safetensors.torch import load_file
from small_systems import SMALL
from stand_in_generators import StandIn, chain_with_shapes

import brainrecon
from brainrecon.assembly.chain import Chain
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import to_dict, with_weights
from brainrecon.assembly.values import Item
from brainrecon.cli.main import run_command
from brainrecon.features.store import FeatureStore
from brainrecon.methods.psychometry2024 import REGIONS, PsychometrySettings, guesses
from brainrecon.runs.run import Run
from stages.adapters.disjoint_regions import REST
from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.ground.errors import InputError

NAME = "psychometry2024"
TOKENS = {"clip_image": (257, 768), "clip_text": (77, 768)}


# What is published, and what is guessed


def test_the_chain_in_order():
    chain = chain_of(NAME)
    assert repr(chain) == (
        f"Chain({NAME}: Learn(clip_image_decoded, clip_text_decoded) -> Recall(clip_image, clip_text) -> Candidates(picture))"
    )
    learned, recall, drawn = chain.steps
    assert (learned.for_new_subject, recall.for_new_subject) == ("go on", "again")
    assert learned.decoder.new_subject.own_alone and not learned.is_fitted("nowhere")
    assert drawn.reads == ("clip_image_decoded",) and drawn.optional == ("clip_image", "clip_text")
    assert chain.targets["clip_image_decoded"] is chain.targets["clip_image"]


CHAINS = {
    "Learn(clip_image_decoded) -> Recall(clip_image) -> Candidates(picture)": {"text_context": False},
    "Learn(clip_image_decoded, clip_text_decoded) -> Recall(clip_image, clip_text) -> Draw(picture)": {"candidates": 1},
    "Learn(clip_image_decoded, clip_text_decoded) -> Learn() -> Learn() -> Recall(clip_image, clip_text) -> "
    "Candidates(picture)": {"memory": {"cross_fitted": 2}},
}


@pytest.mark.parametrize(("expected", "settings"), CHAINS.items())
def test_steps_are_options(expected, settings):
    assert repr(chain_of(NAME, settings)) == f"Chain({NAME}: {expected})"


def test_readers_are_told_which_numbers_are_guesses(capsys):
    found = guesses(PsychometrySettings())
    for name in ("regions", "decoder.width", "decoder.n_experts", "memory.neighbours", "memory.share", "candidates"):
        assert name in found
    for name in found:
        value = to_dict(PsychometrySettings())
        for part in name.split("."):
            value = value.get(part) if value else None
    assert not {"decoder.seed", "decoder.features", "checkpoints.clip", "text_context"} & set(found)
    assert run_command(["methods", NAME]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Note: Only the abstract and one figure" in printed
    assert all(name in printed.split("Guesses are ")[1].split(" Settings")[0] for name in found)


def test_versatile_diffusion_is_asked_for_what_is_guessed(monkeypatch):
    monkeypatch.setattr(
        DualContextGenerator,
        "from_pretrained",
        lambda folder, **options: StandIn(folder, TOKENS, list(TOKENS), **options),
    )
    monkeypatch.setattr(system_class(NAME), "folder", lambda self, role: f"folder of {self._roles[role]}")
    shapes = TOKENS | {f"{name}_decoded": shape for name, shape in TOKENS.items()}
    step = chain_with_shapes(NAME, {"candidates": 1}, shapes).steps[-1]
    monkeypatch.setattr(step, "_sources", {})
    values = {name: np.zeros((1, int(np.prod(shape)))) for name, shape in TOKENS.items()}
    list(step.stream([Item("", "a")], values))
    given, _, settings = step.generator.asked[-1]
    assert given.keys() == {"clip_image", "clip_text"}
    assert (settings["num_inference_steps"], settings["guidance_scale"], settings["strength"]) == (20, 5.0, 1.0)
    assert settings["weights"] == {"clip_image": 0.5, "clip_text": 0.5}
    assert (step.generator.options["scheduler"], step.generator.options["unconditional"]) == ("unipc", "zeros")
    assert step.generator.folder == "folder of versatile-diffusion"


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"regions": []}, "regions is empty"),
        ({"n_captions": 0}, "n_captions is 0"),
        ({"clip_pictures": "both"}, "clip_pictures is 'both'"),
        ({"text_padding": "ones"}, "text_padding is 'ones'"),
        ({"candidates": 0}, "candidates is 0"),
        ({"unconditional": "noise"}, "unconditional is 'noise'"),
        ({"generator": {"strength": 0.5}}, "strength is 0.5 but drawing starts from noise"),
        ({"memory": {"neighbours": 0}}, "neighbours is 0"),
        ({"memory": {"temperature": 0}}, "temperature is 0"),
        ({"memory": {"share": 1.5}}, "share is 1.5"),
        ({"memory": {"lengths": "one"}}, "lengths is 'one'"),
        ({"memory": {"cross_fitted": 1}}, "cross_fitted is 1, and of one fold nothing is left"),
        ({"decoder": {"new_subject": "no layers"}}, "new_subject is 'no layers'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


# On simulated subjects


def small(**settings):
    kind = system_class(NAME)
    return with_weights(SMALL[NAME].nested() | settings, kind, "tiny")


def fitted(subject, features, **settings):
    kind = system_class(NAME)
    chain = Chain(kind(kind(small(**settings)).settled_by(subject)))
    chain.fit_in_memory(subject, FeatureStore(features))
    return chain


@pytest.fixture(scope="module")
def subject(cohort):
    return brainrecon.load(f"nsd:{cohort}", subject="subj01")


def test_default_regions_part_nsds_voxels(subject, features):
    chain = fitted(subject, features, regions=list(REGIONS))
    regions = chain.steps[0].decoder.arguments["regions"]["subj01"]
    columns = np.concatenate(list(regions.values()))
    assert sorted(columns) == list(range(subject.n_voxels))
    assert set(regions) <= {*REGIONS, REST} and {"V1", "hV4", "floc-faces", "ventral + midventral"} <= set(regions)
    assert set(regions["V1"]) == set(np.flatnonzero(subject.rois["V1"]))
    assert not set(regions["ventral + midventral"]) & set(np.flatnonzero(subject.rois["floc-faces"]))


def test_a_region_that_is_not_there_is_refused(subject, features):
    with pytest.raises(InputError, match="no roi 'V9'"):
        fitted(subject, features, regions=["V9"])


def test_without_its_memory_only_lengths_are_changed(subject, features):
    chain = fitted(subject, features, memory={"share": 0.0})
    found = chain.predict(subject.test.patterns)
    for name in ("clip_image", "clip_text"):
        decoded, drawn_from = found[f"{name}_decoded"], found[name]
        factors = np.linalg.norm(drawn_from, axis=1) / np.linalg.norm(decoded, axis=1)
        np.testing.assert_allclose(drawn_from, decoded * factors[:, None], rtol=1e-4, atol=1e-6)
        assert np.ptp(np.linalg.norm(drawn_from, axis=1)) < 1e-4 * np.linalg.norm(drawn_from[0])


def test_a_training_stimulus_recalls_itself_and_so_is_refused(subject, features):
    chain = fitted(subject, features, memory={"share": 1.0, "neighbours": 1})
    train = subject.train
    found = chain.predict(train.patterns)["clip_image"]
    true = np.asarray(chain.steps[1]._tables["subj01"]["clip_image"])
    np.testing.assert_array_equal(found, true)
    with pytest.raises(InputError, match="in the memory of the training stimuli"):
        chain.run_from_patterns(train.stimulus_ids[:2], train.patterns[:2])


def test_folds_predict_what_they_have_not_learned_from(subject, features):
    chain = fitted(subject, features, memory={"cross_fitted": 2, "share": 1.0, "neighbours": 1})
    _, first, second, recall, _ = chain.steps
    keys, ids = recall._keys["subj01"]["clip_image"], subject.train.stimulus_ids
    patterns = np.asarray(subject.train.patterns)
    for step in (first, second):
        left_out = step._left_out(ids)
        assert 0 < left_out.sum() < len(ids)
        (_, _, expected), *_ = step.decoder.predict_blocks(patterns, subject="subj01")
        np.testing.assert_allclose(keys[left_out], expected[left_out], atol=1e-5)
        # Voxels are standardised by what was learned from alone.
        learned = subject.train.betas[:][np.flatnonzero(~left_out[subject.train.positions])]
        mean = step.decoder.network.voxels("subj01").mean
        np.testing.assert_allclose(mean, learned.mean(axis=0), atol=1e-4)


def test_of_a_new_subject_its_own_layers_are_trained_and_nothing_else_moves(three_subjects, tmp_path, features):
    settings = [part for text in SMALL[NAME].settings for part in ("--set", text)]
    line = ["fit", NAME, f"nsd:{three_subjects}", "--weights", "tiny", *settings, "--features", str(features)]
    asked = ["--subjects", "1,2", "--new-subject", "3", "--out", str(tmp_path / "run")]
    assert run_command([*line, *asked]) == 0
    run = Run(tmp_path / "run", features)
    learned, others = (load_file(one.folder / "decoder/network/model.safetensors") for one in (run, run.pretraining))
    assert learned.keys() == others.keys()
    assert all((learned[name] == others[name]).all() for name in learned)
    assert not any("alpha" in name or "tokenisers" in name for name in learned)
    owned = load_file(run.folder / "decoder/network/subjects/subj03.safetensors")
    assert {name.rpartition(".")[2] for name in owned} == {"alpha", "weight", "bias", "mean", "scale"}
    config = json.loads((run.folder / "decoder/memory/config.json").read_text())
    assert list(config["subjects"]) == ["subj03"]
    assert config["subjects"]["subj03"]["stimulus_ids"] == list(run.subject.train.stimulus_ids)
    found = run.embeddings["clip_image"]
    assert found.shape == (run.subject.test.n_stimuli, 65 * 64) and np.isfinite(found).all()

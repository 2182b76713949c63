"""MindShot from its abstracts: two versions, what can be set, and a new subject of whom there are few pictures."""

import json

import numpy as np
import pytest
from chains import chain_of
from safetensors.torch import load_file
from small_systems import SMALL
from stand_in_generators import StandIn, chain_with_shapes

import brainrecon
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.values import Item
from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run
from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.ground.errors import InputError

NAME = "mindshot2024"


def test_the_chain():
    chain = chain_of(NAME)
    assert repr(chain) == (
        f"Chain({NAME}: Learn(image_direction, text_direction) -> AsDecoded(clip_image) -> AsDecoded(clip_text) -> Draw(picture))"
    )
    assert chain.system.checkpoints == ("clip-vit-l-14-quickgelu", "versatile-diffusion")
    assert "captions" not in chain.system.notes and "abstracts" in chain.system.notes[0]


def test_lengths_by_one_token_or_by_true_tokens():
    matched = ["MatchMoments", "MatchMoments"]
    for lengths, kinds in {"first token": ["AsDecoded"] * 2, "mean and spread": matched}.items():
        steps = chain_of(NAME, {"lengths": lengths}).steps
        assert [type(step).__name__ for step in steps[1:-1]] == kinds


def test_without_captions_pictures_are_drawn_from_pictures_tokens():
    chain = chain_of(NAME, system_class(NAME).without_captions)
    assert repr(chain) == f"Chain({NAME}: Learn(image_direction) -> AsDecoded(clip_image) -> Draw(picture))"
    assert chain.steps[-1].told(frozenset({"clip_image"}))["weights"]["clip_image"] == 1.0


def test_drawing_begins_with_noise_under_both_contexts(monkeypatch):
    takes = {"clip_image": (257, 768), "clip_text": (77, 768)}
    decoded = {"image_direction": (257, 768), "text_direction": (77, 768)}
    step = chain_with_shapes(NAME, {}, takes | decoded).steps[-1]
    monkeypatch.setattr(
        DualContextGenerator,
        "from_pretrained",
        lambda folder, **options: StandIn(folder, takes, list(takes), **options),
    )
    monkeypatch.setattr(system_class(NAME), "folder", lambda self, role: f"folder of {role}")
    values = {name: np.zeros((1, int(np.prod(shape))), np.float32) for name, shape in takes.items()}
    list(step.stream([Item("", "a")], values))
    given, _, settings = step.generator.asked[-1]
    assert given.keys() == set(takes)
    assert (settings["num_inference_steps"], settings["guidance_scale"], settings["strength"]) == (20, 5.0, 1.0)
    assert settings["weights"] == {"clip_image": 0.5, "clip_text": 0.5}
    assert step.generator.options["unconditional"] == "zeros" and step.generator.options["scheduler"] == "unipc"


def test_both_versions():
    v1, v2 = (chain_of(NAME, {"version": name}).system.settings.decoder for name in ("v1", "v2"))
    assert chain_of(NAME).system.settings.decoder == v2
    assert (v1.adapter, v1.new_subject, v2.adapter, v2.new_subject) == (
        "convolution",
        "own layers",
        "none",
        "all layers",
    )
    mixed = chain_of(NAME, {"version": "v1", "decoder": {"adapter": "film", "epochs": 3}}).system.settings.decoder
    assert (mixed.reads, mixed.adapter, mixed.epochs) == ("pooled", "film", 3)


def test_settings_of_a_new_subject_alone():
    kind = system_class(NAME)
    before = kind(
        {"distillation": {"weight": 0.7}, "decoder": {"epochs": 9, "pretraining_epochs": 4}}
    ).for_pretraining()
    assert (before.decoder.epochs, before.decoder.steps_per_epoch) == (4, None)
    for name in (*kind().of_new_subject, *kind.of_drawing):
        owner, _, last = name.rpartition(".")
        assert hasattr(getattr(before, owner) if owner else before, last), name


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"version": "v3"}, "version is 'v3'"),
        ({"unconditional": "noise"}, "unconditional is 'noise'"),
        ({"text_padding": "start"}, "text_padding is 'start'"),
        ({"version": "v1", "decoder": {"adapter": "none"}}, "nothing is a subject's own"),
        ({"distillation": {"compares": "power"}}, "compares is 'power'"),
    ],
)
def test_settings_that_cannot_be(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


# A new subject


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    brainrecon.simulate(folder / "nsd", subjects=3, sessions=2, trials_per_session=42, shared=6, voxels=160)
    return folder


def fitted(place, features, out, *more):
    small = [part for text in SMALL[NAME].settings for part in ("--set", text)]
    line = ["fit", NAME, f"nsd:{place / 'nsd'}", "--weights", "tiny", *small, "--features", str(features)]
    asked = ["--subjects", "1,2", "--new-subject", "3", "--training-stimuli", "12", "--out", str(place / out)]
    assert run_command([*line, *asked, *more]) == 0
    return Run(place / out)


def test_of_a_new_subject_the_adapter_alone_is_trained_on_few_stimuli(place, features):
    run = fitted(place, features, "v1", "--set", "version=v1")
    assert run.subject.train.n_stimuli == 12 and run.pretraining.subject.train.n_stimuli > 12
    # Whoever comes before learns from nothing that the new one is tested on, and is cut to no number.
    assert not np.isin(run.subject.test.stimulus_ids, run.pretraining.subject.train.stimulus_ids).any()
    learned, before = (load_file(one.layout.decoder / "network/model.safetensors") for one in (run, run.pretraining))
    assert learned.keys() == before.keys() and all((learned[name] == before[name]).all() for name in learned)
    own = load_file(run.layout.decoder / "network/subjects/subj03.safetensors")
    assert {name for name in own if "inputs" in name} == {
        f"network.inputs.adapter.{name}" for name in ("gain", "offset", "kernel")
    }
    assert (own["network.inputs.adapter.gain"] != 1).any()
    assert losses_of(run) >= {"trunk_features amplitude", "mixed_image_direction contrast"}
    assert not any("trunk" in name or "mixed" in name for name in losses_of(run.pretraining))


def losses_of(run):
    config = json.loads((run.layout.decoder / "network/config.json").read_text())
    return set(config["curves"][-1])


def test_one_pretraining_serves_every_way_of_teaching(place, features):
    first = fitted(place, features, "amplitude")
    other = fitted(
        *(place, features, "relations", "--pretrained", str(first.pretraining.folder)),
        *("--set", "distillation.compares=relations", "--set", "distillation.mixed_weight=0"),
    )
    assert losses_of(other) >= {"trunk_features distances", "trunk_features angles"}
    assert not any("mixed" in name for name in losses_of(other))
    found = other.embeddings["clip_image"]
    assert found.shape == (other.subject.test.n_stimuli, 65 * 64) and np.isfinite(found).all()
    # They have the form of the directions, by one factor.
    direction = other.embeddings["image_direction"]
    away, factors = found - found.mean(axis=0), (found.std(axis=0) / direction.std(axis=0))
    np.testing.assert_allclose(factors, np.median(factors), rtol=1e-3)
    np.testing.assert_allclose(away, np.median(factors) * (direction - direction.mean(axis=0)), rtol=1e-2, atol=1e-4)

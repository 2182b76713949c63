"""What scoring refuses, and what it notes."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image
from stand_in_networks import IDS, MeanColours, N

from brainrecon.evaluation import Outputs, evaluate
from brainrecon.evaluation.protocols.protocol import Protocol, load_protocol
from brainrecon.evaluation.views import networks as judges
from brainrecon.runs.pictures_elsewhere import pictures_elsewhere
from stages.ground.errors import InputError


@pytest.mark.parametrize(
    "conditions, words",
    [
        (lambda x: {"reconstruction": Outputs(IDS[:3], x)}, "for 14 stimuli but 3 stimulus ids"),
        (lambda x: {"reconstruction": x[:3]}, "for 3 stimuli but 14 stimulus ids"),
        (lambda x: {"reconstruction": Outputs([], x[:0])}, "at least one"),
        (lambda x: {"reconstruction": Outputs([*IDS[:-1], "stranger"], x)}, "stranger"),
        (lambda x: {"reconstruction": Outputs(IDS, x.astype(float))}, "run from 0 to 2.*expected 0 to 1: give x / 255"),
        (lambda x: {"reconstruction": Outputs(IDS, x / 127.5 - 1)}, "give \\(x \\+ 1\\) / 2 if -1 is black"),
        (lambda x: {"reconstruction": x.astype(int) * 4}, "Whole numbers .* expected 0 to 255"),
        (lambda x: {"reconstruction": np.where(x > 200, np.nan, x / 255)}, "'reconstruction' hold NaN"),
        (lambda x: {"reconstruction": x[..., 0]}, "The shape of the array of pictures of 'reconstruction' is \\(14, "),
        (
            lambda x: {"reconstruction": [Image.fromarray(x[0]).resize((5 + k, 4)) for k in range(14)]},
            "are of 14 sizes",
        ),
        (lambda x: {"reconstruction": [Image.new("I;16", (4, 4))] * 14}, "of mode I;16"),
        (lambda x: {"reconstruction": [[]] * 14}, "empty list"),
        (lambda x: {"reconstruction": ["a.png"] * 14}, "is a str; expected a PIL picture"),
        (
            lambda x: {"reconstruction": Outputs(IDS, (x > 127).astype(np.uint8))},
            "'reconstruction' .*highest value is 1",
        ),
    ],
)
def test_hostile_conditions(shown, networks, conditions, words):
    with pytest.raises(InputError, match=words):
        evaluate(shown, conditions(shown), stimulus_ids=IDS, networks=networks)


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda x: (x > 127).astype(np.uint8),
            "shown pictures are uint8 and their highest value is 1, where 255 is white",
        ),
        (lambda x: x > 127, "shown pictures are bool; give them as uint8"),
        (lambda x: x.astype(float), "shown pictures run from 0 to 2"),
        (lambda x: x / 127.5 - 1, "shown pictures run from -1 to .*\\(x \\+ 1\\) / 2"),
        (lambda x: np.stack([x, x], axis=1), "A stimulus has 2 shown pictures"),
        (lambda x: np.full_like(x, 9), "14 shown pictures are one and the same"),
        (np.zeros_like, "14 shown pictures are one and the same"),
    ],
)
def test_what_cannot_have_been_shown(shown, networks, change, words):
    with pytest.raises(InputError, match=words):
        evaluate(change(shown), {"reconstruction": shown}, stimulus_ids=IDS, networks=networks)


def test_a_reference_that_is_asked_for_and_absent_is_named(shown, networks):
    with pytest.raises(InputError, match="'reconstruction' is not among 'stage_one'"):
        evaluate(shown, {"stage_one": shown}, stimulus_ids=IDS, networks=networks, reference="reconstruction")


def test_a_folder_of_binary_patterns_is_not_taken_for_black(shown, networks, tmp_path):
    for name, picture in zip(IDS, shown):
        Image.fromarray((picture > 127).astype(np.uint8)).save(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match="pictures of 'reconstruction' .*highest value is 1"):
        elsewhere = pictures_elsewhere(tmp_path, IDS)
        drawn = (elsewhere.ids, elsewhere.pictures)
        evaluate(shown, {"reconstruction": drawn}, stimulus_ids=IDS, networks=networks)


def test_black_pictures_are_scored(shown, networks):
    scores = evaluate(shown, {"reconstruction": np.zeros_like(shown)}, stimulus_ids=IDS, networks=networks)
    assert scores.mean("reconstruction", "pixcorr").mean == 0


def test_hostile_stimulus_ids(shown, networks):
    with pytest.raises(InputError, match="each once"):
        evaluate(shown, {"reconstruction": Outputs(IDS, shown)}, stimulus_ids=[IDS[0]] * N, networks=networks)


def test_a_head_that_the_network_lacks(shown, networks):
    content = json.loads(json.dumps(load_protocol().content))
    next(one for one in content["metrics"] if "head" in one)["head"] = "smell"
    with pytest.raises(InputError, match="smell.*category, digit"):
        evaluate(
            shown,
            {"reconstruction": Outputs(IDS, shown)},
            stimulus_ids=IDS,
            networks=networks,
            protocol=Protocol(content),
        )


def test_networks_that_are_not_given_come_from_their_checkpoints(shown, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(judges.store, "path", lambda name: asked.append(name) or tmp_path)
    monkeypatch.setattr(judges.store, "fingerprint", lambda name: f"print of {name}")
    monkeypatch.setattr(judges, "import_module", lambda name: _Module)
    scores = evaluate(shown, {"reconstruction": Outputs(IDS, shown)}, stimulus_ids=IDS)
    assert sorted(asked) == ["tiny-clip", "tiny-evaluation"]
    assert scores.checkpoints == {
        "tiny-clip": "print of tiny-clip",
        "tiny-evaluation": "print of tiny-evaluation",
    }


@pytest.mark.parametrize(
    "change, words",
    [({"layer": "logits"}, "'logits'.*image_embedding"), ({"kind": "magic"}, "'magic'.*evaluation_network")],
)
def test_a_layer_or_kind_that_the_toolkit_lacks(change, words):
    spec = dataclasses.replace(load_protocol().networks["clip"], **change)
    with pytest.raises(InputError, match=words):
        judges.load_network(spec)


class _Module:
    class EvaluationNetwork(MeanColours):
        @classmethod
        def from_pretrained(cls, folder, device="cpu"):
            return cls()

    CLIPImageEmbedding = EvaluationNetwork


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"dataset": "nsd"}, "982 stimuli of nsd; these are 14 of nsd"),
        ({"dataset": "nsd", "simulated": True}, "14 of simulated nsd"),
        ({"dataset": "god"}, "14 of god"),
    ],
)
def test_another_test_set_than_the_protocols_is_noted(shown, networks, data, words):
    content = json.loads(json.dumps(load_protocol().content)) | {"test_set": {"dataset": "nsd", "n_stimuli": 982}}
    condition = {"reconstruction": Outputs(IDS, shown)}
    options = {"stimulus_ids": IDS, "networks": networks, "data": data}
    (note,) = evaluate(shown, condition, protocol=Protocol(content), **options).notes
    assert words in note and "no published score compares" in note
    content["test_set"]["n_stimuli"] = N
    same = evaluate(shown, condition, protocol=Protocol(content), **options).notes
    assert bool(same) == (data != {"dataset": "nsd"})

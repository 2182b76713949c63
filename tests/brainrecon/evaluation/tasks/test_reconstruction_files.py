"""Scores in files, and pictures out of files."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from stand_in_networks import IDS, Grey, MeanColours, N, noisy

from brainrecon.evaluation import Outputs, evaluate
from brainrecon.evaluation.protocols.protocol import Protocol
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.evaluation.tasks.reconstruction import Brain
from stages.ground.errors import InputError


def test_csv_and_json_hold_every_value(tmp_path, shown, networks):
    scores = evaluate(
        shown,
        {
            "reconstruction": Outputs(IDS, noisy(shown, 120)),
            "stage_one": Outputs(IDS[:5], noisy(shown, 200)[:5]),
            "shuffled_responses": Outputs(IDS[:1], shown[:1]),
        },
        stimulus_ids=IDS,
        networks=networks,
    )
    scores.to_json(tmp_path / "scores" / "brainrecon-1.json")
    scores.to_csv(tmp_path / "scores" / "brainrecon-1.csv")
    assert sorted(path.name for path in (tmp_path / "scores").iterdir()) == [
        "brainrecon-1.csv",
        "brainrecon-1.json",
    ]

    again = Scores.from_json(tmp_path / "scores" / "brainrecon-1.json")
    assert again == scores and again.protocol.sha256 == scores.protocol.sha256
    content = json.loads((tmp_path / "scores" / "brainrecon-1.json").read_text())
    assert content["protocol"]["name"] == "brainrecon-1" and len(content["protocol"]["sha256"]) == 64
    assert content["conditions"]["stage_one"]["n"] == 5

    rows = list(csv.DictReader((tmp_path / "scores" / "brainrecon-1.csv").open()))
    assert len(rows) == N + 5 + 1
    assert float(rows[2]["pixcorr"]) == scores.conditions["reconstruction"].values["pixcorr"][2]
    assert rows[2]["stimulus_id"] == IDS[2] and rows[2]["condition"] == "reconstruction"
    assert rows[-1]["identification_pixels"] == ""


def test_identity_follows_the_protocol_and_the_checkpoints_that_judged(tmp_path, shown, networks):
    scores = evaluate(shown, {"reconstruction": Outputs(IDS, shown)}, stimulus_ids=IDS, networks=networks)
    judged = dataclasses.replace(scores, checkpoints={"one": "aa", "two": "bb"})
    assert len(judged.identity) == 64
    assert judged.identity == dataclasses.replace(scores, checkpoints={"two": "bb", "one": "aa"}).identity
    judged.to_json(tmp_path / "scores.json")
    assert Scores.from_json(tmp_path / "scores.json").identity == judged.identity

    content = json.loads(json.dumps(scores.protocol.content))
    content["resize"]["size"] = 32
    others = [
        scores,
        dataclasses.replace(scores, checkpoints={"one": "aa", "two": "cc"}),
        dataclasses.replace(judged, protocol=Protocol(content)),
    ]
    assert len({judged.identity, *(one.identity for one in others)}) == 4
    assert judged.protocol.sha256 == scores.protocol.sha256


def test_a_failed_write_leaves_the_old_file(tmp_path, shown, networks, monkeypatch):
    scores = evaluate(shown, {"reconstruction": Outputs(IDS, shown)}, stimulus_ids=IDS, networks=networks)
    path = tmp_path / "scores.json"
    path.write_text("old")

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr("weights.whole_files.os.replace", refuse)
    with pytest.raises(OSError):
        scores.to_json(path)
    assert path.read_text() == "old" and [one.name for one in tmp_path.iterdir()] == ["scores.json"]


def test_edited_or_foreign_files_are_refused(tmp_path, shown, networks):
    scores = evaluate(shown, {"reconstruction": Outputs(IDS, shown)}, stimulus_ids=IDS, networks=networks)
    path = tmp_path / "scores.json"
    with pytest.raises(InputError, match="Run evaluate"):
        Scores.from_json(path)
    scores.to_json(path)
    path.write_text(path.read_text().replace('"size": 64', '"size": 65'))
    with pytest.raises(InputError, match="under protocol"):
        Scores.from_json(path)
    path.write_text("{}")
    with pytest.raises(InputError, match="not a file of scores"):
        Scores.from_json(path)


def test_every_part_of_the_scores_survives_the_file(tmp_path, shown, networks):
    true = np.random.default_rng(0).normal(size=(N, 30))
    brain = Brain(
        Grey().predict(MeanColours().embed(shown)), {"evaluation": Grey()}, np.ones(N), {"V1": np.ones(16, bool)}
    )
    scores = evaluate(
        shown,
        {"reconstruction": Outputs(IDS, noisy(shown, 120))},
        stimulus_ids=IDS,
        networks=networks,
        embeddings=({"vdvae": true}, {"vdvae": true}),
        brain=brain,
        data={"dataset": "nsd", "sessions": [1, 2]},
    )
    scores.to_json(tmp_path / "scores.json")
    again = Scores.from_json(tmp_path / "scores.json")
    for part in ("conditions", "summary", "differences", "regions", "ceilings", "notes", "data"):
        assert getattr(again, part) == getattr(scores, part), part
    assert again.embeddings.rows == scores.embeddings.rows and again.embeddings.ranks == scores.embeddings.ranks


def test_pictures_in_files_score_like_pictures_in_memory(tmp_path, shown, networks):
    from PIL import Image

    from brainrecon.datasets.stimulus_images import PictureFiles

    images = noisy(shown, 120)
    paths = [tmp_path / f"{name}.png" for name in IDS]
    for path, image in zip(paths, images):
        Image.fromarray(image).save(path)
    in_memory, in_files = (
        evaluate(shown, {"reconstruction": Outputs(IDS, drawn)}, stimulus_ids=IDS, networks=networks)
        for drawn in (images, PictureFiles(paths))
    )
    assert in_memory.conditions == in_files.conditions


def test_pictures_too_many_to_keep_give_the_same_scores(tmp_path, shown, networks, monkeypatch):
    from PIL import Image

    from brainrecon.datasets.stimulus_images import PictureFiles
    from brainrecon.evaluation.tasks import picture_walk
    from brainrecon.evaluation.views import read_pictures

    paths = [tmp_path / f"{name}.png" for name in IDS]
    for path, image in zip(paths, shown):
        Image.fromarray(image).save(path)
    condition = {"reconstruction": Outputs(IDS + IDS[:3], noisy(np.concatenate([shown, shown[:3]]), 120))}
    kept = evaluate(PictureFiles(paths), condition, stimulus_ids=IDS, networks=networks)
    for module, name in (
        (read_pictures, "_KEPT_BYTES"),
        (picture_walk, "_WAITING_BYTES"),
        (picture_walk, "_SHOWN_PIECES"),
    ):
        monkeypatch.setattr(module, name, 1 if name == "_SHOWN_PIECES" else 0)
    again = evaluate(PictureFiles(paths), condition, stimulus_ids=IDS, networks=networks)
    assert again.conditions == kept.conditions

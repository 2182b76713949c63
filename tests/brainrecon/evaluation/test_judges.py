"""What judges know, and that they are there: said once, before and beside every score."""

import numpy as np
import pytest

from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import with_weights
from brainrecon.evaluation.judges import DRAWN, PHOTOGRAPHS, about_strangers, check_judges, strangers
from brainrecon.evaluation.protocols.protocol import available, load_protocol
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.evaluation.scoring import evaluate
from brainrecon.report.run.verdict import write_verdict
from brainrecon.runs.record import default_protocol
from weights import store
from weights.pull import choose
from weights.store import CheckpointError


@pytest.mark.parametrize("protocol", available())
def test_the_embedded_networks_alone_know_no_photographs(protocol):
    loaded = load_protocol(protocol)
    embedded = {spec.checkpoint for spec in loaded.networks.values() if spec.checkpoint.startswith("tiny-")}
    assert set(strangers(loaded, PHOTOGRAPHS)) == set(strangers(loaded, "")) == embedded
    assert strangers(loaded, DRAWN) == [] == about_strangers(loaded, DRAWN)
    assert len(about_strangers(loaded, PHOTOGRAPHS)) == bool(embedded)


@pytest.mark.parametrize(
    "method, weights, pictures, protocol",
    [
        ("brain-diffuser", None, PHOTOGRAPHS, "brain-diffuser-2023"),
        ("brain-diffuser", None, "", "brain-diffuser-2023"),
        ("brain-diffuser", None, DRAWN, "brainrecon-1"),
        ("brain-diffuser", "tiny", PHOTOGRAPHS, "brainrecon-1"),
        ("brain-diffuser-sdxl", None, PHOTOGRAPHS, "brain-diffuser-2023"),
        ("takagi2023", None, PHOTOGRAPHS, "takagi-2023"),
        ("icgan2022", None, PHOTOGRAPHS, "mindeye-2023"),
        ("icgan2022", "tiny", PHOTOGRAPHS, "brainrecon-1"),
        ("ridge-to-pixels", None, PHOTOGRAPHS, "brainrecon-1"),
    ],
)
def test_judges_follow_the_checkpoints_of_the_method(method, weights, pictures, protocol):
    kind = system_class(method)
    assert default_protocol(kind(with_weights({}, kind, weights)), pictures) == protocol


def test_absent_judges_are_named_together_with_their_sizes_and_what_fetches_them(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path))
    check_judges(load_protocol("brainrecon-1"))
    with pytest.raises(CheckpointError) as refused:
        check_judges(load_protocol("brain-diffuser-2023"))
    message = str(refused.value)
    for told in (
        "alexnet-imagenet1k-v1 (about 244.4 MB)",
        "clip-vit-l-14-quickgelu (about 855.2 MB)",
        "about 1.4 GB together",
        "brainrecon weights pull --for evaluate",
        "--protocol brainrecon-1",
    ):
        assert told in message
    assert "\n" not in message


def test_what_the_sentence_names_fetches_every_judge():
    fetched = set(choose(method="evaluate"))
    needed = {spec.checkpoint for name in available() for spec in load_protocol(name).networks.values()}
    assert {name for name in needed if not store.checkpoints()[name].embedded} <= fetched


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", [PHOTOGRAPHS, DRAWN, ""])
def test_scores_by_networks_that_know_no_photographs_say_so_wherever_they_stand(pictures, kind, tmp_path):
    ids = [f"p{number}" for number in range(6)]
    data = {"dataset": "nsd"} | ({"pictures": kind} if kind else {})
    scores = evaluate(pictures, {"reconstruction": pictures}, stimulus_ids=ids, n_resamples=2000, data=data)
    scores.to_json(tmp_path / "scores.json")
    read = Scores.from_json(tmp_path / "scores.json")
    said = [note for note in read.notes if "know only drawn pictures" in note]
    assert len(said) == (kind != DRAWN)
    if said:
        assert "tiny-evaluation, tiny-clip" in said[0] and (kind or "may be photographs") in said[0]
    first = write_verdict(read).sentence
    assert ("knows only drawn pictures and no photographs" in first) == (kind == PHOTOGRAPHS)

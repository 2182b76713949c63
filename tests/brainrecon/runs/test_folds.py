"""A run with folds: a null of its own, the mean picture as chance, and a name in every table."""

import csv

import numpy as np
import pytest
from chains import chain_of
from few_figures import write_few_figures

import brainrecon
from brainrecon.cli.main import run_command
from brainrecon.datasets.shuffled import partners
from brainrecon.datasets.split import Split
from brainrecon.datasets.stimulus_images import read_picture
from brainrecon.datasets.subject import Subject
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.runs.run import Run
from stages.ground.not_finite import NotFinite

PROTOCOL = "miyawaki-2008-identification"
FIGURES = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_few_figures(tmp_path_factory.mktemp("few") / "few.npz", FIGURES, 3, 80)


@pytest.fixture(scope="module")
def run(data, features, tmp_path_factory):
    out = tmp_path_factory.mktemp("folds") / "run"
    line = ["run", "nearest-training-picture", data, "--folds", "stimuli", "--protocol", PROTOCOL]
    assert run_command([*line, "--features", str(features), "--out", str(out)]) == 0
    return Run(out, features)


@pytest.fixture(scope="module")
def scores(run):
    return Scores.from_json(run.layout.scores(PROTOCOL))


@pytest.fixture(scope="module")
def shown(data):
    """Stimulus -> its picture and trials."""
    subject = brainrecon.load(data)
    return {
        str(name): (np.asarray(split.images[row]), np.asarray(split.betas[:])[split.positions == row])
        for split in subject.splits.values()
        for row, name in enumerate(split.stimulus_ids)
    }


def pictures_of(run, condition):
    parts, own = run.drawn_by(condition)
    return {
        str(name): read_picture(part.image_path(own, name)) for part in parts for name in part.subject.test.stimulus_ids
    }


def test_the_null_vs_a_fit_to_wrong_pairs_written_out(run, shown):
    """Each stimulus has another one's trials, in training and test; fitted anew without the stimulus that is tested."""
    ids = sorted(shown)
    lender = dict(zip(ids, [ids[row] for row in partners(len(ids), 0)]))
    found = pictures_of(run, "shuffled_responses")
    assert sorted(found) == ids
    for tested in ids:
        splits = {}
        for name, own in (("train", [one for one in ids if one != tested]), ("test", [tested])):
            betas = [shown[lender[one]][1] for one in own]
            splits[name] = Split(
                np.concatenate(betas),
                np.repeat(own, [len(one) for one in betas]),
                images=np.stack([shown[one][0] for one in own]),
            )
        subject = Subject("subj01", "arrays", "arrays:x", splits, roi="all")
        chain = chain_of("nearest-training-picture").fit_in_memory(subject)
        ((expected,),) = chain.run_from_patterns([tested], subject.test.patterns)
        np.testing.assert_array_equal(found[tested], expected)


def test_the_null_of_leave_one_out_is_below_one_half(scores):
    """Copies of training pictures, none of which is the one that was left out: identification cannot be right often."""
    assert scores.mean("shuffled_responses", "identification_pixels").mean < 0.5
    assert len(scores.conditions["shuffled_responses"].stimulus_ids) == FIGURES


def test_chance_is_the_mean_picture_of_the_others(run, scores, shown):
    found = pictures_of(run, "mean_picture")
    cells = {name: picture[..., 0].astype(float).ravel() for name, (picture, _) in shown.items()}
    rates = []
    for name in shown:
        mean = np.mean([picture for other, picture in cells.items() if other != name], axis=0)
        assert np.abs(found[name][..., 0].ravel() - mean).max() <= 0.51
        drawn = found[name][..., 0].ravel()
        like = {other: np.corrcoef(drawn, picture)[0, 1] for other, picture in cells.items()}
        rates.append(np.mean([like[name] > like[other] for other in cells if other != name]))
    expected = float(np.mean(rates))
    assert scores.mean("mean_picture", "identification_pixels").mean == pytest.approx(expected, abs=1e-9)
    assert expected < 0.5
    report = (run.folder / "report.html").read_text()
    assert f"the mean picture {100 * expected:.1f} %" in report.replace("\N{NO-BREAK SPACE}", " ")
    assert "chance 50 %" not in report


def test_folds_with_two_stimuli_shuffle_within_the_fold(data, features, tmp_path):
    line = ["run", "mean-image", data, "--folds", "3", "--protocol", PROTOCOL, "--features", str(features)]
    assert run_command([*line, "--out", str(tmp_path / "run")]) == 0
    run = Run(tmp_path / "run", features)
    assert not run.layout.shuffled.exists() and len(pictures_of(run, "shuffled_responses")) == FIGURES
    scores = Scores.from_json(run.layout.scores(PROTOCOL))
    assert (scores.data["split"], scores.data["folds"]) == ("3 folds", 3)
    # It is the mean picture itself.
    assert "mean_picture" not in scores.conditions


def test_a_second_time_nothing_is_drawn_or_fitted(run, data, features):
    before = {
        path: path.stat().st_mtime_ns for path in run.folder.rglob("*") if path.suffix in (".png", ".safetensors")
    }
    assert any("shuffled" in str(path) for path in before)
    line = ["run", "nearest-training-picture", data, "--folds", "stimuli", "--protocol", PROTOCOL]
    assert run_command([*line, "--features", str(features), "--out", str(run.folder)]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_pictures_from_elsewhere_in_folds_score_as_those_of_the_run(run, scores, data, features, tmp_path):
    theirs = tmp_path / "pictures"
    theirs.mkdir()
    for part in run.parts:
        for name in part.subject.test.stimulus_ids:
            (theirs / f"{name}.png").write_bytes(part.image_path("reconstruction", name).read_bytes())
    line = ["evaluate", "--images", str(theirs), "--truth", data, "--folds", "stimuli", "--protocol", PROTOCOL]
    assert run_command([*line, "--features", str(features), "--out", str(tmp_path / "scores")]) == 0
    found = Scores.from_json(tmp_path / "scores" / "scores" / f"{PROTOCOL}.json")
    assert found.data["split"] == scores.data["split"] == "leave one stimulus out"
    for condition in ("reconstruction", "mean_picture"):
        for metric in found.metrics:
            expected = scores.mean(condition, metric).mean
            assert found.mean(condition, metric).mean == pytest.approx(expected, abs=1e-9), (condition, metric)


def test_folds_stand_in_a_leaderboard_under_their_name(data, features, tmp_path):
    line = ["benchmark", data, "--methods", "mean-image,noise", "--protocols", PROTOCOL, "--controls", "none"]
    line += ["--features", str(features)]
    assert run_command([*line, "--folds", "stimuli", "--out", str(tmp_path / "bench")]) == 0
    with open(tmp_path / "bench" / "leaderboard.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["split"] for row in rows} == {"leave one stimulus out"}
    assert f"{PROTOCOL} on arrays, leave one stimulus out" in (tmp_path / "bench" / "leaderboard.md").read_text()
    # A run on the dataset's own split has a table of its own.
    own = tmp_path / "bench" / "own split" / "subj01" / "default"
    line = ["run", "mean-image", data, "--protocol", PROTOCOL, "--features", str(features), "--out", str(own)]
    assert run_command([*line, "--controls", "none"]) == 0
    assert run_command(["benchmark", "--out", str(tmp_path / "bench"), "--features", str(features)]) == 0
    titles = [line for line in (tmp_path / "bench" / "leaderboard.md").read_text().splitlines() if line[:3] == "## "]
    assert sorted(titles) == [f"## {PROTOCOL} on arrays", f"## {PROTOCOL} on arrays, leave one stimulus out"]


def test_what_one_fold_cannot_draw_keeps_no_other_from_drawing(run, monkeypatch):
    drawn = []

    def reconstruct(part, conditions, **options):
        drawn.append(part.folder)
        if part.config.data.fold in (1, 2):
            raise NotFinite([0], [f"figure of fold {part.config.data.fold}"])

    monkeypatch.setattr("brainrecon.runs.draw.reconstruct", reconstruct)
    with pytest.raises(NotFinite, match="2 outputs are missing, of figure of fold 1, figure of fold 2"):
        run.reconstruct()
    assert drawn == [part.folder for part in run.parts]

"""A benchmark of few stimuli: defaults follow the data and say what they chose, and a failed start leaves nothing behind."""

import numpy as np
import pytest
from few_figures import write_few_figures

import brainrecon
from brainrecon.cli.main import run_command
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from brainrecon.runs.splitting import rule_for
from brainrecon.studies.benchmark import cell_folder
from brainrecon.studies.plan import Plan
from stages.ground.errors import InputError

PROTOCOL = "miyawaki-2008-identification"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_few_figures(tmp_path_factory.mktemp("few") / "few.npz", 10, 2, 60)


@pytest.fixture
def line(data, features):
    return ["benchmark", data, "--methods", "mean-image", "--protocols", PROTOCOL, "--features", str(features)]


def of_stimuli(n, pictures=True):
    """A subject of so many stimuli, a fifth of them tested."""
    names = np.array([f"s{one}" for one in range(n)])
    images = np.random.default_rng(0).integers(0, 256, (n, 4, 4, 3), dtype=np.uint8) if pictures else None
    splits = {}
    for name, rows in (("train", slice(0, n - n // 5)), ("test", slice(n - n // 5, n))):
        splits[name] = Split(
            np.ones((len(names[rows]), 3), np.float32), names[rows], images=images[rows] if pictures else None
        )
    return Subject("subj01", "arrays", "arrays:x", splits, roi="all")


@pytest.mark.parametrize(
    ("n_stimuli", "rule", "why"),
    [
        (10, "", "10 stimuli are too few"),
        (19, "", "19 stimuli are too few"),
        (20, "clusters:2", "clusters:2, for 20 stimuli are too few for 20"),
        (75, "clusters:7", "clusters:7, for 75"),
        (200, "clusters:20", None),
        (5000, "clusters:20", None),
    ],
)
def test_the_held_out_split_follows_the_number_of_stimuli(n_stimuli, rule, why):
    found, told = rule_for(of_stimuli(n_stimuli))
    assert found == rule and (why in told if why else told == "")


def test_without_pictures_there_are_no_clusters():
    rule, told = rule_for(of_stimuli(300, pictures=False))
    assert rule == "" and "no pictures" in told


def test_ten_stimuli_need_no_option(line, tmp_path, capsys):
    assert run_command([*line, "--out", str(tmp_path / "bench")]) == 0
    assert "No held-out split: 10 stimuli are too few for clusters of 10" in capsys.readouterr().out
    assert Plan.read(tmp_path / "bench").heldout == ""
    assert not (cell_folder(tmp_path / "bench", "mean-image", "subj01", None) / "heldout").exists()
    # The plan is settled: the same line goes on, and so does one that says what was chosen.
    assert run_command([*line, "--heldout", "none", "--out", str(tmp_path / "bench")]) == 0
    assert "0 of 1 cells were computed" in capsys.readouterr().out


def test_a_split_that_cannot_be_made_leaves_nothing_that_refuses_the_cure(line, tmp_path, capsys):
    out = ["--out", str(tmp_path / "bench")]
    assert run_command([*line, "--heldout", "clusters:20", *out]) == 2
    assert "10 stimuli cannot make 20 clusters; ask for 10 at most" in capsys.readouterr().err
    assert not (tmp_path / "bench").exists()
    assert run_command([*line, "--folds", "11", *out]) == 2
    assert "11 folds of 10 stimuli cannot be made" in capsys.readouterr().err
    assert run_command([*line, "--folds", "2", *out]) == 0
    assert Plan.read(tmp_path / "bench").folds == 2


def test_a_run_whose_fit_fails_leaves_nothing_that_refuses_the_cure(data, features, tmp_path, capsys):
    """Weights that cannot be learned from so few pictures: the advice has to work in the same folder."""
    out = tmp_path / "run"
    line = ["run", "miyawaki2008", data, "--set", "decoder.model=omp", "--protocol", PROTOCOL, "--folds", "2"]
    line += ["--features", str(features), "--out", str(out)]
    (tmp_path / "run").mkdir()
    assert run_command([*line[:-4], "--set", "decoder.weights=nnls", "--set", "grid=11", *line[-4:]]) == 2
    assert "no 11 x 11 cells" in capsys.readouterr().err
    assert not (out / "config.toml").exists()
    assert run_command([*line, "--set", "decoder.weights=equal"]) == 0


def test_what_was_computed_stays_when_something_fails(line, tmp_path, monkeypatch):
    out = tmp_path / "bench"

    def broken(*arguments, **named):
        raise InputError("no scores today.")

    monkeypatch.setattr("brainrecon.runs.score.score", broken)
    assert run_command([*line, "--out", str(out)]) == 2
    cell = cell_folder(out, "mean-image", "subj01", None)
    assert (out / "benchmark.toml").exists() and list((cell / "images").glob("*.png"))
    monkeypatch.undo()
    assert run_command(["benchmark", "--out", str(out), "--features", line[-1]]) == 0


def test_folds_and_held_out_clusters_stand_side_by_side(line, tmp_path, capsys):
    assert run_command([*line, "--folds", "5", "--heldout", "clusters:2", "--out", str(tmp_path / "bench")]) == 0
    cell = cell_folder(tmp_path / "bench", "mean-image", "subj01", None)
    assert len(list((cell / "folds").iterdir())) == 5 and (cell / "heldout" / "scores" / f"{PROTOCOL}.json").exists()
    assert "On the held-out split" in (tmp_path / "bench" / "leaderboard.md").read_text()


def test_a_plan_in_folds_is_gone_on_with_in_the_same_folds(line, tmp_path, capsys):
    out = ["--out", str(tmp_path / "bench")]
    assert run_command([*line, "--folds", "stimuli", *out]) == 0
    assert "No held-out split: folds test every stimulus" in capsys.readouterr().out
    assert run_command([*line, "--folds", "2", *out]) == 2
    assert "folds = 'stimuli' but 2 was asked for" in capsys.readouterr().err
    assert brainrecon.load(line[1]).train.n_stimuli == 8


@pytest.mark.slow
def test_ten_pictures_of_eight_trials_make_a_leaderboard_in_three_minutes(features, tmp_path, capsys):
    """The whole table with its nulls, on two cores that do nothing else."""
    import time

    data = write_few_figures(tmp_path / "few.npz")
    methods = "miyawaki2008,ridge-to-pixels,nearest-training-picture,mean-image"
    began = time.monotonic()
    line = ["benchmark", data, "--methods", methods, "--folds", "stimuli", "--protocols", PROTOCOL]
    assert run_command([*line, "--features", str(features), "--out", str(tmp_path / "bench")]) == 0
    assert time.monotonic() - began < 180
    table = (tmp_path / "bench" / "leaderboard.md").read_text()
    assert "leave one stimulus out" in table and "Not finished" not in table
    assert table.count("| Shuffled responses") == 4 and table.count("| Mean picture") == 3

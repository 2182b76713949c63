"""A mask of one's own goes the same way through every verb that takes a region, and is named by what comes of it."""

import json
import shutil

import numpy as np
import pytest
from few_figures import write_few_figures

from brainrecon.cli.main import run_command
from brainrecon.evaluation.scores.scores import Scores

PROTOCOL = ["--protocol", "miyawaki-2008-identification"]
MEAN = ["mean-image", "--controls", "none", *PROTOCOL]


@pytest.fixture(scope="module")
def place(tmp_path_factory, features):
    """A folder with `few.npz` of 60 voxels, a mask of 7 of these, another of the same name, and a run."""
    folder = tmp_path_factory.mktemp("masks")
    data = write_few_figures(folder / "few.npz", 20, 2, 60)
    for name, first in (("mine", 0), ("elsewhere/mine", 1), ("long", None)):
        (folder / name).parent.mkdir(exist_ok=True)
        mask = np.ones(61, bool) if first is None else np.arange(60) % 10 == first
        np.save(folder / f"{name}.npy", mask if first is None else mask | (np.arange(60) == 5))
    more = ["--features", str(features)]
    assert (
        run_command(["run", *MEAN, data, "--mask", str(folder / "mine.npy"), "--out", str(folder / "run"), *more]) == 0
    )
    return folder, data, more


def line_of(verb, folder, data, more):
    """The words of a verb that takes a region, but for its mask; what it makes lies below `made`."""
    theirs = ["--images", str(folder / "run" / "images"), "--pattern", "stim-{id}_sample-{sample}.png", "--truth", data]
    cells = ["--protocols", PROTOCOL[1], "--heldout", "none", "--controls", "none"]
    return {
        "run": ["run", *MEAN, data, "--out", str(folder / "made"), *more],
        "run --plan": ["run", *MEAN, data, "--out", str(folder / "made"), *more, "--plan"],
        "fit": ["fit", "mean-image", data, "--out", str(folder / "made"), *more],
        "evaluate": ["evaluate", *theirs, "--out", str(folder / "made"), *PROTOCOL, *more],
        "benchmark": ["benchmark", data, "--methods", "mean-image", *cells, "--out", str(folder / "made"), *more],
        "info": ["data", "info", data],
        "prepare": ["data", "prepare", data, "--out", str(folder / "made")],
    }[verb]


VERBS = ("run", "run --plan", "fit", "evaluate", "benchmark", "info", "prepare")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("by", ["--mask {}", "--option mask={}"])
def test_every_verb_takes_it_and_says_which_it_was(place, verb, by, capsys, monkeypatch):
    folder, data, more = place
    shutil.rmtree(folder / "made", ignore_errors=True)
    monkeypatch.chdir(folder)
    capsys.readouterr()
    assert run_command([*line_of(verb, *place), *by.format("mine.npy").split(" ")]) == 0
    files = [path for path in folder.joinpath("made").rglob("*") if path.suffix in (".json", ".toml", ".md")]
    said = capsys.readouterr().out + "".join(path.read_text() for path in files)
    assert "mask [mine.npy " in said or (verb in ("fit", "prepare") and '"mask": "mine.npy ' in said)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_refuses_one_that_does_not_fit(place, verb, capsys):
    folder, _, _ = place
    shutil.rmtree(folder / "made", ignore_errors=True)
    assert run_command([*line_of(verb, *place), "--mask", str(folder / "long.npy")]) == 2
    assert "long.npy has shape (61,) but there are 60 voxels" in capsys.readouterr().err
    assert not (folder / "made").exists()


def test_the_scores_and_the_report_name_it(place):
    folder, _, _ = place
    scores = Scores.from_json(folder / "run" / "scores" / f"{PROTOCOL[1]}.json")
    assert scores.data["roi"].startswith("mask [mine.npy ") and "mask mine.npy " in scores.vintage
    assert f"7 voxels ({scores.data['roi']})" in (folder / "run" / "report.html").read_text()


def test_another_mask_of_the_same_name_is_another_run_and_one_that_moved_is_not(place, tmp_path, capsys):
    folder, data, more = place
    again = ["run", *MEAN, data, "--out", str(folder / "run"), *more, "--mask"]
    assert run_command([*again, str(folder / "elsewhere" / "mine.npy")]) == 2
    assert "was begun on responses with mask = 'mine.npy " in capsys.readouterr().err
    assert run_command(again[:-1]) == 2 and "data.options.mask = " in capsys.readouterr().err
    shutil.copy(folder / "mine.npy", tmp_path / "mine.npy")
    before = json.loads((folder / "run" / "environment.json").read_text())
    assert run_command([*again, str(tmp_path / "mine.npy")]) == 0
    assert json.loads((folder / "run" / "environment.json").read_text()) == before
    assert run_command([*again, str(folder / "mine.npy")]) == 0


def test_a_benchmark_has_it_beside_other_regions(place, capsys):
    folder, data, more = place
    shutil.rmtree(folder / "made", ignore_errors=True)
    line = line_of("benchmark", *place)
    assert run_command([*line, "--rois", "all,all & mask", "--mask", str(folder / "mine.npy")]) == 0
    board = (folder / "made" / "leaderboard.md").read_text().replace("&amp;", "&")
    # Both are rows of the table of regions, and have a block each.
    rows = [text.split(" | ")[0] for text in board.splitlines() if text.startswith("| all")]
    assert rows[:2] == ["| all", rows[1]] and rows[1].startswith("| all & mask \\[mine.npy ")
    assert 0 < board.index("### all\n") < board.index("### all & mask \\[mine.npy ")

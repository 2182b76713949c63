"""Stimuli other than the dataset's own test split are tested by `--split`, the same way in every verb."""

import json
import shutil

import numpy as np
import pytest

from brainrecon.cli.main import run_command
from brainrecon.datasets.arrays.reader import write_template
from brainrecon.evaluation.scores.scores import Scores

SIZES = {"train": 16, "test": 4, "val": 3, "imagery": 4, "shapes": 5}
PROTOCOL, NONE = "miyawaki-2008-identification", ["--controls", "none"]


@pytest.fixture(scope="module")
def place(tmp_path_factory, features):
    """A folder with arrays of five splits, a file of ids, and their pictures by id."""
    folder, random = tmp_path_factory.mktemp("splits"), np.random.default_rng(0)
    write_template(folder / "mine")
    for name, n in SIZES.items():
        shutil.rmtree(folder / "mine" / name, ignore_errors=True)
        (folder / "mine" / name).mkdir()
        ids = [f"{name}{row}" for row in range(n)]
        (folder / "mine" / name / "trials.csv").write_text("\n".join(["stimulus_id", *ids]) + "\n")
        kinds = {one: ["odd" if row % 4 == 1 else "even"] for row, one in enumerate(ids)}
        (folder / "mine" / name / "categories.json").write_text(json.dumps(kinds))
        np.save(folder / "mine" / name / "betas.npy", random.normal(size=(n, 50)).astype(np.float32))
        np.save(folder / "mine" / name / "images.npy", random.integers(0, 256, (n, 10, 10, 3), dtype=np.uint8))
    (folder / "ids.txt").write_text("train3\ntest1\ntrain7\n")
    return folder, features


def stimuli_of(split):
    if split == "ids:ids.txt":
        return {"train3", "test1", "train7"}
    if split == "category:odd":
        return {f"train{row}" for row in range(1, 16, 4)} | {"test1"}
    return {f"{split}{row}" for row in range(SIZES[split])}


@pytest.mark.parametrize("split", ["val", "imagery", "shapes", "ids:ids.txt", "category:odd"])
def test_every_verb_tests_it_and_records_it(place, split, monkeypatch):
    folder, features = place
    monkeypatch.chdir(folder)
    shutil.rmtree("made", ignore_errors=True)
    data, more = ["mean-image", "arrays:mine"], ["--split", split, "--features", str(features)]
    cells = ["--methods", "mean-image", "--protocols", PROTOCOL, *NONE]
    lines = {
        "run": ["run", *data, "--out", "made/run", "--protocol", PROTOCOL, *NONE],
        "fit": ["fit", *data, "--out", "made/fit"],
        "benchmark": ["benchmark", "arrays:mine", "--out", "made/bench", *cells],
        "pictures": ["data", "pictures", "arrays:mine", "--out", "made/shown"],
        "evaluate": [
            *("evaluate", "--images", "made/shown", "--pattern", "{row:04d}.png", "--truth", "arrays:mine"),
            *("--out", "made/theirs", "--protocol", PROTOCOL),
        ],
    }
    for verb, line in lines.items():
        assert run_command([*line, *more]) == 0, verb
    assert run_command(["reconstruct", "made/fit", "--features", str(features)]) == 0
    assert run_command(["evaluate", "made/fit", "--protocol", PROTOCOL, "--features", str(features)]) == 0
    assert run_command(["benchmark", "--out", "made/bench", "--features", str(features)]) == 0
    for place_of in ("run", "fit", "bench/mean-image/subj01/default", "theirs"):
        scores = Scores.from_json(folder / "made" / place_of / "scores" / f"{PROTOCOL}.json")
        assert set(scores.conditions["reconstruction"].stimulus_ids) == stimuli_of(split), place_of
        named = {"ids:ids.txt": "stimuli of ids.txt", "category:odd": "category odd"}.get(split, split)
        assert scores.data["split"] == named, place_of
    assert named in (folder / "made" / "bench" / "leaderboard.md").read_text()
    assert set((folder / "made" / "shown" / "stimulus_ids.txt").read_text().split()) == stimuli_of(split)


@pytest.mark.parametrize("verb", ["run", "fit", "benchmark", "pictures", "evaluate"])
def test_every_verb_refuses_one_that_is_not_there(place, verb, monkeypatch, capsys):
    folder, _ = place
    monkeypatch.chdir(folder)
    shutil.rmtree("made", ignore_errors=True)
    line = {
        "run": ["run", "mean-image", "arrays:mine", "--out", "made/run"],
        "fit": ["fit", "mean-image", "arrays:mine", "--out", "made/fit"],
        "benchmark": ["benchmark", "arrays:mine", "--methods", "mean-image", "--out", "made/bench"],
        "pictures": ["data", "pictures", "arrays:mine", "--out", "made/shown"],
        "evaluate": ["evaluate", "--images", "mine/test", "--truth", "arrays:mine", "--out", "made/theirs"],
    }[verb]
    assert run_command([*line, "--split", "dreams"]) == 2
    assert "no split 'dreams'" in capsys.readouterr().err and not (folder / "made").exists()
    if verb in ("run", "fit", "benchmark", "evaluate"):
        assert (
            run_command([*line, "--split", "val", "--folds", "4"]) == 2 and "leave one out" in capsys.readouterr().err
        )

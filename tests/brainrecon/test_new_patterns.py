"""Patterns of one's own through a fitted run: embeddings in any format, pictures in files; and what a run gives in Python."""

import csv
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file

from brainrecon.cli.main import run_command
from brainrecon.evaluation.scores.scores import ConditionScores, Scores
from brainrecon.runs.predict import read_embeddings
from brainrecon.runs.run import Run
from stages.ground.errors import InputError


def call(*line):
    return run_command([str(part) for part in line])


def picture(path):
    return np.asarray(Image.open(path)).astype(int)


@pytest.fixture(scope="module")
def drawn(fitted, features, tmp_path_factory):
    """The fitted run with the pictures of two test stimuli, and their patterns beside one that is nobody's."""
    folder = shutil.copytree(fitted, tmp_path_factory.mktemp("drawn") / "run")
    test = Run(folder).subject.test
    names = [str(name) for name in test.stimulus_ids[:2]]
    assert call("reconstruct", folder, "--features", features, "--stimuli", ",".join(names)) == 0
    patterns = np.vstack([test.patterns[:2], test.patterns.mean(axis=0, keepdims=True)])
    np.savez(folder.parent / "new.npz", betas=patterns, stimulus_ids=[*names, "mean"])
    return folder


def test_a_pattern_of_the_test_set_gives_the_picture_of_the_run(drawn, features):
    assert call("reconstruct", drawn, "--betas", drawn.parent / "new.npz", "--features", features) == 0
    new = drawn / "new" / "new" / "images"
    names = [str(name) for name in Run(drawn).subject.test.stimulus_ids[:2]]
    assert sorted(path.name for path in new.iterdir()) == sorted(
        f"stim-{name}_sample-0.png" for name in [*names, "mean"]
    )
    for name in names:
        own = picture(drawn / "images" / f"stim-{name}_sample-0.png")
        assert np.abs(picture(new / f"stim-{name}_sample-0.png") - own).max() <= 1
    # Pictures of different patterns differ.
    assert np.abs(picture(new / f"stim-{names[0]}_sample-0.png") - picture(new / "stim-mean_sample-0.png")).max() > 1


def test_what_is_there_is_left_alone_and_other_patterns_are_refused(drawn, features, tmp_path, capsys):
    line = (
        "reconstruct",
        drawn,
        "--betas",
        drawn.parent / "new.npz",
        "--features",
        features,
        "--out",
        tmp_path / "out",
    )
    assert call(*line, "--stimuli", "mean") == 0
    (only,) = (tmp_path / "out" / "images").iterdir()
    Image.new("RGB", (4, 4)).save(only)
    assert call(*line, "--stimuli", "mean") == 0 and picture(only).shape == (4, 4, 3)
    np.save(tmp_path / "others.npy", np.zeros((1, 300), np.float32))
    capsys.readouterr()
    others = (
        "reconstruct",
        drawn,
        "--betas",
        tmp_path / "others.npy",
        "--features",
        features,
        "--out",
        tmp_path / "out",
    )
    assert call(*others) == 2
    assert "other patterns" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (["--betas", "{new}", "--controls", "all"], "leave --controls"),
        (["--out", "somewhere"], "--betas FILE"),
        (["--betas", "{new}", "--stimuli", "nobody"], "'nobody' is not among the 3 patterns"),
        (["--betas", "{few}"], "7"),
        (["--betas", "{path}"], "too long for the name of a file"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_nothing_is_written(drawn, features, rest, said, tmp_path, capsys):
    np.save(tmp_path / "few.npy", np.zeros((2, 7), np.float32))
    np.savez(tmp_path / "path.npz", betas=np.zeros((1, 300), np.float32), stimulus_ids=["a" * 300])
    places = {"new": drawn.parent / "new.npz", "few": tmp_path / "few.npy", "path": tmp_path / "path.npz"}
    before = sorted(drawn.rglob("*"))
    assert call("reconstruct", drawn, *[part.format(**places) for part in rest], "--features", features) == 2
    assert said in capsys.readouterr().err and sorted(drawn.rglob("*")) == before


def test_an_id_that_is_a_path_stays_in_the_folder(drawn, features, tmp_path):
    np.savez(tmp_path / "new.npz", betas=np.zeros((1, 300), np.float32), stimulus_ids=["../../up"])
    line = (
        "reconstruct",
        drawn,
        "--betas",
        tmp_path / "new.npz",
        "--features",
        features,
        "--out",
        tmp_path / "a" / "b",
    )
    assert call(*line) == 0
    (only,) = tmp_path.rglob("*.png")
    assert only.parent == tmp_path / "a" / "b" / "images"


def test_predictions_are_the_same_in_every_format(drawn, features, tmp_path):
    for name in ("p.safetensors", "p.npz", "p.csv"):
        line = ("predict", drawn, "--betas", drawn.parent / "new.npz", "--out", tmp_path / name, "--features", features)
        assert call(*line) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.csv", "p.npz", "p.safetensors"]
    expected, as_npz = load_file(tmp_path / "p.safetensors"), np.load(tmp_path / "p.npz")
    with open(tmp_path / "p.csv", newline="") as file:
        head, *rows = csv.reader(file)
    assert as_npz["stimulus_ids"].tolist() == [row[0] for row in rows]
    for name, values in expected.items():
        columns = [place for place, label in enumerate(head) if label.startswith(f"{name}.")]
        np.testing.assert_array_equal(as_npz[name], values)
        np.testing.assert_array_equal(np.array(rows)[:, columns].astype(np.float32), values)


def test_a_run_gives_its_embeddings_as_arrays(drawn, features):
    run = Run(drawn, features)
    kept, ids = read_embeddings(run.layout.embeddings("test"))
    assert run.stimulus_ids == ids and run.embeddings.keys() == kept.keys()
    for name in kept:
        np.testing.assert_array_equal(run.embeddings[name], kept[name])


def test_scores_of_a_run_are_those_on_disk_and_absent_ones_are_named(drawn, features, tmp_path):
    folder = shutil.copytree(drawn, tmp_path / "run")
    with pytest.raises(InputError, match="has no scores yet"):
        _ = Run(folder, features).scores
    found = Run(folder, features).evaluate()
    assert Run(folder, features).scores == found
    pd.testing.assert_frame_equal(found.to_pandas(), pd.read_csv(folder / "scores" / "brainrecon-1.csv"))


def test_a_table_of_scores_has_gaps_for_what_is_not_scored():
    from brainrecon.evaluation.protocols.protocol import load_protocol

    protocol = load_protocol("brainrecon-1")
    conditions = {
        "reconstruction": ConditionScores(("a", "b"), (1, 2), {"pixcorr": np.array([0.5, np.nan])}),
        "other": ConditionScores(("b",), (1,), {}),
    }
    table = Scores(protocol, "reconstruction", conditions, [], [], 0.95, 1000, 0).to_pandas()
    assert table["condition"].tolist() == ["reconstruction", "reconstruction", "other"]
    assert table["n_samples"].tolist() == [1, 2, 1] and table.columns.tolist()[3:] == list(protocol.columns)
    assert table["pixcorr"].isna().tolist() == [False, True, True] and table["pixcorr"][0] == 0.5


def test_features_are_exported_a_file_for_each_split(cohort, features, tmp_path):
    line = ("features", f"nsd:{cohort}", "--weights", "tiny", "--targets", "clip_image", "--store", features)
    assert call(*line, "--export", tmp_path / "clip.npy") == 0
    assert call(*line, "--export", tmp_path / "clip.npz") == 0
    found = np.load(tmp_path / "clip-test.npz")
    np.testing.assert_array_equal(found["clip_image"], np.load(tmp_path / "clip-test.npy"))
    assert (
        len(found["stimulus_ids"]) == 12
        and np.load(tmp_path / "clip-train.npy").shape[1] == found["clip_image"].shape[1]
    )

"""Pictures from elsewhere by the command line: scored, told, and taken into a benchmark."""

import numpy as np
import pytest
from PIL import Image

from brainrecon.cli.main import run_command
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.report.leaderboard.collect import collect

N_TRAIN, N_TEST, N_VOXELS = 24, 6, 64


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A file of one's own arrays, and what was shown in test."""
    rng = np.random.default_rng(0)
    n = N_TRAIN + N_TEST
    hidden = rng.normal(size=(n, 5))
    betas = hidden @ rng.normal(size=(5, N_VOXELS)) + 0.1 * rng.normal(size=(n, N_VOXELS))
    small = np.clip(128 + 25 * hidden @ rng.normal(size=(5, 8 * 8 * 3)), 0, 255).astype(np.uint8).reshape(n, 8, 8, 3)
    images = np.repeat(np.repeat(small, 8, axis=1), 8, axis=2)
    ids = np.array([f"s{number:03d}" for number in range(n)])
    path = tmp_path_factory.mktemp("study") / "mine.npz"
    arrays = {"betas": betas.astype(np.float32), "stimulus_ids": ids, "images": images, "image_ids": ids}
    split = np.array(["train"] * N_TRAIN + ["test"] * N_TEST)
    np.savez(path, **arrays, split=split, roi_V1=np.arange(N_VOXELS) < 40)
    return path, ids[N_TRAIN:], images[N_TRAIN:]


def evaluated(study, images, out, *more):
    line = [
        "evaluate",
        "--images",
        images,
        "--truth",
        f"arrays:{study[0]}",
        "--out",
        out,
        "--features",
        out.parents[3] / "f",
    ]
    assert run_command([str(part) for part in (*line, *more)]) == 0
    return Scores.from_json(out / "scores" / "brainrecon-1.json")


def test_names_rows_samples_and_arrays_score_the_same(study, tmp_path, capsys):
    _, ids, shown = study
    drawn = [np.clip(shown.astype(int) + add, 0, 255).astype(np.uint8) for add in (10, 40)]
    named, numbered = tmp_path / "named", tmp_path / "numbered"
    for folder in (named, numbered):
        folder.mkdir()
    for row, name in enumerate(ids):
        for sample, pictures in enumerate(drawn):
            Image.fromarray(pictures[row]).save(named / f"{name}_sample-{sample}.png")
            Image.fromarray(pictures[row]).save(numbered / f"{row}-{sample}.png")
    np.save(tmp_path / "all_recons.npy", np.stack(drawn, axis=1))
    one = evaluated(study, named, tmp_path / "bench" / "named" / "subj01" / "all")
    assert not [note for note in one.notes if "networks that judge" not in note]
    assert one.conditions["reconstruction"].n_samples == (2,) * N_TEST
    assert one.data["voxels"] == N_VOXELS and "noise_ceiling_percent" not in one.data  # no repeats, no ceiling
    # Brain correlation goes by region, as in a run.
    assert set(one.regions) == {"V1"} and one.mean("reconstruction", "brain_correlation") is not None
    for place, images, more in (
        ("numbered", numbered, ["--pattern", "{row}-{sample}.png"]),
        ("array", tmp_path / "all_recons.npy", []),
    ):
        capsys.readouterr()
        other = evaluated(study, images, tmp_path / "bench" / place / "subj01" / "all", *more)
        assert f"is {ids[0]}" in capsys.readouterr().out and f"is {ids[-1]}" in " ".join(other.notes)
        for name, values in one.conditions["reconstruction"].values.items():
            assert other.conditions["reconstruction"].values[name] == pytest.approx(values, abs=1e-6, nan_ok=True), name


def test_a_part_of_the_test_set_says_so_and_begins_a_benchmark(study, tmp_path, capsys):
    _, ids, shown = study
    theirs, bench = tmp_path / "theirs", tmp_path / "bench"
    theirs.mkdir()
    for name, picture in list(zip(ids, shown))[:2]:
        Image.fromarray(picture).save(theirs / f"{name}.png")
    Image.fromarray(shown[5]).save(theirs / "s003.png")
    scores = evaluated(study, theirs, bench / "theirs" / "subj01" / "whole-brain")
    told = capsys.readouterr().out
    missing = f"4 of 6 test stimuli have no picture in theirs, the first is {ids[2]}"
    assert missing in told and any(missing in note for note in scores.notes)
    assert "1 pictures of theirs are of no test stimulus and were left out, the first is s003.png" in told
    line = ["benchmark", f"arrays:{study[0]}", "--methods", "mean-image", "--heldout", "none", "--controls", "none"]
    line = [*line, "--out", str(bench), "--features", str(tmp_path / "f")]
    (bench / "notes.txt").write_text("mine")
    assert run_command(line) == 2 and "is no benchmark" in capsys.readouterr().err
    (bench / "notes.txt").unlink()
    assert run_command(line) == 0
    (board,) = collect(bench).boards
    (block,) = board.blocks
    assert {entry.method for entry in block.entries} == {"theirs", "mean-image"}
    assert missing in (bench / "leaderboard.md").read_text()

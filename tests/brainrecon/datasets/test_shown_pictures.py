"""The shown pictures of a split as files: in its order, and the same ones."""

import numpy as np
import pytest
from PIL import Image

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.arrays.reader import write_template
from brainrecon.datasets.shown_pictures import write_shown_pictures
from brainrecon.datasets.split import Split
from brainrecon.evaluation.scores.scores import Scores
from stages.ground.errors import InputError


@pytest.mark.parametrize("split", [None, "test", "train", "shapes"])
def test_rows_are_those_of_the_split(three, split, tmp_path, capsys):
    subject = load(f"arrays:{three}")
    chosen = subject.splits[split or "test"]
    line = ["data", "pictures", f"arrays:{three}", *([] if split is None else ["--split", split])]
    for out in ("shown", "shown.npy", "shown.npz"):
        assert run_command([*line, "--out", str(tmp_path / out)]) == 0
        assert f"{chosen.n_stimuli} pictures of 8x8 pixels" in capsys.readouterr().out
    files = sorted((tmp_path / "shown").glob("*.png"))
    assert [file.name for file in files] == [f"{row:04d}.png" for row in range(chosen.n_stimuli)]
    np.testing.assert_array_equal(np.stack([np.asarray(Image.open(file)) for file in files]), chosen.images[:])
    np.testing.assert_array_equal(np.load(tmp_path / "shown.npy"), chosen.images[:])
    with np.load(tmp_path / "shown.npz") as arrays:
        np.testing.assert_array_equal(arrays["images"], chosen.images[:])
        assert arrays["stimulus_ids"].tolist() == chosen.stimulus_ids.tolist()
    for name in ("shown/stimulus_ids.txt", "shown-stimulus_ids.txt"):
        assert (tmp_path / name).read_text().split() == chosen.stimulus_ids.tolist()


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Arrays with a third split, of pictures that differ from row to row."""
    folder = tmp_path_factory.mktemp("three") / "mine"
    write_template(folder)
    random = np.random.default_rng(0)
    for name, n in {"train": 12, "test": 4, "shapes": 5}.items():
        (folder / name).mkdir(exist_ok=True)
        for path in (folder / name).rglob("*"):
            if path.is_file():
                path.unlink()
        ids = [f"{name}{row}" for row in random.permutation(n)]
        (folder / name / "trials.csv").write_text("\n".join(["stimulus_id", *ids]) + "\n")
        np.save(folder / name / "betas.npy", random.normal(size=(n, 50)).astype(np.float32))
        np.save(folder / name / "images.npy", random.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8))
    return folder


@pytest.mark.parametrize("split", [None, "shapes"])
def test_what_is_written_scores_perfectly_against_the_same_split(three, split, tmp_path):
    more = [] if split is None else ["--split", split]
    data = f"arrays:{three}"
    assert run_command(["data", "pictures", data, "--out", str(tmp_path / "shown"), *more]) == 0
    line = ["evaluate", "--images", str(tmp_path / "shown"), "--pattern", "{row:04d}.png", "--truth", data, *more]
    assert run_command([*line, "--out", str(tmp_path / "out"), "--protocol", "miyawaki-2008-identification"]) == 0
    scores = Scores.from_json(tmp_path / "out" / "scores" / "miyawaki-2008-identification.json")
    assert scores.mean("reconstruction", "pixcorr").mean == pytest.approx(1)
    assert scores.data.get("split") == split


def test_what_cannot_be_written_is_refused(tmp_path):
    blind = Split(np.ones((2, 3), np.float32), ["a", "b"])
    with pytest.raises(InputError, match="has no pictures"):
        write_shown_pictures(blind, tmp_path / "shown", "arrays:x")
    seen = Split(np.ones((2, 3), np.float32), ["a", "b"], images=np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    with pytest.raises(InputError, match="is there already; name a new folder"):
        write_shown_pictures(seen, tmp_path / "full")

"""Trials without any response are told, by `data prepare` and by `data info`."""

import json

import numpy as np
import pytest

from brainrecon.cli.main import run_command
from brainrecon.datasets.arrays.writing import write_template
from brainrecon.datasets.silent_trials import silent_trials
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from stages.ground.errors import InputError


@pytest.mark.parametrize("n", [0, 1, 3000])
def test_only_rows_of_nothing_but_zeros_are_found_in_any_block(n):
    betas = np.random.default_rng(0).normal(size=(n, 4)) * (np.arange(4) > 0)
    empty = np.array([0, n // 2, n - 1]) if n else np.empty(0, dtype=int)
    betas[empty] = 0
    assert silent_trials(betas).tolist() == np.unique(empty).tolist()


@pytest.mark.parametrize("name", ["nan", "NaN", "None", "n/a"])
def test_a_split_that_is_called_like_an_empty_cell_is_refused(name):
    def split(prefix):
        return Split(np.ones((2, 3), np.float32), [f"{prefix}1", f"{prefix}2"])

    with pytest.raises(InputError, match=f"a split called {name!r}, as programs write an empty cell"):
        Subject("subj01", "arrays", "", {"train": split("a"), "test": split("b"), name: split("c")}, "all")


def test_they_are_told_where_the_data_are_described_and_converted(tmp_path, capsys):
    write_template(tmp_path / "mine")
    betas = np.load(tmp_path / "mine/train/betas.npy")
    betas[[3, 5]] = 0
    np.save(tmp_path / "mine/train/betas.npy", betas)
    note = "2 of 12 train trials are 0 in every voxel, trial 4 the first"
    assert run_command(["data", "info", f"arrays:{tmp_path / 'mine'}"]) == 0
    assert f"note: {note}" in capsys.readouterr().out
    assert run_command(["data", "prepare", f"arrays:{tmp_path / 'mine'}", "--out", str(tmp_path / "out")]) == 0
    notes = json.loads((tmp_path / "out/subject.json").read_text())["notes"]
    assert sum(note in one for one in notes) == 1

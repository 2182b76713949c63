"""A warning of the toolkit's own is a sentence on the command line; one of a library is shown as Python shows it."""

import ast
import warnings
from pathlib import Path

import numpy as np
import pytest

from brainrecon.cli import console
from brainrecon.cli.main import run_command
from weights.remark import Remark

ROOT = Path(__file__).parents[3]


def test_a_remark_is_printed_as_a_sentence_and_others_as_they_are(capsys):
    with pytest.warns(DeprecationWarning, match="of a library"):
        with console.plain_remarks():
            warnings.warn("The disk is slow.", Remark, stacklevel=1)
            warnings.warn("of a library", DeprecationWarning, stacklevel=1)
    assert capsys.readouterr() == ("", "The disk is slow.\n")


def test_elsewhere_it_is_a_warning_like_any_other():
    with pytest.warns(UserWarning, match="The disk is slow"):
        warnings.warn("The disk is slow.", Remark, stacklevel=1)
    shown = warnings.showwarning
    with console.plain_remarks():
        assert warnings.showwarning is not shown
    assert warnings.showwarning is shown


def test_every_warning_of_the_toolkit_is_a_remark():
    calls = [
        (path.relative_to(ROOT).as_posix(), node)
        for top in ("brainrecon", "stages", "weights")
        for path in sorted((ROOT / top).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn"
    ]
    assert len(calls) >= 3
    assert not [f"{name}:{node.lineno}" for name, node in calls if ast.unparse(node.args[-1]) != "Remark"]


def test_responses_of_another_size_are_told_in_one_plain_line(fitted, features, cohort, capsys, tmp_path):
    import brainrecon

    subject = brainrecon.load(f"nsd:{cohort}", subject="subj01")
    np.save(tmp_path / "raw.npy", np.asarray(subject.test.patterns) * 300)
    line = ["predict", fitted, "--betas", tmp_path / "raw.npy", "--out", tmp_path / "raw.npz", "--features", features]
    capsys.readouterr()
    assert run_command([str(part) for part in line]) == 0
    (told,) = (text for text in capsys.readouterr().err.splitlines() if "times larger" in text)
    assert told.startswith("These responses are ") and told.endswith("300 times percent signal change.")

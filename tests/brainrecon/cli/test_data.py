"""What is typed after ``brainrecon data`` and cannot be done: exit code 2, one sentence."""

import pytest

from brainrecon.cli.main import run_command
from brainrecon.datasets.arrays import write_template


@pytest.mark.parametrize(
    "option, told",
    [
        ("subject=subj01", "is no option of the data's loader; write --subject instead"),
        ("roi=V1", "write --roi instead"),
        ("path=elsewhere", "write KIND:PATH instead"),
        ("zscore=true", "'zscore' is no option of arrays data"),
    ],
)
def test_options_that_are_none(tmp_path, capsys, option, told):
    write_template(tmp_path / "mine")
    assert run_command(["data", "info", f"arrays:{tmp_path / 'mine'}", "--option", option]) == 2
    captured = capsys.readouterr()
    assert told in captured.err and captured.err.count("\n") == 1 and not captured.out


@pytest.mark.parametrize("option", ["format=[1]", "betas=[1]", "space=[1]", "zscore=1"])
@pytest.mark.parametrize("verb", ["info", "files"])
def test_values_of_another_type(tmp_path, capsys, option, verb):
    folder = tmp_path / "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf"
    folder.mkdir(parents=True)
    assert run_command(["data", verb, f"nsd:{tmp_path}", "--option", option]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_option_that_no_download_takes(tmp_path, capsys):
    assert run_command(["data", "download", f"nsd:{tmp_path}", "--agree", "--option", "zscore=true"]) == 2
    assert "'zscore' does not matter" in capsys.readouterr().err and not list(tmp_path.iterdir())

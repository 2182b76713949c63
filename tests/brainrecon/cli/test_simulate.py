"""The verb ``simulate``: each study takes its own options and no others."""

import re

import pytest

import brainrecon
from brainrecon.cli.main import run_command


def run(capsys, *arguments):
    code = run_command(["simulate", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_subject_of_miyawaki(capsys, tmp_path):
    line = [
        tmp_path / "s1",
        "--study",
        "miyawaki",
        "--voxels",
        60,
        "--figures",
        6,
        "--random-patterns",
        30,
        "--seed",
        4,
    ]
    code, out, _ = run(capsys, *line)
    assert code == 0 and "30 random patterns" in out and "6 figures" in out and "3 repeats" in out
    subject = brainrecon.load(f"miyawaki:{tmp_path / 's1'}", roi="V1+V2")
    assert subject.simulated and subject.train.betas.shape == (30, 60)


def test_nsd_is_the_default(capsys, tmp_path):
    line = ["--sessions", 1, "--trials-per-session", 36, "--shared", 4, "--voxels", 160, "--picture-size", 32]
    code, out, _ = run(capsys, tmp_path / "nsd", *line)
    assert code == 0 and "8 training and 4 test pictures" in out
    assert brainrecon.load(f"nsd:{tmp_path / 'nsd'}").train.n_voxels == 160


@pytest.mark.parametrize(
    "line, told",
    [
        (["--study", "shen"], "The study is 'shen' but must be one of nsd, miyawaki; choose one with --study."),
        (
            ["--study", "miyawaki", "--subjects", 1],
            "--subjects does nothing for the study miyawaki, which takes --voxels,",
        ),
        (["--study", "miyawaki", "--betas-format", "both"], "--betas-format does nothing for the study miyawaki"),
        (["--random-patterns", 440], "--random-patterns does nothing for the study nsd, which takes --subjects,"),
        (["--noise", 2], "--noise does nothing for the study nsd"),
        (
            ["--further", "imager, synthetic"],
            r"further is .* but must be some of synthetic, imagery \(did you mean 'imagery'\?\)",
        ),
        (["--study", "miyawaki", "--further", "imagery"], "--further does nothing for the study miyawaki"),
        (["--study", "miyawaki", "--figures", 99], "figures is 99 but must be a whole number from 2 to 60"),
        (["--study", "miyawaki", "--voxels", 5], "voxels is 5 but must be"),
        (["--study", "miyawaki", "--noise", "nan"], "noise is nan but must be|Invalid value for '--noise'"),
        (["--study", "miyawaki", "--repeats", 1], "Invalid value for '--repeats'"),
    ],
)
def test_an_option_that_makes_no_sense_is_one_sentence(capsys, tmp_path, line, told):
    code, out, err = run(capsys, tmp_path / "there", *line)
    assert (code, out, err.count("\n")) == (2, "", 1) and re.match(told, err)
    assert list(tmp_path.iterdir()) == []

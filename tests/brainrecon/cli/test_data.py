"""What is typed after ``brainrecon data`` and cannot be done: exit code 2, one sentence."""

import json
import shutil

import numpy as np
import pytest

from brainrecon.cli.main import run_command
from brainrecon.datasets.arrays.reader import write_template
from brainrecon.runs.run import Run

TINY = ("--weights", "tiny")


@pytest.mark.parametrize(
    "option, told",
    [
        ("subject=subj01", "is no option of the data's loader; write --subject instead"),
        ("roi=V1", "write --roi instead"),
        ("path=elsewhere", "write KIND:PATH instead"),
        ("zscore=true", "'zscore' does nothing for"),
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


def test_a_run_takes_options_of_the_loader_and_holds_to_them(cohort, features, tmp_path, capsys):
    line = [
        "fit",
        "brain-diffuser",
        *TINY,
        f"nsd:{cohort}",
        "--out",
        str(tmp_path / "run"),
        "--features",
        str(features),
    ]
    assert run_command([*line, "--option", "zscore=true"]) == 0
    run = Run(tmp_path / "run", features)
    assert run.config.data.options == {"zscore": True}
    assert run.subject.details["units"] == "z-scores within sessions"
    assert (
        json.loads((tmp_path / "run" / "environment.json").read_text())["details"]["units"]
        == run.subject.details["units"]
    )
    assert run_command(line) == 2
    assert "data.options" in capsys.readouterr().err


def test_a_run_notices_another_vintage(cohort, features, tmp_path, capsys):
    data, run = shutil.copytree(cohort, tmp_path / "nsd"), tmp_path / "run"
    line = ["fit", "brain-diffuser", *TINY, f"nsd:{data}", "--out", str(run), "--features", str(features)]
    assert run_command(line) == 0
    environment = json.loads((run / "environment.json").read_text())
    environment["details"]["sessions"] = [1, 2]
    (run / "environment.json").write_text(json.dumps(environment))
    before = (run / "embeddings" / "test.safetensors").read_bytes()
    capsys.readouterr()
    assert run_command(line) == 2
    assert "was begun on responses with sessions = [1, 2] but" in capsys.readouterr().err
    assert (run / "embeddings" / "test.safetensors").read_bytes() == before


def test_nothing_is_written_for_data_without_pictures(tmp_path, capsys):
    write_template(tmp_path / "mine")
    for split in ("train", "test"):
        (tmp_path / "mine" / split / "images.npy").unlink()
    assert (
        run_command(["run", "brain-diffuser", *TINY, f"arrays:{tmp_path / 'mine'}", "--out", str(tmp_path / "run")])
        == 2
    )
    assert "has no pictures to learn from" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_splits_by_category_and_cluster_from_the_command_line(cohort, features, tmp_path):
    for rule in ("category:digit", "clusters:6"):
        out = tmp_path / rule.replace(":", "-")
        line = ["fit", "brain-diffuser", *TINY, f"nsd:{cohort}", "--out", str(out), "--features", str(features)]
        assert run_command([*line, "--split", rule]) == 0
        run = Run(out, features)
        assert run.config.data.split == rule and run.subject.details["split"]
        if rule == "category:digit":
            assert all(own == ["digit"] for own in run.subject.test.categories)
            assert not any("digit" in own for own in run.subject.train.categories)


def test_a_run_notices_responses_that_were_replaced(tmp_path, features, capsys):
    random, path = np.random.default_rng(0), tmp_path / "mine.npz"
    content = {
        "stimulus_ids": [f"s{k}" for k in range(12)],
        "split": ["train"] * 9 + ["test"] * 3,
        "images": random.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8),
    }
    np.savez(path, betas=random.normal(size=(12, 20)).astype(np.float32), **content)
    line = [
        "fit",
        "brain-diffuser",
        *TINY,
        f"arrays:{path}",
        "--out",
        str(tmp_path / "run"),
        "--features",
        str(features),
    ]
    assert run_command(line) == 0 == run_command(line)
    np.savez(path, betas=random.normal(size=(12, 20)).astype(np.float32), **content)
    capsys.readouterr()
    assert run_command(line) == 2
    assert "was begun on other responses" in capsys.readouterr().err


@pytest.mark.parametrize("folds", [(), ("--folds", "2")])
def test_a_run_goes_on_where_its_data_lie_now(folds, tmp_path, features, capsys):
    write_template(tmp_path / "mine")
    out = str(tmp_path / "run")
    line = ["--out", out, "--features", str(features), *folds]
    assert run_command(["fit", "mean-image", f"arrays:{tmp_path / 'mine'}", *line]) == 0
    (tmp_path / "mine").rename(tmp_path / "elsewhere")
    capsys.readouterr()
    assert run_command(["evaluate", out]) == 2
    told = capsys.readouterr().err
    assert (
        f"data at {tmp_path / 'mine'}, where nothing is now" in told and "data.source" in told and told.count("\n") == 1
    )
    # What is there instead must be the same.
    write_template(tmp_path / "other")
    ids = tmp_path / "other" / "test" / "betas.npy"
    np.save(ids, np.load(ids) + 1)
    assert run_command(["fit", "mean-image", f"arrays:{tmp_path / 'other'}", *line]) == 2
    assert "was begun on other responses" in capsys.readouterr().err
    assert Run(out, features).config.data.source == f"arrays:{tmp_path / 'mine'}"
    config = ["--config", str(tmp_path / "run" / "config.toml")]
    assert run_command(["fit", "mean-image", f"arrays:{tmp_path / 'elsewhere'}", *config, *line[:4]]) == 0
    parts = Run(out, features).parts
    assert [part.subject.source for part in parts] == [f"arrays:{tmp_path / 'elsewhere'}"] * (2 if folds else 1)

"""A changed byte in what a run has written is found before it changes a result, and the command that is named mends it."""

import numpy as np
import pytest
from PIL import Image

from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run


def flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.fixture
def store(tmp_path):
    """A feature store of its own, to be damaged."""
    return tmp_path / "features"


@pytest.fixture
def run(cohort, tmp_path, store):
    line = ["run", "ridge-to-pixels", f"nsd:{cohort}", "--out", str(tmp_path / "run"), "--features", str(store)]
    assert run_command(line) == 0
    return tmp_path / "run"


def told(capsys, *line):
    capsys.readouterr()
    code = run_command([str(part) for part in line])
    return code, capsys.readouterr().err


@pytest.mark.parametrize("name", ["decoder/model.safetensors", "decoder/config.json", "decoder/method.json"])
def test_a_changed_decoder_is_refused_and_fitted_again(capsys, run, store, tmp_path, name):
    before = (run / name).read_bytes()
    flip(run / name)
    code, message = told(capsys, "predict", run, "--out", tmp_path / "p.safetensors", "--features", store)
    assert code == 2 and "is not what was written" in message and "fits it again" in message
    code, message = told(capsys, "fit", "--config", run / "config.toml", "--out", run, "--features", store)
    (remark,) = (line for line in message.splitlines() if "is fitted again" in line)
    assert remark.startswith(f"In {run}, ") and "UserWarning" not in message
    assert code == 0 and (run / name).read_bytes() == before


def test_a_changed_picture_is_refused(capsys, run, store):
    path = next((run / "images").glob("*.png"))
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    code, message = told(capsys, "evaluate", run, "--features", store)
    assert code == 2 and str(path) in message and "delete it" in message
    path.unlink()
    assert told(capsys, "reconstruct", run, "--features", store)[0] == 0
    assert told(capsys, "evaluate", run, "--features", store)[0] == 0


def test_changed_embeddings_and_first_pictures_are_refused(capsys, run_folder, features):
    assert run_command(["reconstruct", str(run_folder), "--features", str(features)]) == 0
    drawn = next((run_folder / "images").glob("*.png"))
    drawn.unlink()
    first = run_folder / "stage_one" / f"{drawn.stem.split('_sample')[0]}.png"
    Image.fromarray(255 - np.asarray(Image.open(first))).save(first)
    code, message = told(capsys, "reconstruct", run_folder, "--features", features)
    assert code == 2 and str(first) in message
    flip(Run(run_folder).layout.embeddings("test"))
    first.unlink()
    code, message = told(capsys, "reconstruct", run_folder, "--features", features)
    assert code == 2 and "test.safetensors is not what was written" in message


def test_a_changed_encoding_model_is_refused(capsys, run, store):
    (model,) = store.glob("encoding/*/ridge/model.safetensors")
    flip(model)
    code, message = told(capsys, "evaluate", run, "--again", "--features", store)
    flip(model)
    assert code == 2 and str(model.parent.parent) in message and "delete that folder" in message
    assert told(capsys, "evaluate", run, "--again", "--features", store)[0] == 0


@pytest.mark.parametrize("place", ["decoder", "embeddings"])
def test_a_fit_that_was_killed_before_it_wrote_the_hashes_has_them_when_it_goes_on(run_folder, features, place):
    seal = run_folder / place / ".sealed.json"
    written = seal.read_bytes()
    seal.unlink()
    Run(run_folder, features).fit()
    assert seal.read_bytes() == written

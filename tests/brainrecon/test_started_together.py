"""Processes that are started together fit one run: they train together, and one of them writes and speaks.

The slow ones are started by torchrun itself.
"""

import json
import signal

import numpy as np
import pytest
from interruption import COMMAND_LINE
from safetensors.numpy import load_file
from small_systems import SMALL
from started_together import joined, together

from brainrecon.cli.main import run_command
from stages.training.state import FILE

WITH_A_CHECKPOINT_EVERY_STEP = (
    "from stages.decoders.trained import TrainedDecoder\n"
    "TrainedDecoder.seconds_between_checkpoints = property(lambda self: 0.0, lambda self, value: None)\n"
)


@pytest.fixture(scope="module")
def line(cohort, features):
    def made(name, *settings):
        settings = [part for text in (*SMALL[name].settings, *settings) for part in ("--set", text)]
        weights = ["--weights", SMALL[name].weights] if SMALL[name].weights else []
        return ["fit", name, f"nsd:{cohort}", *weights, "--features", str(features), *settings, "--device", "cpu"]

    return made


@pytest.fixture(scope="module")
def by_two(line, tmp_path_factory):
    """A run that two processes have fitted, and what they printed."""
    place = tmp_path_factory.mktemp("two")
    code, said = joined(2, *line("mindeye2023"), "--out", place / "run")
    assert code == 0, said
    return place / "run", said


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_one_writes_and_speaks(by_two, line, tmp_path):
    run, said = by_two
    alone = tmp_path / "run"
    assert run_command([*line("mindeye2023"), "--out", str(alone)]) == 0
    assert files(run) == files(alone)
    assert (run / "config.toml").read_bytes() == (alone / "config.toml").read_bytes()
    for told in ("MindEyeTokens: parameters", "MindEyeLatent: parameters", "loading the network of clip_rough: 1/1"):
        assert said.count(told) == 1, said
    assert "Warning" not in said and "Traceback" not in said
    # What one process goes on with, as if it had fitted it: nothing is left to do.
    before = {name: (run / name).stat().st_mtime_ns for name in files(run) if name.endswith("model.safetensors")}
    assert len(before) == 2 and run_command([*line("mindeye2023"), "--out", str(run)]) == 0
    assert {name: (run / name).stat().st_mtime_ns for name in before} == before
    curves = json.loads((run / "decoder" / "tokens" / "config.json").read_text())["curves"]
    assert curves[-1]["step"] == 24 and np.isfinite(curves[-1]["loss"])


def test_a_mistake_is_told_once(line, tmp_path):
    code, said = joined(2, *line("mindeye2023", "decoder.batch_size=500"), "--out", tmp_path / "run")
    assert code != 0 and said.count("A batch of 500 samples is to be compared but there are") == 1, said
    assert not (tmp_path / "run" / "decoder" / "tokens").exists()


@pytest.mark.slow
def test_both_killed_and_started_again_they_end_where_they_would_have(by_two, line, tmp_path):
    run, _ = by_two
    killed, own = tmp_path / "run", line("mindeye2023")
    for network in ("tokens", "latent"):
        checkpoint = killed / "decoder" / network / FILE
        program = WITH_A_CHECKPOINT_EVERY_STEP + COMMAND_LINE
        code, said = together(2, tmp_path, *own, "--out", killed, program=program, kill_when=checkpoint.exists)
        assert code == -signal.SIGKILL, said
    code, said = together(2, tmp_path, *own, "--out", killed)
    assert code == 0, said
    for network in ("tokens", "latent"):
        whole, again = (load_file(one / "decoder" / network / "model.safetensors") for one in (run, killed))
        assert whole.keys() == again.keys()
        assert max(np.abs(whole[name] - again[name]).max() for name in whole) < 1e-5, network


@pytest.mark.slow
def test_each_computes_cells_of_its_own_of_a_benchmark(cohort, features, tmp_path):
    line = ["benchmark", f"nsd:{cohort}", "--methods", "mean-image,ridge-to-pixels", "--controls", "none"]
    line += ["--heldout", "none", "--features", features, "--device", "cpu", "--out", tmp_path / "bench"]
    code, said = together(2, tmp_path, *line)
    assert code == 0 and "of 2 cells were computed by this process" in said, said
    assert len(list((tmp_path / "bench").rglob("report.html"))) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ridge-to-pixels", "shen2019-gan"])
def test_other_steps_are_fitted_by_one_or_together(name, line, tmp_path):
    code, said = together(2, tmp_path, *line(name), "--out", tmp_path / "two")
    assert code == 0, said
    assert run_command([*line(name), "--out", str(tmp_path / "one")]) == 0
    assert files(tmp_path / "two") == files(tmp_path / "one")
    if name == "ridge-to-pixels":
        for path in (tmp_path / "one").rglob("*.safetensors"):
            assert (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes() == path.read_bytes(), path.name

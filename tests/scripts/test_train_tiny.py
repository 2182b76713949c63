"""The command that trains the embedded networks: its options, and the whole way in small."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def train_tiny(*arguments, cwd):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "scripts" / "train_tiny.py"), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("wrong", [("--steps", "clip"), ("--steps", "nobody=3"), ("--only", "nobody")])
def test_wrong_options_are_refused_before_anything_is_drawn(tmp_path, wrong):
    ended = train_tiny(*wrong, cwd=tmp_path)
    assert ended.returncode == 2 and "clip" in ended.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_quick_goes_the_whole_way_and_leaves_the_weights_alone(tmp_path):
    manifest = (ROOT / "weights" / "manifest.toml").read_bytes()
    ended = train_tiny("--quick", "--threads", "1", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    written = tmp_path / "tiny-workspace" / "quick" / "weights"
    for name in (
        *("evaluation", "vdvae", "clip", "generator", "generator/vae", "icgan", "captioner", "stable-diffusion"),
    ):
        assert (written / name / "card.md").exists()
    assert (ROOT / "weights" / "manifest.toml").read_bytes() == manifest
    again = train_tiny("--quick", "--only", "clip", cwd=tmp_path)
    assert again.returncode == 0 and "clip: continues after step 25 of 25" in again.stdout

"""Two and four processes that draw into one run folder, also if one is killed: every picture once, and that of one process."""

import json
import os
import signal
import time
from collections import Counter

import numpy as np
import pytest
from interruption import COMMAND_LINE
from PIL import Image
from warm_processes import started

from brainrecon.cli.main import run_command


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Fitted runs of the same name in folders of their own, of which each test draws one, and the pictures of one process."""
    base = tmp_path_factory.mktemp("together")
    few = "--sessions 2 --trials-per-session 60 --shared 20 --voxels 160"
    assert run_command(["simulate", str(base / "nsd"), *few.split()]) == 0

    def made(name):
        line = ["fit", "brain-diffuser", f"nsd:{base}/nsd", "--weights", "tiny", "--out", str(base / name)]
        assert (
            run_command([*line, "--set", "generator.num_inference_steps=4", "--features", str(base / "features")]) == 0
        )
        return base / name

    alone = made("alone")
    assert run_command(line(alone)) == 0
    return made, pictures(alone)


def line(folder):
    return ["reconstruct", str(folder), "--features", str(folder.parent / "features"), "--batch-size", "2"]


def pictures(folder):
    return {
        path.relative_to(folder).as_posix(): np.asarray(Image.open(path)).astype(int)
        # A killed process leaves what it was half through writing.
        for path in sorted(folder.rglob("[!.]*.png"))
    }


@pytest.mark.slow
@pytest.mark.parametrize(("n_processes", "killed"), [(2, 0), (4, 0), (4, 1)])
def test_each_picture_is_drawn_once(fitted, n_processes, killed, tmp_path):
    made, expected = fitted
    folder = made(f"by-{n_processes}-{killed}")
    logs = [tmp_path / f"{number}.log" for number in range(n_processes)]
    for log in logs:
        log.touch()
    processes = [started(COMMAND_LINE, *line(folder), printed=log) for log in logs]
    if killed:
        deadline = time.monotonic() + 300
        # Somewhere among its pictures.
        while len(list(folder.glob("images/*.png"))) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(processes[0].pid, signal.SIGKILL)
    for number, process in enumerate(processes):
        code = process.wait()
        assert code == (-signal.SIGKILL if number < killed else 0), logs[number].read_text()
    found = pictures(folder)
    assert found.keys() == expected.keys()
    assert all(np.abs(found[name] - expected[name]).max() <= 1 for name in expected)
    counted = Counter(json.loads(text)["file"] for text in (folder / "manifest.jsonl").read_text().splitlines())
    assert counted.keys() == expected.keys() and set(counted.values()) == {1}
    assert [path.name for path in (folder / ".drawing").iterdir()] == [".lock"]

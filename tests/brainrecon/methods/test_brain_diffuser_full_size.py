"""Brain-Diffuser at its published size on photographs: what it takes is what was told, and judges say what they know.

Random checkpoints in the published layouts, float32 on a CPU, two pictures of 512 pixels in four steps: 8.7 GB of disk, 7 GB of
memory, and a quarter of an hour on two cores.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from full_size import write_checkpoints, write_photographs

from stages.generators.diffusion.memory import peak
from stages.generators.diffusion.published_sizes import PUBLISHED_SIZES

HERE = Path(__file__).resolve().parents[3]


def memory_of(process):
    """Bytes that a process holds now, in all and without the pages of mapped files, which the system takes back when it likes."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return 0, 0
    found = {name: 1024 * int(value) for name, value in re.findall(r"(VmRSS|RssAnon):\s+(\d+) kB", status)}
    return found.get("VmRSS", 0), found.get("RssAnon", 0)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory of another process is read from /proc")
def test_a_run_takes_the_memory_that_was_told(tmp_path):
    write_checkpoints(tmp_path / "weights")
    write_photographs(tmp_path / "data")
    command = [sys.executable, "-m", "brainrecon", "run", "brain-diffuser", f"arrays:{tmp_path / 'data'}"]
    command += [
        "--set",
        "generator.num_inference_steps=4",
        "--controls",
        "none",
        "--device",
        "cpu",
        "--batch-size",
        "2",
    ]
    places = {"BRAINRECON_WEIGHTS": str(tmp_path / "weights"), "BRAINRECON_FEATURES": str(tmp_path / "features")}
    options = {"cwd": HERE, "env": os.environ | places, "text": True}

    # Photographs drawn by published networks are judged by published ones; before any work it is said that they are absent.
    refused = subprocess.run([*command, "--out", tmp_path / "refused"], capture_output=True, check=False, **options)
    assert refused.returncode == 2 and "Protocol brain-diffuser-2023 judges by alexnet-imagenet1k-v1" in refused.stderr
    assert "about 498.3 MB together" in refused.stderr and "weights pull --for evaluate" in refused.stderr

    with open(tmp_path / "out.txt", "w") as out:
        process = subprocess.Popen(
            [*command, "--protocol", "brainrecon-1", "--out", tmp_path / "run"], stdout=out, stderr=out, **options
        )
        held = [(0, 0)]
        while process.poll() is None:
            held.append(memory_of(process))
            time.sleep(0.2)
    told = (tmp_path / "out.txt").read_text()
    assert process.returncode == 0, told
    (line,) = re.findall(r"Drawing 2 pictures in 3 steps each: .* on cpu; ([\d.]+) GB of memory, 2 at a time", told)
    expected = peak(PUBLISHED_SIZES["versatile-diffusion"], batch_size=2)
    assert float(line) == round(expected / 1e9, 1)
    for measured in (max(resident for resident, _ in held), max(own for _, own in held)):
        assert measured == pytest.approx(expected, rel=0.15)

    assert "denoising: 3/3" in told and "Loading weights" not in told
    assert len(list((tmp_path / "run" / "images").glob("*.png"))) == 2
    scores = json.loads((tmp_path / "run" / "scores" / "brainrecon-1.json").read_text())
    assert any("know only drawn pictures, and these are photographs" in note for note in scores["notes"])
    assert "knows only drawn pictures and no photographs" in (tmp_path / "run" / "report.html").read_text()

"""How many threads compute is written down, and going on with another number is told where bytes matter."""

import json
import warnings

import pytest
import torch

from brainrecon.cli.main import run_command


def test_another_number_of_threads_is_told_where_equal_bytes_are_asked_for(cohort, features, tmp_path):
    folder = tmp_path / "run"
    line = ["fit", "mean-image", f"nsd:{cohort}", "--out", str(folder), "--features", str(features)]
    assert run_command(line) == 0
    kept = json.loads((folder / "environment.json").read_text())
    assert kept["threads"] == torch.get_num_threads()
    draw = ["reconstruct", str(folder), "--features", str(features)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run_command([*draw, "--reproducible"]) == 0
    (folder / "environment.json").write_text(json.dumps(kept | {"threads": 3}))
    with pytest.warns(UserWarning, match="begun with 3 threads and 1 compute now.*OMP_NUM_THREADS=3"):
        assert run_command([*draw, "--reproducible"]) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run_command(draw) == 0

"""How many threads compute is written down, and going on with another number is told where bytes matter."""

import json

import torch

from brainrecon.cli.main import run_command


def test_another_number_of_threads_is_told_where_equal_bytes_are_asked_for(cohort, features, tmp_path, capsys):
    folder = tmp_path / "run"
    line = ["fit", "mean-image", f"nsd:{cohort}", "--out", str(folder), "--features", str(features)]
    assert run_command(line) == 0
    kept = json.loads((folder / "environment.json").read_text())
    assert kept["threads"] == torch.get_num_threads()
    draw = ["reconstruct", str(folder), "--features", str(features)]

    def told(*options):
        capsys.readouterr()
        assert run_command([*draw, *options]) == 0
        return [text for text in capsys.readouterr().err.splitlines() if "threads" in text]

    assert not told("--reproducible")
    (folder / "environment.json").write_text(json.dumps(kept | {"threads": 3}))
    (sentence,) = told("--reproducible")
    assert "begun with 3 threads and 1 compute now" in sentence and "OMP_NUM_THREADS=3" in sentence
    assert not told()

"""Retrieval in a run: a protocol file asks for it, and scores, report and command line hold it."""

from brainrecon.cli.main import run_command
from brainrecon.evaluation.scores.scores import Scores

PROTOCOL = """
name = "near"

[resize]
size = 32
interpolation = "bilinear"
antialias = true

[[metrics]]
name = "pixcorr"
measure = "pixel_correlation"

[retrieval.picture]
target = "clip_image"
direction = "brain_to_picture"
pool = 6
repeats = 5
label = "Picture from brain"

[retrieval.brain]
target = "vdvae"
direction = "picture_to_brain"
pool = "all"
label = "Brain from picture"
"""


def test_a_protocol_file_asks_a_run_for_retrieval(run_folder, features, tmp_path, capsys):
    path = tmp_path / "near.toml"
    path.write_text(PROTOCOL)
    store = ["--features", str(features)]
    assert run_command(["reconstruct", str(run_folder), *store]) == 0
    assert run_command(["evaluate", str(run_folder), "--protocol", str(path), *store]) == 0
    assert "Picture from brain" in capsys.readouterr().out
    scores = Scores.from_json(run_folder / "scores" / "near.json")
    picture, brain = scores.retrieval.rows
    assert (picture.n_candidates, picture.chance, brain.n, brain.n_candidates) == (6, 1 / 6, 12, 12)
    assert 0 <= brain.mean <= 1 and scores.embeddings.ranks

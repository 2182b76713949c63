"""A protocol of one's own, and a checkpoint that is a folder, go the same way through every verb as the toolkit's own."""

import shutil

import pytest
from few_figures import write_few_figures

from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import from_dict, with_weights
from brainrecon.cli.main import run_command
from brainrecon.evaluation.judges import check_judges
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.runs.record import default_protocol
from weights import store
from weights.manifest import CheckpointError, write_manifest

OWN = """
name = "mine-1"
based_on = "miyawaki-2008-identification"

[[metrics]]
name = "pixcorr_20"
measure = "pixel_correlation"
label = "PixCorr at 20"
resize = {size = 20, interpolation = "bicubic", antialias = true}
"""


@pytest.fixture(scope="module")
def run_and_more(tmp_path_factory, features):
    folder = tmp_path_factory.mktemp("own")
    data = write_few_figures(folder / "few.npz", 20, 2, 60)
    (folder / "my.toml").write_text(OWN)
    line = ["run", "mean-image", data, "--out", str(folder / "run"), "--features", str(features), "--controls", "none"]
    assert run_command([*line, "--protocol", str(folder / "my.toml")]) == 0
    return folder, data, features


def test_run_ends_with_its_report(run_and_more):
    folder, _, _ = run_and_more
    assert "PixCorr at 20" in (folder / "run" / "report.html").read_text()
    assert Scores.from_json(folder / "run" / "scores" / "mine-1.json").protocol.name == "mine-1"


@pytest.mark.parametrize("by", [["--protocol", "my.toml"], ["--protocol", "mine-1"], []])
def test_report_finds_the_scores_by_file_by_name_and_by_itself(run_and_more, monkeypatch, by):
    folder, _, _ = run_and_more
    monkeypatch.chdir(folder)
    (folder / "run" / "report.html").unlink()
    assert run_command(["report", "run", *by]) == 0
    page = (folder / "run" / "report.html").read_text()
    assert "PixCorr at 20" in page and ".sealed.json" not in page


def test_evaluate_takes_it_for_runs_and_for_pictures_from_elsewhere(run_and_more):
    folder, data, features = run_and_more
    own = ["--protocol", str(folder / "my.toml"), "--features", str(features)]
    assert run_command(["evaluate", str(folder / "run"), *own]) == 0
    theirs = ["--images", str(folder / "run" / "images"), "--pattern", "stim-{id}_sample-{sample}.png", "--truth", data]
    assert run_command(["evaluate", *theirs, "--out", str(folder / "theirs"), *own]) == 0
    ours, again = (Scores.from_json(folder / place / "scores" / "mine-1.json") for place in ("run", "theirs"))
    assert ours.mean("reconstruction", "pixcorr_20").mean == again.mean("reconstruction", "pixcorr_20").mean


def test_benchmark_goes_on_with_it_from_any_folder(run_and_more, capsys, monkeypatch):
    folder, data, features = run_and_more
    monkeypatch.chdir(folder)
    line = ["benchmark", data, "--methods", "mean-image", "--protocols", "my.toml", "--heldout", "none"]
    assert run_command([*line, "--out", "bench", "--features", str(features)]) == 0
    assert "mine-1 on " in capsys.readouterr().out
    monkeypatch.chdir("/")
    assert run_command(["benchmark", "--out", str(folder / "bench"), "--features", str(features)]) == 0
    assert "0 of 1 cells were computed" in capsys.readouterr().out


def test_a_folder_stands_for_a_checkpoint(tmp_path, monkeypatch):
    shutil.copytree(store.path("tiny-clip"), tmp_path / "my-clip")
    monkeypatch.chdir(tmp_path)
    assert store.path("./my-clip") == tmp_path / "my-clip" == store.folder("./my-clip")
    assert store.fingerprint("./my-clip") == store.fingerprint("tiny-clip")
    kind = system_class("brain-diffuser")
    settings = with_weights({"checkpoints": {"clip": "./my-clip"}}, kind, "tiny")
    assert settings["checkpoints"] | {"clip": str(tmp_path / "my-clip")} == settings["checkpoints"]
    assert kind(settings).folder("clip") == tmp_path / "my-clip"
    # What it knows is not known: judges are those of published networks.
    assert default_protocol(kind(settings), "photographs") == "brain-diffuser-2023"
    (tmp_path / "my-clip" / "config.json").write_text("{}")
    assert store.fingerprint("./my-clip") != store.fingerprint("tiny-clip")


@pytest.mark.parametrize(("knows", "protocol"), [("drawn pictures", "brainrecon-1"), (None, "brain-diffuser-2023")])
def test_an_own_manifest_says_what_a_network_knows(tmp_path, monkeypatch, knows, protocol):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path))
    shutil.copytree(store.path("tiny-clip"), tmp_path / "clip")
    files = (store.CheckpointFile("open_clip_model.safetensors"),)
    entry = store.Checkpoint("my-clip", "mine", "embedded", "clip", "mine", files=files, knows=knows)
    write_manifest({"my-clip": entry}, tmp_path / "manifest.toml")
    kind = system_class("brain-diffuser")
    own = kind(from_dict(kind.settings_class, with_weights({"checkpoints": {"clip": "my-clip"}}, kind, "tiny")))
    assert default_protocol(own, "photographs") == protocol


def test_a_judge_that_is_a_folder_and_absent_is_named_before_the_work(tmp_path):
    network = 'kind = "clip_image_embedding"\nlayer = "image_embedding"'
    text = f'[networks.clip]\n{network}\ncheckpoint = "{tmp_path.as_posix()}/absent"\n'
    (tmp_path / "a.toml").write_text(f'name = "a"\nbased_on = "brainrecon-1"\n{text}')
    with pytest.raises(CheckpointError, match="absent, named as a checkpoint, is not there"):
        check_judges(load_protocol(tmp_path / "a.toml"))


@pytest.mark.parametrize(
    ("name", "words"), [("nix", "as ./nix"), ("./nix", "nix, named as a checkpoint, is not there")]
)
def test_what_is_no_checkpoint_is_refused(name, words):
    with pytest.raises(CheckpointError, match=words):
        store.path(name)

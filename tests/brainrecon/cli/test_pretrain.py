"""``brainrecon pretrain``: what is said before, while and after; what is learned; killed, it goes on to the same bytes."""

import json
import os
import re
import signal

import numpy as np
import pytest

from brainrecon.cli.main import run_command
from brainrecon.cli.progress import PlainLines
from brainrecon.datasets.cohort import Cohort
from brainrecon.runs.pretraining import settings_of
from stages.decoders.masked_pretraining import LABEL
from stages.networks.masked_brain import load_masked_brain
from stages.training.state import FILE, Pace
from weights.store import path as checkpoint_path

SMALL = ["width=16", "depth=1", "n_heads=2", "decoder_width=8", "decoder_depth=1", "decoder_heads=2"]
SMALL += ["epochs=3", "warmup_epochs=1", "batch_size=20"]
SETTINGS = [part for text in SMALL for part in ("--set", text)]


@pytest.fixture(scope="module")
def rest(tmp_path_factory):
    """A folder of somebody's own: two resting runs."""
    folder = tmp_path_factory.mktemp("rest") / "rest"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, n_voxels in (("anna", 20), ("ben", 31)):
        np.savez(
            folder / f"{name}.npz", **{f"V{area}": random.standard_normal((400, n_voxels)) for area in range(1, 5)}
        )
    return folder


@pytest.fixture
def pretrain(tmp_path, capsys):
    """Pretrain; exit status, and what was said on both streams."""

    def run(*arguments, out=tmp_path / "encoder", settings=SETTINGS):
        status = run_command(["pretrain", *settings, *map(str, arguments), "--device", "cpu", "--out", str(out)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_responses_of_a_dataset_and_of_a_folder_are_learned_from_together(pretrain, three_subjects, rest, tmp_path):
    status, out, err = pretrain(f"nsd:{three_subjects}", rest, "--subjects", "subj01,subj03")
    assert status == 0, err
    cohort = Cohort.load(f"nsd:{three_subjects}", ("subj01", "subj03")).apart()
    known = {name: np.asarray(one.train.betas) for name, one in cohort.items()}
    n = sum(map(len, known.values())) + 80
    # Before, while, and after.
    assert f"{n} responses of 4 subjects, 80 to 160 voxels." in out
    assert re.search(rf"Training masked responses: [\d,]+ parameters, {3 * -(-n // 20)} steps of 20 samples; ", out)
    assert re.search(r"pretraining on masked responses: (\d+)/\1 \(100 %\), done in .* s; loss \d", err)
    assert re.search(r"MaskedBrainAutoencoder: parameters [\d,]+, steps \d+, masked error \d", out)
    assert f"--set checkpoints.encoder={tmp_path / 'encoder'}" in out
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    assert {name: one["n"] for name, one in config["responses"].items()} == {
        **{name: len(one) for name, one in known.items()},
        **{"anna": 40, "ben": 40},
    }
    # No tested stimulus took part.
    assert len(known["subj01"]) == cohort["subj01"].train.n_trials
    # The folder is a checkpoint wherever one is named.
    assert load_masked_brain(checkpoint_path(str(tmp_path / "encoder")), None).n_voxels == 160


def test_killed_it_goes_on_to_the_same_bytes_with_the_same_line(pretrain, rest, tmp_path, monkeypatch):
    parts, whole = tmp_path / "parts", tmp_path / "whole"

    def killed(self, label, done, total):
        if label == LABEL and done == 7:
            os.kill(os.getpid(), signal.SIGKILL)

    if not (process := os.fork()):
        try:
            monkeypatch.setattr(Pace, "is_due", lambda self: True)
            monkeypatch.setattr(PlainLines, "__call__", killed)
            pretrain(rest, out=parts)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(process, 0)[1])
    assert (parts / FILE).exists() and not (parts / "config.json").exists()
    status, _, err = pretrain(rest, out=parts)
    assert status == 0 and "pretraining on masked responses" in err
    assert pretrain(rest, out=whole)[0] == 0
    for name in ("model.safetensors", "config.json", "pretraining.json"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()
    assert not (parts / FILE).exists()


def test_one_that_is_whole_is_left_alone_and_another_is_refused(pretrain, rest, tmp_path):
    assert pretrain(rest)[0] == 0
    before = (tmp_path / "encoder" / "config.json").stat().st_mtime_ns
    status, out, err = pretrain(rest)
    assert status == 0 and "masked error" in out and "pretraining on" not in err
    assert (tmp_path / "encoder" / "config.json").stat().st_mtime_ns == before
    for more, words in (
        (["--set", "seed=3"], "settings.seed 2022, but 3"),
        (["--moments", "20"], "moments 10, but 20"),
    ):
        status, _, err = pretrain(rest, *more)
        assert status == 2 and f"holds a pretraining with {words} is asked for" in err


def test_it_goes_on_from_another_for_new_responses(pretrain, rest, three_subjects, tmp_path):
    assert pretrain(rest, out=tmp_path / "first")[0] == 0
    little = [*SETTINGS, "--set", "learning_rate=1e-7"]
    more = [f"nsd:{three_subjects}", "--subjects", "subj01", "--start", tmp_path / "first"]
    status, _, err = pretrain(*more, out=tmp_path / "second", settings=little)
    assert status == 0, err
    first, second = (load_masked_brain(tmp_path / name, None) for name in ("first", "second"))
    assert second.n_voxels == first.n_voxels == 124
    state = second.state_dict()
    assert max((state[name] - one).abs().max().item() for name, one in first.state_dict().items()) < 1e-4


def test_a_plan_computes_nothing(pretrain, rest, tmp_path):
    status, out, _ = pretrain(rest, "--plan", settings=[])
    assert status == 0 and not (tmp_path / "encoder").exists()
    assert "164 million parameters, 500 steps of 100 samples" in out and "Nothing was computed." in out
    assert re.search(r"Pretraining on masked responses: \d\.\de\+\d+ operations, about .* on cpu", out)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nothing"], "nothing is not there; expected responses in files of"),
        (["nsd:nothing"], "nothing"),
        (["REST", "--set", "transductive=true"], "nothing is tested in a pretraining by itself"),
        (["REST", "--set", "dept=3"], "no setting 'dept'.*did you mean 'depth'"),
        (["REST", "--set", "epochs=30", "--set", "warmup_epochs=30"], "warmup_epochs is 30 but epochs is 30"),
        (["REST", "--set", "mask_ratio=0.99"], "keeps 0"),
        (["REST", "--start", "./nothing"], "is not there"),
        (["REST", "--set", "learning_rate=1e30"], "--set learning_rate=.* and another --out"),
    ],
)
def test_what_goes_wrong_is_one_sentence(pretrain, rest, arguments, words):
    status, _, err = pretrain(*(str(rest) if one == "REST" else one for one in arguments))
    assert status == 2 and "Traceback" not in err
    assert re.search(words, err.splitlines()[-1]), err


def test_a_folder_with_something_else_is_left_alone(pretrain, rest, tmp_path):
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "thesis.tex").write_text("all of it")
    status, _, err = pretrain(rest)
    assert status == 2 and "holds thesis.tex and no pretraining" in err
    assert [path.name for path in (tmp_path / "encoder").glob("[!.]*")] == ["thesis.tex"]


def test_settings_are_read_as_those_of_a_method():
    settings = settings_of(["focus=[0,1500]", "mask_ratio=.5"])
    assert settings.focus == (0, 1500) and settings.mask_ratio == 0.5 and settings.epochs == 500

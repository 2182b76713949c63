"""Checkpoints and judges of one's own - a folder, a repository of the hub, an own manifest - go alike through every verb."""

import json
import shutil

import numpy as np
import pytest
from few_figures import write_few_figures

from brainrecon.cli.main import run_command
from brainrecon.evaluation.scores.scores import Scores
from weights import store

WAYS = {
    "folder": "./my-clip",
    "whole path": "{place}/my-clip",
    "hub, pulled": "somebody/clip@v1",
    "hub, in its cache": "hub:somebody/cached",
    "manifest.toml": "my-clip",
    "manifest.json": "their-clip",
}
ABSENT = "somebody/absent@v1"
JUDGED = """
name = "own-judge"
based_on = "miyawaki-2008-identification"

[networks.clip]
kind = "clip_image_embedding"
layer = "image_embedding"
checkpoint = "{checkpoint}"

[[metrics]]
name = "identification_own"
measure = "two_way_identification"
features = "clip"
similarity = "pearson"
label = "Two-way identification on a judge of one's own"
"""
ENTRY = {"role": "mine", "origin": "embedded", "licence": "mine", "files": [{"path": "open_clip_model.safetensors"}]}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data, the same CLIP in every way, a run, and its scores under the embedded judge."""
    import huggingface_hub.constants

    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("BRAINRECON_WEIGHTS", str(folder / "store"))
        patch.setenv("BRAINRECON_FEATURES", str(folder / "features"))
        patch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "hub"))
        write_few_figures(folder / "few.npz", 20, 2, 60)
        clip = store.path("tiny-clip")
        shutil.copytree(clip, folder / "my-clip")
        assert run_command(["weights", "pull", "somebody/clip@v1", "--from", "my-clip"]) == 0
        cached = folder / "hub" / "models--somebody--cached"
        shutil.copytree(clip, cached / "snapshots" / "abc")
        (cached / "refs").mkdir()
        (cached / "refs" / "main").write_text("abc")
        shutil.copytree(clip, folder / "store" / "clip")
        toml = [f"{key} = {json.dumps(value)}" for key, value in ENTRY.items() if key != "files"]
        toml += ['name = "my-clip"', 'folder = "clip"', 'files = [{path = "open_clip_model.safetensors"}]']
        (folder / "store" / "manifest.toml").write_text("\n".join(["[[checkpoint]]", *toml]))
        entry = ENTRY | {"name": "their-clip", "folder": "clip"}
        (folder / "store" / "manifest.json").write_text(json.dumps({"checkpoint": [entry]}))
        judge(folder, "tiny-clip")
        more = ["--controls", "none", "--protocol", "judge.toml"]
        assert run_command(["run", "mean-image", "arrays:few.npz", "--out", "run", *more]) == 0
        shutil.copytree(folder / "run" / "scores", folder / "right")
        yield folder


@pytest.fixture(params=WAYS)
def way(request, place):
    shutil.rmtree(place / "made", ignore_errors=True)
    return request.param


@pytest.fixture
def name(way, place):
    return WAYS[way].format(place=place.as_posix())


def judge(folder, checkpoint):
    (folder / "judge.toml").write_text(JUDGED.format(checkpoint=checkpoint))


def checkpoint_lines(name, place):
    """Verbs that read a method's checkpoints, by name."""
    method = ["brain-diffuser", "arrays:few.npz", "--weights", "tiny"]
    chosen = ["--set", f"checkpoints.clip={name}"]
    (place / "method.toml").write_text(f'method = "brain-diffuser"\n[settings.checkpoints]\nclip = "{name}"\n')
    cells = [
        "--protocols",
        "miyawaki-2008-identification",
        "--heldout",
        "none",
        "--weights",
        "tiny",
        "--out",
        "made/bench",
    ]
    return {
        "run": ["run", *method, *chosen, "--out", "made/run", "--plan"],
        "fit": ["fit", *method, *chosen, "--out", "made/fit", "--plan"],
        "benchmark": ["benchmark", "arrays:few.npz", "--methods", "method.toml", *cells, "--plan"],
        "features": ["features", "arrays:few.npz", "--weights", "tiny", "--targets", "clip_image", *chosen],
        "verify": ["weights", "verify", name],
        "path": ["weights", "path", name],
    }


def judge_lines():
    """Verbs that judge, and where their scores go."""
    theirs = ["--images", "run/images", "--pattern", "stim-{id}_sample-{sample}.png", "--truth", "arrays:few.npz"]
    own, few = ["--protocol", "judge.toml"], ["--controls", "none"]
    cells = ["--methods", "mean-image", "--protocols", "judge.toml", "--heldout", "none", "--out", "made/bench", *few]
    return {
        "run": (["run", "mean-image", "arrays:few.npz", "--out", "made/run", *few, *own], "made/run"),
        "evaluate a run": (["evaluate", "run", *own], "run"),
        "evaluate pictures": (["evaluate", *theirs, "--out", "made/theirs", *own], "made/theirs"),
        "benchmark": (["benchmark", "arrays:few.npz", *cells], "made/bench/mean-image/subj01/default"),
    }


def test_every_verb_reads_a_checkpoint_named_in_every_way(place, name, capsys):
    for verb, line in checkpoint_lines(name, place).items():
        assert run_command([*line]) == 0, verb
        assert "fetching" not in capsys.readouterr().out, verb


def test_every_verb_judges_by_a_network_named_in_every_way(place, way, name):
    """Each way with two verbs or three, each verb with three ways or more: who judges does not ask how a network is named."""
    judge(place, name)
    number = list(WAYS).index(way)
    verbs = sorted(judge_lines())
    chosen = {"evaluate a run", verbs[number % len(verbs)], verbs[(number + 2) % len(verbs)]}
    right = (
        Scores.from_json(place / "right" / "own-judge.json").conditions["reconstruction"].values["identification_own"]
    )
    for verb, (line, folder) in judge_lines().items():
        if verb not in chosen:
            continue
        assert run_command(line) == 0, verb
        scores = Scores.from_json(place / folder / "scores" / "own-judge.json")
        np.testing.assert_allclose(
            scores.conditions["reconstruction"].values["identification_own"], right, err_msg=verb
        )
        assert list(scores.checkpoints) == [name]


def test_every_verb_refuses_what_was_not_fetched_with_the_command_that_fetches_it(place, capsys):
    fetch = f"`brainrecon weights pull {ABSENT}`"
    for verb, line in checkpoint_lines(ABSENT, place).items():
        shutil.rmtree(place / "made", ignore_errors=True)
        code, (out, err) = run_command(line), capsys.readouterr()
        told = (0, f"fetching {ABSENT}") if "--plan" in line else (0, "absent") if verb == "verify" else (2, fetch)
        assert code == told[0] and told[1] in out + err, verb
    judge(place, ABSENT)
    for verb, (line, _) in judge_lines().items():
        code, (_, err) = run_command(line), capsys.readouterr()
        assert code == 2 and fetch in err, verb
    assert run_command(["weights", "pull", ABSENT]) == 2 and "with --from DIR" in capsys.readouterr().err


def test_what_is_there_is_listed_and_looked_at(place, capsys):
    assert run_command(["weights", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("somebody/clip@v1", "my-clip", "their-clip"))
    assert run_command(["doctor"]) == 0
    assert all(name in capsys.readouterr().out.replace("\n", "") for name in ("somebody/clip@v1",))
    file = place / "store" / "somebody--clip@v1" / "open_clip_config.json"
    content = file.read_bytes()
    # A pull links files that were copied by hand: theirs stay as they are.
    file.unlink()
    file.write_bytes(content.replace(b"4", b"8", 1))
    assert run_command(["doctor"]) == 2 and "weights pull somebody/clip@v1" in capsys.readouterr().out
    file.write_bytes(content)


@pytest.mark.slow
def test_a_decoder_is_fitted_to_what_a_checkpoint_of_one_s_own_says(place):
    values = {}
    for way, name in {"own": "somebody/clip@v1", "embedded": "tiny-clip"}.items():
        line = ["fit", "brain-diffuser", "arrays:few.npz", "--weights", "tiny", "--out", f"fitted-{way}"]
        assert run_command([*line, "--set", f"checkpoints.clip={name}"]) == 0
        values[way] = np.load(next((place / f"fitted-{way}").rglob("*clip_image*.npy")))
    np.testing.assert_array_equal(values["own"], values["embedded"])

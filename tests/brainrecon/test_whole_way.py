"""From betas to a report through the command line: what is written, resumed, and independent of how it was asked."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from chains import chain_of
from PIL import Image

import brainrecon
from brainrecon.assembly.condition import CONDITIONS as EVERY_CONDITION
from brainrecon.assembly.condition import CONTROLS
from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run

TINY = ("--weights", "tiny")

CHAIN = chain_of("brain-diffuser", weights="tiny")
CONDITIONS = [name for name, one in EVERY_CONDITION.items() if one.applies_to(CHAIN)]
DIGITS = (
    Path(os.environ.get("BRAINRECON_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "digits69/digits69.mat"
)


def pictures(folder, pattern="images/*.png"):
    return {path.name: np.asarray(Image.open(path)).astype(int) for path in sorted(Path(folder).glob(pattern))}


def digests(folder, pattern="**/*"):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).glob(pattern))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def complete(fitted, features, tmp_path_factory):
    """The fitted run with pictures, all controls, scores and report."""
    folder = Path(shutil.copytree(fitted, tmp_path_factory.mktemp("complete") / "run"))
    common = [str(folder), "--features", str(features)]
    assert run_command(["reconstruct", *common, "--controls", "all"]) == 0
    assert run_command(["evaluate", *common]) == 0
    assert run_command(["report", *common]) == 0
    return folder


def test_everything_is_there(complete):
    run = Run(complete)
    stimuli = run.subject.test.stimulus_ids
    assert len(stimuli) == 12
    for name in stimuli:
        for condition in CONDITIONS:
            assert run.image_path(condition, name).exists(), condition
    assert (complete / "report.html").stat().st_size > 50_000
    lines = [json.loads(line) for line in (complete / "manifest.jsonl").read_text().splitlines()]
    for line in lines:
        assert hashlib.sha256((complete / line["file"]).read_bytes()).hexdigest() == line["sha256"]
    assert not list(complete.rglob("*partial*"))


def test_scores_hold_every_condition_and_stimulus(complete):
    scores = json.loads((complete / "scores" / "brainrecon-1.json").read_text())
    assert set(scores["conditions"]) == set(CONDITIONS)
    rows = (complete / "scores" / "brainrecon-1.csv").read_text().splitlines()
    assert len(rows) == 1 + len(CONDITIONS) * 12
    assert len(scores["protocol"]["sha256"]) == 64


def test_the_oracle_beats_shuffled_responses(complete):
    from brainrecon.evaluation.scores.scores import Scores

    scores = Scores.from_json(complete / "scores" / "brainrecon-1.json")
    for metric in ("pixcorr", "identification_pixels"):
        assert scores.mean("oracle_embeddings", metric).mean > scores.mean("shuffled_responses", metric).mean + 0.2


def test_ridge_to_pixels_vs_scikit_learn(complete, cohort):
    from sklearn.linear_model import Ridge

    from stages.decoders.ridge.ridge import ALPHAS
    from stages.ground.pictures import resized_pictures

    subject = brainrecon.load(f"nsd:{cohort}", subject="subj01")
    # Fewer than 100 stimuli, shown several times: every trial is learned from.
    assert subject.train.n_stimuli < min(100, subject.train.n_trials)
    betas = np.asarray(subject.train.betas[:])
    mean, scale = betas.mean(axis=0), betas.std(axis=0, dtype=float, ddof=1)
    train, test = ((values - mean) / scale for values in (betas, subject.test.patterns))
    pixels = resized_pictures(subject.train.images, 64).reshape(subject.train.n_stimuli, -1) / 255
    pixels = pixels[subject.train.positions]
    drawn = pictures(complete, "controls/ridge_to_pixels/images/*.png")
    drawn = np.stack([drawn[f"stim-{name}_sample-0.png"] for name in subject.test.stimulus_ids]).reshape(len(test), -1)
    furthest = [
        np.abs(255 * np.clip(Ridge(alpha=alpha).fit(train, pixels).predict(test), 0, 1) - drawn).max()
        for alpha in ALPHAS
    ]
    assert min(furthest) < 1


def test_a_second_time_nothing_is_redone(complete, features):
    before = {path: path.stat().st_mtime_ns for path in complete.rglob("*.png")}
    assert run_command(["reconstruct", str(complete), "--features", str(features), "--controls", "all"]) == 0
    assert {path: path.stat().st_mtime_ns for path in complete.rglob("*.png")} == before


@pytest.fixture(scope="module")
def reference(complete):
    """All pictures of the run, drawn in batches of 16."""
    return pictures(complete)


@pytest.mark.parametrize(
    "how", ["batches of 1", "batches of 8", "reversed", "one stimulus", "two shards", "interrupted"]
)
def test_pictures_do_not_depend_on_what_is_asked_together(run_folder, features, reference, how):
    names = [name.split("_")[0].removeprefix("stim-") for name in reference]
    lines = {
        "batches of 1": [["--batch-size", "1"]],
        "batches of 8": [["--batch-size", "8"]],
        "reversed": [["--stimuli", ",".join(reversed(names)), "--batch-size", "5"]],
        "one stimulus": [["--stimuli", names[7]]],
        "two shards": [["--shard", "0/2"], ["--shard", "1/2"]],
        "interrupted": [["--stimuli", ",".join(names[3:6])], []],
    }[how]
    for line in lines:
        assert run_command(["reconstruct", str(run_folder), "--features", str(features), *line]) == 0
    found = pictures(run_folder)
    assert len(found) == (1 if how == "one stimulus" else 12)
    for name, picture in found.items():
        assert np.abs(picture - reference[name]).max() <= 1, name


def test_reproducible_means_equal_bytes(fitted, features, tmp_path):
    def drawn(name, *lines):
        folder = shutil.copytree(fitted, tmp_path / name)
        for line in lines:
            assert run_command(["reconstruct", str(folder), "--features", str(features), "--reproducible", *line]) == 0
        return digests(folder, "images/*.png") | digests(folder, "stage_one/*.png")

    everything = drawn("all", ["--batch-size", "8"])
    names = sorted(
        name.removeprefix("stage_one/stim-").removesuffix(".png") for name in everything if "stage_one" in name
    )
    backwards = ",".join(reversed(names))
    assert drawn("again", ["--stimuli", names[2], "--batch-size", "1"], ["--stimuli", backwards]) == everything


def test_more_samples_are_more_of_the_same_run(run_folder, features, reference):
    assert run_command(["reconstruct", str(run_folder), "--features", str(features), "--samples", "2"]) == 0
    found = pictures(run_folder)
    assert len(found) == 24
    for name, picture in reference.items():
        assert np.abs(picture - found[name]).max() <= 1
        assert np.abs(picture - found[name.replace("sample-0", "sample-1")]).max() > 1


def test_python_and_command_line_agree(fitted, features, reference, cohort):
    subject = brainrecon.load(f"nsd:{cohort}", subject="subj01")
    reconstructor = brainrecon.Reconstructor.from_pretrained(fitted / "decoder", features=features)
    names = subject.test.stimulus_ids[[3, 8]]
    drawn = reconstructor.reconstruct(subject.test.patterns[[3, 8]], names)
    for name, picture in zip(names, drawn):
        assert np.abs(picture[0].astype(int) - reference[f"stim-{name}_sample-0.png"]).max() <= 1


def test_prediction_is_the_same_alone_and_in_the_file(fitted, features, cohort, tmp_path):
    from brainrecon.runs.predict import read_embeddings

    patterns = brainrecon.load(f"nsd:{cohort}", subject="subj01").test.patterns
    np.save(tmp_path / "one.npy", patterns[4:5])
    for name, betas in (("all", []), ("one", ["--betas", str(tmp_path / "one.npy")])):
        line = [
            "predict",
            str(fitted),
            "--features",
            str(features),
            "--out",
            str(tmp_path / f"{name}.safetensors"),
            *betas,
        ]
        assert run_command(line) == 0
    every, ids = read_embeddings(tmp_path / "all.safetensors")
    one, _ = read_embeddings(tmp_path / "one.safetensors")
    assert len(ids) == 12
    for name in every:
        assert np.abs(every[name][4] - one[name][0]).max() <= 1e-4 * every[name].std()


@pytest.mark.skipif(not DIGITS.exists(), reason=f"the digits69 recording is not at {DIGITS}")
def test_real_digits_in_two_folds(tmp_path, features, capsys):
    line = [
        "run",
        "brain-diffuser",
        *TINY,
        f"digits69:{DIGITS}",
        "--out",
        str(tmp_path / "run"),
        "--features",
        str(features),
    ]
    assert run_command([*line, "--folds", "2", "--set", "generator.num_inference_steps=2"]) == 0
    assert len(list((tmp_path / "run").glob("folds/*/images/*.png"))) == 100
    rows = (tmp_path / "run" / "scores" / "brainrecon-1.csv").read_text()
    assert rows.count("\nreconstruction,") == 100
    captions = json.loads((tmp_path / "run" / "folds" / "0" / "captions.json").read_text())["train stimuli"]
    assert set(sum(captions.values(), [])) <= {"a handwritten six", "a handwritten nine"}
    assert "a handwritten six" in (tmp_path / "run" / "report.html").read_text()


def test_controls_can_be_left_to_a_subset(run_folder, features):
    line = ["reconstruct", str(run_folder), "--features", str(features), "--controls", "shuffled_responses"]
    assert run_command([*line, "--control-stimuli", "5"]) == 0
    assert len(pictures(run_folder)) == 12
    assert len(pictures(run_folder, "controls/shuffled_responses/images/*.png")) == 5
    assert set(CONTROLS) > {path.name for path in (run_folder / "controls").iterdir()}


def test_a_run_does_not_go_on_under_other_weights(run_folder, features, capsys):
    environment = json.loads((run_folder / "environment.json").read_text())
    environment["checkpoints"]["tiny-generator"] = "0" * 64
    (run_folder / "environment.json").write_text(json.dumps(environment))
    assert run_command(["reconstruct", str(run_folder), "--features", str(features)]) == 2
    assert "another tiny-generator" in capsys.readouterr().err
    assert not pictures(run_folder)


def without_captions(cohort, folder):
    """The cohort without its annotations: a dataset that has no captions."""
    shutil.copytree(cohort, folder)
    shutil.rmtree(next(folder.rglob("annotations")))
    return folder


def test_without_captions_the_text_context_is_dropped_and_a_second_time_too(cohort, features, tmp_path, capsys):
    silent = without_captions(cohort, tmp_path / "nsd")
    line = [
        "run",
        "brain-diffuser",
        *TINY,
        f"nsd:{silent}",
        "--out",
        str(tmp_path / "run"),
        "--features",
        str(features),
    ]
    for _ in range(2):
        assert run_command([*line, "--set", "generator.num_inference_steps=2"]) == 0
        assert "the text context is dropped" in capsys.readouterr().out
    assert Run(tmp_path / "run").config.settings.text_context is False


def test_captions_from_a_file_bring_it_back(cohort, features, tmp_path):
    silent = without_captions(cohort, tmp_path / "nsd")
    names = brainrecon.load(f"nsd:{cohort}").train.stimulus_ids
    (tmp_path / "captions.json").write_text(json.dumps({name: ["a red ball"] for name in names}))
    line = [
        "fit",
        "brain-diffuser",
        *TINY,
        f"nsd:{silent}",
        "--out",
        str(tmp_path / "run"),
        "--features",
        str(features),
    ]
    assert run_command([*line, "--captions", str(tmp_path / "captions.json")]) == 0
    assert "clip_text" in Run(tmp_path / "run").chain.given


def test_the_configuration_is_complete(fitted):
    written = (fitted / "config.toml").read_text()
    for line in ('subject = "subj01"', 'roi = "nsdgeneral"', "text_context = true", "strength = 0.75"):
        assert line in written

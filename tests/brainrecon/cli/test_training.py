"""Trained networks through the command line: what is said before, while and after, and one sentence for what goes wrong."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from small_systems import SMALL

from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run
from stages.networks.mindeye import MindEyeLatent, MindEyeTokens
from stages.training.state import FILE

NAME = "mindeye2023"
SETTINGS = [part for text in SMALL[NAME].settings for part in ("--set", text)]


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """A user's own folder: patterns of 40 + 6 stimuli that carry the colours of their pictures, nothing averaged or z-scored."""
    folder = tmp_path_factory.mktemp("own") / "mine"
    random = np.random.default_rng(0)
    mixing = random.standard_normal((48, 120))
    for split, n in (("train", 40), ("test", 6)):
        colours = random.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
        place = folder / split
        place.mkdir(parents=True)
        patterns = (colours.reshape(n, -1) / 255 - 0.5) @ mixing + random.standard_normal((n, 120))
        np.save(place / "patterns.npy", (30 + 2 * patterns).astype(np.float32))
        np.save(place / "images.npy", colours.repeat(16, axis=1).repeat(16, axis=2))
        ids = [f"{split}{number}" for number in range(n)]
        (place / "trials.csv").write_text("\n".join(["stimulus_id", *ids]) + "\n")
    return folder


@pytest.fixture
def fit(arrays, features, tmp_path, capsys):
    """Fit on the arrays; exit status, and what was said on both streams."""

    def run(*more, data=arrays, out=tmp_path / "run", verb="fit"):
        line = [verb, NAME, f"arrays:{data}", "--weights", "tiny", *SETTINGS, *more]
        status = run_command([*line, "--features", str(features), "--out", str(out)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture(scope="module")
def whole(arrays, features, tmp_path_factory):
    """Folder of a run that was fitted in one go."""
    out = tmp_path_factory.mktemp("whole") / "run"
    line = ["fit", NAME, f"arrays:{arrays}", "--weights", "tiny", *SETTINGS, "--features", str(features)]
    assert run_command([*line, "--out", str(out)]) == 0
    return out


def one_sentence(said):
    """The last line of standard error, which is the error."""
    assert "Traceback" not in said
    return said.splitlines()[-1]


def test_own_arrays_are_trained_drawn_and_scored_in_one_command(fit, tmp_path):
    status, out, err = fit(verb="run")
    assert status == 0, err
    # Before.
    assert re.search(
        r"Training clip_rough, clip_retrieval: [\d,]+ parameters, 20 steps of 4 samples; .* of memory on cpu", out
    )
    assert re.search(r"Training sd_latent: [\d,]+ parameters, 20 steps of 4 samples; ", out)
    # While.
    assert re.search(r"training clip_rough, clip_retrieval: 20/20 \(100 %\), done in .* s; loss \d", err)
    assert re.search(r"training sd_latent: 20/20 \(100 %\), done in .* s; loss \d", err)
    run = Run(tmp_path / "run")
    assert len(list((tmp_path / "run" / "images").glob("*.png"))) == 6
    assert run.scores.conditions["reconstruction"].values
    page = (tmp_path / "run" / "report.html").read_text()
    training = page[page.index('<section id="training">') :]
    assert "<h3>clip_rough, clip_retrieval</h3>" in training and "<h3>sd_latent</h3>" in training


def test_each_network_has_curves_of_its_own(whole):
    curves = Run(whole).chain.curves()
    assert list(curves) == ["clip_rough, clip_retrieval", "sd_latent"]
    parts = {"clip_rough, clip_retrieval": "tokens", "sd_latent": "latent"}
    for name, part in parts.items():
        lines = json.loads((whole / "decoder" / part / "config.json").read_text())["curves"]
        assert curves[name]["loss"] == ([line["step"] for line in lines], [line["loss"] for line in lines])
    assert curves["sd_latent"]["loss"] != curves["clip_rough, clip_retrieval"]["loss"]


def test_half_precision_and_validation_with_patience_through_fit(fit, tmp_path):
    more = ["decoder.precision=bf16", "latent.precision=bf16", "latent.validation=0.2", "latent.patience=1"]
    more += ["latent.epochs=30", "latent.learning_rate=0.05"]
    status, out, err = fit(*(part for text in more for part in ("--set", text)))
    assert status == 0, err
    curves = Run(tmp_path / "run").chain.curves()
    for of_one in curves.values():
        assert all(np.isfinite(values).all() for _, values in of_one.values())
    steps, validation = curves["sd_latent"]["validation loss"]
    # It stopped when a validation was no better than the one before.
    assert steps[-1] < 30 * 8 and np.argmin(validation) == len(validation) - 2
    assert "validation loss" in out


def test_a_plan_has_memory_time_and_sentences_of_trainings(fit, tmp_path):
    status, out, _ = fit("--plan")
    assert status == 0 and not (tmp_path / "run").exists()
    row = next(line for line in out.splitlines() if line.startswith("fitting clip_rough"))
    assert re.search(r"\d+ s +\d+\.\d MB", row)
    assert "Training clip_rough, clip_retrieval: " in out and "Nothing was computed" in out


@pytest.mark.parametrize("table", ["decoder", "latent"])
def test_a_training_that_diverges_is_told_with_a_setting_that_can_be_typed(fit, table, tmp_path):
    status, _, err = fit("--set", f"{table}.learning_rate=1e30")
    assert status == 2
    said = one_sentence(err)
    assert re.search(r"The loss is (nan|inf) at step \d+ and was to be finite: training has diverged", said)
    (typed,) = re.findall(r"--set (\S+)", said)
    assert typed.removesuffix(".") == f"{table}.learning_rate=1e+29" and "recipe" not in said
    assert said.endswith(" and another --out.") == (table == "latent")
    # It can be typed.
    assert fit("--set", typed.removesuffix("."), "--plan", out=tmp_path / "another")[0] == 0
    # What was fitted before is kept.
    assert (tmp_path / "run" / "decoder" / "tokens" / "config.json").exists() == (table == "latent")


@pytest.mark.parametrize("network, table", [(MindEyeTokens, "decoder"), (MindEyeLatent, "latent")])
def test_short_memory_is_told_with_a_setting_that_can_be_typed_and_the_training_goes_on(
    network, table, fit, whole, tmp_path, monkeypatch
):
    forward, calls = network.forward, []

    def short(self, patterns):
        # Outlines are counted before.
        if not patterns.is_meta:
            calls.append(len(patterns))
        if len(calls) == 12:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(self, patterns)

    monkeypatch.setattr(
        "stages.decoders.trained.TrainedDecoder.__init__.__defaults__", (None, None, "cpu", 0.0, None, True, None)
    )
    monkeypatch.setattr(network, "forward", short)
    status, _, err = fit()
    assert status == 2
    said = one_sentence(err)
    assert "with batches of 4 samples: it ran out in step 11, and the last checkpoint is kept" in said
    assert f"--set {table}.accumulate=2 or --set {table}.precision=bf16 and another --out" in said
    part = tmp_path / "run" / "decoder" / {"decoder": "tokens", "latent": "latent"}[table]
    assert (part / FILE).exists()
    del calls[:]
    monkeypatch.setattr(network, "forward", forward)
    status, _, err = fit()
    assert status == 0, err
    for name in ("model.safetensors", "config.json"):
        assert (part / name).read_bytes() == (whole / part.relative_to(tmp_path / "run") / name).read_bytes()


def test_too_few_stimuli_are_told_with_the_batch_that_can_be(fit, tmp_path):
    status, _, err = fit("--set", "decoder.batch_size=100")
    said = one_sentence(err)
    assert status == 2 and "A batch of 100 samples is to be compared but there are 40 to learn from" in said
    # Nothing was computed, so that the same folder will do.
    assert said.endswith("--set decoder.batch_size=20.")
    assert fit("--set", "decoder.batch_size=20")[0] == 0


def test_what_one_network_cannot_have_is_told_before_another_is_trained(fit, tmp_path):
    status, _, err = fit("--set", "latent.validation=0.01")
    assert status == 2 and "training clip" not in err
    assert "A validation share of 0.01 of 40 training stimuli is 0" in one_sentence(err)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value, said", [(np.nan, "NaN"), (np.inf, "infinite")])
def test_patterns_that_are_not_finite_are_told_before_anything_is_trained(value, said, arrays, fit, tmp_path):
    folder = tmp_path / "spoilt"
    shutil.copytree(arrays, folder)
    patterns = np.load(folder / "train" / "patterns.npy")
    patterns[3, 7] = value
    np.save(folder / "train" / "patterns.npy", patterns)
    status, _, err = fit(data=folder)
    assert status == 2 and "training" not in err and said in one_sentence(err)
    assert not (tmp_path / "run").exists()

"""A run whose system averages outputs over trials: its own values, those under conditions, and what was interrupted."""

import numpy as np
import pytest

from brainrecon.assembly import registry
from brainrecon.assembly.step import Step
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import TargetSource
from brainrecon.cli.main import run_command
from brainrecon.runs.config import RunConfig
from brainrecon.runs.predict import read_embeddings
from brainrecon.runs.run import Run
from brainrecon.runs.values import RunValues
from weights.remark import Remark


class Brightness:
    """A target: the mean grey of a picture, twice."""

    name, takes, shape, n_targets, preprocessing = "brightness", "images", (2,), 2, {}

    def encode(self, images):
        return np.repeat(np.asarray(images, dtype=np.float32).mean(axis=(1, 2, 3))[:, None], 2, axis=1)


class Code(Step):
    """Squares of two numbers of a pattern, trial by trial."""

    gives, targets, is_learned, averages = ("code",), {"code": TargetSource(Brightness, ())}, True, "outputs"
    ran = 0

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text("{}")

    def run(self, items, values, *, seed=0):
        Code.ran += len(items)
        return {"code": np.asarray(values["patterns"], dtype=np.float64)[:, :2] ** 2}


class Show(Step):
    """One grey of a code."""

    reads, gives, media = ("code",), ("picture",), {"picture": "picture"}

    def run(self, items, values, *, seed=0):
        return {"picture": np.stack([np.full((4, 4, 3), grey(code), dtype=np.uint8) for code in values["code"]])}


def grey(code):
    return int(np.asarray(code, dtype=np.float64).sum() * 1000) % 256


class OverTrials(System):
    name, explanation, image_embedding = "over-trials", "squares averaged over trials", "code"

    def steps(self, machine):
        return [Code(), Show()]


@pytest.fixture
def run(cohort, features, tmp_path):
    registry.system(OverTrials)
    config = RunConfig.from_dict({"method": "over-trials", "data": {"source": f"nsd:{cohort}", "subject": "subj01"}})
    yield Run.create(tmp_path / "run", config, features).fit()
    del registry._REGISTERED["over-trials"]


def expected(subject, stimulus_id):
    """By hand: squares of the trials in the order of the measurement, the first again of fewer than three."""
    test = subject.test
    rows = [row for row, name in enumerate(test.trial_stimulus_ids) if str(name) == stimulus_id]
    squares = [np.asarray(test.betas[row], dtype=np.float64)[:2] ** 2 for row in rows]
    squares += [squares[place % len(rows)] for place in range(len(rows), 3)]
    return np.mean(squares, axis=0)


def test_values_are_averages_of_outputs_and_not_outputs_of_averages(run):
    values, test = RunValues(run), run.subject.test
    assert set(map(int, test.repeats)) - {1}, "some stimuli have to be repeated"
    found = np.stack([values.value("reconstruction", "code", name) for name in values.stimulus_ids])
    np.testing.assert_allclose(found, [expected(run.subject, name) for name in values.stimulus_ids], rtol=1e-5)
    of_averages = np.asarray(test.patterns, dtype=np.float64)[:, :2] ** 2
    assert np.abs(found - of_averages).max() > 1e-2 * np.abs(found).max()


def test_the_partner_gives_its_trials_and_the_mean_response_is_one(run):
    values, one = RunValues(run), RunValues(run).stimulus_ids[0]
    partner = values.partner(one)
    np.testing.assert_allclose(
        values.value("shuffled_responses", "code", one), expected(run.subject, partner), rtol=1e-5
    )
    mean = run.subject.train.patterns.mean(axis=0, dtype=np.float64)
    for name in values.stimulus_ids[:2]:
        np.testing.assert_allclose(values.value("mean_response", "code", name), mean[:2] ** 2, rtol=1e-4)
    true = values.value("oracle_embeddings", "code", one)
    assert true[0] == true[1], "a true value is no square of a response"


def test_controls_are_drawn_from_them(run):
    run.reconstruct(["shuffled_responses", "mean_response"])
    values = RunValues(run)
    for name in values.stimulus_ids[:3]:
        for condition, code in (
            ("shuffled_responses", expected(run.subject, values.partner(name))),
            ("mean_response", values.value("mean_response", "code", name)),
        ):
            picture = values.run.read_value(run.image_path(condition, name), "picture")
            assert abs(int(picture[0, 0, 0]) - grey(code)) in (0, 1, 255)


def test_what_was_interrupted_is_predicted_again_to_the_same_bytes(run, monkeypatch):
    (path,) = run.layout.embeddings("test", "").parent.rglob("*.safetensors")
    whole = path.read_bytes()
    path.unlink()
    own, left = Code.run, [1]

    def broken(self, items, values, *, seed=0):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return own(self, items, values, seed=seed)

    monkeypatch.setattr("brainrecon.assembly.trial_outputs.STIMULI_AT_A_TIME", 3)
    monkeypatch.setattr(Code, "run", broken)
    with pytest.warns(Remark, match="is missing"), pytest.raises(KeyboardInterrupt):
        Run(run.folder, run.store.folder).fit()
    assert not path.exists()
    monkeypatch.undo()
    Run(run.folder, run.store.folder).fit()
    assert path.read_bytes() == whole
    before = Code.ran
    Run(run.folder, run.store.folder).fit()
    assert Code.ran == before


def test_predict_writes_what_the_run_has(run, tmp_path):
    assert (
        run_command(
            [
                "predict",
                str(run.folder),
                "--out",
                str(tmp_path / "out.safetensors"),
                "--features",
                str(run.store.folder),
            ]
        )
        == 0
    )
    found, ids = read_embeddings(tmp_path / "out.safetensors")
    np.testing.assert_allclose(found["code"], [expected(run.subject, name) for name in ids], rtol=1e-5)

"""Values of a run under a condition: which rows are computed, which are read from files, and whose they are."""

import numpy as np
import pytest

from brainrecon.assembly import registry
from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.replacement import MEAN, Source
from brainrecon.assembly.step import Step
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import ABSENT
from brainrecon.runs.config import RunConfig
from brainrecon.runs.run import Run
from brainrecon.runs.values import RunValues
from stages.ground.item_seeds import numpy_generator


class Brightness:
    """A target: the mean grey of a picture, twice."""

    name, takes, shape, n_targets, preprocessing = "brightness", "images", (2,), 2, {}

    def encode(self, images):
        return np.repeat(np.asarray(images, dtype=np.float32).mean(axis=(1, 2, 3))[:, None], 2, axis=1)


class Counted(Step):
    """A step that writes down for which items it ran."""

    ran: list = []

    def run(self, items, values, *, seed=0):
        self.ran.append((self.gives[0], [one.stimulus_id for one in items]))
        return {self.gives[0]: np.stack([self.row(values, row, items[row], seed) for row in range(len(items))])}


class Code(Counted):
    """Two numbers of a pattern."""

    gives, targets, is_learned = ("code",), {"code": TargetSource(Brightness, ())}, True

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text("{}")

    def row(self, values, row, item, seed):
        return np.asarray(values["patterns"][row], dtype=np.float32)[:2]


class Start(Counted):
    """One grey of a code."""

    reads, gives, media = ("code",), ("first_picture",), {"first_picture": "picture"}

    def row(self, values, row, item, seed):
        return np.full((4, 4, 3), int(abs(values["code"][row]).sum() * 40) % 256, dtype=np.uint8)


class Last(Counted):
    """Noise, brighter by the first picture if there is one."""

    reads, optional, gives, media, by_lot = ("code",), ("first_picture",), ("picture",), {"picture": "picture"}, True

    def row(self, values, row, item, seed):
        start = 0 if values["first_picture"] is ABSENT else values["first_picture"][row] // 2
        noise = numpy_generator(seed, item.stimulus_id, item.sample).integers(0, 100, (4, 4, 3))
        return (noise + start).astype(np.uint8)


class Counting(System):
    """Code, first picture, picture."""

    name, explanation, image_embedding = "counting", "numbers that can be counted", "code"

    def steps(self, machine):
        return [Code(), Start(), Last()]


@pytest.fixture
def run(cohort, features, tmp_path):
    """A fitted run; nothing is counted before it."""
    registry.system(Counting)
    config = RunConfig.from_dict({"method": "counting", "data": {"source": f"nsd:{cohort}", "subject": "subj01"}})
    Counted.ran.clear()
    yield Run.create(tmp_path / "run", config, features).fit()
    del registry._REGISTERED["counting"]


@pytest.fixture
def values(run):
    found = RunValues(run)
    Counted.ran.clear()
    return found


def test_fitting_predicts_every_test_stimulus_once(run):
    names = [str(name) for name in run.subject.test.stimulus_ids]
    assert Counted.ran == [("code", names)]
    Counted.ran.clear()
    Run(run.folder, run.store.folder).fit()
    assert Counted.ran == []


def test_whose_row_an_item_has_follows_from_its_inputs(values):
    one, partner = values.stimulus_ids[0], values.partner(values.stimulus_ids[0])
    found = {
        name: [values.source(name, value, one) for value in ("patterns", "code", "first_picture")]
        for name in ("reconstruction", "shuffled_responses", "mean_response", "oracle_embeddings", "without_stage_one")
    }
    own, others, true = Source("own", one), Source("own", partner), Source("true", one)
    assert found == {
        "reconstruction": [own, own, own],
        "shuffled_responses": [others, others, others],
        "mean_response": [MEAN, MEAN, MEAN],
        "oracle_embeddings": [own, true, true],
        "without_stage_one": [own, own, None],
    }


def test_own_values_are_read_or_computed_once_each(values):
    one = values.stimulus_ids[0]
    code = values.value("reconstruction", "code", one)
    np.testing.assert_array_equal(code, values.subject.test.patterns[0][:2])
    assert Counted.ran == []
    first = values.value("reconstruction", "first_picture", one)
    assert Counted.ran == [("first_picture", [one])]
    np.testing.assert_array_equal(values.value("reconstruction", "first_picture", one), first)
    np.testing.assert_array_equal(RunValues(values.run).value("reconstruction", "first_picture", one), first)
    assert Counted.ran == [("first_picture", [one])]


def test_a_partner_has_its_own_values_which_are_there(values):
    one, partner = values.stimulus_ids[0], values.partner(values.stimulus_ids[0])
    own = {name: values.value("reconstruction", name, partner) for name in ("patterns", "code", "first_picture")}
    Counted.ran.clear()
    for name, row in own.items():
        np.testing.assert_array_equal(values.value("shuffled_responses", name, one), row)
    assert Counted.ran == [] and not (values.run.folder / "controls").exists()
    assert {values.partner(name) for name in values.stimulus_ids} == set(values.stimulus_ids)


def test_the_mean_response_is_computed_once_for_everybody(values):
    mean = values.subject.train.patterns.mean(axis=0, dtype=np.float64).astype(np.float32)
    for name in values.stimulus_ids:
        np.testing.assert_array_equal(values.value("mean_response", "patterns", name), mean)
        np.testing.assert_allclose(values.value("mean_response", "code", name), mean[:2], rtol=1e-6)
        values.value("mean_response", "first_picture", name)
    # Whoever asks first: a draw by lot on the way is that of the mean response, and not of a stimulus.
    assert Counted.ran == [("code", [MEAN.name]), ("first_picture", [MEAN.name])]
    folder = values.run.folder / "controls" / "mean_response" / "stage_one"
    assert [path.name for path in folder.iterdir()] == ["stim-mean_response.png"]
    RunValues(values.run).value("mean_response", "code", values.stimulus_ids[0])
    assert len(Counted.ran) == 2


def test_true_values_are_encoded_and_not_predicted(values):
    one = values.stimulus_ids[1]
    found = values.value("oracle_embeddings", "code", one)
    np.testing.assert_allclose(found, values.subject.test.images[1].mean(), rtol=1e-5)
    assert Counted.ran == []
    first = values.value("oracle_embeddings", "first_picture", one)
    assert Counted.ran == [("first_picture", [one])]
    assert (first == int(abs(found).sum() * 40) % 256).all()
    assert (values.run.folder / "controls" / "oracle_embeddings" / "stage_one" / f"stim-{one}.png").exists()
    assert values.value("oracle_embeddings", "patterns", one) is not ABSENT


def test_what_is_taken_away_is_not_computed(values):
    step = values.chain.giver("picture")
    items = [type("Item", (), {"stimulus_id": name, "sample": 0}) for name in values.stimulus_ids[:3]]
    read = values.values("without_stage_one", step, items)
    assert read["first_picture"] is ABSENT and len(read["code"]) == 3 and Counted.ran == []


def test_a_whole_run_computes_nothing_twice(run):
    Counted.ran.clear()
    names = set(map(str, run.subject.test.stimulus_ids))
    conditions = [name for name, one in CONDITIONS.items() if one.applies_to(run.chain) and name != "ridge_to_pixels"]
    run.reconstruct(conditions)
    count = {given: sum(len(items) for one, items in Counted.ran if one == given) for given, _ in Counted.ran}
    # Of first pictures one of each stimulus, one of each true code, and one of the mean response, which has one code.
    assert count == {"first_picture": 2 * len(names) + 1, "code": 1, "picture": 5 * len(names)}
    Counted.ran.clear()
    Run(run.folder, run.store.folder).reconstruct(conditions)
    assert Counted.ran == []
    for name in conditions:
        assert all(run.image_path(name, one).exists() for one in names), name


def test_embeddings_of_other_stimuli_are_refused(run):
    from safetensors.numpy import save_file

    from weights.seals import seal

    path = run.layout.embeddings("test")
    save_file({"code": np.zeros((2, 2), np.float32)}, path, metadata={"stimulus_ids": '["x", "y"]'})
    seal(path.parent)
    with pytest.raises(ValueError, match="is of other stimuli than the run's test set"):
        RunValues(run).value("reconstruction", "code", str(run.subject.test.stimulus_ids[0]))

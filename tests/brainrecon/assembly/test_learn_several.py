"""The step that learns by a network of several subjects: together, before a new one, and from tables by rows."""

from hashlib import sha256

import numpy as np
import pytest
from counting_targets import MeanColour
from painter import Paint, PainterSettings
from small_decoders import SharedTrunk, TwoHeads

import brainrecon
from brainrecon.assembly import registry
from brainrecon.assembly.chain import Chain
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import TargetSource, encode
from brainrecon.assembly.training_tables import tables_of
from brainrecon.assembly.values import Item, Training, Workspace
from brainrecon.datasets.cohort import Cohort
from brainrecon.features.row_table import RowTable
from brainrecon.features.store import FeatureStore
from brainrecon.runs.run import Run
from stages.decoders.trained import TrainedDecoder
from stages.ground.errors import InputError
from stages.objectives.regression import MeanSquaredError
from stages.training.recipe import OptimiserSpec, Recipe

RECIPE = Recipe(steps=8, batch_size=12, validation=0.2, validate_every=4, optimiser=OptimiserSpec("adamw", 1e-2))


def colour():
    return TargetSource(MeanColour, checkpoints=(), dtype="float16", identity=lambda: "mean colour")


def step_of(source, make=SharedTrunk, recipe=RECIPE, **options):
    decoder = TrainedDecoder(make, recipe, seconds_between_checkpoints=0.0)
    return Learn({"colour": source}, decoder, trials="single", **options)


class Together(System):
    name, explanation, many_subjects, settings_class = "together", "of several", "together", PainterSettings
    of_drawing = ("brightness",)

    def steps(self, machine):
        return [step_of(colour()), Paint(1.0)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    brainrecon.simulate(folder / "nsd", subjects=3, sessions=2, trials_per_session=42, shared=8, voxels=160)
    return folder


@pytest.fixture(autouse=True)
def here(place, monkeypatch):
    monkeypatch.setitem(registry._REGISTERED, Together.name, Together)
    monkeypatch.chdir(place)
    monkeypatch.setenv("BRAINRECON_FEATURES", str(place / "features"))


@pytest.fixture(scope="module")
def cohort(place):
    return Cohort.load(f"nsd:{place / 'nsd'}").apart()


def training_of(subjects, source, store):
    """What a chain gives, with a note of how tables were asked for."""
    asked = []

    def features(names, subject=None, by="columns"):
        asked.append((subject, by))
        one = subjects[subject] if subject else next(iter(subjects.values()))
        return encode(dict.fromkeys(names, source), names, one, "train", store, by=by)

    return Training(dict(subjects), features), asked


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".fit.lock", ".sealed.json")
    }


def test_subjects_are_learned_from_together_and_each_is_predicted_from_its_own(place):
    run = Run.create(
        "joint", {"method": "together", "data": {"source": "nsd:nsd", "subjects": ["subj02", "subj01"]}}
    ).fit()
    decoder = TrainedDecoder.from_pretrained(run.layout.decoder)
    assert list(decoder.network.n_voxels) == ["subj02", "subj01"]
    for name, one in run.splits.items():
        (expected,) = (values for _, _, values in decoder.predict_blocks(one.subject.test.patterns, subject=name))
        np.testing.assert_allclose(one.embeddings["colour"], expected, rtol=1e-4, atol=1e-4)


def test_a_new_subject_goes_on_from_those_before(place):
    config = {
        "method": "together",
        "data": {"source": "nsd:nsd", "subjects": ["subj01", "subj02"], "subject": "subj03", "sessions": 1},
    }
    run = Run.create("new", config).fit()
    before = digests(run.pretraining.layout.decoder)
    new, old = (TrainedDecoder.from_pretrained(one.layout.decoder) for one in (run, run.pretraining))
    assert list(new.network.n_voxels) == ["subj03"] and list(old.network.n_voxels) == ["subj01", "subj02"]
    # A training from nothing is another one.
    alone = Run.create("alone", {"method": "together", "data": config["data"] | {"subjects": ["subj03"]}}).fit()
    anew = TrainedDecoder.from_pretrained(alone.layout.decoder).network.network.heads
    (went_on, went_before) = (decoder.network.network.heads.trunk[0].weight for decoder in (new, old))
    assert (went_on - went_before).norm() < 0.5 * (went_on - anew.trunk[0].weight).norm()
    assert digests(run.pretraining.layout.decoder) == before


def test_tables_that_memory_does_not_hold_are_read_by_rows_and_teach_the_same(cohort, tmp_path):
    source, store = colour(), FeatureStore(tmp_path / "features")
    found = {}
    for name, memory in {"whole": 1e9, "rows": 100}.items():
        training, asked = training_of(cohort, source, store)
        step = step_of(source, memory=memory)
        step.fit(training, Workspace(store, tmp_path / name))
        step.save(tmp_path / name)
        found[name] = digests(tmp_path / name)
        assert asked == [(subject, "rows" if name == "rows" else "columns") for subject in cohort]
    assert found["whole"] == found["rows"]
    # What lay by columns was arranged, and not encoded again.
    tables = [path for path in (tmp_path / "features").iterdir() if path.is_dir()]
    assert len(tables) == 6


def test_the_pictures_of_all_are_one_table_where_they_are_the_same(cohort, tmp_path):
    source, store = colour(), FeatureStore(tmp_path)
    training, _ = training_of({"a": cohort["subj01"], "b": cohort["subj02"], "c": cohort["subj01"]}, source, store)
    tables = tables_of(training, {"colour": source, "again": source}, 100)
    n = [cohort[name].train.n_stimuli for name in ("subj01", "subj02")]
    assert tables.owners == ("a", "b") and tables.values["colour"] is tables.values["again"]
    assert tables.values["colour"].shape == (sum(n), 3) and tables.values["colour"].dtype == np.float16
    np.testing.assert_array_equal(tables.rows["a"], tables.rows["c"])
    for name, subject in training.subjects.items():
        expected = MeanColour().encode(np.asarray(subject.train.images)).astype(np.float16)
        np.testing.assert_array_equal(tables.values["colour"][tables.rows[name]], expected)
    assert tables.same is None
    assert isinstance(training.features(("colour",), subject="b", by="rows")["colour"], RowTable)


def test_pictures_that_stand_in_two_tables_are_held_out_together(cohort, tmp_path):
    source, (one, other) = colour(), (cohort["subj01"], cohort["subj02"])
    ids = one.train.stimulus_ids.tolist()
    few = np.isin(one.train.trial_stimulus_ids, ids[5:20])

    class Fewer:
        """Some stimuli of another."""

        n_stimuli, stimulus_ids, images = 15, np.array(ids[5:20]), np.asarray(one.train.images)[5:20]

    fewer = type("S", (), {"train": Fewer, "stimuli_of": lambda self, split: "few/train", "splits": {"train": Fewer}})()
    training, _ = training_of({"a": one, "b": other, "c": fewer}, source, FeatureStore(tmp_path))
    tables = tables_of(training, {"colour": source}, 1e9)
    assert few.any() and len(tables.same) == len(ids) + other.train.n_stimuli + 15
    np.testing.assert_array_equal(tables.same[tables.rows["c"]], tables.same[tables.rows["a"]][5:20])
    assert len(np.unique(tables.same)) == len(tables.same) - 15


def test_a_step_reads_the_patterns_of_one_subject(cohort, tmp_path):
    source, store = colour(), FeatureStore(tmp_path)
    step = step_of(source)
    step.fit(training_of(cohort, source, store)[0], Workspace(store))
    patterns = cohort["subj02"].test.patterns
    found = step.run([Item("subj02", name) for name in cohort["subj02"].test.stimulus_ids], {"patterns": patterns})
    assert found["colour"].shape == (len(patterns), 3)
    with pytest.raises(InputError, match="fitted on subj01, subj02, subj03 but patterns of subj09"):
        step.run([Item("subj09", "a")], {"patterns": patterns[:1]})
    assert (step.for_new_subject, step.reads_subjects) == ("go on", True)
    assert step.cost(cohort["subj01"].train) and step.memory(cohort["subj01"].train) > 0


def test_a_network_of_one_subject_refuses_several_before_anything_is_encoded(cohort, tmp_path):
    source, store = colour(), FeatureStore(tmp_path)
    training, asked = training_of(cohort, source, store)
    step = step_of(source, TwoHeads)
    with pytest.raises(InputError, match="This step learns from one subject but 3 were given"):
        step.fit(training, Workspace(store))
    assert not asked and (step.for_new_subject, step.reads_subjects) == ("again", False)


def test_what_is_derived_of_the_training_is_derived_of_each_subject(cohort, tmp_path):
    source, store = colour(), FeatureStore(tmp_path)
    asked = []

    class Noting:
        def fit(self, training, folder=None, progress=None):
            self.training = training
            return self

        reads_subjects = True

    def derive(training, pretrained):
        assert pretrained is None
        asked.append((training.subject.name, training.features(("colour",))["colour"].shape))
        return np.full((training.subject.train.n_stimuli, 2), len(asked), np.float32)

    step = Learn({"colour": source}, noting := Noting(), derived={"more": derive})
    step.fit(training_of(cohort, source, store)[0], Workspace(store))
    assert asked == [(name, (subject.train.n_stimuli, 3)) for name, subject in cohort.items()]
    more = noting.training.beside["more"]
    for place, name in enumerate(cohort, start=1):
        assert (more[noting.training.stimulus_rows[name]] == place).all()


class Taught(MeanSquaredError):
    """Held against what others teach, where there are some."""

    if_known = True


def test_those_before_are_companions_of_a_new_subject(cohort, tmp_path):
    source, store = colour(), FeatureStore(tmp_path)
    subjects = {"subj01": cohort["subj01"]}
    before = {name: cohort[name] for name in ("subj02", "subj03")}
    known = {**subjects, **before}
    first = step_of(source)
    first.fit(training_of(before, source, store)[0], Workspace(store))
    first.save(tmp_path / "before")
    features = training_of(known, source, store)[0].features

    def of_new(names, subject=None, by="columns"):
        return features(names, subject or "subj01", by)

    training = Training(subjects, of_new, pretraining=before)
    step = step_of(source, companions=True)
    workspace = Workspace(store, pretrained=tmp_path / "before")
    step.fit(training, workspace)
    assert list(step.decoder.network.subjects) == ["subj02", "subj03", "subj01"]
    patterns = cohort["subj01"].test.patterns
    items = [Item("subj01", str(row)) for row in range(len(patterns))]
    assert step.run(items, {"patterns": patterns})["colour"].shape == (len(patterns), 3)
    with pytest.raises(InputError, match="only their decoder is there; name them with --subjects"):
        step_of(source, companions=True).fit(Training(subjects, of_new), workspace)
    # Without a subject before there is nobody to stand beside.
    plain = step_of(source, companions=True)
    plain.fit(Training(subjects, of_new), Workspace(store))
    assert list(plain.decoder.network.subjects) == ["subj01"]


def test_what_others_teach_is_left_out_where_there_are_none(cohort, tmp_path):
    source, store = colour(), FeatureStore(tmp_path)
    training, _ = training_of({"subj01": cohort["subj01"]}, source, store)
    decoder = TrainedDecoder(SharedTrunk, RECIPE, [MeanSquaredError("colour"), Taught("more")])
    Learn({"colour": source}, decoder, derived={"more": lambda training, pretrained: None}).fit(
        training, Workspace(store)
    )
    assert list(decoder.curves()) and not any("more" in name for name in decoder.curves())


def test_a_chain_takes_what_is_released_by_the_names_of_subjects(cohort, tmp_path, monkeypatch):
    def take(self, name, n_voxels):
        raise InputError(f"{name} of {n_voxels}")

    monkeypatch.setattr(Learn, "take", take)
    training, _ = training_of({"subj01": cohort["subj01"]}, colour(), FeatureStore(tmp_path))
    with pytest.raises(InputError, match=f"^released of {{'subj01': {cohort['subj01'].n_voxels}}}$"):
        Chain(Together()).fit(training, tmp_path / "chain", taken={"": "released"})


def test_what_it_takes_is_counted_of_all_subjects(place):
    run = Run.create("told", {"method": "together", "data": {"source": "nsd:nsd", "subjects": ["subj02", "subj01"]}})
    step, train = run.unfitted.steps[0], run.cohort.train
    assert train.n_voxels == {name: one.n_voxels for name, one in run.cohort.items()}
    assert train.n_trials == sum(one.train.n_trials for one in run.cohort.values())
    (told,) = step.cost(train)
    linear = sum(8 * n + 8 for n in train.n_voxels.values())
    assert told.startswith(
        f"Training colour: {linear + 8 * 16 + 16 + 16 * 3 + 3:,} parameters, 8 steps of 12 samples; "
    )

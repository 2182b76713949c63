"""Runs of several subjects: learned from together, or before a new one; nothing of a subject depends on who stands beside."""

import shutil
from hashlib import sha256

import numpy as np
import pytest
from painter import (
    LearnColourOfMany,
    LearnColourOnce,
    ManyPainter,
    Painter,
    register_painters,
)

import brainrecon
from brainrecon.assembly.response_size import response_size, usual_size
from brainrecon.cli.main import run_command
from brainrecon.runs.config import RunConfig
from brainrecon.runs.run import Run
from stages.ground.errors import InputError


@pytest.fixture(scope="module")
def place(three_subjects, tmp_path_factory):
    """A folder in which `nsd` is a simulated cohort of three."""
    folder = tmp_path_factory.mktemp("several")
    (folder / "nsd").symlink_to(three_subjects, target_is_directory=True)
    return folder


@pytest.fixture(autouse=True)
def painters(place, monkeypatch):
    register_painters(monkeypatch)
    monkeypatch.chdir(place)
    monkeypatch.setenv("BRAINRECON_FEATURES", str(place / "features"))
    shutil.rmtree(place / "made", ignore_errors=True)


def config_of(method="many-painter", **data):
    return {"method": method, "data": {"source": "nsd:nsd"} | data}


def digests(folder, *without):
    """Hash of every file below a folder but for some, by its name."""
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part in without for part in path.relative_to(folder).parts)
    }


def test_subjects_learned_from_together_are_each_tested(place):
    run = Run.create("made", config_of(subjects=["subj02", "subj01", "subj03"])).fit()
    assert LearnColourOfMany.fitted == [("subj02", "subj01", "subj03")]
    assert list(run.splits) == ["subj02", "subj01", "subj03"]
    assert sorted(path.name for path in (place / "made" / "subjects").iterdir()) == ["subj01", "subj03"]
    for name, one in run.splits.items():
        step = run.chain.steps[0]
        expected = one.subject.test.patterns @ step.weights[name] + step.mean
        np.testing.assert_allclose(one.embeddings["colour"], expected, rtol=1e-4)
        assert not (one.folder / "decoder").exists() or one is run
    run.reconstruct()
    run.evaluate("brainrecon-1")
    assert {
        name: len(one.scores.conditions["reconstruction"].stimulus_ids) for name, one in run.splits.items()
    } == dict.fromkeys(run.splits, 8)


def test_a_new_subject_goes_on_from_those_before(place):
    config = config_of(subjects=["subj01", "subj02"], subject="subj03", sessions=1)
    run = Run.create("made", config).fit()
    assert LearnColourOfMany.fitted == [("subj01", "subj02"), ("subj03",)]
    before = run.pretraining
    assert before.folder == run.folder / "pretraining" and before.config.data.subjects == ("subj01", "subj02")
    np.testing.assert_array_equal(run.chain.steps[0].mean, before.chain.steps[0].mean)
    assert set(run.subject.train.sessions) == {1} and set(before.subject.train.sessions) == {1, 2, 3}
    # Nothing is fitted twice.
    Run("made").fit()
    assert len(LearnColourOfMany.fitted) == 2


def test_a_run_of_those_before_serves_several_new_subjects(place):
    before = Run.create("made/before", config_of(subjects=["subj01", "subj02"])).fit()
    files = digests(before.folder)
    config = config_of(subjects=["subj02", "subj01"], subject="subj03") | {"pretrained": "made/before"}
    for sessions in (1, 2):
        config["data"]["sessions"] = sessions
        Run.create(f"made/{sessions}", config).fit()
    assert LearnColourOfMany.fitted == [("subj01", "subj02"), ("subj03",), ("subj03",)]
    assert digests(before.folder, ".fit.lock") == {name: one for name, one in files.items() if ".fit.lock" not in name}


def test_another_subject_changes_nothing_of_the_others(place):
    two = Run.create("made/two", config_of("painter", subject="subj01")).fit()
    for name in ("subj02", "subj03"):
        config = config_of("reference-painter", subjects=["subj01"], subject=name, split="shared:0.5")
        Run.create(f"made/{name}", config).fit()
        if name == "subj02":
            files = digests(place / "made" / "subj02")
    assert files == digests(place / "made" / "subj02")
    assert two.is_fitted


def test_a_reference_is_kept_and_shared_stimuli_are_learned_from_or_tested(place):
    config = config_of("reference-painter", subjects=["1"], subject="subj02", split="shared:0.5")
    run = Run.create("made", config).fit()
    assert LearnColourOnce.fitted == [32], "the decoder is the reference's own"
    whole, tested = brainrecon.load("nsd:nsd", subject="subj02").test, run.subject.test.stimulus_ids
    learned = np.setdiff1d(whole.stimulus_ids, tested)
    assert len(tested) == len(learned) == 4 and np.isin(learned, run.subject.train.stimulus_ids).all()
    assert not np.isin(tested, run.pretraining.subject.train.stimulus_ids).any()
    step = run.pretraining.chain.steps[1]
    np.testing.assert_array_equal(run.chain.steps[1].weights, step.weights)
    expected = run.embeddings["brought"] @ step.weights + step.mean
    np.testing.assert_allclose(run.embeddings["colour"], expected, rtol=1e-4)
    # Which stimuli these are does not depend on who shares them.
    other = Run.create("other", config_of("reference-painter", subjects=["2"], subject="subj01", split="shared:0.5"))
    assert set(other.subject.test.stimulus_ids) == set(tested)
    shutil.rmtree("other")


def test_folds_of_several_subjects_learn_from_nothing_that_is_tested(place):
    run = Run.create("made", config_of(subjects=["subj01", "subj02"], folds=3)).fit()
    for part in run.parts:
        tested = part.cohort.tested_ids
        assert not any(np.isin(one.train.stimulus_ids, tested).any() for one in part.cohort.values())
    other = run.splits["subj02"]
    assert sorted(other.stimulus_ids) == sorted(
        np.concatenate([split.stimulus_ids for split in brainrecon.load("nsd:nsd", subject="subj02").splits.values()])
    )
    for part, own in zip(other.parts, run.parts):
        assert part.layout.decoder.samefile(own.layout.decoder) and own.layout.decoder.is_dir()


def test_a_tested_category_is_learned_from_in_nobody(place):
    run = Run.create("made", config_of(subjects=["subj01"], subject="subj03", split="category:digit"))
    assert run.pretraining.config.data.split == "category:digit"
    assert not any("digit" in own for own in run.pretraining.subject.train.categories)


@pytest.mark.parametrize(
    "asked, message",
    [
        (
            config_of("painter", subjects=["subj01", "subj02"]),
            "painter learns from one subject .* benchmark --subjects",
        ),
        (config_of("reference-painter", subjects=["subj01", "subj02"]), "into the space of one other"),
        (config_of(subjects=["subj01", "subj09"]), "no subject 'subj09' at nsd:.*; there are subj01, subj02, subj03"),
        (config_of(subjects=["subj01", "subj1"]), "subj01 twice"),
        (config_of(subjects=["subj01", "subj02"], sessions=4), "first 4 sessions .* has training trials in 3"),
        (config_of(subjects=["subj01", "subj02"], beside=["imagery"]), "Both subjects .* and beside"),
        (config_of(subject="subj01", sessions=0), "sessions is 0"),
        (config_of(subject="subj01") | {"pretrained": "somewhere"}, "there is no new subject"),
        (config_of(subject="subj02", subjects=["subj01"], split="shared:1.5"), "no split 'shared:1.5'"),
        (config_of(subject="subj02", split="shared:0.5"), "in common with nobody"),
    ],
)
def test_what_several_subjects_do_not_go_with(asked, message, place):
    with pytest.raises(InputError, match=message):
        Run.create("made", asked)
    assert not (place / "made" / "config.toml").exists()


def test_a_run_before_of_something_else(place):
    Run.create("made/before", config_of(subjects=["subj01", "subj02"]) | {"settings": {"penalty": 3.0}})
    config = config_of(subjects=["subj01", "subj02"], subject="subj03") | {"pretrained": "made/before"}
    with pytest.raises(InputError, match="settings.penalty = 3.0 but 10.0 is asked for"):
        _ = Run.create("made/new", config).pretraining
    with pytest.raises(
        InputError, match="is a run of many-painter on subj01, subj02 but many-painter on subj02 is to come"
    ):
        _ = Run.create(
            "made/other", config_of(subjects=["subj02"], subject="subj03") | {"pretrained": "made/before"}
        ).pretraining


def test_through_the_command_line(place, capsys):
    line = "run many-painter nsd:nsd --subjects 1,2 --new-subject 3 --hours 1 --controls none --protocol brainrecon-1"
    assert run_command([*line.split(), "--out", "made"]) == 0
    config = RunConfig.read("made/config.toml")
    assert (config.data.subject, config.data.subjects, config.data.sessions) == ("subj03", ("subj01", "subj02"), 1)
    assert "1 of 3 sessions are learned from" in capsys.readouterr().out
    wrong = {
        "--subjects 1,2 --new-subject 2": "2 is to be new but --subjects names subj01, subj02",
        "--new-subject 2": "2 is to be new but --subjects names nobody",
        "--subject 1 --new-subject 2": "Both --subject 1 and --new-subject 2",
        "--subject 1 --hours 1.5": "1.5 sessions of 1 hours",
        "--subject 1 --hours 1 --sessions 1": "Both --sessions 1 and --hours 1.0",
    }
    for options, message in wrong.items():
        assert run_command(["fit", "many-painter", "nsd:nsd", *options.split(), "--out", "other"]) == 2
        assert message in capsys.readouterr().err


def test_in_a_notebook(place):
    cohort = brainrecon.Cohort.load("nsd:nsd")
    before = brainrecon.Reconstructor(ManyPainter).fit(cohort.apart())
    tested = cohort["subj02"].test
    found = before.predict(tested.patterns, subject="subj02")["colour"]
    step = before.chain.steps[0]
    np.testing.assert_allclose(found, tested.patterns @ step.weights["subj02"] + step.mean, rtol=1e-4)
    pictures = before.reconstruct(tested.patterns, tested.stimulus_ids, subject="subj02")
    assert pictures.shape == (8, 1, 4, 4, 3)
    with pytest.raises(InputError, match="of nobody that is named but the method learned from subj01, subj02, subj03"):
        before.predict(tested.patterns)
    before.save_pretrained("made/two")
    new = brainrecon.Reconstructor(ManyPainter).fit(cohort["subj03"], pretrained="made/two")
    np.testing.assert_array_equal(new.chain.steps[0].mean, step.mean)
    with pytest.raises(InputError, match="painter learns from one subject but was given subj01, subj02, subj03"):
        brainrecon.Reconstructor(Painter).fit(cohort)


def test_the_usual_size_needs_few_trials(place):
    train = brainrecon.load("nsd:nsd").train
    assert usual_size(train) == response_size(train.patterns)


def test_what_it_takes_is_told_and_nothing_is_made(place, capsys):
    line = "fit many-painter nsd:nsd --subjects 1,2 --new-subject 3 --plan --out made"
    assert run_command([*line.split(), "--pretrained", "elsewhere"]) == 0
    told = capsys.readouterr().out
    assert "before subj03: fitting colour" in told and "192 trials" in told, "both of those before, 96 trials each"
    assert not (place / "made").exists() and not (place / "elsewhere").exists()

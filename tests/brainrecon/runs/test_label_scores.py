"""Labels of a run on GOD's own layout, from responses that are z-scored within runs to a similarity beside its null."""

import tarfile

import numpy as np
import pytest
from kamitani_files import God
from random_checkpoints import save_generator, save_resnet
from small_wordnet import line_of

from brainrecon.cli.main import run_command
from brainrecon.evaluation.metrics.wu_palmer import Nouns
from brainrecon.runs.label_scores import label_scores
from brainrecon.runs.run import Run
from stages.ground.class_labels import imagenet_labels, synset_of
from stages.ground.errors import InputError
from weights.store import CheckpointError


def write_nouns(folder, synsets):
    """All of some synsets as kinds of three things, which are kinds of one."""
    folder.mkdir()
    tops = [line_of(1, ["all"], []), *(line_of(number, [f"top {number}"], [1]) for number in (2, 3, 4))]
    own = [line_of(int(name[1:]), [name], [2 + row % 3]) for row, name in enumerate(synsets)]
    (folder / "data.noun").write_text("".join([*tops, *own]))
    return folder


@pytest.fixture(scope="module")
def god(tmp_path_factory):
    written = God(tmp_path_factory.mktemp("god"), n_train=24, n_test=6, repeats=4)
    types = np.array(written.types[1])
    for split in (1, 2, 3):
        # Two runs of each, of more than one sample.
        written.runs[1][types == split] = np.arange((types == split).sum()) % 2
    written.write(1)
    written.draw_pictures()
    return written


@pytest.fixture(scope="module")
def run(god, tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    save_resnet(root / "resnet")
    save_generator("sd", root / "sd")
    settings = {
        "checkpoints": {"classifier": str(root / "resnet"), "generator": str(root / "sd")},
        "generator": {"num_inference_steps": 2},
        "size": 32,
    }
    data = {"source": f"god:{god.root}", "options": {"zscore": True}}
    run = Run.create(root / "run", {"method": "ferrante2022", "data": data, "settings": settings}, root / "features")
    return run.fit()


def labels_of(run, condition):
    folder = run.folder if condition == "reconstruction" else run.folder / "controls" / condition
    return {
        name: (folder / "labels" / f"stim-{name}.txt").read_text().splitlines()[0]
        for name in map(str, run.subject.test.stimulus_ids)
    }


def test_scores_are_those_of_the_first_labels_with_the_synsets_in_the_stimuli_s_names(run, god, tmp_path):
    known = [label.split()[0] for label in imagenet_labels()]
    wordnet = write_nouns(tmp_path / "dict", sorted({*known, *(name[:9] for name in god.test)}))
    scores = label_scores(run, wordnet, ["reconstruction", "oracle_embeddings"], n_permutations=200)
    nouns, names = Nouns.of_folder(wordnet), [str(name) for name in run.subject.test.stimulus_ids]
    for condition in ("reconstruction", "oracle_embeddings"):
        found, labels = scores[condition], labels_of(run, condition)
        expected = [nouns.similarity(name[:9], synset_of(labels[name])) for name in names]
        np.testing.assert_array_equal(found.scores, expected)
        pairs = [nouns.similarity(name[:9], synset_of(label)) for name in names for label in labels.values()]
        assert found.null == pytest.approx(np.mean(pairs)) and 0 < found.p_value <= 1
        assert found.known == np.mean([name[:9] in known for name in names])
    assert run.subject.test.standardized == "session"


def test_wordnet_is_a_checkpoint_too(run, god, tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "store"))
    with pytest.raises(CheckpointError, match="wordnet-3.0"):
        label_scores(run)
    known = {label.split()[0] for label in imagenet_labels()}
    wordnet = write_nouns(tmp_path / "dict", sorted(known | {name[:9] for name in god.test}))
    (tmp_path / "origin").mkdir()
    with tarfile.open(tmp_path / "origin" / "WNdb-3.0.tar.gz", "w:gz") as archive:
        archive.add(wordnet / "data.noun", "dict/data.noun")
    assert run_command(["weights", "pull", "wordnet-3.0", "--from", str(tmp_path / "origin")]) == 0
    found, expected = label_scores(run, n_permutations=10), label_scores(run, wordnet, n_permutations=10)
    np.testing.assert_array_equal(found["reconstruction"].scores, expected["reconstruction"].scores)
    # And a protocol scores the same labels of the pictures that were drawn.
    drawn = ["reconstruction", "shuffled_responses", "mean_picture"]
    run.reconstruct(drawn)
    scores = run.evaluate("ferrante-2022")
    assert set(scores.conditions) == {"reconstruction", "shuffled_responses"}
    wanted = label_scores(run, wordnet, drawn[:2], n_permutations=10)
    for name, own in wanted.items():
        np.testing.assert_array_equal(scores.conditions[name].values["wu_palmer"], own.scores)
        assert scores.corpus[name]["wu_palmer"] == pytest.approx(own.mean)
    assert run_command(["report", str(run.folder), "--protocol", "ferrante-2022"]) == 0
    assert "Wu-Palmer" in run.layout.report.read_text(encoding="utf-8")


def test_what_has_no_labels_or_no_wordnet_is_told(run, tmp_path):
    with pytest.raises(InputError, match="There is no file .*data.noun"):
        label_scores(run, tmp_path)
    other = Run.create(tmp_path / "mean", {"method": "mean-image", "data": {"source": run.config.data.source}})
    with pytest.raises(InputError, match="mean-image gives .* and no labels"):
        label_scores(other, tmp_path)

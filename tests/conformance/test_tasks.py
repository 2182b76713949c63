"""Laws of every task: what it reads, what it refuses, and that order and company change nothing."""

import copy

import numpy as np
import pytest
from stand_in_networks import MeanColours

from brainrecon.evaluation import Outputs, Protocol, Shown, evaluate, find_task, load_protocol, task_names
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.evaluation.tasks.categories import Candidates
from brainrecon.evaluation.tasks.responses import MeasuredResponses
from stages.ground.errors import InputError

N = 14
IDS = [f"nsd{row:05d}" for row in range(N)]
NOUNS = ("dog", "cat", "bus", "boat", "clock", "tree", "kite")
TABLES = {
    "metrics": [
        {"name": "pixcorr", "measure": "pixel_correlation"},
        {"name": "found", "measure": "two_way_identification", "features": "judge"},
    ],
    "embeddings": [
        {"name": "near", "measure": "image_retrieval", "target": "clip_image"},
        {"name": "profile", "measure": "profile_correlation", "target": "clip_image"},
    ],
    "retrieval": {"all": {"target": "clip_image", "direction": "picture_to_brain", "pool": "all"}},
    "categories": {"identified": {}},
    "captions": {"rouge_l": {"tokenisation": "simple"}, "cider": {"tokenisation": "simple"}},
}
PROTOCOL = Protocol(
    {
        "name": "everything",
        "resize": {"size": 64, "interpolation": "bilinear", "antialias": True},
        "networks": {"judge": {"kind": "evaluation_network", "checkpoint": "tiny-evaluation", "layer": "features"}},
        **TABLES,
    }
)


@pytest.fixture(scope="module")
def shown():
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (N, 16, 16, 3), dtype=np.uint8)
    captions = [[f"a {NOUNS[row % 7]} number {row}", f"the {NOUNS[row % 7]} on a table"] for row in range(N)]
    embeddings = random.normal(size=(N, 20))
    kinds = Candidates(NOUNS, np.stack([embeddings[row::7].mean(axis=0) for row in range(7)]), np.arange(N) % 7)
    measured = MeasuredResponses(random.normal(size=(N, 30)), random.normal(size=30))
    return Shown(
        IDS,
        pictures,
        captions=captions,
        embeddings={"clip_image": embeddings},
        candidates={"clip_image": kinds},
        responses=measured,
    )


def outputs_of(shown, value, rows, seed):
    """Outputs of one kind for some stimuli, partly right."""
    random, ids = np.random.default_rng(seed), [IDS[row] for row in rows]
    if value == "picture":
        pictures = shown.pictures[rows] + random.normal(0, 60, (len(rows), 16, 16, 3))
        return Outputs(ids, np.clip(pictures, 0, 255).astype(np.uint8))
    if value == "caption":
        return Outputs(ids, [f"a {NOUNS[(row + row % 3) % 7]} number {row}" for row in rows])
    if value == "responses":
        return Outputs(ids, shown.responses.patterns[rows] + random.normal(size=(len(rows), 30)))
    true = shown.embeddings["clip_image"][rows]
    return Outputs(ids, {"clip_image": true + random.normal(size=true.shape)})


def made(name, **settings):
    """A task with few resamples, and networks that need no checkpoint."""
    return find_task(name)(n_resamples=2000, networks={"judge": MeanColours()}, **settings)


def given(name, shown):
    """Outputs of two conditions for a task, the second one for some of the stimuli."""
    (value,) = find_task(name).reads
    outputs = {"reconstruction": outputs_of(shown, value, list(range(N)), 1)}
    return outputs if value == "embeddings" else outputs | {"stage_one": outputs_of(shown, value, list(range(9)), 2)}


def turned(outputs, order):
    """The same outputs in another order."""
    values = outputs.values
    if isinstance(values, dict):
        values = {target: own[order] for target, own in values.items()}
    else:
        values = values[order] if isinstance(values, np.ndarray) else [values[row] for row in order]
    return Outputs([outputs.stimulus_ids[row] for row in order], values)


def numbers(scores):
    """Every number that scores hold, by a name."""
    found = {}
    for condition, own in scores.conditions.items():
        found |= {(condition, metric): values for metric, values in own.values.items()}
    if scores.features is not None:
        found |= {
            ("features", one, value): own for one, all in scores.features.values.items() for value, own in all.items()
        }
    for kind in ("embeddings", "retrieval"):
        if getattr(scores, kind) is not None:
            found |= {(kind, metric): values for metric, values in getattr(scores, kind).values.items()}
    if scores.categories is not None:
        for metric, own in scores.categories.values.items():
            found |= {("categories", metric, name): values for name, values in own.items()}
    if scores.responses is not None:
        found |= {("responses", row.condition, row.measure): row.mean for row in scores.responses.rows}
    found |= {("corpus", name, metric): value for name, own in scores.corpus.items() for metric, value in own.items()}
    found |= {("mean", row.condition, row.metric): row.mean for row in scores.summary}
    return found | {("difference", row.condition, row.metric): row.mean for row in scores.differences}


def assert_equal(one, other):
    one, other = numbers(one), numbers(other)
    assert one.keys() == other.keys() and one
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=1e-9, err_msg=str(name))


@pytest.mark.parametrize("name", task_names())
def test_says_its_name_and_what_it_reads(name):
    task = made(name)
    assert task.name == name and len(task.reads) == 1 and all(isinstance(value, str) for value in task.reads)


@pytest.mark.parametrize("name", task_names())
def test_is_asked_by_a_protocol_with_its_table(name):
    assert made(name).asked_by(PROTOCOL)
    only_captions = Protocol({"name": "words", "captions": TABLES["captions"]})
    # Effective ranks, and responses, are measured under every protocol.
    assert made(name).asked_by(only_captions) == (name in ("captioning", "embeddings", "responses"))


@pytest.mark.parametrize("name", task_names())
def test_scores_are_of_the_protocol_and_have_a_value_per_stimulus(name, shown):
    scores = made(name).score(given(name, shown), shown, PROTOCOL)
    assert isinstance(scores, Scores) and scores.protocol == PROTOCOL and scores.reference == "reconstruction"
    assert numbers(scores)
    for own in scores.conditions.values():
        assert all(len(values) == len(own.stimulus_ids) for values in own.values.values())
    for kind in (scores.embeddings, scores.retrieval):
        assert kind is None or all(len(values) == len(kind.stimulus_ids) == N for values in kind.values.values())


@pytest.mark.parametrize("name", task_names())
def test_the_order_of_outputs_changes_nothing(name, shown):
    outputs, random = given(name, shown), np.random.default_rng(4)
    other = {
        condition: turned(own, [int(row) for row in random.permutation(len(own.stimulus_ids))])
        for condition, own in outputs.items()
    }
    assert_equal(made(name).score(outputs, shown, PROTOCOL), made(name).score(other, shown, PROTOCOL))


@pytest.mark.parametrize("name", task_names())
def test_another_condition_changes_nothing_about_the_first(name, shown):
    outputs = given(name, shown)
    alone = made(name).score({"reconstruction": outputs["reconstruction"]}, shown, PROTOCOL)
    together = numbers(made(name).score(outputs, shown, PROTOCOL))
    for key, value in numbers(alone).items():
        np.testing.assert_array_equal(together[key], value)


@pytest.mark.parametrize("name", task_names())
def test_nothing_given_is_changed(name, shown):
    outputs = given(name, shown)
    before = copy.deepcopy((outputs, shown))
    made(name).score(outputs, shown, PROTOCOL)
    now, then = (
        vars(one) | {"candidates": vars(one.candidates["clip_image"]), "responses": vars(one.responses)}
        for one in (shown, before[1])
    )
    np.testing.assert_equal((outputs, now), (before[0], then))


@pytest.mark.parametrize("name", task_names())
def test_progress_comes_to_its_end(name, shown):
    seen = []
    made(name).score(given(name, shown), shown, PROTOCOL, progress=lambda *step: seen.append(step))
    assert all(0 < done <= total for _, done, total in seen)
    assert not seen or seen[-1][1] == seen[-1][2]


@pytest.mark.parametrize("name", task_names())
def test_files_hold_what_was_scored(name, shown, tmp_path):
    scores = made(name).score(given(name, shown), shown, PROTOCOL)
    scores.to_json(tmp_path / "scores.json")
    assert_equal(Scores.from_json(tmp_path / "scores.json"), scores)


@pytest.mark.parametrize("name", task_names())
def test_a_missing_reference_is_refused_in_one_sentence(name, shown):
    with pytest.raises(InputError, match="reference condition 'mine' is not among 'reconstruction'"):
        made(name, reference="mine").score(given(name, shown), shown, PROTOCOL)


@pytest.mark.parametrize("name", task_names())
def test_stimuli_that_were_not_shown_are_refused(name, shown):
    outputs = given(name, shown)["reconstruction"]
    strange = {"reconstruction": Outputs(["stranger", *outputs.stimulus_ids[1:]], outputs.values)}
    with pytest.raises(InputError, match="shown"):
        made(name).score(strange, shown, PROTOCOL)


def test_all_tasks_together_give_what_each_gives_alone(shown):
    outputs = {value: given(name, shown) for name in task_names() for value in find_task(name).reads}
    (_, predicted) = outputs["embeddings"]["reconstruction"]
    whole = evaluate(
        shown.pictures,
        outputs["picture"],
        stimulus_ids=IDS,
        captions=shown.captions,
        predicted_captions=outputs["caption"],
        embeddings=(shown.embeddings, predicted),
        candidates=shown.candidates,
        responses=(shown.responses, outputs["responses"]["reconstruction"].values),
        protocol=PROTOCOL,
        networks={"judge": MeanColours()},
        n_resamples=2000,
    )
    alone = {}
    for name in task_names():
        alone |= numbers(made(name).score(given(name, shown), shown, PROTOCOL))
    whole = numbers(whole)
    assert whole.keys() == alone.keys()
    for key, value in alone.items():
        np.testing.assert_array_equal(whole[key], value)


def test_an_unknown_task_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="no task 'beauty'; expected one of reconstruction, embeddings"):
        find_task("beauty")


def test_every_table_of_a_protocol_belongs_to_a_task():
    tables = {
        "metrics": "reconstruction",
        "embeddings": "embeddings",
        "retrieval": "retrieval",
        "categories": "categories",
        "captions": "captioning",
    }
    # Responses are compared by the same measures under every protocol.
    assert {*tables.values(), "responses"} == set(task_names()) and set(tables) == set(TABLES)
    assert load_protocol().retrieval == load_protocol().captions == {}

"""Retrieval: both directions, pools as published and the whole test set, chance, and files."""

import numpy as np
import pytest

from brainrecon.evaluation import Outputs, Protocol, Shown, evaluate, find_task
from brainrecon.evaluation.metrics.correlation import correlation_matrix
from brainrecon.evaluation.metrics.identification import n_way_rates
from brainrecon.evaluation.protocols.task_specs import EmbeddingSpec, RetrievalSpec, retrieval_spec
from brainrecon.evaluation.scores.retrieval_scores import RetrievalScores
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.evaluation.statistics.intervals import bootstrap_mean
from brainrecon.evaluation.tasks.retrieval import score_retrieval
from stages.ground.errors import InputError

N = 40
IDS = [f"nsd{row:05d}" for row in range(N)]


@pytest.fixture(scope="module")
def embeddings():
    """True values and predictions of one target; some predictions are near every picture, so that directions differ."""
    random = np.random.default_rng(0)
    true = random.normal(size=(N, 30))
    predicted = true + random.normal(size=(N, 30)) * random.uniform(0.5, 4, (N, 1)) + 2 * random.normal(size=30)
    return true, predicted


def retrieved(embeddings, ids=IDS, **tables):
    """Scores by retrievals that are given as tables of a protocol."""
    specs = {name: retrieval_spec(name, {"target": "clip_image"} | table) for name, table in tables.items()}
    true, predicted = ({"clip_image": values} for values in embeddings)
    return score_retrieval(specs, true, predicted, ids, n_resamples=2000)


@pytest.mark.parametrize("direction", ["brain_to_picture", "picture_to_brain"])
@pytest.mark.parametrize("top_k", [1, 5])
def test_the_whole_test_set_vs_a_loop(embeddings, direction, top_k):
    true, predicted = embeddings
    given, searched = (predicted, true) if direction == "brain_to_picture" else (true, predicted)
    expected = []
    for row, one in enumerate(given):
        cosines = searched @ one / np.linalg.norm(searched, axis=1) / np.linalg.norm(one)
        expected.append(float(row in np.argsort(-cosines)[:top_k]))
    scores = retrieved(embeddings, one={"direction": direction, "pool": "all", "top_k": top_k})
    np.testing.assert_array_equal(scores.values["one"], expected)
    row = scores.row("one")
    assert (row.n, row.n_candidates, row.repeats, row.chance) == (N, N, 1, top_k / N)
    assert row.mean == row.mean_over_pools == np.mean(expected)
    assert (row.ci_low, row.ci_high) == bootstrap_mean(np.array(expected), n_resamples=2000)[2:]


@pytest.mark.parametrize(
    ("label", "found", "expected"),
    [
        ("Picture among 300", (300,), "Picture among 300"),
        ("Picture among 300", (982, 907), "Picture among 300"),
        ("Picture among 300", (6,), "Picture among 6 (300 wanted)"),
        ("Picture among 300", (6, 8, 6), "Picture among 6 to 8 (300 wanted)"),
        ("Picture among 300", (200, 982), "Picture among 200 to 300 (300 wanted)"),
        ("Forward", (6,), "Forward, among 6 (300 wanted)"),
    ],
)
def test_a_label_names_the_candidates_that_there_were(label, found, expected):
    embedding = EmbeddingSpec("a", "image_retrieval", "clip_image", n_way=300, label=label)
    retrieval = RetrievalSpec("a", "clip_image", "brain_to_picture", pool=300, label=label, description="among 3000")
    assert embedding.among(*found).label == retrieval.among(*found).label == expected
    assert retrieval.among(*found).description == "among 3000"
    assert (
        RetrievalSpec("a", "clip_image", "brain_to_picture", pool=None, label="among all").among(2).label == "among all"
    )


def test_pools_vs_a_loop(embeddings):
    true, predicted = embeddings
    scores = retrieved(embeddings, one={"direction": "brain_to_picture", "pool": 10, "repeats": 6, "seed": 4})
    random, shares, found, drawn = np.random.default_rng(4), [], np.zeros(N), np.zeros(N)
    for _ in range(6):
        pool = random.choice(N, size=10, replace=False)
        hits = [pool[np.argmax(correlation_matrix(true[pool], predicted[[j]], "cosine")[:, 0])] == j for j in pool]
        shares.append(np.mean(hits))
        found[pool] += hits
        drawn[pool] += 1
    row = scores.row("one")
    assert row.mean_over_pools == pytest.approx(np.mean(shares), abs=1e-12) and row.chance == 0.1
    assert row.n == (drawn > 0).sum()
    there = drawn > 0
    np.testing.assert_allclose(scores.values["one"][there], found[there] / drawn[there])
    assert np.isnan(scores.values["one"][~there]).all()


def test_many_pools_come_to_the_expectation(embeddings):
    row = retrieved(embeddings, one={"direction": "brain_to_picture", "pool": 10, "repeats": 4000}).row("one")
    expected = n_way_rates(correlation_matrix(*embeddings, "cosine"), n_way=10).mean()
    # Of 40,000 outcomes that share 40 stimuli: four standard errors of independent ones, twice.
    assert row.mean == pytest.approx(expected, abs=8 * np.sqrt(expected * (1 - expected) / 40_000))


def test_predictions_without_information_are_at_chance():
    random = np.random.default_rng(1)
    pair = random.normal(size=(2, 600, 20))
    scores = retrieved(
        pair,
        ids=[str(k) for k in range(600)],
        image={"direction": "brain_to_picture", "pool": 300, "repeats": 30},
        brain={"direction": "picture_to_brain", "pool": 300, "repeats": 30},
    )
    for row in scores.rows:
        # 600 stimuli, each right with the same small probability: four standard errors.
        assert abs(row.mean - row.chance) < 4 * np.sqrt(row.chance * (1 - row.chance) / 600)


def test_directions_differ_and_turn_with_the_arguments(embeddings):
    tables = {name: {"direction": name, "pool": "all"} for name in ("brain_to_picture", "picture_to_brain")}
    scores, turned = retrieved(embeddings, **tables), retrieved(embeddings[::-1], **tables)
    assert not np.array_equal(scores.values["brain_to_picture"], scores.values["picture_to_brain"])
    np.testing.assert_array_equal(scores.values["brain_to_picture"], turned.values["picture_to_brain"])


def test_fewer_stimuli_than_a_pool_holds_are_all_taken(embeddings):
    row = retrieved(embeddings, one={"direction": "brain_to_picture"}).row("one")
    assert (row.n_candidates, row.repeats, row.chance) == (N, 30, 1 / N) and row.mean == row.mean_over_pools
    few = retrieved(
        [own[:3] for own in embeddings], ids=IDS[:3], one={"direction": "brain_to_picture", "top_k": 5}
    ).row("one")
    assert (few.mean, few.chance) == (1, 1)


def test_constant_predictions_are_never_found(embeddings):
    predicted = np.ones_like(embeddings[1])
    for similarity in ("cosine", "pearson"):
        scores = retrieved((embeddings[0], predicted), one={"direction": "picture_to_brain", "similarity": similarity})
        assert scores.row("one").mean == 0


def test_the_order_of_stimuli_changes_who_is_drawn_and_nothing_among_all(embeddings):
    order = np.random.default_rng(2).permutation(N)
    table = {"direction": "brain_to_picture", "pool": "all"}
    straight = retrieved(embeddings, one=table)
    turned = retrieved([own[order] for own in embeddings], ids=[IDS[k] for k in order], one=table)
    np.testing.assert_array_equal(turned.values["one"], straight.values["one"][order])


def test_a_protocol_with_retrieval_scores_a_run(embeddings, tmp_path):
    content = {
        "name": "mine",
        "resize": {"size": 8, "interpolation": "bilinear", "antialias": True},
        "metrics": [{"name": "pixcorr", "measure": "pixel_correlation"}],
        "retrieval": {
            "found": {"target": "clip_image", "direction": "brain_to_picture", "pool": 30, "repeats": 2},
            "absent": {"target": "vdvae", "direction": "brain_to_picture"},
        },
    }
    shown = np.random.default_rng(3).integers(0, 256, (N, 8, 8, 3), dtype=np.uint8)
    true, predicted = ({"clip_image": values} for values in embeddings)
    scores = evaluate(
        shown,
        {"reconstruction": shown},
        stimulus_ids=IDS,
        embeddings=(true, predicted),
        protocol=Protocol(content),
        n_resamples=2000,
    )
    assert [row.metric for row in scores.retrieval.rows] == ["found"] and np.isnan(
        scores.retrieval.values["found"]
    ).any()
    scores.to_json(tmp_path / "scores.json")
    assert Scores.from_json(tmp_path / "scores.json").retrieval == scores.retrieval
    assert RetrievalScores.from_dict(scores.retrieval.to_dict()) == scores.retrieval


def test_predictions_are_brought_into_the_order_of_what_was_shown(embeddings):
    order = np.random.default_rng(5).permutation(N)
    true, predicted = embeddings
    task, shown = find_task("retrieval")(n_resamples=2000), Shown(IDS, embeddings={"clip_image": true})
    straight = task.score({"reconstruction": Outputs(IDS, {"clip_image": predicted})}, shown, "mindeye-2023-pools")
    outputs = Outputs([IDS[k] for k in order], {"clip_image": predicted[order]})
    assert task.score({"reconstruction": outputs}, shown, "mindeye-2023-pools").retrieval == straight.retrieval
    with pytest.raises(InputError, match="39 of them among the 40"):
        task.score({"reconstruction": Outputs(["else", *IDS[1:]], outputs.values)}, shown, "mindeye-2023-pools")


def test_one_stimulus_has_nobody_to_be_told_from(embeddings):
    scores = retrieved([own[:1] for own in embeddings], ids=IDS[:1], one={"direction": "brain_to_picture"})
    assert scores.rows == [] and scores.values == {}


@pytest.mark.parametrize(
    "table, words",
    [
        ({"direction": "forward"}, "direction.*'forward'.*'brain_to_picture'.*'picture_to_brain'"),
        ({}, "has no direction"),
        ({"direction": "brain_to_picture", "pool": 1}, "pool.*whole number from 2.*'all'"),
        ({"direction": "brain_to_picture", "pool": "half"}, "'half'"),
        ({"direction": "brain_to_picture", "pool": "all", "repeats": 30}, "gives repeats; expected none"),
        ({"direction": "brain_to_picture", "repeats": 0}, "repeats.*whole number from 1"),
        ({"direction": "brain_to_picture", "seed": -1}, "seed.*whole number from 0"),
        ({"direction": "brain_to_picture", "pool": 5, "top_k": 5}, "fewer best ones"),
        ({"direction": "brain_to_picture", "similarity": "dot"}, "similarity.*'dot'"),
    ],
)
def test_tables_that_cannot_be_meant_are_refused(table, words):
    with pytest.raises(InputError, match=words):
        retrieval_spec("one", {"target": "clip_image"} | table)


def test_shapes_that_do_not_match_are_refused(embeddings):
    spec = {"one": RetrievalSpec("one", "clip_image", "brain_to_picture")}
    with pytest.raises(InputError, match="Decode the same split again"):
        score_retrieval(spec, {"clip_image": embeddings[0]}, {"clip_image": embeddings[1][:, :3]}, IDS)
    with pytest.raises(InputError, match="expected each once"):
        score_retrieval(spec, {"clip_image": embeddings[0]}, {"clip_image": embeddings[1]}, [IDS[0]] * N)

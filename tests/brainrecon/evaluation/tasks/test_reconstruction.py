"""Scoring whole conditions, with networks that stand in for the trained ones."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from brainrecon.evaluation.metrics.identification import two_way_identification
from brainrecon.evaluation.metrics.pixel_metrics import pixel_correlation, structural_similarity
from brainrecon.evaluation.protocols.protocol import Protocol, load_protocol
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.evaluation.statistics.intervals import bootstrap_mean
from brainrecon.evaluation.statistics.pair_intervals import bootstrap_pairs
from brainrecon.evaluation.tasks.reconstruction import Brain, Condition, evaluate
from brainrecon.evaluation.views import networks as judges
from stages.ground.errors import InputError

N = 14
IDS = [f"stim{row:03d}" for row in range(N)]
WITHIN = ("identification_pixels_within_category", "identification_evaluation_within_category")


class MeanColours:
    """Features: colours on a 4 x 4 grid. Category: the strongest colour. Digit: the brighter half."""

    def __init__(self):
        self.calls = 0

    def embed(self, images):
        self.calls += 1
        assert images.dtype == np.uint8 and images.shape[1:] == (64, 64, 3)
        return images.reshape(len(images), 4, 16, 4, 16, 3).mean(axis=(2, 4)).reshape(len(images), -1)

    def classify(self, images):
        strongest = images.mean(axis=(1, 2)).argmax(axis=1)
        upper = images[:, :32].mean(axis=(1, 2, 3)) > images[:, 32:].mean(axis=(1, 2, 3))
        return {
            "category": [("digit", "tree", "house")[k] for k in strongest],
            "digit": ["6" if one else "9" for one in upper],
        }


@pytest.fixture
def networks():
    return {"evaluation": MeanColours(), "clip": MeanColours()}


@pytest.fixture
def shown():
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (N, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def noisy(shown, amount, seed=1):
    noise = np.random.default_rng(seed).normal(0, amount, shown.shape)
    return np.clip(shown + noise, 0, 255).astype(np.uint8)


def test_scores_equal_the_metrics_themselves(shown, networks):
    images = noisy(shown, 120)
    scores = evaluate(shown, {"reconstruction": Condition(IDS, images)}, stimulus_ids=IDS, networks=networks)
    values = scores.conditions["reconstruction"].values
    one, other = shown / np.float32(255), images / np.float32(255)
    network = MeanColours()
    expected = {
        "pixcorr": pixel_correlation(one, other),
        "ssim": structural_similarity(one, other),
        "identification_pixels": two_way_identification(one, other),
        "identification_evaluation": two_way_identification(network.embed(shown), network.embed(images)),
        "identification_clip": two_way_identification(network.embed(shown), network.embed(images)),
    }
    for name, expect in expected.items():
        np.testing.assert_allclose(values[name], expect, atol=1e-9)
        row = scores.mean("reconstruction", name)
        assert row.mean == pytest.approx(expect.mean())
        if "identification" not in name:
            assert (row.n, row.mean, row.ci_low, row.ci_high) == bootstrap_mean(values[name])
    without = (*WITHIN, "brain_correlation")
    assert list(values) == [name for name in load_protocol().metrics if name not in without]
    assert scores.differences == []


def test_identification_within_a_category_vs_pairs_counted(shown, networks):
    images = np.random.default_rng(3).permutation(noisy(shown, 200))
    categories = [["six"] if row % 3 else ["nine", "round"] for row in range(N)]
    scores = evaluate(
        shown,
        {"reconstruction": Condition(IDS, images)},
        stimulus_ids=IDS,
        categories=categories,
        networks=networks,
    )
    correlation = np.corrcoef(shown.reshape(N, -1), images.reshape(N, -1))[:N, N:]
    expected = [
        np.mean([correlation[i, j] < correlation[j, j] for i in range(N) if i != j and categories[i] == categories[j]])
        for j in range(N)
    ]
    values = scores.conditions["reconstruction"].values
    np.testing.assert_allclose(values[WITHIN[0]], expected)
    assert 0 < np.mean(expected) < 1 and not np.allclose(expected, values["identification_pixels"])


def test_a_stimulus_alone_in_its_category_has_no_score_there_and_the_others_have(tmp_path, shown, networks):
    images = noisy(shown, 200)
    categories = [["alone"], *([["six"]] * (N - 1))]
    conditions = {"reconstruction": Condition(IDS, images), "stage_one": Condition(IDS, noisy(shown, 250, seed=2))}
    scores = evaluate(shown, conditions, stimulus_ids=IDS, categories=categories, networks=networks)
    rest = {name: Condition(IDS[1:], one.images[1:]) for name, one in conditions.items()}
    without = evaluate(shown[1:], rest, stimulus_ids=IDS[1:], categories=categories[1:], networks=networks)
    found, expected = (one.conditions["reconstruction"].values[WITHIN[0]] for one in (scores, without))
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], expected)
    assert scores.mean("reconstruction", WITHIN[0]) == without.mean("reconstruction", WITHIN[0])
    assert scores.difference("stage_one", WITHIN[0]) == without.difference("stage_one", WITHIN[0])
    scores.to_json(tmp_path / "scores.json")
    scores.to_csv(tmp_path / "scores.csv")
    assert Scores.from_json(tmp_path / "scores.json").conditions == scores.conditions
    assert next(csv.DictReader((tmp_path / "scores.csv").open()))[WITHIN[0]] == ""


@pytest.mark.parametrize("categories", [None, [[str(row)] for row in range(N)]])
def test_without_others_of_the_category_nothing_is_said_of_them(shown, networks, categories):
    condition = {"reconstruction": Condition(IDS, noisy(shown, 50))}
    scores = evaluate(shown, condition, stimulus_ids=IDS, categories=categories, networks=networks)
    assert not set(WITHIN) & set(scores.conditions["reconstruction"].values)
    assert not set(WITHIN) & {row.metric for row in scores.summary}


def test_category_agreement_asks_for_the_digit_where_a_digit_was_shown(networks):
    shown, other = np.zeros((2, 4, 64, 64, 3), dtype=np.uint8)
    shown[:2, :32, :, 0] = 200  # two digits, bright above: "6"
    shown[2:, :, :, 1] = 200  # two trees
    other[0, :32, :, 0] = 100  # a six
    other[1, 32:, :, 0] = 100  # a nine
    other[2, :, :, 1] = 100  # a tree, bright nowhere in particular
    other[3, :, :, 2] = 100  # a house
    other[2, 32:, :, 1] = 150  # the digit head disagrees on the tree, and nobody asks it
    ids = IDS[:4]
    scores = evaluate(shown, {"reconstruction": Condition(ids, other)}, stimulus_ids=ids, networks=networks)
    np.testing.assert_array_equal(scores.conditions["reconstruction"].values["category_agreement"], [1, 0, 1, 0])


def test_order_of_a_condition_does_not_matter(shown, networks):
    images, order = noisy(shown, 120), np.random.default_rng(2).permutation(N)
    straight = evaluate(shown, {"reconstruction": Condition(IDS, images)}, stimulus_ids=IDS, networks=networks)
    mixed = evaluate(
        shown,
        {"reconstruction": Condition([IDS[k] for k in order], images[order])},
        stimulus_ids=IDS,
        networks=networks,
    )
    assert straight.conditions["reconstruction"].stimulus_ids == mixed.conditions["reconstruction"].stimulus_ids
    for name, values in straight.conditions["reconstruction"].values.items():
        np.testing.assert_allclose(values, mixed.conditions["reconstruction"].values[name], atol=1e-12)


def test_a_smaller_condition_is_compared_on_what_both_have(shown, networks):
    subset = [1, 4, 5, 9, 12]
    images, control = noisy(shown, 120), noisy(shown, 200, seed=3)[subset]
    ids = [IDS[k] for k in subset]
    scores = evaluate(
        shown,
        {"reconstruction": Condition(IDS, images), "stage_one": Condition(ids, control)},
        stimulus_ids=IDS,
        networks=networks,
    )
    alone = evaluate(
        shown[subset],
        {"reconstruction": Condition(ids, images[subset]), "stage_one": Condition(ids, control)},
        stimulus_ids=ids,
        networks=networks,
    )
    for name in alone.conditions["stage_one"].values:
        assert scores.mean("stage_one", name) == alone.mean("stage_one", name)
        assert scores.difference("stage_one", name) == alone.difference("stage_one", name)
        assert scores.mean("reconstruction", name).n == N
        assert scores.difference("stage_one", name).n == len(subset)
    assert scores.mean("reconstruction", "identification_pixels") != alone.mean(
        "reconstruction", "identification_pixels"
    )


def test_differences_are_reference_minus_condition(shown, networks):
    scores = evaluate(
        shown,
        {"reconstruction": Condition(IDS, noisy(shown, 40)), "stage_one": Condition(IDS, noisy(shown, 250))},
        stimulus_ids=IDS,
        networks=networks,
    )
    for name in ("pixcorr", "ssim"):
        better, worse = (scores.conditions[c].values[name] for c in ("reconstruction", "stage_one"))
        row = scores.difference("stage_one", name)
        assert row.mean == pytest.approx((better - worse).mean()) and row.ci_low > 0 and row.excludes_zero
    swapped = evaluate(
        shown,
        {"reconstruction": Condition(IDS, noisy(shown, 40)), "stage_one": Condition(IDS, noisy(shown, 250))},
        stimulus_ids=IDS,
        networks=networks,
        reference="stage_one",
    )
    assert swapped.difference("reconstruction", "pixcorr").mean == pytest.approx(
        -scores.difference("stage_one", "pixcorr").mean
    )


def test_samples_are_scored_each_and_then_averaged(shown, networks):
    first, second = noisy(shown, 120, seed=1), noisy(shown, 120, seed=2)
    extra = np.concatenate([first, second[:3]])  # three stimuli have a second sample
    scores, one, two = (
        evaluate(shown, {"reconstruction": condition}, stimulus_ids=IDS, networks=networks).conditions["reconstruction"]
        for condition in (Condition(IDS + IDS[:3], extra), Condition(IDS, first), Condition(IDS, second))
    )
    assert scores.n_samples == (2,) * 3 + (1,) * (N - 3)
    for name in scores.values:
        expected = one.values[name].copy()
        expected[:3] = (one.values[name][:3] + two.values[name][:3]) / 2
        np.testing.assert_allclose(scores.values[name], expected, atol=1e-12)


def test_scoring_changes_no_picture_and_looks_once(shown, networks):
    images = noisy(shown, 120)
    before = shown.copy(), images.copy()
    shown.flags.writeable = images.flags.writeable = False
    steps = []
    evaluate(
        shown,
        {"reconstruction": Condition(IDS, images), "stage_one": Condition(IDS[:4], images[:4])},
        stimulus_ids=IDS,
        networks=networks,
        progress=lambda *step: steps.append(step),
    )
    np.testing.assert_array_equal(shown, before[0])
    np.testing.assert_array_equal(images, before[1])
    assert networks["clip"].calls == 3  # the shown pictures and two conditions
    assert [step[1:] for step in steps] == [(done, 9) for done in range(1, 10)]  # and pixels and two networks


def test_one_stimulus_has_scores_but_no_interval_and_no_identification(shown, networks):
    scores = evaluate(shown, {"reconstruction": Condition(IDS[:1], shown[:1])}, stimulus_ids=IDS, networks=networks)
    assert scores.mean("reconstruction", "pixcorr").mean == pytest.approx(1)
    assert scores.mean("reconstruction", "pixcorr").ci_low is None
    assert scores.mean("reconstruction", "identification_pixels") is None


def test_uniform_pictures_score_without_nan(shown, networks):
    grey = np.full((N, 64, 64, 3), 128, dtype=np.uint8)
    scores = evaluate(shown, {"reconstruction": Condition(IDS, grey)}, stimulus_ids=IDS, networks=networks)
    for values in scores.conditions["reconstruction"].values.values():
        assert np.isfinite(values).all()
    assert scores.mean("reconstruction", "identification_pixels").mean == 0


def test_csv_and_json_hold_every_value(tmp_path, shown, networks):
    scores = evaluate(
        shown,
        {
            "reconstruction": Condition(IDS, noisy(shown, 120)),
            "stage_one": Condition(IDS[:5], noisy(shown, 200)[:5]),
            "shuffled_responses": Condition(IDS[:1], shown[:1]),
        },
        stimulus_ids=IDS,
        networks=networks,
    )
    scores.to_json(tmp_path / "scores" / "brainrecon-1.json")
    scores.to_csv(tmp_path / "scores" / "brainrecon-1.csv")
    assert sorted(path.name for path in (tmp_path / "scores").iterdir()) == [
        "brainrecon-1.csv",
        "brainrecon-1.json",
    ]

    again = Scores.from_json(tmp_path / "scores" / "brainrecon-1.json")
    assert again == scores and again.protocol.sha256 == scores.protocol.sha256
    content = json.loads((tmp_path / "scores" / "brainrecon-1.json").read_text())
    assert content["protocol"]["name"] == "brainrecon-1" and len(content["protocol"]["sha256"]) == 64
    assert content["conditions"]["stage_one"]["n"] == 5

    rows = list(csv.DictReader((tmp_path / "scores" / "brainrecon-1.csv").open()))
    assert len(rows) == N + 5 + 1
    assert float(rows[2]["pixcorr"]) == scores.conditions["reconstruction"].values["pixcorr"][2]
    assert rows[2]["stimulus_id"] == IDS[2] and rows[2]["condition"] == "reconstruction"
    assert rows[-1]["identification_pixels"] == ""


def test_identity_follows_the_protocol_and_the_checkpoints_that_judged(tmp_path, shown, networks):
    scores = evaluate(shown, {"reconstruction": Condition(IDS, shown)}, stimulus_ids=IDS, networks=networks)
    judged = dataclasses.replace(scores, checkpoints={"one": "aa", "two": "bb"})
    assert len(judged.identity) == 64
    assert judged.identity == dataclasses.replace(scores, checkpoints={"two": "bb", "one": "aa"}).identity
    judged.to_json(tmp_path / "scores.json")
    assert Scores.from_json(tmp_path / "scores.json").identity == judged.identity

    content = json.loads(json.dumps(scores.protocol.content))
    content["resize"]["size"] = 32
    others = [
        scores,
        dataclasses.replace(scores, checkpoints={"one": "aa", "two": "cc"}),
        dataclasses.replace(judged, protocol=Protocol(content)),
    ]
    assert len({judged.identity, *(one.identity for one in others)}) == 4
    assert judged.protocol.sha256 == scores.protocol.sha256


def test_a_failed_write_leaves_the_old_file(tmp_path, shown, networks, monkeypatch):
    scores = evaluate(shown, {"reconstruction": Condition(IDS, shown)}, stimulus_ids=IDS, networks=networks)
    path = tmp_path / "scores.json"
    path.write_text("old")

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr("weights.whole_files.os.replace", refuse)
    with pytest.raises(OSError):
        scores.to_json(path)
    assert path.read_text() == "old" and [one.name for one in tmp_path.iterdir()] == ["scores.json"]


def test_edited_or_foreign_files_are_refused(tmp_path, shown, networks):
    scores = evaluate(shown, {"reconstruction": Condition(IDS, shown)}, stimulus_ids=IDS, networks=networks)
    path = tmp_path / "scores.json"
    with pytest.raises(InputError, match="Run evaluate"):
        Scores.from_json(path)
    scores.to_json(path)
    path.write_text(path.read_text().replace('"size": 64', '"size": 65'))
    with pytest.raises(InputError, match="under protocol"):
        Scores.from_json(path)
    path.write_text("{}")
    with pytest.raises(InputError, match="not a file of scores"):
        Scores.from_json(path)


@pytest.mark.parametrize(
    "conditions, words",
    [
        (lambda x: {"stage_one": Condition(IDS, x)}, "'reconstruction' is not among 'stage_one'"),
        (lambda x: {"reconstruction": Condition(IDS[:3], x)}, "14 pictures and 3"),
        (lambda x: {"reconstruction": Condition([], x[:0])}, "at least one"),
        (lambda x: {"reconstruction": Condition([*IDS[:-1], "stranger"], x)}, "stranger"),
        (lambda x: {"reconstruction": Condition(IDS, x / 255)}, "8-bit"),
        (lambda x: {"reconstruction": Condition(IDS, x[..., :1])}, "8-bit RGB"),
    ],
)
def test_hostile_conditions(shown, networks, conditions, words):
    with pytest.raises(InputError, match=words):
        evaluate(shown, conditions(shown), stimulus_ids=IDS, networks=networks)


def test_hostile_stimulus_ids(shown, networks):
    with pytest.raises(InputError, match="each once"):
        evaluate(shown, {"reconstruction": Condition(IDS, shown)}, stimulus_ids=[IDS[0]] * N, networks=networks)


def test_a_head_that_the_network_lacks(shown, networks):
    content = json.loads(json.dumps(load_protocol().content))
    next(one for one in content["metrics"] if "head" in one)["head"] = "smell"
    with pytest.raises(InputError, match="smell.*category, digit"):
        evaluate(
            shown,
            {"reconstruction": Condition(IDS, shown)},
            stimulus_ids=IDS,
            networks=networks,
            protocol=Protocol(content),
        )


def test_networks_that_are_not_given_come_from_their_checkpoints(shown, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(judges.store, "path", lambda name: asked.append(name) or tmp_path)
    monkeypatch.setattr(judges.store, "fingerprint", lambda name: f"print of {name}")
    monkeypatch.setattr(judges, "import_module", lambda name: _Module)
    scores = evaluate(shown, {"reconstruction": Condition(IDS, shown)}, stimulus_ids=IDS)
    assert sorted(asked) == ["tiny-clip", "tiny-evaluation"]
    assert scores.checkpoints == {
        "tiny-clip": "print of tiny-clip",
        "tiny-evaluation": "print of tiny-evaluation",
    }


@pytest.mark.parametrize(
    "change, words",
    [({"layer": "logits"}, "'logits'.*image_embedding"), ({"kind": "magic"}, "'magic'.*evaluation_network")],
)
def test_a_layer_or_kind_that_the_toolkit_lacks(change, words):
    spec = dataclasses.replace(load_protocol().networks["clip"], **change)
    with pytest.raises(InputError, match=words):
        judges.load_network(spec)


class _Module:
    class EvaluationNetwork(MeanColours):
        @classmethod
        def from_pretrained(cls, folder, device="cpu"):
            return cls()

    CLIPImageEmbedding = EvaluationNetwork


class Grey:
    """An encoding model of one voxel per grey value on a 4 x 4 grid."""

    def predict(self, features):
        return np.asarray(features, dtype=np.float32).reshape(len(features), 16, 3).mean(axis=2)


def test_brain_correlation_vs_corrcoef_whole_and_by_region(shown, networks):
    images, measured = noisy(shown, 200), Grey().predict(MeanColours().embed(noisy(shown, 90, seed=5)))
    region = np.arange(16) % 3 == 0
    ceiling = np.linspace(0.4, 0.9, N)
    ceiling[2] = np.nan
    brain = Brain(measured, {"evaluation": Grey()}, ceiling, {"V1": region})
    order = np.random.default_rng(2).permutation(N)
    condition = Condition([IDS[k] for k in order], images[order])
    scores = evaluate(shown, {"reconstruction": condition}, stimulus_ids=IDS, networks=networks, brain=brain)
    predicted = Grey().predict(MeanColours().embed(images))
    expected = [np.corrcoef(measured[k], predicted[k])[0, 1] for k in range(N)]
    np.testing.assert_allclose(scores.conditions["reconstruction"].values["brain_correlation"], expected, atol=1e-6)
    (row,) = scores.regions["V1"]
    expected = np.mean([np.corrcoef(measured[k, region], predicted[k, region])[0, 1] for k in range(N)])
    assert (row.condition, row.metric, row.n) == ("reconstruction", "brain_correlation", N)
    assert row.mean == pytest.approx(expected, abs=1e-6)
    limit = scores.ceilings["noise_ceiling"]["brain_correlation"]
    assert limit.mean == pytest.approx(np.nanmean(ceiling)) and limit.n == N - 1
    evoked = Grey().predict(MeanColours().embed(shown))
    expected = np.mean([np.corrcoef(measured[k], evoked[k])[0, 1] for k in range(N)])
    assert scores.ceilings["shown_pictures"]["brain_correlation"].mean == pytest.approx(expected, abs=1e-6)


def test_embeddings_are_scored_beside_the_pictures(shown, networks):
    random = np.random.default_rng(0)
    true = random.normal(size=(N, 30))
    both = {"clip_image": true}, {"clip_image": true + random.normal(size=(N, 30))}
    condition = {"reconstruction": Condition(IDS, shown)}
    scores = evaluate(shown, condition, stimulus_ids=IDS, networks=networks, embeddings=both)
    rows = {row.metric: row for row in scores.embeddings.rows}
    assert set(rows) == {"two_way_clip_image", "image_retrieval", "brain_retrieval"}
    correlation = np.corrcoef(*both[0].values(), *both[1].values())[:N, N:]
    expected = np.mean([np.mean(np.delete(correlation[:, k], k) < correlation[k, k]) for k in range(N)])
    assert rows["two_way_clip_image"].mean == pytest.approx(expected)
    assert rows["two_way_clip_image"].n_permutations >= 20


def test_every_part_of_the_scores_survives_the_file(tmp_path, shown, networks):
    true = np.random.default_rng(0).normal(size=(N, 30))
    brain = Brain(
        Grey().predict(MeanColours().embed(shown)), {"evaluation": Grey()}, np.ones(N), {"V1": np.ones(16, bool)}
    )
    scores = evaluate(
        shown,
        {"reconstruction": Condition(IDS, noisy(shown, 120))},
        stimulus_ids=IDS,
        networks=networks,
        embeddings=({"vdvae": true}, {"vdvae": true}),
        brain=brain,
        data={"dataset": "nsd", "sessions": [1, 2]},
    )
    scores.to_json(tmp_path / "scores.json")
    again = Scores.from_json(tmp_path / "scores.json")
    for part in ("conditions", "summary", "differences", "regions", "ceilings", "notes", "data"):
        assert getattr(again, part) == getattr(scores, part), part
    assert again.embeddings.rows == scores.embeddings.rows and again.embeddings.ranks == scores.embeddings.ranks


def test_pictures_in_files_score_like_pictures_in_memory(tmp_path, shown, networks):
    from PIL import Image

    from brainrecon.runs.pictures import PictureFiles

    images = noisy(shown, 120)
    paths = [tmp_path / f"{name}.png" for name in IDS]
    for path, image in zip(paths, images):
        Image.fromarray(image).save(path)
    in_memory, in_files = (
        evaluate(shown, {"reconstruction": Condition(IDS, drawn)}, stimulus_ids=IDS, networks=networks)
        for drawn in (images, PictureFiles(paths))
    )
    assert in_memory.conditions == in_files.conditions


def test_pixels_too_many_to_keep_give_the_same_scores(shown, networks, monkeypatch):
    from brainrecon.evaluation.views import pictures as views

    condition = {"reconstruction": Condition(IDS + IDS[:3], noisy(np.concatenate([shown, shown[:3]]), 120))}
    kept = evaluate(shown, condition, stimulus_ids=IDS, networks=networks)
    monkeypatch.setattr(views, "_KEPT_BYTES", 0)
    assert evaluate(shown, condition, stimulus_ids=IDS, networks=networks).conditions == kept.conditions


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"dataset": "nsd"}, "982 stimuli of nsd; these are 14 of nsd"),
        ({"dataset": "nsd", "simulated": True}, "14 of simulated nsd"),
        ({"dataset": "god"}, "14 of god"),
    ],
)
def test_another_test_set_than_the_protocols_is_noted(shown, networks, data, words):
    content = json.loads(json.dumps(load_protocol().content)) | {"test_set": {"dataset": "nsd", "n_stimuli": 982}}
    condition = {"reconstruction": Condition(IDS, shown)}
    options = {"stimulus_ids": IDS, "networks": networks, "data": data}
    (note,) = evaluate(shown, condition, protocol=Protocol(content), **options).notes
    assert words in note and "no published score compares" in note
    content["test_set"]["n_stimuli"] = N
    same = evaluate(shown, condition, protocol=Protocol(content), **options).notes
    assert bool(same) == (data != {"dataset": "nsd"})


def test_the_interval_of_identification_resamples_both_roles(shown, networks):
    images = np.random.default_rng(3).permutation(noisy(shown, 200))
    scores = evaluate(shown, {"reconstruction": Condition(IDS, images)}, stimulus_ids=IDS, networks=networks)
    correlation = np.corrcoef(shown.reshape(N, -1), images.reshape(N, -1))[:N, N:]
    success = correlation < correlation.diagonal()
    row = scores.mean("reconstruction", "identification_pixels")
    expected = bootstrap_pairs(success.astype(float), ~np.eye(N, dtype=bool))
    assert (row.ci_low, row.ci_high) == (expected.ci_low, expected.ci_high)
    values = scores.conditions["reconstruction"].values["identification_pixels"]
    assert (row.ci_low, row.ci_high) != bootstrap_mean(values)[2:]


def test_how_words_weigh_is_counted_over_the_stimuli_that_both_conditions_have(shown, networks):
    content = json.loads(json.dumps(load_protocol().content))
    content["metrics"].append({"name": "cider", "measure": "cider"})
    said = [f"a ball number {k} on a {'red' if k % 2 else 'blue'} table" for k in range(N)]
    conditions = {
        "reconstruction": Condition(IDS, shown, captions=said),
        "stage_one": Condition(IDS[:5], shown[:5], captions=said[:5]),
        "alone": Condition(IDS[:1], shown[:1], captions=said[:1]),
    }
    options = {"stimulus_ids": IDS, "networks": networks, "protocol": Protocol(content)}
    options["captions"] = [[one + " outside"] for one in said]
    scores = evaluate(shown, conditions, **options)
    assert scores.difference("stage_one", "cider").mean == pytest.approx(0, abs=1e-9)
    assert "cider" not in scores.conditions["alone"].values and scores.difference("alone", "cider") is None
    assert scores.mean("reconstruction", "cider").mean != pytest.approx(
        scores.mean("stage_one", "cider").mean, abs=1e-3
    )


def test_captions_are_scored_where_both_sides_have_them(shown, networks):
    content = json.loads(json.dumps(load_protocol().content))
    content["metrics"].append({"name": "bleu", "measure": "bleu_1"})
    said = [f"a red ball number {k}" for k in range(N)]
    options = {"stimulus_ids": IDS, "networks": networks, "protocol": Protocol(content)}
    condition = {"reconstruction": Condition(IDS, shown, captions=said)}
    assert "bleu" not in evaluate(shown, condition, **options).conditions["reconstruction"].values
    scores = evaluate(shown, condition, captions=[[one, "else"] for one in said], **options)
    assert scores.mean("reconstruction", "bleu").mean == pytest.approx(1)

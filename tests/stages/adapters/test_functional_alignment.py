"""One subject's patterns in another's voxels: what is learned, kept and refused; and what a leak looks like."""

import json

import numpy as np
import pytest
from scipy.stats import ortho_group
from sklearn.linear_model import Ridge

from stages.adapters.functional_alignment import FunctionalAlignment
from stages.ground.errors import InputError

FITS = {
    "ridge": {"alphas": (1.0, 100.0)},
    "procrustes": {},
    "anatomical": {},
    "shared_response": {"n_components": 4},
}


def pair(n_stimuli=60, n_source=20, n_target=20, seed=0, noise=0.3):
    random = np.random.default_rng(seed)
    shared = random.standard_normal((n_stimuli, 6))
    return tuple(
        (3 * shared @ random.standard_normal((6, n)) + noise * random.standard_normal((n_stimuli, n)) + 7).astype(
            np.float32
        )
        for n in (n_source, n_target)
    )


@pytest.mark.parametrize("method", FITS)
def test_what_is_opened_again_gives_the_same(method, tmp_path):
    source, target = pair()
    alignment = FunctionalAlignment(method, **FITS[method]).fit(source[:40], target[:40])
    alignment.save_pretrained(tmp_path)
    again = FunctionalAlignment.from_pretrained(tmp_path)
    assert np.array_equal(again.transform(source[40:]), alignment.transform(source[40:]))
    assert again.summary() == alignment.summary()
    assert json.loads((tmp_path / "config.json").read_text())["n_stimuli"] == 40


@pytest.mark.parametrize("method", FITS)
def test_one_pattern_is_aligned_as_in_a_batch(method):
    source, target = pair()
    alignment = FunctionalAlignment(method, **FITS[method]).fit(source[:40], target[:40])
    together = alignment.transform(source[40:])
    alone = np.concatenate([alignment.transform(row[None]) for row in source[40:]])
    np.testing.assert_allclose(alone, together, atol=1e-4 * together.std())


@pytest.mark.parametrize("method", ["ridge", "procrustes", "shared_response"])
def test_aligned_voxels_have_the_mean_and_spread_of_the_targets_responses(method):
    source, target = pair()
    aligned = FunctionalAlignment(method, **FITS[method]).fit(source, target).transform(source)
    np.testing.assert_allclose(aligned.mean(axis=0), target.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(aligned.std(axis=0), target.std(axis=0), rtol=1e-4)


def test_statistics_are_those_of_the_alignment_set_written_out():
    source, target = pair()
    plain = FunctionalAlignment("ridge", "none", **FITS["ridge"]).fit(source[:40], target[:40])
    fitted = plain.transform(source[:40])
    for statistics, rows in (("alignment", slice(0, 40)), ("transductive", slice(40, None))):
        own = plain.transform(source[rows])
        expected = (plain.transform(source[40:]) - own.mean(axis=0)) / (own.std(axis=0) + 1e-8)
        expected = expected * target[:40].std(axis=0) + target[:40].mean(axis=0)
        alignment = FunctionalAlignment("ridge", statistics, **FITS["ridge"]).fit(source[:40], target[:40])
        np.testing.assert_allclose(alignment.transform(source[40:]), expected, rtol=1e-4, atol=1e-4)
    assert fitted.std() < target[:40].std()


def test_a_pattern_alone_has_no_statistics_of_its_own():
    source, target = pair()
    alignment = FunctionalAlignment("ridge", "transductive").fit(source, target)
    with pytest.raises(InputError, match="One pattern has no spread of its own"):
        alignment.transform(source[:1])


def test_anatomy_leaves_patterns_as_they_are_and_needs_one_grid():
    source, target = pair()
    assert np.array_equal(FunctionalAlignment("anatomical").fit(source, target).transform(source), source)
    with pytest.raises(
        InputError, match="20 voxels and the target 19, but anatomical alignment needs both on one grid"
    ):
        FunctionalAlignment("anatomical").fit(source, target[:, :19])


@pytest.mark.parametrize("method", ["ridge", "procrustes"])
def test_a_subject_is_aligned_to_itself_by_next_to_nothing(method):
    source, _ = pair()
    options = {"alphas": 1e-3} if method == "ridge" else {}
    aligned = FunctionalAlignment(method, **options).fit(source[:40], source[:40]).transform(source[40:])
    np.testing.assert_allclose(aligned, source[40:], atol=0.01 * source.std())


def test_a_turned_subject_is_turned_back():
    target, _ = pair()
    target = target - target.mean(axis=0)
    source = 2 * target @ ortho_group.rvs(20, random_state=1)
    aligned = FunctionalAlignment("procrustes").fit(source[:40], target[:40]).transform(source[40:])
    np.testing.assert_allclose(aligned, target[40:], atol=1e-3 * target.std())


@pytest.mark.parametrize("method", FITS)
def test_other_voxels_are_refused(method):
    source, target = pair()
    alignment = FunctionalAlignment(method, **FITS[method]).fit(source, target)
    with pytest.raises(InputError, match=r"\(2, 21\) but the alignment was fitted on 20 voxels"):
        alignment.transform(np.zeros((2, 21)))


def test_a_damaged_folder_is_named(tmp_path):
    source, target = pair()
    FunctionalAlignment("ridge").fit(source, target).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="There is no file .*config.json"):
        FunctionalAlignment.from_pretrained(tmp_path / "nothing")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"n_target_voxels": 3}))
    with pytest.raises(InputError, match="fit the alignment again"):
        FunctionalAlignment.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"half")
    with pytest.raises(InputError, match="model.safetensors cannot be read"):
        FunctionalAlignment.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("hyperalignment",), "method is 'hyperalignment'"), (("ridge", "test"), "statistics is 'test'")],
)
def test_what_there_is_not_is_refused(arguments, told):
    with pytest.raises(InputError, match=told):
        FunctionalAlignment(*arguments)


def correlation(one, other):
    """Mean over stimuli of the correlation of two patterns, each about the mean pattern of the second."""
    one, other = one - other.mean(axis=0), other - other.mean(axis=0)
    return float(np.mean(np.sum(one * other, axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)))


@pytest.mark.parametrize("statistics", ["alignment", "transductive"])
def test_a_source_of_noise_repeats_the_targets_responses_to_what_it_was_fitted_on(statistics):
    """The leak: fewer stimuli than voxels, hardly a penalty, and nothing in the source."""
    random = np.random.default_rng(0)
    target = random.standard_normal((80, 200))
    source = random.standard_normal((80, 200))
    alignment = FunctionalAlignment("ridge", statistics, alphas=1e-6).fit(source[:50], target[:50])
    fitted, held_out = alignment.transform(source[:50]), alignment.transform(source[50:])
    np.testing.assert_allclose(fitted, target[:50], atol=1e-3)
    # 30 independent means of 200 products: 0 with a standard error of 1 / sqrt(6000).
    assert abs(correlation(held_out, target[50:])) < 4 / np.sqrt(30 * 200)


def test_aligning_and_decoding_by_ridge_is_regression_on_what_the_references_decoder_says():
    """So alignment by ridge brings no stimuli: the new subject is regressed on decoded values in place of true ones."""
    random = np.random.default_rng(5)
    source, target, new = (random.standard_normal((n, p)) for n, p in ((30, 40), (30, 25), (7, 40)))
    decoder = random.standard_normal((25, 6))
    aligner = FunctionalAlignment("ridge", statistics="none", alphas=(10.0,)).fit(source, target)
    says = target @ decoder
    expected = Ridge(10.0).fit(source, says).predict(new)
    np.testing.assert_allclose(aligner.transform(new) @ decoder, expected, atol=1e-4)

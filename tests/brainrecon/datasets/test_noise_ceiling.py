"""The noise ceiling of one's own data, from repeated trials: the formula written out, and where there is none."""

from types import SimpleNamespace

import numpy as np
import pytest

from brainrecon.datasets import load
from brainrecon.datasets.inventory import describe, summary
from brainrecon.datasets.noise_ceiling import measured_noise_ceiling, median_noise_ceiling
from brainrecon.report.run.run_report import _notes
from stages.ground.errors import InputError

REPEATS = {"train": (1, 2, 1, 3, 1, 1), "test": (4, 2, 3, 1, 4)}


def write(path, repeats=REPEATS, **more):
    """Trials in mixed order; voxel i has i times as much signal as noise."""
    rng = np.random.default_rng(0)
    ids = [
        f"{split}{row}" for split, counts in repeats.items() for row, count in enumerate(counts) for _ in range(count)
    ]
    ids = rng.permutation(ids)
    signal = {name: rng.normal(size=4) for name in sorted(set(ids))}
    betas = np.stack([np.arange(4) * signal[name] for name in ids]) + rng.normal(size=(len(ids), 4))
    split = np.array([name.rstrip("0123456789") for name in ids])
    np.savez(path, **({"betas": betas, "stimulus_ids": ids, "split": split} | more))
    return betas, ids, split


def by_hand(betas, ids):
    """NSD's: noise is the variance within a stimulus, signal what it leaves of all variance."""
    own = [betas[ids == name] for name in sorted(set(ids))]
    noise = np.mean([np.var(each, axis=0, ddof=1) for each in own if len(each) > 1], axis=0)
    signal = np.maximum(np.var(betas, axis=0, ddof=1) - noise, 0)
    return 100 * signal / (signal + noise * np.mean([1 / len(each) for each in own]))


def test_the_ceiling_of_test_patterns_is_the_formula_of_their_trials(tmp_path):
    betas, ids, split = write(tmp_path / "mine.npz")
    subject = load(f"arrays:{tmp_path / 'mine.npz'}")
    expected = by_hand(betas[split == "test"], ids[split == "test"])
    assert expected[0] < 60 < expected[3]
    np.testing.assert_allclose(measured_noise_ceiling(subject), expected, rtol=1e-4)
    facts = describe(subject)
    assert facts["noise_ceiling_median"] == pytest.approx(np.median(expected), rel=1e-4)
    line = next(line for line in summary(facts) if line.startswith("noise ceiling"))
    assert (
        line
        == f"noise ceiling: median {np.median(expected):.1f} % of the variance of the test patterns, by their repeats"
    )
    part = SimpleNamespace(config=SimpleNamespace(remarks=list, system=SimpleNamespace(notes=[])))
    told = _notes(SimpleNamespace(config=part.config, parts=[part]), subject)[-1]
    assert told.endswith(f"for the test patterns, by their repeats: {np.median(expected):.0f} % of variance.")


def test_where_every_stimulus_is_tested_it_is_that_of_all(tmp_path):
    betas, ids, _ = write(tmp_path / "mine.npz")
    subject = load(f"arrays:{tmp_path / 'mine.npz'}", fold=(0, len(set(ids))))
    assert subject.test.n_stimuli == 1
    np.testing.assert_allclose(measured_noise_ceiling(subject), by_hand(betas, ids), rtol=1e-4)


def test_the_datasets_own_comes_first_and_without_repeats_there_is_none(tmp_path, monkeypatch):
    own = np.float32([10, 20, 30, 40])
    write(tmp_path / "own.npz", noise_ceiling=own)
    np.testing.assert_array_equal(measured_noise_ceiling(load(f"arrays:{tmp_path / 'own.npz'}")), own)
    write(tmp_path / "once.npz", {"train": (3, 3), "test": (1, 1, 1)})
    write(tmp_path / "one.npz", {"train": (3, 3), "test": (5,)})
    for name in ("once.npz", "one.npz"):
        facts = describe(load(f"arrays:{tmp_path / name}"))
        assert facts["noise_ceiling_median"] is None and not facts["noise_ceiling_measured"]
    write(tmp_path / "mine.npz")
    monkeypatch.setattr("brainrecon.datasets.noise_ceiling.FEW_VALUES", 4)
    assert measured_noise_ceiling(load(f"arrays:{tmp_path / 'mine.npz'}")) is None


def test_damaged_responses_hide_it_and_are_told(tmp_path):
    betas, _, _ = write(tmp_path / "mine.npz")
    betas[:, 2] = np.nan
    write(tmp_path / "mine.npz", betas=betas)
    subject = load(f"arrays:{tmp_path / 'mine.npz'}")
    with pytest.raises(InputError, match="1 of 4 voxels hold NaN"):
        measured_noise_ceiling(subject)
    facts = describe(subject)
    assert facts["noise_ceiling_median"] is None
    assert facts["notes"][-1].startswith("the noise ceiling cannot be measured: 1 of 4 voxels hold NaN")
    assert median_noise_ceiling(subject) is None


def test_the_median_is_over_voxels_and_to_a_tenth(tmp_path):
    write(tmp_path / "own.npz", noise_ceiling=np.float32([10, 20.26, 20.31, 40]))
    assert median_noise_ceiling(load(f"arrays:{tmp_path / 'own.npz'}")) == 20.3
    write(tmp_path / "once.npz", {"train": (3, 3), "test": (1, 1, 1)})
    assert median_noise_ceiling(load(f"arrays:{tmp_path / 'once.npz'}")) is None

"""Every trial of the folder that nilearn fetches, against what an independent writer put there."""

import numpy as np
import pytest
import scipy.io
import scipy.signal
from miyawaki_copies import SEEDS, check_split, draw_patterns, write_nilearn

from brainrecon.datasets.miyawaki import reader as miyawaki


def expected_trials(written, part, detrend=False, shift=2):
    """(run, pattern, response) of each trial, told volume by volume."""
    for (own, number), (volumes, shown) in written.runs.items():
        if own != part:
            continue
        if detrend:
            volumes = scipy.signal.detrend(volumes.astype(float), axis=3)
        for time, pattern in enumerate(shown):
            if pattern is not None and time + shift < len(shown):
                yield number, pattern, volumes[..., time + shift][written.mask]


# nilearn's folder


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shift", (None, 0, 3))
def test_volumes_of_a_run_are_trials(tmp_path, seed, shift):
    written = write_nilearn(tmp_path, seed)
    subject = miyawaki.load(tmp_path, detrend=False, shift=shift)
    for split, part in ((subject.train, "random"), (subject.test, "figure")):
        trials = list(expected_trials(written, part, shift=2 if shift is None else shift))
        check_split(split, trials)
        np.testing.assert_array_equal(split.betas, np.array([response for _, _, response in trials], np.float32))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_line_is_taken_out_of_each_run(tmp_path, seed):
    written = write_nilearn(tmp_path, seed)
    subject = miyawaki.load(tmp_path)
    check_split(subject.train, expected_trials(written, "random", detrend=True))
    check_split(subject.test, expected_trials(written, "figure", detrend=True))
    assert subject.details == {"detrend": True, "shift": 2, "runs": {"random": [1, 2, 3], "figure": [1, 2]}}


def test_regions_and_their_unions(nilearn):
    subject = miyawaki.load(nilearn.root)
    within = {name: region[nilearn.mask] for name, region in nilearn.regions.items()}
    np.testing.assert_array_equal(subject.rois["LHV1d"], within["LHV1d"])
    np.testing.assert_array_equal(subject.rois["V1d"], within["LHV1d"] | within["RHV1d"])
    one = within["LHV1d"] | within["RHV1d"] | within["LHV1v"] | within["RHV1v"]
    np.testing.assert_array_equal(subject.rois["V1"], one)
    np.testing.assert_array_equal(subject.rois["V2d"], within["LHV2d"])
    assert not {"V2", "VP", "LHVP"} & subject.rois.keys()
    assert subject.roi == "all" and subject.train.n_voxels == nilearn.mask.sum()
    part = miyawaki.load(nilearn.root, roi="V1 + V3A")
    chosen = one | within["RHV3A"]
    np.testing.assert_array_equal(part.train.betas, subject.train.betas[:, chosen])
    np.testing.assert_array_equal(part.rois["V1"], one[chosen])
    assert part.roi == "V1 + V3A" and part.fingerprint == subject.fingerprint
    rest = miyawaki.load(nilearn.root, roi="all-V1")
    np.testing.assert_array_equal(rest.train.betas, subject.train.betas[:, ~one])


def test_what_is_said_of_the_subject(nilearn):
    subject = miyawaki.load(nilearn.root)
    assert (subject.dataset, subject.name, subject.simulated) == ("miyawaki", "subj01", False)
    assert subject.noise_ceiling is None and subject.train.captions is None and subject.train.categories is None
    assert all(name.startswith("pattern-") and "/" not in name for name in subject.test.stimulus_ids)
    assert miyawaki.load(nilearn.root).fingerprint == subject.fingerprint
    assert miyawaki.subjects(nilearn.root) == ["subj01"]
    assert "10.1016/j.neuron.2008.11.004" in miyawaki.DESCRIPTION.citation


def test_the_folder_that_nilearn_puts_it_in(nilearn):
    (nilearn.root / "data").mkdir()
    moved = nilearn.root / "data/miyawaki2008"
    moved.mkdir()
    for name in ("func", "label", "mask"):
        (nilearn.root / name).rename(moved / name)
    assert miyawaki.load(nilearn.root / "data").source == f"miyawaki:{nilearn.root / 'data'}"


def test_ids_spell_the_pattern():
    from brainrecon.datasets.miyawaki.recording import pattern_ids

    patterns = draw_patterns(np.random.default_rng(0), 50)
    for pattern, name in zip(patterns, pattern_ids(patterns)):
        bits = f"{int(name.removeprefix('pattern-'), 16):0100b}"
        np.testing.assert_array_equal(np.array(list(bits), int).reshape(10, 10), pattern)


def test_files_of_each_copy(nilearn, tmp_path):
    listed = {file.path: file.what for file in miyawaki.files(nilearn.root)}
    assert {nilearn.func("figure", 2), nilearn.label(), nilearn.mask_file(), nilearn.mask_file("LHVP")} <= listed.keys()
    assert len(miyawaki.files(tmp_path / "absent")) == 2 * 32 + 39
    assert [path for path, *_ in miyawaki.files(tmp_path / "any.mat")] == [tmp_path / "any.mat"]
    assert [path for path, *_ in miyawaki.files(tmp_path / "any.h5")] == [tmp_path / "any.h5"]

"""MindEye2's shared files: what was written comes back, and nothing is loaded whole."""

import tracemalloc

import h5py
import numpy as np
import pytest
import scipy.io
from packed_layouts import check_round_trip, write_mindeye2

from brainrecon.datasets.packed import reader as packed
from stages.ground.errors import InputError


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_trials", [18, 27, 13])
def test_mindeye2(tmp_path, seed, n_trials):
    written = write_mindeye2(tmp_path, seed, number=1 + seed % 3, n_trials=n_trials)
    subject = packed.load(tmp_path)
    check_round_trip(subject, written)
    for name, split in subject.splits.items():
        rows, ids = written.extra[name]["rows"], written.extra[name]["ids"]
        assert split.trial_stimulus_ids.tolist() == ids
        assert split.sessions.tolist() == [row // 9 + 1 for row in rows]
        assert split.runs.tolist() == [1 if row % 9 < 5 else 2 for row in rows]
        for place, stimulus in enumerate(split.stimulus_ids):
            mean = np.mean([response for response, name in zip(split.betas[:], ids) if name == stimulus], axis=0)
            np.testing.assert_allclose(split.patterns[place], mean, rtol=1e-5, atol=1e-6)
    sessions = -(-n_trials // 9)
    assert subject.details["sessions"] == list(range(1, sessions + 1)) and subject.details["n_trials"] == n_trials
    assert f"{sessions} of 3 sessions found" in subject.notes
    assert any("5 trials fewer" in note for note in subject.notes) == (n_trials == 13)
    assert all(file.is_file() for file, *_ in packed.files(tmp_path))


def test_where_the_design_of_mindeye2_is_sought(tmp_path):
    written = write_mindeye2(tmp_path / "data", design_at="deep/below")
    check_round_trip(packed.load(tmp_path / "data"), written)
    elsewhere = tmp_path / "design.mat"
    written.extra["design"].rename(elsewhere)
    check_round_trip(packed.load(tmp_path / "data", design=str(elsewhere)), written)
    check_round_trip(packed.load(written.extra["betas"], design=elsewhere), written)


@pytest.mark.parametrize("design", [3, ["a"]])
def test_a_design_is_a_path(tmp_path, design):
    write_mindeye2(tmp_path)
    with pytest.raises(InputError, match="expected the path of nsd_expdesign.mat"):
        packed.load(tmp_path, design=design)


def test_mindeye2_without_renorm_and_stimpattern(tmp_path):
    written = write_mindeye2(tmp_path, name="betas_all_subj{:02d}_fp32.hdf5", stimpattern=False)
    subject = packed.load(tmp_path)
    check_round_trip(subject, written)
    assert subject.train.sessions is None and subject.train.runs is None
    assert any("lacks _renorm" in note for note in subject.notes) and any(
        "no stimpattern" in note for note in subject.notes
    )
    renormed = write_mindeye2(tmp_path, 1)
    subject = packed.load(tmp_path)
    check_round_trip(subject, renormed)
    assert not any("lacks _renorm" in note for note in subject.notes)


def test_mindeye2_of_full_size_is_not_loaded(tmp_path):
    written = write_mindeye2(tmp_path)
    rng = np.random.default_rng(0)
    subjectim = np.stack([np.r_[np.arange(1, 1001), 1000 + rng.permutation(72000)[:9000] + 1] for _ in range(2)])
    order = rng.permutation(np.repeat(np.arange(1, 10001), 3))
    scipy.io.savemat(
        written.extra["design"], {"masterordering": order, "subjectim": subjectim, "sharedix": np.arange(1, 1001)}
    )
    sparse = h5py.h5p.create(h5py.h5p.DATASET_CREATE)  # space in the file, but no bytes on disk
    sparse.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    sparse.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(written.extra["betas"], "w") as file:
        file.create_dataset("betas", (30000, 15724), "f4", dcpl=sparse)
    with h5py.File(written.extra["images"], "w") as file:
        images = file.create_dataset("images", (73000, 3, 224, 224), "f2", dcpl=sparse)
        for shared in (False, True):  # the first of either split, or all of its pictures were one and the same
            images[subjectim[0, order[(order <= 1000) == shared][0] - 1] - 1] = 0.5
    tracemalloc.start()
    subject = packed.load(tmp_path)
    assert (subject.train.n_trials, subject.train.n_stimuli, subject.test.n_stimuli) == (27000, 9000, 1000)
    assert subject.test.betas[1000:1256].shape == (256, 15724) and subject.train.images[-1].shape == (224, 224, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 2**20

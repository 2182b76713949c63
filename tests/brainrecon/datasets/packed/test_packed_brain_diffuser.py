"""Brain-Diffuser's prepared arrays: what was written comes back, and pictures are not loaded whole."""

import re
import tracemalloc

import numpy as np
import pytest
from packed_layouts import N_VOXELS, bd_file, check_round_trip, write_brain_diffuser

from brainrecon.datasets.packed import files as packed_files
from brainrecon.datasets.packed import reader as packed


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("picture_type", [np.float64, np.uint8])
def test_brain_diffuser(tmp_path, seed, picture_type):
    written = write_brain_diffuser(tmp_path / "bd é", seed, picture_type=picture_type)
    for path in (written.root, written.extra["folder"], written.extra["folder"] / "subj01"):
        assert packed.subjects(path) == ["subj01"]
    subject = packed.load(written.root)
    check_round_trip(subject, written)
    assert subject.train.stimulus_ids[:2].tolist() == ["train00000", "train00001"]
    assert subject.test.captions == written.extra["captions"]["test"]
    assert subject.roi == "nsdgeneral" and subject.noise_ceiling is None and subject.details["divisor"] == 300
    np.testing.assert_allclose(subject.test.patterns, written.responses["test"], rtol=1e-6)
    assert subject.test.repeats.tolist() == [1] * 5
    assert all(file.is_file() for file, *_ in packed.files(written.root))


def test_the_fingerprint_is_of_what_was_shown(tmp_path):
    prints = [
        packed.load(write_brain_diffuser(tmp_path / str(k), seed).root).fingerprint for k, seed in enumerate((0, 0, 1))
    ]
    assert prints[0] == prints[1] != prints[2]


def test_subjects_of_brain_diffuser(tmp_path):
    write_brain_diffuser(tmp_path, 0, number=7)
    second = write_brain_diffuser(tmp_path, 1, number=2)
    assert packed.subjects(tmp_path) == ["subj02", "subj07"]
    check_round_trip(packed.load(tmp_path), second)
    assert packed.load(tmp_path, "subj07").name == "subj07"
    one = bd_file(second.extra["folder"], "train", "fmriavg_nsdgeneral", 7)
    assert packed.load(one).name == "subj07"


@pytest.mark.parametrize(
    "captions, told",
    [
        (np.array([["a"], ["b"], [None], ["d"], ["e"]], dtype=object), "pickled Python objects"),
        (np.array([["a"], ["b"], [""], ["d"], ["e"]]), "row 2 of .* has none"),
        (np.zeros((5, 2)), "not text"),
        (None, "there is no .*nsd_test_cap_sub1.npy"),
    ],
)
def test_without_usable_captions_the_subject_loads_and_says_so(tmp_path, captions, told):
    written = write_brain_diffuser(tmp_path)
    file = bd_file(written.extra["folder"], "test", "cap")
    file.unlink()
    if captions is not None:
        np.save(file, captions, allow_pickle=True)
    subject = packed.load(tmp_path)
    check_round_trip(subject, written)
    assert subject.test.captions is None and subject.train.has_captions
    assert any(re.search(f"no test captions: .*{told}", note) for note in subject.notes)


def test_pictures_of_many_gigabytes_are_not_loaded(tmp_path):
    folder = tmp_path / "subj01"
    folder.mkdir()
    for split, n in (("train", 8859), ("test", 982)):
        np.lib.format.open_memmap(bd_file(tmp_path, split, "stim"), "w+", float, (n, 425, 425, 3))
        np.lib.format.open_memmap(bd_file(tmp_path, split, "fmriavg_nsdgeneral"), "w+", float, (n, 15724))
    stored = np.lib.format.open_memmap(bd_file(tmp_path, "train", "stim"), "r+")
    stored[8000], stored[0] = 77.0, 5.0
    tested = np.lib.format.open_memmap(bd_file(tmp_path, "test", "stim"), "r+")
    tested[0] = 9.0
    del stored, tested
    tracemalloc.start()
    subject = packed.load(tmp_path)
    assert subject.train.images.shape == (8859, 425, 425, 3)
    assert (subject.train.images[8000] == 77).all() and not subject.train.betas[[5, 8858]].any()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 2**20


def test_blocks_do_not_change_what_is_read(tmp_path, monkeypatch):
    written = write_brain_diffuser(tmp_path)
    monkeypatch.setattr(packed_files, "BLOCK_BYTES", 3 * N_VOXELS * 8)
    check_round_trip(packed.load(tmp_path), written)

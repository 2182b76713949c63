"""MindEye's archives: what was written comes back, copies are no trials, and nothing is unpacked."""

import json
import os
import tarfile
import tracemalloc

import numpy as np
import pytest
from packed_layouts import N_VOXELS, check_round_trip, npy, write_mindeye1, write_tar

from brainrecon.datasets.packed import reader as packed
from brainrecon.datasets.packed.tar_members import Member, samples_of
from stages.ground.errors import InputError


def joined(written):
    """What was written, with val behind train."""
    for content in (written.responses, written.pictures):
        content["train"] = np.concatenate([content["train"], content.pop("val")])
    written.extra["ids"]["train"] += written.extra["ids"].pop("val")
    return written


@pytest.mark.parametrize("seed", range(4))
def test_mindeye(tmp_path, seed):
    dtype, suffix = ("<f4", ">f4", "<f2", "<f8")[seed], ("png", "jpg")[seed % 2]
    written = joined(write_mindeye1(tmp_path, seed, 1 + seed, dtype=dtype, suffix=suffix))
    subject = packed.load(tmp_path)
    assert (
        subject.name == f"subj{1 + seed:02d}"
        and subject.roi == "nsdgeneral"
        and set(subject.splits) == {"train", "test"}
    )
    check_round_trip(subject, written)
    for name, split in subject.splits.items():
        assert split.trial_stimulus_ids.tolist() == written.extra["ids"][name]
        assert split.standardized == "session" and split.sessions is None
        for place, stimulus in enumerate(split.stimulus_ids):
            own = written.responses[name][np.array(written.extra["ids"][name]) == stimulus]
            np.testing.assert_allclose(split.patterns[place], own.mean(axis=0), rtol=1e-5, atol=1e-6)
    assert {int(n) for split in subject.splits.values() for n in split.repeats} <= {1, 2, 3}
    counts = sum(written.extra["counts"].values(), [])
    assert any(
        f"{sum(count < 3 for count in counts):,} pictures were shown fewer than 3 times" in note
        for note in subject.notes
    )
    assert all(file.is_file() for file, *_ in packed.files(tmp_path))


def test_val_may_be_a_split(tmp_path):
    written = write_mindeye1(tmp_path)
    subject = packed.load(tmp_path, val="apart")
    assert list(subject.splits) == ["train", "test", "val"]
    check_round_trip(subject, written)


def test_copies_may_count_as_the_authors_let_them(tmp_path):
    written = write_mindeye1(tmp_path, 1)
    subject = packed.load(tmp_path, val="apart", copies=True)
    for name, split in subject.splits.items():
        rows = written.extra["rows"][name]
        np.testing.assert_array_equal(split.betas[:], rows.reshape(-1, N_VOXELS))
        np.testing.assert_allclose(split.patterns, rows.mean(axis=1), rtol=1e-5, atol=1e-6)
        assert (split.repeats == 3).all()


def test_without_val_and_with_gaps(tmp_path):
    written = write_mindeye1(tmp_path)
    folder = written.extra["folder"]
    (folder / "val" / "val_subj01_0.tar").unlink()
    (folder / "train" / "train_subj01_1.tar").unlink()
    subject = packed.load(folder)
    assert any("archives 1 of train are missing" in note for note in subject.notes)
    assert any("there is no val_subj01_0.tar" in note for note in subject.notes)
    told = next(note for note in subject.notes if note.startswith("samples found: "))
    assert f"of {len(written.extra['counts']['train'])} of train, by metadata_subj01.json" in told
    assert list(packed.load(folder, val="apart").splits) == ["train", "test"]
    assert any(file.path.name == "metadata_subj01.json" for file in packed.files(folder))


def test_archives_may_lie_side_by_side_and_of_several_subjects(tmp_path):
    for number in (2, 7):
        written = write_mindeye1(tmp_path / f"{number}", number, number)
        for file in written.extra["folder"].rglob("*.tar"):
            (tmp_path / "flat").mkdir(exist_ok=True)
            file.rename(tmp_path / "flat" / file.name)
    assert packed.subjects(tmp_path / "flat") == ["subj02", "subj07"]
    check_round_trip(packed.load(tmp_path / "flat", "subj07"), joined(written))


def test_archives_are_taken_in_the_order_of_their_numbers(tmp_path):
    written = write_mindeye1(tmp_path, archives=(12, 1, 1))
    ids = packed.load(tmp_path, val="apart").train.trial_stimulus_ids.tolist()
    assert ids == written.extra["ids"]["train"]


def test_a_mask_and_columns(tmp_path):
    written = write_mindeye1(tmp_path)
    mask = np.arange(N_VOXELS) % 2 == 0
    from brainrecon.datasets import load

    subject = load(f"packed:{tmp_path}", mask=mask)
    np.testing.assert_array_equal(subject.test.betas[:], written.responses["test"][:, mask])
    with pytest.raises(InputError, match="no roi 'V1'; it has nsdgeneral"):
        load(f"packed:{tmp_path}", roi="V1")


def test_a_release_of_real_size_is_not_loaded(tmp_path):
    """One archive of 500 samples of 15,724 voxels and three rows, as holes of a file; all others are small."""
    write_mindeye1(tmp_path)
    folder = tmp_path / "webdataset_avg_split"
    path = folder / "train" / "train_subj01_0.tar"
    rng = np.random.default_rng(0)
    head = npy(np.zeros((3, 15_724), "<f4"))
    picture = next(content for name, content in _first(folder) if name.endswith("png"))
    with open(path, "wb") as file:
        for sample, number in enumerate(np.sort(rng.permutation(72_000)[:500]) + 500):
            for kind, content, size in (
                ("coco73k.npy", npy(np.array([number])), None),
                ("jpg", picture, None),
                ("nsdgeneral.npy", head[:128], len(head)),
                ("num_uniques.npy", npy(np.array([1])), None),
            ):
                entry = tarfile.TarInfo(f"sample{10**6 + sample:09d}.{kind}")
                entry.size = size or len(content)
                file.write(entry.tobuf())
                start = file.tell()
                file.write(content)
                file.seek(start + -(-entry.size // 512) * 512)
        file.write(bytes(1024))
    for other in list(folder.rglob("*.tar")):
        if other != path:
            _widened(other, 15_724)
    tracemalloc.start()
    subject = packed.load(tmp_path)
    assert subject.n_voxels == 15_724 and subject.train.n_stimuli > 500
    assert subject.train.betas[:40].shape == (40, 15_724)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * 2**20 and os.path.getsize(path) > 90 * 2**20


def _first(folder):
    path = next(folder.rglob("test_*.tar"))
    with tarfile.open(path) as archive:
        return [(entry.name, archive.extractfile(entry).read()) for entry in archive]


def _widened(path, n_voxels):
    with tarfile.open(path) as archive:
        members = [(entry.name, archive.extractfile(entry).read()) for entry in archive]
    rng = np.random.default_rng(1)
    wide = npy(rng.normal(size=(3, n_voxels)).astype("<f4"))
    three = npy(np.array([3]))
    changed = {"nsdgeneral.npy": wide, "num_uniques.npy": three}
    write_tar(path, [(name, changed.get(name.partition(".")[2], content)) for name, content in members])


def test_a_member_knows_where_it_is(tmp_path):
    members = [("a.npy", npy(np.arange(3))), ("b.txt", b"text"), ("folder", (tarfile.DIRTYPE, ""))]
    write_tar(tmp_path / "some.tar", members)
    found = samples_of(tmp_path / "some.tar")
    assert found["b"]["txt"].bytes() == b"text" and found["a"]["npy"].array().tolist() == [0, 1, 2]
    assert "folder" not in found and isinstance(found["a"]["npy"], Member)


def test_metadata_of_no_use(tmp_path):
    folder = write_mindeye1(tmp_path).extra["folder"]
    for content, told in (("{", "metadata_subj01.json cannot be read as JSON"), (json.dumps({}), "has no totals")):
        (folder / "metadata_subj01.json").write_text(content)
        with pytest.raises(InputError, match=told):
            packed.load(tmp_path)

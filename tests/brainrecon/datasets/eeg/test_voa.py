"""EEG-VOA against files that are written from its published description."""

import os

import numpy as np
import pytest
import torch
from damage import cut
from eeg_files import EegVoa
from PIL import Image

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.dataset import dataset_of
from stages.ground.errors import InputError


@pytest.fixture
def study(tmp_path):
    return EegVoa(tmp_path / "eeg")


def load_from(study, **options):
    return load(f"eeg-voa:{study.root}", **options)


WORDS = {"train": "train", "validation": "val", "test": "test"}


@pytest.mark.parametrize("seed", range(3))
def test_segments_are_those_of_the_published_splits(tmp_path, seed):
    study = EegVoa(tmp_path / "eeg", seed=seed, people=(1, 4, 6)[seed:], n_channels=3 + seed, archive=seed != 1)
    for person in study.people:
        for number in (0, seed, 5):
            subject = load_from(study, subject=f"subj{person:02d}", split=number)
            assert subject.name == f"subj{person:02d}" and set(subject.splits) == set(WORDS)
            for name, split in subject.splits.items():
                rows = study.rows(person, WORDS[name], number)
                np.testing.assert_array_equal(split.betas[:], study.values(rows))
                assert split.stimulus_ids.tolist() == study.stems(rows) and (split.repeats == 1).all()
                assert split.categories == [[stem.split("_")[0]] for stem in study.stems(rows)]
                assert split.standardized == "session" and split.sessions is None


def test_nobody_is_told_a_score_without_the_design(study):
    for options in ({}, {"split": "blocks"}, {"window": "0.02-0.05"}, {"subject": "5"}):
        subject = load_from(study, **options)
        assert subject.notes[0].startswith("BLOCK DESIGN") and "drift" in subject.details["design"]
    assert "drift" in dataset_of("eeg-voa").description.measured


def test_whole_blocks_share_no_class(study):
    """The first class of every ten is tested; all other segments of the subject are learned from."""
    subject = load_from(study, split="blocks", subject="subj05")
    tested = {study.classes[0], study.classes[10]}
    assert set(subject.splits) == {"train", "test"}
    for split, inside in (("test", True), ("train", False)):
        rows = [
            row
            for row, one in enumerate(study.segments)
            if one["subject"] == 5 and (study.classes[one["label"]] in tested) == inside
        ]
        np.testing.assert_array_equal(subject.splits[split].betas[:], study.values(rows))
    (study.root / "block_splits_by_image_all.pth").unlink()
    (study.root / "block_splits_by_image_single.pth").unlink()
    assert load_from(study, split="blocks", subject="subj05").fingerprint == subject.fingerprint


def test_splits_of_one_subject_count_its_own_segments(tmp_path):
    study = EegVoa(tmp_path / "eeg", splits=("single",))
    for person in study.people:
        own = [row for row, one in enumerate(study.segments) if one["subject"] == person]
        subject = load_from(study, subject=f"subj{person:02d}")
        beyond = 0
        for name, word in WORDS.items():
            numbers = sorted(study.single[0][word])
            rows = [own[number] for number in numbers if number < len(own)]
            beyond += len(numbers) - len(rows)
            np.testing.assert_array_equal(subject.splits[name].betas[:], study.values(rows))
        assert any(f"names {beyond:,} segments more than" in note for note in subject.notes) == bool(beyond)


def test_validation_may_be_learned_from(study):
    subject = load_from(study, validation="train", split=2)
    rows = sorted(study.rows(2, "train", 2) + study.rows(2, "val", 2))
    assert set(subject.splits) == {"train", "test"}
    np.testing.assert_array_equal(subject.train.betas[:], study.values(rows))


def test_short_and_long_segments_are_left_out(study):
    rows = study.rows(2, "train")
    for row, length in zip(rows, (300, 449, 450, 459, 460, 600, 601)):
        study.segments[row]["eeg"] = study.rng.normal(size=(4, length)).astype(np.float32)
    study.save()
    kept = [row for row in rows if row not in (*rows[:4], rows[6])]
    subject = load_from(study)
    np.testing.assert_array_equal(subject.train.betas[:], study.values(kept))
    assert "5 segments are left out, with fewer than 460 or more than 600 samples" in subject.notes
    # Of a shorter window those from 450 samples on have all.
    shorter = load_from(study, window="0.1-0.45")
    kept = [row for row in rows if row not in (*rows[:2], rows[6])]
    np.testing.assert_array_equal(shorter.train.betas[:], study.values(kept, 100, 450))


def test_the_band_is_that_of_the_file(tmp_path):
    one = EegVoa(tmp_path / "eeg", seed=1, band="55_95")
    other = EegVoa(tmp_path / "eeg", seed=2, band="14_70")
    assert load_from(one).details["band"] == "14-70 Hz"
    found = load_from(one, band="55-95", split="blocks", images=tmp_path / "eeg" / "images")
    assert found.details["band"] == "55-95 Hz" and found.n_voxels == 4 * 440
    assert set(found.train.stimulus_ids) <= set(one.images) and not set(found.train.stimulus_ids) & set(other.images)
    with pytest.raises(InputError, match="has no eeg_5_95_std.pth"):
        load_from(one, band="5-95")


def test_values_are_channels_at_milliseconds(study):
    subject = load_from(study, roi="100-200ms")
    assert subject.n_voxels == 4 * 100 and set(subject.space.channel_of) == {"1", "2", "3", "4"}
    np.testing.assert_allclose(subject.space.time_of[:100], np.arange(100, 200) / 1000)
    np.testing.assert_array_equal(subject.test.betas[:], study.values(study.rows(2, "test"), 100, 200))
    assert list(load_from(study).rois) == ["0-100ms", "100-200ms", "200-300ms", "300-400ms", "400-500ms"]
    assert load_from(study).rois["0-100ms"].sum() == 4 * 80


def test_pictures_are_found_by_name(study):
    subject = load_from(study)
    for split in subject.splits.values():
        for stem, picture in zip(split.stimulus_ids, split.images[:]):
            written = np.asarray(Image.open(study.root / "images" / stem.split("_")[0] / f"{stem}.JPEG"))
            np.testing.assert_array_equal(picture, written)
    assert subject.pictures == "photographs" and load_from(study, image_size=9).test.images.shape[1:] == (9, 9, 3)


def test_pictures_may_be_absent(tmp_path):
    subject = load_from(EegVoa(tmp_path / "eeg", pictures=False))
    assert subject.train.images is None and any("take them from ImageNet" in note for note in subject.notes)


def test_a_prepared_copy_is_the_same(study, tmp_path, capsys):
    line = ["data", "prepare", f"eeg-voa:{study.root}", "--out", str(tmp_path / "plain")]
    assert run_command(line) == 0, capsys.readouterr().err
    one, other = load_from(study), load(f"arrays:{tmp_path / 'plain'}")
    assert one.fingerprint == other.fingerprint and other.notes[0].startswith("BLOCK DESIGN")
    np.testing.assert_array_equal(other.space.time_of, one.space.time_of)
    np.testing.assert_array_equal(other.test.betas[:], one.test.betas[:])


def test_drift_alone_tells_the_class_in_published_splits_and_not_in_blocks(study):
    """Each block has an offset of its own and nothing of the pictures: what the published splits take for vision."""
    draw = np.random.default_rng(3)
    for person in study.people:
        offsets = draw.normal(size=(len(study.classes), 4, 1))
        for one in study.segments:
            if one["subject"] == person:
                one["eeg"] = (offsets[one["label"]] + draw.normal(scale=0.3, size=one["eeg"].shape)).astype(np.float32)
    study.save()

    def told(**options):
        """How many test segments lie nearest to a training segment of their own class, before vision sets in."""
        subject = load_from(study, window="0.02-0.05", validation="train", **options)
        near = np.linalg.norm(subject.test.betas[:][:, None] - subject.train.betas[:][None], axis=2).argmin(axis=1)
        classes = np.array([names[0] for names in subject.train.categories])
        return np.mean(classes[near] == [names[0] for names in subject.test.categories])

    assert told(split=0) > 0.7 and told(split=1) > 0.7
    assert told(split="blocks") == 0


# Damage


class Runs:
    def __reduce__(self):
        return os.system, ("true",)


def segment(**changed):
    def spoil(study):
        content = study.content()
        content["dataset"][7] |= changed
        torch.save(content, study.file)

    return spoil


def splits(**changed):
    return lambda study: study.save_splits("all", [study.splits[0] | changed])


def same_segment(study):
    study.save_splits("all", [study.splits[0] | {"test": study.splits[0]["train"][:2]}])


def lose_a_picture(study):
    stem = study.stems(study.rows(2, "test"))[0]
    (study.root / "images" / stem.split("_")[0] / f"{stem}.JPEG").unlink()


def other_size(study):
    stem = study.stems(study.rows(2, "test"))[0]
    study.draw(stem, np.zeros((9, 9, 3), np.uint8))


def names_swapped(study):
    study.save(labels=study.classes[::-1])


DAMAGE = {
    "no segments": (lambda study: study.file.unlink(), "has no eeg_5_95_std.pth; fetch it"),
    "no splits": (
        lambda study: [file.unlink() for file in study.root.glob("block*")],
        "There is no file .*image_all.pth",
    ),
    "empty": (lambda study: study.file.write_bytes(b""), "it is empty"),
    "cut": (lambda study: cut(study.file), "eeg_5_95_std.pth cannot be read as plain values and tensors"),
    "splits cut": (lambda study: cut(study.root / "block_splits_by_image_all.pth"), "image_all.pth cannot be read"),
    "a web page": (lambda study: study.file.write_text("<!DOCTYPE html>"), "web page"),
    "runs something": (lambda study: torch.save(Runs(), study.file), r"asks for \w+.system"),
    "runs something inside": (segment(subject=Runs()), r"asks for \w+.system"),
    "a list": (lambda study: torch.save([1], study.file), "has no list dataset of segments"),
    "no images": (lambda study: study.save(images=None), "has no list images of texts"),
    "numbers for names": (lambda study: study.save(labels=list(range(12))), "has no list labels of texts"),
    "an image twice": (
        lambda study: study.save(images=study.images[:1] * 36),
        "the same text twice in its list images",
    ),
    "no segment": (lambda study: study.save(dataset=[]), "has no list dataset of segments"),
    "no eeg": (segment(eeg=None), "Segment 7 of .* holds a NoneType as eeg"),
    "other channels": (segment(eeg=torch.zeros(3, 500)), r"Segment 7 of .* holds float32 \(3, 500\) as eeg"),
    "one axis": (segment(eeg=torch.zeros(500)), r"holds float32 \(500,\)"),
    "whole numbers": (segment(eeg=torch.zeros(4, 500, dtype=torch.int64)), "holds int64"),
    "image out of range": (segment(image=36), "has 36 as image; expected a whole number from 0 to 35"),
    "negative label": (segment(label=-1), "has -1 as label"),
    "label of text": (segment(label="dog"), "has dog as label"),
    "no subject": (segment(subject=None), "has None as subject"),
    "labels of others": (names_swapped, "is labelled n"),
    "out of the folder": (lambda study: study.save(images=["../a", *study.images[1:]]), r"names a picture '\.\./a'"),
    "fewer splits": (lambda study: study.save_splits("all", []), "has 0 splits and no split 0; expected 6"),
    "no part": (splits(test=None), "no list of whole numbers test in split 0"),
    "text for numbers": (splits(val=["1"]), "no list of whole numbers val"),
    "segment out of range": (splits(val=[10_000]), "names segment 10,000 but .* holds"),
    "negative segment": (splits(val=[-1]), "no list of whole numbers val"),
    "segment in two parts": (same_segment, "names a segment twice in split 0"),
    "nothing tested": (splits(test=[]), "has no segment for test"),
    "a lost picture": (lose_a_picture, "images lacks 1 pictures, the first is"),
    "other size": (other_size, "pass image_size="),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_sentence_and_nothing_is_written(study, name, tmp_path, capsys):
    spoil, said = DAMAGE[name]
    spoil(study)
    with pytest.raises(InputError, match=said) as caught:
        load_from(study)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    before = sorted(tmp_path.rglob("*"))
    assert run_command(["run", "ridge-to-pixels", f"eeg-voa:{study.root}", "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err.strip()
    assert told.count("\n") == 0 and told.endswith(".") and sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": 6}, "split is 6; expected 0 to 5, or blocks"),
        ({"split": "first"}, "split is 'first'"),
        ({"band": "1-2"}, "band is '1-2'; expected 5-95, 14-70, 55-95"),
        ({"validation": "none"}, "validation is 'none'; expected apart or train"),
        ({"window": "0.1-0.7"}, "has no segment for train; take another split, or a shorter window"),
        ({"window": "-1-0"}, "No sample of .* lies in the window -1 to 0 s; they go from 0.000 to 0.599 s"),
        ({"roi": "Oz"}, "no roi 'Oz'; it has 0-100ms"),
        ({"subject": "subj03"}, "no subject subj03; it has subj02, subj05"),
        ({"images": "/nowhere"}, "There is no folder /nowhere"),
        ({"image_size": -2}, "image_size is -2"),
    ],
)
def test_options_are_checked(study, options, said):
    with pytest.raises(InputError, match=said) as caught:
        load_from(study, **options)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_value_that_is_not_finite_is_told_when_it_is_read(study):
    row = study.rows(2, "train")[1]
    study.segments[row]["eeg"][2, 30] = np.nan
    study.save()
    subject = load_from(study)
    assert np.isfinite(subject.train.betas[0]).all()
    with pytest.raises(InputError, match="1 of 1,760 voxels hold NaN"):
        subject.train.betas[:]


def test_no_folder_is_told(tmp_path):
    assert dataset_of("eeg-voa").subjects(tmp_path / "no") == []
    with pytest.raises(InputError, match="There is no folder"):
        load(f"eeg-voa:{tmp_path / 'no'}")
    names = [file.path.name for file in dataset_of("eeg-voa").files(tmp_path, band="55-95")]
    assert names == ["eeg_55_95_std.pth", "block_splits_by_image_all.pth", "images"]

"""The laws of every dataset: whatever reads a kind of data, in whatever layout, keeps them."""

import os
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import h5py
import numpy as np
import pytest
from dataset_copies import COPIES, rng
from spoilt_pictures import WAYS, spoil

import brainrecon.datasets as datasets
from brainrecon.cli.main import run_command
from brainrecon.datasets.arrays.writing import write
from brainrecon.datasets.dataset import MODULES, Dataset, ExpectedFile
from brainrecon.datasets.responses import Standardized
from brainrecon.datasets.spaces.space import Space
from brainrecon.runs.record import in_split
from stages.ground.errors import InputError
from stages.ground.lazy_rows import as_rows

PICTURES = ("stimuli", "Presented_Stimuli")
"""Folders of pictures, beside those whose name ends in "images"."""


Z_SCORED = {
    "nsd, z-scores": "training",
    "bold5000, z-scores": "training",
    "packed, MindEye": "session",
    "packed, MindEye2": "session",
    "vim1, CRCNS": "session",
    "vim1, full resolution": "session",
    "vim1, OSF": "session",
    "algonauts2023": "session",
    "eeg-voa": "session",
    "mosaic": "session",
    "mosaic, its lists": "session",
}
"""Copies whose responses are z-scored."""


class Opened:
    """Files that are opened while a test looks; None while nobody does."""

    files = None


def note_opening(event, arguments):
    if Opened.files is not None and event == "open" and isinstance(arguments[0], str | os.PathLike):
        Opened.files.append(Path(arguments[0]))


@pytest.fixture(scope="module")
def listening():
    """Hear of every file that is opened, from here on: nobody can take a hook away."""
    sys.addaudithook(note_opening)


@pytest.fixture
def opened(listening, monkeypatch):
    monkeypatch.setattr(Opened, "files", [])
    return Opened.files


@dataclass
class Copy:
    name: str
    kind: str
    path: Path
    options: dict

    @property
    def source(self):
        return f"{self.kind}:{self.path}"

    @property
    def reader(self):
        return datasets.dataset_of(self.kind)

    @cached_property
    def subject(self):
        return self.load()

    @cached_property
    def splits(self):
        return self.subject.splits.items()

    def load(self, **more):
        return datasets.load(self.source, **self.options, **more)


@pytest.fixture(scope="module", params=COPIES)
def copy(request, tmp_path_factory):
    kind, make, options = COPIES[request.param]
    return Copy(request.param, kind, make(tmp_path_factory.mktemp("copy")), options)


def test_every_kind_is_held_to_the_laws():
    assert {kind for kind, _, _ in COPIES.values()} == set(MODULES)


def test_it_says_what_it_is(copy):
    assert isinstance(copy.reader, Dataset)
    description = copy.reader.description
    texts = [value for value in vars(description).values() if isinstance(value, str)]
    assert all(len(text) > 5 for text in texts) or description.licence
    assert re.search(r"(19|20)\d\d", description.citation) and re.search(r"doi", description.citation)
    names = [option.name for option in copy.reader.options]
    assert len(set(names)) == len(names) and all(option.explanation for option in copy.reader.options)


def test_train_shares_no_stimulus_and_ids_are_unique(copy):
    assert {"train", "test"} <= set(copy.subject.splits)
    trained = set(copy.subject.train.stimulus_ids)
    for name, split in copy.splits:
        ids = split.stimulus_ids.tolist()
        assert len(ids) == len(set(ids)) == split.n_stimuli > 0
        assert list(dict.fromkeys(split.trial_stimulus_ids.tolist())) == ids
        assert name == "train" or not trained & set(ids)


def test_sizes_agree(copy):
    for _, split in copy.splits:
        assert split.betas.shape == (split.n_trials, split.n_voxels) == (len(split.betas), copy.subject.n_voxels)
        assert split.betas.dtype == np.float32 and len(split.trial_stimulus_ids) == split.n_trials
        for per_trial in (split.sessions, split.runs):
            assert per_trial is None or len(per_trial) == split.n_trials
        for per_stimulus in (split.captions, split.categories, split.images):
            assert per_stimulus is None or len(per_stimulus) == split.n_stimuli
        if split.images is not None:
            assert split.images.dtype == np.uint8 and split.images.ndim == 4 and split.images.shape[3] == 3


def test_a_row_is_the_same_alone_and_with_others(copy):
    """Betas and pictures, under every kind of index."""
    random = rng(copy.name)
    for _, split in copy.splits:
        for lazy in (split.betas, split.images):
            if lazy is None:
                continue
            whole = np.asarray(lazy)
            assert whole.shape == lazy.shape and whole.dtype == lazy.dtype and np.isfinite(whole).all()
            np.testing.assert_array_equal(np.stack([lazy[row] for row in range(len(whole))]), whole)
            some = random.integers(-len(whole), len(whole), 7)
            mask = random.random(len(whole)) < 0.5
            for index in (some, some.tolist(), mask, slice(None, None, -2), slice(1, 3), np.array([], dtype=int)):
                found = lazy[index]
                assert found.dtype == whole.dtype
                np.testing.assert_array_equal(found, whole[index])
            with pytest.raises(IndexError):
                lazy[len(whole)]


def test_voxels_are_the_same_alone_and_with_others(copy):
    for _, split in copy.splits:
        whole, betas = np.asarray(split.betas), as_rows(split.betas)
        voxels = rng(copy.name).integers(0, split.n_voxels, 5)
        np.testing.assert_array_equal(betas.columns(voxels)[:], whole[:, voxels])
        np.testing.assert_array_equal(betas.take([1, 0]).columns(voxels[:2])[:], whole[[1, 0]][:, voxels[:2]])


def test_patterns_are_averages_over_repeats(copy):
    for _, split in copy.splits:
        betas = np.asarray(split.betas, dtype=np.float64)
        expected = [betas[split.trial_stimulus_ids == name].mean(axis=0) for name in split.stimulus_ids]
        assert split.patterns.dtype == np.float32
        np.testing.assert_allclose(split.patterns, expected, rtol=1e-5, atol=1e-5 * np.abs(betas).max())


def test_it_says_whether_responses_are_z_scored(copy):
    assert all(split.betas.standardized in get_args(Standardized) for _, split in copy.splits)
    expected = Z_SCORED.get(copy.name, "no")
    assert {split.standardized for _, split in copy.splits} == {expected}
    rows = copy.subject.train.betas.take([0, 1])
    assert rows.standardized == rows.columns([0]).standardized == expected


def test_regions_are_masks_of_the_voxels(copy):
    whole = copy.subject
    for name, mask in whole.rois.items():
        assert mask.dtype == bool and mask.shape == (whole.n_voxels,) and mask.any()
        part = copy.load(roi=f"({whole.roi}) & {name}")
        assert part.n_voxels == mask.sum() and part.fingerprint == whole.fingerprint
        np.testing.assert_array_equal(part.test.betas[:2], whole.test.betas[:2][:, mask])
    assert whole.noise_ceiling is None or whole.noise_ceiling.shape == (whole.n_voxels,)


def stored(copy):
    """The subject with the voxels that a mask (n_voxels,) is over: all that are stored, or those of the default region."""
    return copy.load() if copy.kind == "nsd" else copy.load(roi="all")


def test_a_mask_that_equals_a_region_is_that_region(copy, tmp_path):
    whole = stored(copy)
    # Of many regions a few: that each is a mask of the voxels is a law of its own.
    names = rng(copy.name).permutation(sorted(whole.rois))[:3].tolist()
    chosen = {name: whole.rois[name] for name in names} | {"every other voxel": np.arange(whole.n_voxels) % 2 == 0}
    for number, (name, mask) in enumerate(chosen.items()):
        np.save(tmp_path / f"{number}.npy", mask)
        right = copy.load(roi=f"({whole.roi}) & {name}") if name in whole.rois else None
        ways = [mask, mask.astype(np.int16), tmp_path / f"{number}.npy"]
        # A mask that is no region is given in every way, and regions in one way after the other.
        for given in ways if right is None else [ways[number % 3]]:
            own = copy.load(mask=given)
            told = own.details["mask"]
            assert own.region == f"mask [{told}]" and (given is not ways[2] or told.startswith(f"{number}.npy "))
            assert own.roi == "mask" and own.n_voxels == mask.sum() and own.fingerprint == whole.fingerprint
            assert list(own.rois["mask"]) == [True] * own.n_voxels
            for split_name, split in own.splits.items():
                expected = whole.splits[split_name].patterns[:, mask]
                np.testing.assert_allclose(split.patterns, expected, rtol=1e-6, atol=1e-6)
                np.testing.assert_array_equal(split.betas[:2], whole.splits[split_name].betas[:2][:, mask])
                if right is not None:
                    np.testing.assert_array_equal(split.betas[:2], right.splits[split_name].betas[:2])
            if whole.noise_ceiling is not None:
                np.testing.assert_array_equal(own.noise_ceiling, whole.noise_ceiling[mask])
        both = copy.load(mask=mask, roi=f"{name} & mask" if name in whole.rois else f"({whole.roi}) - mask")
        assert both.n_voxels == (mask.sum() if name in whole.rois else (~mask).sum())


def test_a_mask_that_does_not_fit_is_one_sentence_with_both_sizes(copy):
    n_voxels = stored(copy).n_voxels
    for wrong in (np.ones(n_voxels + 1, bool), np.ones((2, 1, n_voxels), int)):
        with pytest.raises(InputError) as caught:
            copy.load(mask=wrong)
        told = str(caught.value)
        assert "\n" not in told and told.endswith(".")
        assert str(wrong.shape) in told and f"{n_voxels:,} voxels" in told and "value of 0 or 1 for each" in told


def test_the_stimuli_of_a_file_of_ids_are_tested(copy, tmp_path):
    trained, tested = copy.subject.train.stimulus_ids[1], copy.subject.test.stimulus_ids[0]
    (tmp_path / "ids.txt").write_text(f"{trained}\n{tested}\n", encoding="utf-8")
    anew = in_split(copy.subject, f"ids:{tmp_path / 'ids.txt'}")
    assert anew.test.stimulus_ids.tolist() == [trained, tested] and anew.n_voxels == copy.subject.n_voxels
    assert anew.train.n_stimuli == copy.subject.train.n_stimuli + copy.subject.test.n_stimuli - 2
    for name in set(copy.subject.splits) - {"train", "test"}:
        other = in_split(copy.subject, name)
        assert other.test.stimulus_ids.tolist() == copy.subject.splits[name].stimulus_ids.tolist()


def test_loading_again_gives_the_same(copy):
    again = copy.load(subject=copy.subject.name)
    assert again.fingerprint == copy.subject.fingerprint and again.source == copy.source
    for name, split in copy.splits:
        np.testing.assert_array_equal(again.splits[name].betas[:2], split.betas[:2])
    assert copy.subject.name in copy.reader.subjects(copy.path) == sorted(copy.reader.subjects(copy.path))


def test_what_is_prepared_reads_back_the_same(copy, tmp_path):
    whole = copy.subject
    if not all(split.has_responses for _, split in copy.splits):
        pytest.skip("its responses were not published")
    write(whole, tmp_path / "prepared")
    again = datasets.load(f"arrays:{tmp_path / 'prepared'}")
    assert again.fingerprint == whole.fingerprint and again.region == whole.region and again.name == whole.name
    assert again.rois.keys() == whole.rois.keys()
    for name, mask in whole.rois.items():
        np.testing.assert_array_equal(again.rois[name], mask)
    for name, split in copy.splits:
        other = again.splits[name]
        assert other.trial_stimulus_ids.tolist() == split.trial_stimulus_ids.tolist()
        np.testing.assert_array_equal(other.betas[:], split.betas[:])
        if split.images is not None:
            np.testing.assert_array_equal(other.images[:], split.images[:])
        for one, two in ((other.captions, split.captions), (other.categories, split.categories)):
            assert (one is None) == (two is None) and [list(a) for a in one or ()] == [list(b) for b in two or ()]
    assert (again.space is None) == (whole.space is None)
    assert (again.noise_ceiling is None) == (whole.noise_ceiling is None)


def test_values_go_to_files_of_its_space(copy, tmp_path):
    space = copy.subject.space
    if space is None:
        pytest.skip("it does not say where its values are")
    assert isinstance(space, Space) and len(space) == copy.subject.n_voxels
    values = rng(copy.name).standard_normal((2, len(space))).astype(np.float32)
    files, part = space.files(values), np.flatnonzero(np.arange(len(space)) % 3 == 0)
    assert files and all(ending.startswith(".") and content for ending, (_, content) in files.items())
    # The same values are the same bytes, and other places do not move what stays.
    assert space.files(values) == files and space.files(values + 1) != files
    some = space.columns(part)
    assert len(some) == len(part) and some.kind == space.kind
    with pytest.raises(InputError, match="Values have shape"):
        space.files(values[:, 1:])
    write(copy.subject, tmp_path / "prepared")
    stored = datasets.load(f"arrays:{tmp_path / 'prepared'}")
    assert stored.space.kind == space.kind and stored.space.files(values) == files


def test_it_is_told_at_the_command_line(copy, capsys):
    options = [part for name, value in copy.options.items() for part in ("--option", f"{name}={value}")]
    assert run_command(["data", "info", copy.source, *options]) == 0
    told = capsys.readouterr().out
    assert (
        copy.subject.name in told
        and f"{copy.subject.n_voxels:,}" in told
        and "\ntrain: " in told
        and "\ntest: " in told
    )
    for_files = {option.name for option in copy.reader.options if option.for_files}
    chosen = [
        part for name, value in copy.options.items() if name in for_files for part in ("--option", f"{name}={value}")
    ]
    assert run_command(["data", "files", copy.source, *chosen]) == 0
    told = capsys.readouterr().out
    assert "files are there" in told and f"licence: {copy.reader.description.licence}" in told


def test_what_systems_leave_beside_files_changes_nothing(copy, tmp_path):
    """Finder's copies of attributes and folders' views, a half written file, thumbnails, an emptied folder's marker."""
    _, make, _ = COPIES[copy.name]
    littered = Copy(copy.name, copy.kind, make(tmp_path), copy.options)
    if littered.path.is_file():
        pytest.skip("it is one file")
    for path in [littered.path, *littered.path.rglob("*")]:
        if path.is_file():
            for name in (f"._{path.name}", f".partial-0123456789ab-{path.name}"):
                path.with_name(name).write_bytes(b"\0\5\x16\7 no data")
        else:
            for name in (".DS_Store", "Thumbs.db", "desktop.ini", ".gitkeep"):
                (path / name).write_bytes(b"no data")
    found = littered.subject
    assert found.fingerprint == copy.subject.fingerprint and found.rois.keys() == copy.subject.rois.keys()
    assert littered.reader.subjects(littered.path) == copy.reader.subjects(copy.path)
    for name, split in copy.splits:
        assert found.splits[name].stimulus_ids.tolist() == split.stimulus_ids.tolist()
        np.testing.assert_array_equal(found.splits[name].betas[:2], split.betas[:2])
        if split.images is not None:
            np.testing.assert_array_equal(found.splits[name].images[:], split.images[:])
    listed = {file.path.relative_to(littered.path) for file in littered.reader.files(littered.path, found.name)}
    assert listed == {file.path.relative_to(copy.path) for file in copy.reader.files(copy.path, found.name)}


def test_files_names_what_is_read(copy, opened, monkeypatch):
    """Whatever is opened while a subject is loaded and read through is listed; of a folder of pictures, one of them."""
    original = h5py.File.__init__

    def noted(self, name, *rest, **more):
        # HDF5 opens its files by itself, which no hook of Python's sees.
        note_opening("open", (name,))
        original(self, name, *rest, **more)

    monkeypatch.setattr(h5py.File, "__init__", noted)
    subject = copy.load()
    for split in subject.splits.values():
        split.patterns, split.captions, split.categories
        if split.images is not None:
            split.images[:]
    read = {path for path in opened if path.is_file() and path.is_relative_to(copy.path)}
    files = copy.reader.files(copy.path, subject.name)
    listed = [file.path for file in files]
    assert read
    # Of a folder of pictures, below the copy or below a split, one is listed.
    pictures = {part for file in listed for part in file.parts if part in PICTURES or part.endswith("images")}
    absent = {file for file in read - set(listed) if not pictures & set(file.parts)}
    assert not absent
    assert all(file.path.exists() for file in files if not file.optional and copy.name != "miyawaki, nilearn")
    assert len(set(listed)) == len(listed) and all(isinstance(file, ExpectedFile) and file.what for file in files)


@pytest.mark.parametrize("way", WAYS)
def test_pictures_that_are_none_are_refused_when_they_are_loaded(copy, way, tmp_path):
    if copy.subject.train.images is None or copy.kind == "miyawaki":
        pytest.skip("it has no pictures, or patterns whose files hold 0 and 1 by definition")
    if copy.kind == "digits69" and way != "constant":
        pytest.skip("its public files hold 0 to 1, or whole numbers from 0 to 255")
    if copy.kind == "vim1" and way != "constant":
        pytest.skip("its files hold grey of any numbers, which are stretched by one range")
    _, make, _ = COPIES[copy.name]
    spoilt = Copy(copy.name, copy.kind, make(tmp_path), copy.options)
    # Pictures may lie beside the one file that is given.
    beside = spoilt.path.parent / "images"
    assert spoil(beside if beside.is_dir() else spoilt.path, WAYS[way]) > 0
    with pytest.raises(InputError) as caught:
        spoilt.load()
    told = str(caught.value)
    assert "\n" not in told and told.endswith(".")
    expected = {
        "binary": "255|0 to 1",
        "constant": "one and the same|shows no digit",
        "of 16 bits": "uint8|8-bit|0 to 1",
    }[way]
    assert re.search(expected, told), told


@pytest.mark.parametrize("asked", [{"subject": "nobody"}, {"roi": "V0"}, {"shoe_size": 42}, {"fold": (0, 1)}])
def test_what_is_not_there_is_one_sentence_with_what_is(copy, asked):
    with pytest.raises(InputError) as caught:
        copy.load(**asked)
    told = str(caught.value)
    assert "\n" not in told and told.endswith(".")
    if "subject" in asked:
        assert copy.subject.name in told
    if "roi" in asked:
        assert "V0" in told and all(name in told for name in list(copy.subject.rois)[:3] or [copy.subject.roi])
    if "shoe_size" in asked:
        assert all(option.name in told for option in copy.reader.options) and "fold" in told

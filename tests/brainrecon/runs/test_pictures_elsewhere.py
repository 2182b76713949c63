"""Pictures from elsewhere: matched to test stimuli by name, by row or by a list, and what is told of the rest."""

import pickle
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from brainrecon.runs.picture_names import PictureNames
from brainrecon.runs.pictures_elsewhere import pictures_elsewhere, read_row_ids
from stages.ground.errors import InputError

IDS = ["nsd-00012", "b", "c_sample-1"]


def save(folder, *names):
    """Pictures of one grey each: that of the place of the name."""
    for grey, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 8, 3), grey, dtype=np.uint8)).save(folder / name)
    return folder


def greys(found):
    return np.asarray(found.pictures[:])[:, 0, 0, 0].tolist()


def test_names_with_and_without_additions_find_their_stimulus(tmp_path):
    save(tmp_path, "b.png", "stim-nsd-00012_sample-1.png", "nsd-00012_sample-0.png", "c_sample-1.png")
    (tmp_path / "notes.txt").write_text("no picture")
    found = pictures_elsewhere(tmp_path, IDS)
    assert found.ids == ["nsd-00012", "nsd-00012", "b", "c_sample-1"]
    assert greys(found) == [2, 1, 0, 3] and found.told == []


def test_pictures_of_other_stimuli_are_left_out_and_missing_ones_told(tmp_path):
    theirs = save(tmp_path / "theirs", "b.png", "zebra.png", "train7.png")
    found = pictures_elsewhere(theirs, IDS)
    assert found.ids == ["b"] and greys(found) == [0]
    assert found.told[0].startswith(
        "2 pictures of theirs are of no test stimulus and were left out, the first is train7.png"
    )
    assert found.told[1].startswith("2 of 3 test stimuli have no picture in theirs, the first is nsd-00012")


@pytest.mark.parametrize(
    ("pattern", "names", "ids", "values"),
    [
        ("{id}_recon.png", ["b_recon.png", "b_gt.png", "c_sample-1_recon.png"], ["b", "c_sample-1"], [0, 2]),
        ("{row:04d}.png", ["0002.png", "0000.png"], ["nsd-00012", "c_sample-1"], [1, 0]),
        ("{number}.png", ["1.png", "3.png"], ["nsd-00012", "c_sample-1"], [0, 1]),
        ("{row}_{sample}.png", ["1_0.png", "1_10.png", "1_2.png"], ["b", "b", "b"], [0, 2, 1]),
        ("{id}/{sample}.png", ["b/1.png", "b/0.png", "nsd-00012/0.png"], ["nsd-00012", "b", "b"], [2, 1, 0]),
        ("a.{id}+(1).png", ["a.b+(1).png", "aXb+(1).png"], ["b"], [0]),
    ],
)
def test_other_peoples_names(tmp_path, pattern, names, ids, values):
    found = pictures_elsewhere(save(tmp_path, *names), IDS, pattern)
    assert found.ids == ids and greys(found) == values


def test_which_row_is_which_stimulus_is_told_and_may_be_listed(tmp_path):
    theirs = save(tmp_path / "theirs", "0.png", "1.png", "2.png", "3.png")
    with pytest.raises(
        InputError, match=r"3.png is number 3 but there are 0 to 2; write {number} .* or pass .* --ids FILE"
    ):
        pictures_elsewhere(theirs, IDS, "{row}.png")
    (theirs / "3.png").unlink()
    told = pictures_elsewhere(theirs, IDS, "{row}.png").told
    assert told == [
        "rows of theirs were taken in the order of the test stimuli: 0.png is nsd-00012, 2.png is c_sample-1"
    ]
    listed = tmp_path / "ids.txt"
    listed.write_text("c_sample-1\nzebra\n\nb\n")
    found = pictures_elsewhere(theirs, IDS, "{row}.png", read_row_ids(listed))
    assert found.ids == ["b", "c_sample-1"] and greys(found) == [2, 0]
    assert found.told[0].startswith("1 pictures of theirs are of no test stimulus") and len(found.told) == 2
    with pytest.raises(InputError, match="these names tell none; add --pattern"):
        pictures_elsewhere(theirs, IDS, None, IDS)


def stack(n=3, samples=None):
    shape = (n, *([samples] if samples else []), 4, 5, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


FORMS = {
    "bytes": lambda shown: shown,
    "floats": lambda shown: shown.astype(np.float32) / 255,
    "half": lambda shown: torch.from_numpy(shown.astype(np.float32) / 255).half(),
    "colours first": lambda shown: torch.from_numpy(np.moveaxis(shown, -1, -3).copy()).float() / 255,
    "whole numbers": lambda shown: shown.astype(np.int64),
}


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("samples", [None, 2])
def test_an_array_is_taken_row_by_row(tmp_path, suffix, form, samples):
    shown = stack(samples=samples)
    path, values = tmp_path / f"all_recons{suffix}", FORMS[form](shown)
    if suffix == ".npy":
        np.save(path, values.numpy() if isinstance(values, torch.Tensor) else values)
    else:
        torch.save(torch.as_tensor(values), path)
    found = pictures_elsewhere(path, IDS)
    assert found.ids == [name for name in IDS for _ in range(samples or 1)]
    np.testing.assert_array_equal(found.pictures[:], shown.reshape(-1, 4, 5, 3))
    np.testing.assert_array_equal(found.pictures[1], shown.reshape(-1, 4, 5, 3)[1])
    assert "row 0 is nsd-00012, row 2 is c_sample-1" in found.told[0] and len(found.told) == 1


def test_rows_of_an_array_by_a_list(tmp_path):
    shown = stack(4)
    np.save(tmp_path / "recons.npy", shown)
    with pytest.raises(InputError, match="pictures of 4 stimuli but there are 3 test stimuli; pass .* as --ids FILE"):
        pictures_elsewhere(tmp_path / "recons.npy", IDS)
    found = pictures_elsewhere(tmp_path / "recons.npy", IDS, None, ["zebra", "c_sample-1", "b", "nsd-00012"])
    np.testing.assert_array_equal(found.pictures[:], shown[[3, 2, 1]])
    assert found.told == ["1 pictures of recons.npy are of no test stimulus and were left out, the first is zebra"]
    for ids, words in ((["b", "b", "c", "d"], "name b twice"), (list("wxyz"), "None of the 4 ids .* test stimulus")):
        with pytest.raises(InputError, match=words):
            pictures_elsewhere(tmp_path / "recons.npy", IDS, None, ids)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (stack() / 127.5 - 1, r"run from -1 to .*; expected 0 to 1: give \(x \+ 1\) / 2"),
        (stack().astype(float), "run from 0 to .*; expected 0 to 1: give x / 255"),
        (stack() - 300.0, "expected 0 to 1: give floats from 0 to 1, or uint8"),
        (stack().astype(int) * 2 + 100, "Whole numbers in .* run from .* to .*; expected 0 to 255"),
        (np.full((3, 4, 5, 3), np.nan), "NaN or infinite"),
        (np.zeros((3, 4, 5, 3), complex), "are complex128"),
        (np.zeros((3, 60)), r"recons.npy is \(3, 60\); expected pictures \(n_stimuli, height, width, 3\)"),
        (np.zeros((3, 3, 5, 3)), "save the colours last"),
        (np.zeros((0, 4, 5, 3)), r"recons.npy is \(0, 4, 5, 3\)"),
    ],
)
def test_values_that_are_no_pictures_are_refused(tmp_path, values, words):
    np.save(tmp_path / "recons.npy", values)
    with pytest.raises(InputError, match=words):
        pictures_elsewhere(tmp_path / "recons.npy", IDS)


class Harmful:
    def __reduce__(self):
        return print, ("unpickled",)


def test_nothing_is_unpickled(tmp_path, capsys):
    torch.save({"images": torch.zeros(3, 3, 4, 4), "clipvoxels": torch.zeros(3)}, tmp_path / "a.pt")
    torch.save(Harmful(), tmp_path / "b.pt")
    (tmp_path / "c.pt").write_bytes(pickle.dumps(Harmful()))
    (tmp_path / "d.pt").write_bytes(b"PK\x03\x04 and no more")
    np.save(tmp_path / "e.npy", np.array([Harmful()]), allow_pickle=True)
    (tmp_path / "f.npy").write_bytes(b"")
    told = {"a.pt": "a dictionary of images, clipvoxels; expected one tensor"} | dict.fromkeys(
        ("b.pt", "c.pt", "d.pt"), "tensor"
    )
    for name in ("a.pt", "b.pt", "c.pt", "d.pt", "e.npy", "f.npy"):
        with pytest.raises(InputError, match=told.get(name, "pickled Python objects|it is empty")):
            pictures_elsewhere(tmp_path / name, IDS)
    assert "unpickled" not in capsys.readouterr().out


def test_a_tensor_that_somebody_packed_again_is_read_as_it_was(tmp_path):
    """Its bytes lie compressed in the archive, and mapped they would be taken for values."""
    pictures = torch.randint(0, 256, (3, 6, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.save(pictures // 9, tmp_path / "recons.pt")
    with zipfile.ZipFile(tmp_path / "recons.pt") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "recons.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    assert (pictures_elsewhere(tmp_path / "recons.pt", IDS).pictures[:] == (pictures // 9).numpy()).all()


@pytest.mark.parametrize(
    ("names", "pattern", "words"),
    [
        ((), None, "holds no picture"),
        (
            ("zebra.png", "1.png"),
            None,
            r"None of 2 pictures .* the first is 1.png.*nsd-00012.png.* --pattern '{id}_recon.png'",
        ),
        (("b.png", "stim-b.png"), None, "stim-b.png and b.png in .* both sample 0 of stimulus b"),
        (("b.png",), "{name}.png", r"has the fields name; expected one of id, row and number"),
        (("b.png",), "recon.png", r"has the fields \(none\)"),
        (("b.png",), "{id}_{row}.png", "has the fields id, row"),
        (("b.png",), "{id.png", "expected one of id"),
        (("0.png",), "{number}.png", "0.png is number 0 but there are 1 to 3; write {row}"),
    ],
)
def test_what_cannot_be_matched_is_refused(tmp_path, names, pattern, words):
    save(tmp_path, *names)
    with pytest.raises(InputError, match=words):
        pictures_elsewhere(tmp_path, IDS, pattern)


def test_what_is_not_there_is_told(tmp_path):
    for name in ("absent", "absent.npy"):
        with pytest.raises(InputError, match="There is no folder .*absent"):
            pictures_elsewhere(tmp_path / name, IDS)
    np.save(tmp_path / "recons.npy", stack())
    with pytest.raises(InputError, match="leave --pattern out"):
        pictures_elsewhere(tmp_path / "recons.npy", IDS, "{id}.png")
    (tmp_path / "empty.txt").write_text("\n")
    for name in ("empty.txt", "none.txt"):
        with pytest.raises(InputError, match=name):
            read_row_ids(tmp_path / name)


def test_a_pattern_reads_what_it_writes():
    ids = ["a", "a_1", "x/y", "1"]
    for pattern in (
        "{id}_{sample}.png",
        "{id}-recon-{sample}.jpg",
        "{row:05d}.s{sample:02d}.png",
        "{number}_{sample}.png",
    ):
        names = PictureNames(pattern, ids)
        for row, name in enumerate(ids):
            shown = names.read(pattern.format(id=name, row=row, number=row + 1, sample=7))
            assert (shown.stimulus_id, shown.sample) == (name, 7)

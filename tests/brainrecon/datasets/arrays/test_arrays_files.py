"""One's own arrays as one file: every kind holds the same, is read lazily where it can be, and tells what is wrong."""

import h5py
import numpy as np
import pytest
import scipy.io
from array_files import WRITERS, content, write_hdf5

from brainrecon.datasets import hdf5_rows, load, subjects
from brainrecon.datasets.arrays.reader import write as write_folder
from brainrecon.datasets.inventory import describe, files
from stages.ground.errors import InputError


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", WRITERS)
def test_every_trial_keeps_its_response_and_its_picture(tmp_path, kind, seed):
    write, name = WRITERS[kind]
    arrays = content(seed)
    write(tmp_path / name, arrays)
    subject = load(f"arrays:{tmp_path / name}")
    assert list(subject.splits) == ["train", "test"] and subject.n_voxels == arrays["betas"].shape[1]
    picture = dict(zip(arrays["image_ids"], arrays["images"]))
    for label, split in subject.splits.items():
        rows = arrays["split"] == label
        np.testing.assert_array_equal(split.trial_stimulus_ids, arrays["stimulus_ids"][rows])
        np.testing.assert_array_equal(np.asarray(split.betas), arrays["betas"][rows])
        np.testing.assert_array_equal(split.betas[[2, 0]], arrays["betas"][rows][[2, 0]])
        np.testing.assert_array_equal(split.sessions, arrays["sessions"][rows])
        np.testing.assert_array_equal(split.runs, arrays["runs"][rows])
        assert split.betas[:].dtype == np.float32 and split.images.dtype == np.uint8
        for place, stimulus in enumerate(split.stimulus_ids):
            np.testing.assert_array_equal(split.images[place], picture[stimulus])
            assert split.captions[place] == [f"{stimulus} one", f"{stimulus} two"]
        np.testing.assert_array_equal(split.images[:], [picture[stimulus] for stimulus in split.stimulus_ids])
    np.testing.assert_array_equal(subject.rois["V1"], arrays["rois/V1"])
    np.testing.assert_allclose(subject.noise_ceiling, arrays["noise_ceiling"], rtol=1e-6)
    second = load(f"arrays:{tmp_path / name}", roi="V2")
    np.testing.assert_array_equal(second.test.betas[1:3], subject.test.betas[1:3, 4:])
    assert second.roi == "V2" and list(second.rois) == ["V2"] and len(second.noise_ceiling) == second.n_voxels
    assert second.fingerprint == subject.fingerprint


def test_every_kind_of_file_shows_the_same(tmp_path):
    found = set()
    for kind, (write, name) in WRITERS.items():
        folder = tmp_path / kind
        folder.mkdir()
        write(folder / name, content(7))
        found.add(load(f"arrays:{folder / name}").fingerprint)
    assert len(found) == 1


def test_hdf5_is_read_by_rows(tmp_path, monkeypatch):
    arrays = content(1)
    write_hdf5(tmp_path / "mine.h5", arrays)
    read = []
    original = h5py.Dataset.__getitem__

    def counted(self, selection, *rest):
        values = original(self, selection, *rest)
        if self.name in ("/betas", "/images"):
            read.append((self.name, len(values)))
        return values

    subject = load(f"arrays:{tmp_path / 'mine.h5'}")
    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    describe(subject, duplicates=False)
    assert {name for name, _ in read} == {"/betas"}
    read.clear()
    subject.train.betas[1:4]
    subject.test.images[0]
    assert [name for name, _ in read] == ["/betas", "/images"]
    assert read[0][1] <= 3 * (1 + hdf5_rows.ROWS_READ_OVER) and read[1][1] == 1


@pytest.mark.parametrize("index", [3, -1, slice(2, 9, 3), slice(0, 0), [5, 5, 0], [0, 14], np.arange(15) % 4 == 0])
@pytest.mark.parametrize("reverse", [False, True])
def test_rows_index_like_an_array(tmp_path, index, reverse):
    values = np.random.default_rng(0).normal(size=(15, 3, 2)).astype(">f4")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = values.T if reverse else values
    rows = hdf5_rows.Hdf5Rows(tmp_path / "x.h5", "x", reverse)
    np.testing.assert_array_equal(rows[index], values[index])
    assert rows.shape == values.shape and rows[index].dtype == np.float32 and rows[index].dtype.isnative


def test_numbers_may_be_ids_and_pictures_in_order_of_presentation(tmp_path):
    arrays = content(2)
    order = list(dict.fromkeys(arrays["stimulus_ids"]))
    arrays["stimulus_ids"] = np.array([100 + float(name[4:]) for name in arrays["stimulus_ids"]])
    places = [list(arrays["image_ids"]).index(name) for name in order]
    arrays["images"], arrays["captions"] = arrays["images"][places], arrays["captions"][places, 0]
    del arrays["image_ids"]
    np.savez(tmp_path / "mine.npz", **arrays)
    scipy.io.savemat(tmp_path / "mine.mat", arrays | {"captions": arrays["captions"].astype(object)})
    for name in ("mine.npz", "mine.mat"):
        train = load(f"arrays:{tmp_path / name}").train
        for place, stimulus in enumerate(train.stimulus_ids):
            row = [str(100 + int(order[k][4:])) for k in range(len(order))].index(stimulus)
            np.testing.assert_array_equal(train.images[place], arrays["images"][row])
            assert train.captions[place] == [arrays["captions"][row]]


@pytest.mark.parametrize("first", [0, 1])
def test_numbers_that_may_be_rows_of_the_pictures_are_asked_about(tmp_path, first):
    arrays, path = content(2), tmp_path / "mine.npz"
    n = len(arrays["images"])
    rows = [list(arrays["image_ids"]).index(name) for name in arrays["stimulus_ids"]]
    arrays |= {"stimulus_ids": first + np.array(rows), "image_ids": np.arange(first, first + n)}
    np.savez(path, **arrays)
    for split in load(f"arrays:{path}").splits.values():
        for place, name in enumerate(split.stimulus_ids):
            np.testing.assert_array_equal(split.images[place], arrays["images"][int(name) - first])
    del arrays["image_ids"]
    np.savez(path, **arrays)
    told = rf"'stimulus_ids' in .* are {first} to {first + n - 1} and not shown in that order.* image_ids, .*arange\({first}"
    with pytest.raises(InputError, match=told):
        load(f"arrays:{path}")
    # In that order there is one reading.
    places = np.argsort(arrays["stimulus_ids"], kind="stable")
    per_trial = {name: arrays[name][places] for name in ("betas", "stimulus_ids", "split", "sessions", "runs")}
    np.savez(path, **(arrays | per_trial))
    assert load(f"arrays:{path}").train.n_stimuli


def test_patterns_subject_name_and_files(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "mine.npz"
    np.savez(
        path,
        patterns=rng.normal(size=(6, 4)),
        stimulus_ids=list("abcdef"),
        split=["train"] * 4 + ["test"] * 2,
        subject="P07",
    )
    subject = load(f"arrays:{path}")
    assert subject.name == "P07" and subjects(f"arrays:{path}") == ["P07"] and subject.test.images is None
    assert "one averaged response per stimulus" in subject.notes[0]
    assert [row["present"] for row in files("arrays", path)] == [True]
    with pytest.raises(InputError, match="holds subject P07, not subj02"):
        load(f"arrays:{path}", subject="subj02")


def test_constant_voxels_are_fine_and_repeated_ids_of_one_picture_too(tmp_path):
    arrays = content(3)
    arrays["betas"][:, 2] = 0
    place = {name: row for row, name in enumerate(arrays["image_ids"])}
    shown = [place[name] for name in arrays["stimulus_ids"]]
    arrays["images"], arrays["image_ids"] = arrays["images"][shown], arrays["stimulus_ids"]
    del arrays["captions"]
    np.savez(tmp_path / "mine.npz", **arrays)
    train = load(f"arrays:{tmp_path / 'mine.npz'}").train
    assert len(train.images) == train.n_stimuli and not train.patterns[:, 2].any()


def test_any_path(tmp_path):
    folder = tmp_path / "meine Daten äß 研究"
    folder.mkdir()
    for kind, (write, name) in WRITERS.items():
        path = folder / f"{kind} é {name}"
        write(path, content(0))
        path.chmod(0o444)
    folder.chmod(0o555)
    try:
        assert all(load(f"arrays:{path}").test.n_trials for path in folder.iterdir())
    finally:
        folder.chmod(0o755)


def without(*names):
    return lambda arrays: [arrays.pop(name) for name in names]


def put(**changes):
    return lambda arrays: arrays.update(
        {name: change(arrays) if callable(change) else change for name, change in changes.items()}
    )


def not_a_number(arrays):
    arrays["betas"][3, 1] = np.nan


def shown_in_both(arrays):
    arrays["split"][np.flatnonzero(arrays["stimulus_ids"] == arrays["stimulus_ids"][0])[0]] = "train"
    arrays["split"][np.flatnonzero(arrays["stimulus_ids"] == arrays["stimulus_ids"][0])[1]] = "test"


def slash(arrays):
    for name in ("stimulus_ids", "image_ids"):
        arrays[name] = np.char.replace(arrays[name], "stim03", "a/b")


HOSTILE = {
    "no betas": (without("betas"), "holds captions.*it needs betas, stimulus_ids and split"),
    "no ids": (without("stimulus_ids"), "holds no stimulus_ids but betas"),
    "no split": (without("split"), "has no array 'split'; add one text per row"),
    "one split only": (put(split=lambda a: np.full(len(a["betas"]), "train")), "'split' .* holds train; write"),
    "split of numbers": (put(split=lambda a: np.arange(len(a["betas"])) % 2), "'split' .* holds 0, 1; write"),
    "ids of another length": (put(stimulus_ids=lambda a: a["stimulus_ids"][1:]), "'stimulus_ids' has .* one entry per"),
    "transposed": (put(betas=lambda a: a["betas"].T), "transpose the betas"),
    "betas of three axes": (put(betas=lambda a: a["betas"][None]), "expected numbers \\(rows, n_voxels\\)"),
    "text for betas": (put(betas=lambda a: a["betas"].astype(str)), "'betas' .* expected numbers"),
    "objects": (put(betas=lambda a: a["betas"].astype(object)), "'betas' .* Python objects.*save it as a plain array"),
    "objects for ids": (put(stimulus_ids=lambda a: a["stimulus_ids"].astype(object)), "dtype=str\\) for text"),
    "nan": (not_a_number, "1 of .* voxels hold NaN"),
    "in both splits": (shown_in_both, "in both train and test"),
    "slash": (slash, "'a/b', which cannot be a file name.*'a_b'"),
    "empty id": (
        put(stimulus_ids=lambda a: np.where(np.arange(len(a["betas"])), a["stimulus_ids"], "")),
        "stimulus id ''",
    ),
    "fractions for ids": (put(stimulus_ids=lambda a: np.arange(len(a["betas"])) / 2), "not all whole numbers"),
    "two pictures of one id": (
        put(image_ids=lambda a: np.where(np.arange(len(a["image_ids"])) == 1, a["image_ids"][0], a["image_ids"])),
        "two different pictures of stimulus",
    ),
    "a picture too few": (put(images=lambda a: a["images"][1:]), "'images' .* rows but there are .* image_ids"),
    "unknown picture": (
        put(image_ids=lambda a: np.array([f"x{row}" for row in range(len(a["images"]))])),
        "no picture or caption for .* the first is",
    ),
    "pictures of floats": (put(images=lambda a: a["images"] / 255), "expected uint8"),
    "channels first": (put(images=lambda a: a["images"].transpose(0, 3, 1, 2)), "expected uint8"),
    "captions of numbers": (put(captions=lambda a: np.arange(len(a["images"]))), "expected text"),
    "short mask": (put(roi_V2=np.ones(3, bool)), "roi V2 has 3 voxels but the betas"),
    "mask of labels": (put(roi_V2=lambda a: np.arange(a["betas"].shape[1])), "holds 2 beside 0 and 1"),
    "short ceiling": (put(noise_ceiling=np.ones(2)), "the noise ceiling has 2 voxels"),
    "fractions for sessions": (put(sessions=lambda a: np.arange(len(a["betas"])) / 3), "'sessions' .* whole numbers"),
    "patterns with repeats": (
        lambda arrays: arrays.update(patterns=arrays.pop("betas")),
        "patterns have one row per stimulus",
    ),
    "betas and patterns": (put(patterns=lambda a: a["betas"]), "both betas and patterns"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_wrong_is_one_sentence(tmp_path, name):
    change, told = HOSTILE[name]
    arrays = content(5)
    change(arrays)
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(InputError, match=told) as caught:
        subject = load(f"arrays:{tmp_path / 'mine.npz'}")
        [split.patterns for split in subject.splits.values()]
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != "prefixed"])
@pytest.mark.parametrize("keep", [0, 0.05, 0.5, 0.98])
def test_a_truncated_file_is_told(tmp_path, kind, keep):
    write, name = WRITERS[kind]
    path = tmp_path / name
    write(path, content(0))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(InputError, match="mine.*(copy or save it again|it needs betas)") as caught:
        load(f"arrays:{path}").train.patterns
    assert "\n" not in str(caught.value)


def test_matlab_text_that_is_a_matrix_of_letters(tmp_path):
    arrays = content(4)
    scipy.io.savemat(tmp_path / "mine.mat", {key: values for key, values in arrays.items() if key[:5] != "rois/"})
    train = load(f"arrays:{tmp_path / 'mine.mat'}").train
    np.testing.assert_array_equal(train.trial_stimulus_ids, arrays["stimulus_ids"][arrays["split"] == "train"])


@pytest.mark.parametrize(
    "name, told",
    [("absent.npz", "no file"), ("absent.h5", "no file"), ("absent", "no folder"), ("x.txt", "none of .npz, .h5")],
)
def test_other_paths(tmp_path, name, told):
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(InputError, match=told):
        load(f"arrays:{tmp_path / name}")


def test_unknown_and_empty_rois_list_those_that_are_there(tmp_path):
    arrays = content(0)
    arrays["roi_none"] = np.zeros(arrays["betas"].shape[1], bool)
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(InputError, match="no roi 'V9'; it has V2, none, V1"):
        load(f"arrays:{tmp_path / 'mine.npz'}", roi="V9")
    with pytest.raises(InputError, match="The roi 'none' .* has no voxels"):
        load(f"arrays:{tmp_path / 'mine.npz'}", roi="none")
    assert load(f"arrays:{tmp_path / 'mine.npz'}", roi="all").n_voxels == arrays["betas"].shape[1]


@pytest.mark.parametrize("both", [0, 1, 4])
def test_pictures_on_both_sides_under_other_ids_are_told(tmp_path, both):
    random = np.random.default_rng(both)
    images = random.integers(0, 256, (20, 6, 5, 3), dtype=np.uint8)
    images[15 : 15 + both] = images[3 : 3 + both]
    np.savez(
        tmp_path / "mine.npz",
        betas=random.normal(size=(20, 7)).astype(np.float32),
        stimulus_ids=[f"s{row}" for row in range(20)],
        split=["train"] * 15 + ["test"] * 5,
        images=images,
    )
    subject = load(f"arrays:{tmp_path / 'mine.npz'}")
    write_folder(subject, tmp_path / "folder")
    for one in (subject, load(f"arrays:{tmp_path / 'folder'}")):
        told = [note for note in one.notes if "under another id" in note]
        assert len(told) == bool(both)
        assert not told or told[0].startswith(f"{both} of 5 test pictures") and "such as s15, which is s3:" in told[0]
        assert one.details == {"n_trials": 20}

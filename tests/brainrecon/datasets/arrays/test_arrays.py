"""Plain arrays: a round trip, a template that loads, resuming, hostile input."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from brainrecon.datasets import load, subjects
from brainrecon.datasets.arrays.reader import DESCRIPTION, files, write, write_template
from brainrecon.datasets.own_mask import as_mask
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from stages.ground.errors import InputError


@pytest.fixture
def subject():
    generator = np.random.default_rng(3)

    def split(name, n_stimuli):
        trials = generator.permutation(np.repeat([f"{name}{row}" for row in range(n_stimuli)], 3))
        return Split(
            generator.normal(size=(len(trials), 30)).astype(np.float32),
            trials,
            sessions=np.arange(len(trials)) // 5 + 1,
            images=generator.integers(0, 256, (n_stimuli, 8, 9, 3), dtype=np.uint8),
            captions=[[f"caption {row}"] for row in range(n_stimuli)],
        )

    mask = np.arange(30) < 12
    splits = {"train": split("a", 100), "test": split("b", 7)}
    return Subject(
        "subj03", "nsd", "nsd:x", splits, "nsdgeneral", {"V1": mask}, np.linspace(0, 50, 30), "f" * 8, ["note"], True
    )


def test_round_trip(tmp_path, subject):
    write(subject, tmp_path / "out")
    again = load(f"arrays:{tmp_path / 'out'}")
    for name, split in subject.splits.items():
        np.testing.assert_array_equal(again.splits[name].patterns, split.patterns)
        np.testing.assert_array_equal(again.splits[name].images[:], split.images)
        np.testing.assert_array_equal(again.splits[name].stimulus_ids, split.stimulus_ids)
        assert again.splits[name].captions == split.captions
    assert (again.name, again.dataset, again.roi, again.simulated) == ("subj03", "nsd", "nsdgeneral", True)
    assert again.fingerprint == subject.fingerprint
    one = load(f"arrays:{tmp_path / 'out'}", roi="V1")
    np.testing.assert_array_equal(one.test.patterns, subject.test.patterns[:, :12])
    assert one.noise_ceiling.shape == (12,)


def test_an_interrupted_writing_goes_on(tmp_path, subject):
    def stop(label, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(subject, tmp_path / "out", progress=stop)
    with pytest.raises(InputError, match="unfinished writing of arrays; run the same"):
        load(f"arrays:{tmp_path / 'out'}")
    done = []
    write(subject, tmp_path / "out", progress=lambda label, rows, total: done.append((label, rows)))
    assert done[0] == ("train betas", 300)  # the first block of 256 was there
    np.testing.assert_array_equal(load(f"arrays:{tmp_path / 'out'}").train.patterns, subject.train.patterns)


def test_a_file_whose_every_entry_is_optional_is_optional_itself(tmp_path):
    write_template(tmp_path / "mine")
    whole = load(f"arrays:{tmp_path / 'mine'}")
    (tmp_path / "mine" / "subject.json").unlink()
    subject = load(f"arrays:{tmp_path / 'mine'}")
    assert (subject.name, subject.dataset, subject.roi) == ("subj01", "arrays", "all")
    assert subjects(f"arrays:{tmp_path / 'mine'}") == ["subj01"]
    np.testing.assert_array_equal(subject.test.patterns, whole.test.patterns)
    assert [file.optional for file in files(tmp_path / "mine") if file.path.name == "subject.json"] == [True]


def test_a_folder_of_another_layout_is_told_what_is_read(tmp_path):
    (tmp_path / "training_split" / "training_images").mkdir(parents=True)
    (tmp_path / "lh_fmri.npy").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"holds lh_fmri.npy, training_split/; expected train/ and test/, each with betas.npy"
    ):
        load(f"arrays:{tmp_path}")


def test_template_loads_and_describes_itself(tmp_path):
    write_template(tmp_path / "mine")
    subject = load(f"arrays:{tmp_path / 'mine'}")
    assert subject.train.n_stimuli == 12 and list(subject.test.repeats) == [3] * 4
    readme = (tmp_path / "mine" / "README.md").read_text()
    for told in ("trials.csv", "patterns.npy", "numpy.savez(", "roi_<name>", "_events.tsv", "test_stimuli.txt"):
        assert told in readme
    assert "fingerprint" not in json.loads((tmp_path / "mine" / "subject.json").read_text())
    assert all(file.path.exists() for file in files(tmp_path / "mine") if not file.optional)
    assert "GLMsingle" in DESCRIPTION.measured and "10.7554/eLife.77599" in DESCRIPTION.citation


def test_pictures_may_be_files(tmp_path):
    write_template(tmp_path / "mine")
    images = np.load(tmp_path / "mine" / "test" / "images.npy")
    (tmp_path / "mine" / "test" / "images.npy").unlink()
    (tmp_path / "mine" / "test" / "images").mkdir()
    for row, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "mine" / "test" / "images" / f"test{row:03d}.png")
    np.testing.assert_array_equal(load(f"arrays:{tmp_path / 'mine'}").test.images[[2, 0]], images[[2, 0]])


def spoil_text(name, old, new, count=1):
    def change(folder):
        (folder / name).write_text((folder / name).read_text().replace(old, new, count))

    return change


def save_array(name, values):
    return lambda folder: np.save(folder / name, values)


def cut(name, keep):
    def change(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * keep)])

    return change


def files_of_other_sizes(folder):
    (folder / "test" / "images.npy").unlink()
    (folder / "test" / "images").mkdir()
    for row in range(4):
        Image.new("RGB", (8, 8 + row // 3)).save(folder / "test" / "images" / f"test{row:03d}.png")


SPOILED = {
    "slash": spoil_text("test/trials.csv", "test001", "a/b"),
    "backslash": spoil_text("test/trials.csv", "test001", "a\\b"),
    "no id": spoil_text("test/trials.csv", "test001", ""),
    "long id": spoil_text("test/trials.csv", "test001", "x" * 300),
    "latin": lambda folder: (folder / "test" / "trials.csv").write_bytes("stimulus_id\né\n".encode("latin1")),
    "column": spoil_text("test/trials.csv", "stimulus_id", "picture"),
    "session": spoil_text("test/trials.csv", "test001,1", "test001,first"),
    "truncated": cut("test/betas.npy", 0.7),
    "truncated pictures": cut("test/images.npy", 0.5),
    "flat": save_array("test/betas.npy", np.zeros(12)),
    "text": save_array("test/betas.npy", np.full((12, 50), "x")),
    "grey": save_array("test/images.npy", np.zeros((4, 8, 8), np.uint8)),
    "few pictures": save_array("test/images.npy", np.zeros((3, 8, 8, 3), np.uint8)),
    "sizes": files_of_other_sizes,
    "mask": save_array("rois/early.npy", np.ones(49, bool)),
    "labels": save_array("rois/early.npy", np.arange(50)),
    "ceiling": save_array("noise_ceiling.npy", np.ones(3)),
    "both": save_array("test/patterns.npy", np.zeros((4, 50))),
    "list": lambda folder: (folder / "subject.json").write_text("[]"),
    "json": cut("subject.json", 0.5),
}


def damage(name):
    def change(folder):
        if name == "nan":
            betas = np.load(folder / "train" / "betas.npy")
            betas[3, 7] = np.nan
            np.save(folder / "train" / "betas.npy", betas)
        elif name == "voxels":
            np.save(folder / "test" / "betas.npy", np.zeros((12, 49), dtype=np.float32))
        elif name == "trials":
            np.save(folder / "test" / "betas.npy", np.zeros((11, 50), dtype=np.float32))
        elif name == "pickle":
            np.save(folder / "test" / "betas.npy", np.array([{}], dtype=object), allow_pickle=True)
        elif name == "leak":
            text = (folder / "test" / "trials.csv").read_text().replace("test000", "train000")
            (folder / "test" / "trials.csv").write_text(text)
            captions = json.loads((folder / "test" / "captions.json").read_text())
            captions["train000"] = captions.pop("test000")
            (folder / "test" / "captions.json").write_text(json.dumps(captions))
        elif name == "caption":
            (folder / "test" / "captions.json").write_text("{}")
        elif name == "absent":
            (folder / "test" / "trials.csv").unlink()
        elif name in SPOILED:
            SPOILED[name](folder)

    return change


@pytest.mark.parametrize(
    "name, message",
    [
        ("nan", "1 of 50 voxels hold NaN"),
        ("voxels", "49 voxels .* 50"),
        ("trials", "11 trials but trials.csv 12"),
        ("pickle", "holds pickled Python objects"),
        ("leak", "in both train and test"),
        ("caption", "nothing for 4 of 4 stimuli"),
        ("absent", "trials.csv is missing"),
        ("slash", "'a/b', which cannot be a file name.*'a_b'"),
        ("backslash", "cannot be a file name"),
        ("no id", "stimulus id ''.*'picture001'"),
        ("long id", "300 bytes"),
        ("latin", "cannot be read as CSV"),
        ("column", "no column stimulus_id"),
        ("session", "Column session .* no whole number"),
        ("truncated", "says that it holds"),
        ("truncated pictures", "says that it holds"),
        ("flat", "expected numbers \\(n_trials, n_voxels\\)"),
        ("text", "expected numbers"),
        ("grey", "expected uint8"),
        ("few pictures", "4 stimuli but 3 images"),
        ("sizes", "save all pictures in one size"),
        ("mask", "roi early has 49 voxels but the betas have 50"),
        ("labels", "holds 2 beside 0 and 1"),
        ("ceiling", "the noise ceiling has 3 voxels"),
        ("both", "both betas.npy and patterns.npy"),
        ("list", "holds a list"),
        ("json", "cannot be read as JSON"),
    ],
)
def test_hostile_input(tmp_path, name, message):
    write_template(tmp_path / "mine")
    damage(name)(tmp_path / "mine")
    with pytest.raises(InputError, match=message) as caught:
        load(f"arrays:{tmp_path / 'mine'}").train.patterns
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_folder_in_use_is_kept(tmp_path, subject):
    write_template(tmp_path / "mine")
    with pytest.raises(InputError, match="name another folder"):
        write(subject, tmp_path / "mine")
    with pytest.raises(InputError, match="not empty"):
        write_template(tmp_path / "mine")


def test_another_subject_does_not_finish_what_one_began(tmp_path, subject):
    def stop(label, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(subject, tmp_path / "out", progress=stop)
    subject.name = "subj04"
    with pytest.raises(InputError, match="unfinished writing of subj03"):
        write(subject, tmp_path / "out")


def test_the_users_own_files_are_kept(tmp_path, subject):
    (tmp_path / "mine" / "train").mkdir(parents=True)
    (tmp_path / "mine" / "train" / "trials.csv").write_text("mine")
    with pytest.raises(InputError, match="other files"):
        write(subject, tmp_path / "mine")
    assert (tmp_path / "mine" / "train" / "trials.csv").read_text() == "mine"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("repeated", [False, True])
def test_patterns_have_a_row_per_stimulus(tmp_path, seed, repeated):
    folder = tmp_path / "mine"
    write_template(folder)
    ids = np.random.default_rng(seed).permutation(["test000", "test001", "test002", "test003"] * (2 if repeated else 1))
    first = list(dict.fromkeys(ids))
    (folder / "test" / "trials.csv").write_text("stimulus_id,session\n" + "".join(f"{name},3\n" for name in ids))
    (folder / "test" / "betas.npy").unlink()
    patterns = np.random.default_rng(seed).normal(size=(4, 50))
    np.save(folder / "test" / "patterns.npy", patterns)
    test = load(f"arrays:{folder}", roi="early").test
    assert test.stimulus_ids.tolist() == test.trial_stimulus_ids.tolist() == first
    np.testing.assert_allclose(test.patterns, patterns[:, :20], rtol=1e-6)
    assert (test.sessions is None) == repeated
    assert (folder / "test" / "patterns.npy", "test responses (n_stimuli, n_voxels)", False) in [
        file[:3] for file in files(folder)
    ]
    np.save(folder / "test" / "patterns.npy", patterns[:3])
    with pytest.raises(InputError, match="patterns.npy has 3 stimuli but trials.csv 4; give one row per stimulus."):
        load(f"arrays:{folder}")


def test_a_stored_fingerprint_ends_with_the_pictures_it_was_of(tmp_path, subject):
    folder = tmp_path / "out"
    write(subject, folder)
    for roi in (None, "V1"):
        assert load(f"arrays:{folder}", roi=roi).fingerprint == subject.fingerprint
    write(subject, folder)
    images = np.load(folder / "test" / "images.npy")
    images[2, 3, 3, 1] ^= 1
    np.save(folder / "test" / "images.npy", images)
    edited = load(f"arrays:{folder}").fingerprint
    assert edited not in (subject.fingerprint, "")
    with pytest.raises(InputError, match="were changed since they were written"):
        write(subject, folder)
    images[2, 3, 3, 1] ^= 1
    np.save(folder / "test" / "images.npy", images)
    assert load(f"arrays:{folder}").fingerprint == subject.fingerprint
    trials = folder / "train" / "trials.csv"
    trials.write_text(trials.read_text().replace("a7,", "a700,"))
    assert load_ids_only(folder) not in (subject.fingerprint, edited)


def load_ids_only(folder):
    """The fingerprint after ids were changed, which captions are no longer found by."""
    (folder / "train" / "captions.json").unlink()
    return load(f"arrays:{folder}").fingerprint


def test_a_fingerprint_without_the_digest_of_its_stimuli_is_not_believed(tmp_path, subject):
    write(subject, tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "subject.json").read_text())
    del facts["content"]
    (tmp_path / "out" / "subject.json").write_text(json.dumps(facts))
    assert load(f"arrays:{tmp_path / 'out'}").fingerprint != subject.fingerprint


def test_ids_that_name_no_file_are_not_written(tmp_path, subject):
    split = subject.splits["test"]
    ids = np.char.replace(split.trial_stimulus_ids, "b0", "b/")
    subject.splits["test"] = Split(split.betas, ids)
    with pytest.raises(InputError, match="'b/', which cannot be a file name"):
        write(subject, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_any_path_spreadsheets_and_read_only_folders(tmp_path):
    folder = tmp_path / "meine Daten äß 研究"
    write_template(folder)
    expected = load(f"arrays:{folder}").test.patterns
    trials = folder / "test" / "trials.csv"
    trials.write_bytes(b"\xef\xbb\xbf" + trials.read_bytes().replace(b"\n", b"\r\n"))
    folder.chmod(0o555)
    try:
        np.testing.assert_array_equal(load(f"arrays:{folder}").test.patterns, expected)
    finally:
        folder.chmod(0o755)


def restandardized(subject, units):
    """The same subject in other units, which its details tell or do not."""
    splits = {
        name: Split(split.betas * 2 + 1, split.trial_stimulus_ids, split.sessions, None, split.images, split.captions)
        for name, split in subject.splits.items()
    }
    return replace(subject, splits=splits, details=units)


@pytest.mark.parametrize("units", [{"units": "z-scores within sessions"}, {}])
def test_other_betas_of_the_same_subject_are_never_taken_for_written(tmp_path, subject, units):
    def stop(label, done, total):
        raise KeyboardInterrupt

    write(subject, tmp_path / "whole")
    with pytest.raises(InputError, match="name another folder"):
        write(restandardized(subject, units), tmp_path / "whole")
    write(subject, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        write(subject, tmp_path / "begun", progress=stop)
    with pytest.raises(InputError, match="name another folder"):
        write(restandardized(subject, units), tmp_path / "begun")
    write(subject, tmp_path / "begun")
    np.testing.assert_array_equal(load(f"arrays:{tmp_path / 'begun'}").train.patterns, subject.train.patterns)


def test_regions_are_joined(tmp_path, subject):
    subject.rois["FFA-1"] = np.arange(30) % 4 == 0
    write(subject, tmp_path / "out")
    source = f"arrays:{tmp_path / 'out'}"
    first, second = subject.rois["V1"], subject.rois["FFA-1"]
    for roi, expected in {
        "V1+FFA-1": first | second,
        "nsdgeneral - V1": ~first,
        "FFA-1-V1": second & ~first,
        "nsdgeneral-V1+FFA-1": ~first | second,
    }.items():
        one = load(source, roi=roi)
        np.testing.assert_array_equal(one.test.patterns, subject.test.patterns[:, expected])
        np.testing.assert_array_equal(one.noise_ceiling, subject.noise_ceiling[expected])
        assert one.roi == roi and one.fingerprint == subject.fingerprint
    for roi, told in {
        "V1+V9": "has no roi 'V9'",
        "V1-V1": "leaves no voxel",
        "V1+": "the end stands where a region was expected",
        "": "the end stands where a region was expected",
    }.items():
        with pytest.raises(InputError, match=told):
            load(source, roi=roi)


@pytest.mark.parametrize("inside", [1 - 2**-23, 1 + 1e-4, 0.9995])
def test_a_mask_rounded_by_its_scale_factor_is_a_mask(inside):
    values = np.array([[0, inside], [1e-4, 1]])
    np.testing.assert_array_equal(as_mask(values, "mask.nii"), [[False, True], [False, True]])


@pytest.mark.parametrize(
    ("other", "told"),
    [(0.998, "0.998"), (0.9989999, "0.9989999"), (2, "2"), (-1, "-1"), (np.nan, "nan"), (np.inf, "inf")],
)
def test_what_is_no_mask_is_shown_with_all_its_digits(other, told):
    with pytest.raises(InputError, match=f"mask.nii holds {told} beside 0 and 1"):
        as_mask(np.array([0, 1, other]), "mask.nii")


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        (None, "has null as grid"),
        ({"shape": [5, 5]}, "as grid; expected shape"),
        ({"shape": [5, 5, 1], "affine": np.eye(4).tolist()}, "outside the grid"),
        ({"shape": [5, 5, 2], "affine": np.eye(3).tolist()}, r"expected whole numbers \(50, 3\)"),
    ],
)
def test_a_grid_that_does_not_go_with_the_voxels(grid, told, tmp_path):
    write_template(tmp_path / "mine")
    np.save(tmp_path / "mine" / "voxel_indices.npy", np.argwhere(np.ones((5, 5, 2))))
    facts = tmp_path / "mine" / "subject.json"
    right = json.loads(facts.read_text()) | {"grid": {"shape": [5, 5, 2], "affine": np.eye(4).tolist()}}
    facts.write_text(json.dumps(right))
    assert load(f"arrays:{tmp_path / 'mine'}", roi="early").to_nifti(np.arange(20)).shape == (5, 5, 2)
    facts.write_text(json.dumps(right | {"grid": grid}))
    with pytest.raises(InputError, match=told):
        load(f"arrays:{tmp_path / 'mine'}")

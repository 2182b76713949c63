"""The Algonauts challenge of 2023 against files that are written from its description."""

import hashlib
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from algonauts_files import LABELS, Algonauts
from damage import cut
from PIL import Image

from brainrecon.cli.main import run_command
from brainrecon.datasets import dataset_of, load
from stages.ground.errors import InputError


@pytest.fixture
def study(tmp_path):
    return Algonauts(tmp_path / "challenge")


def read(study, **options):
    return load(f"algonauts2023:{study.root}", **options)


def held_out(number, one_in):
    return int(hashlib.sha256(b"nsd%05d" % number).hexdigest()[:15], 16) % one_in == 0


# What is read


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("one_in", [10, 3])
def test_every_picture_has_its_own_response(tmp_path, seed, one_in):
    rng = np.random.default_rng(seed)
    sizes, n_train = rng.integers(20, 60, 2).tolist(), int(rng.integers(40, 70))
    study = Algonauts(tmp_path / "a", seed, n_train=n_train, sizes=sizes, order="<>"[seed % 2])
    for number in (1, 3):
        subject = read(study, subject=number, one_in=one_in)
        assert subject.name == f"subj{number:02d}" and subject.roi == "all"
        expected = {name: [] for name in ("train", "test")}
        for row, picture in enumerate(study.ids[number, "training"]):
            expected["test" if held_out(picture, one_in) else "train"].append((row, f"nsd{picture:05d}"))
        for name, split in subject.splits.items():
            rows, ids = map(list, zip(*expected[name]))
            assert split.trial_stimulus_ids.tolist() == split.stimulus_ids.tolist() == ids
            np.testing.assert_array_equal(split.betas[:], study.responses[number, "training"][rows])
            np.testing.assert_array_equal(split.images[:], study.pictures[number, "training"][rows])
            assert split.standardized == "session" and split.sessions is None and split.captions is None
        assert subject.noise_ceiling is None and subject.details["units"] == "z-scores within sessions"


def test_who_saw_a_picture_does_not_matter_for_what_is_held_out(study):
    trained, tested = set(), set()
    for number in (1, 3):
        subject = read(study, subject=number, one_in=4)
        trained |= set(subject.train.stimulus_ids)
        tested |= set(subject.test.stimulus_ids)
    assert set(study.ids[1, "training"]) & set(study.ids[3, "training"])
    assert not trained & tested


@pytest.mark.parametrize("seed", range(3))
def test_regions_of_both_hemispheres(tmp_path, seed):
    study = Algonauts(tmp_path / "a", seed)
    whole = read(study)
    n_left = study.counts[1][0]
    names = {
        "V1": ("prf-visualrois", (1, 2)),
        "hV4": ("prf-visualrois", (7,)),
        "EBA": ("floc-bodies", (1,)),
        "OFA": ("floc-faces", (1,)),
        "RSC": ("floc-places", (3,)),
        "VWFA-2": ("floc-words", (3,)),
        "parietal": ("streams", (7,)),
        "streams": ("streams", range(1, 8)),
    }
    for name, (atlas, values) in names.items():
        inside = np.isin(study.labels[1, atlas], values)
        np.testing.assert_array_equal(whole.rois[name], inside)
        part = read(study, roi=name)
        np.testing.assert_array_equal(part.test.betas[:], whole.test.betas[:][:, inside])
        for side, own in (("lh", np.arange(len(inside)) < n_left), ("rh", np.arange(len(inside)) >= n_left)):
            if (own & inside).any():
                half = read(study, roi=f"{side}.{name}")
                np.testing.assert_array_equal(half.train.betas[3], whole.train.betas[3][own & inside])
    assert "mTL-faces" not in whole.rois and set(LABELS) <= set(whole.rois)
    with pytest.raises(InputError, match="The roi 'mTL-faces' of subj01 below .* has no voxels"):
        read(study, roi="mTL-faces")
    assert read(study, roi="FFA").n_voxels == np.isin(study.labels[1, "floc-faces"], (2, 3)).sum()


def test_places_on_the_surface_and_back(study):
    subject = read(study, roi="streams - V1")
    inside = (study.labels[1, "streams"] > 0) & ~np.isin(study.labels[1, "prf-visualrois"], (1, 2))
    places = np.flatnonzero(study.vertices[1])[inside]
    left, _ = study.sizes
    np.testing.assert_array_equal(subject.surface.vertices, np.where(places < left, places, places - left))
    np.testing.assert_array_equal(subject.surface.right, places >= left)
    assert subject.surface.n_vertices == tuple(study.sizes)
    halves = [image.darrays[0].data for image in subject.to_gifti(subject.test.patterns[0]).values()]
    whole = np.full(sum(study.sizes), np.nan, dtype=np.float32)
    whole[places] = subject.test.patterns[0]
    np.testing.assert_array_equal(np.concatenate(halves), whole)
    for file in (study.mask_file("all-vertices_fsaverage_space", half) for half in ("lh", "rh")):
        file.unlink()
    bare = read(study)
    assert bare.surface is None and any("nobody says where the vertices are" in note for note in bare.notes)


def test_names_that_a_user_wrote(study):
    path = study.folder() / "roi_masks" / "mapping_streams.json"
    path.write_text(json.dumps({"0": "Unknown", "1": "first", "2": "second"}))
    rois = read(study).rois
    np.testing.assert_array_equal(rois["second"], study.labels[1, "streams"] == 2)
    np.testing.assert_array_equal(rois["streams:5"], study.labels[1, "streams"] == 5)
    assert "midventral" not in rois and "Unknown" not in rois


def test_pictures_that_every_subject_of_nsd_saw_can_be_held_out(study, tmp_path):
    shared = study.rng.choice(study.ids[1, "training"], 7, replace=False)
    content = {
        "masterordering": np.arange(1, 11)[None],
        "subjectim": np.stack([np.r_[shared, [72_000 + row, 72_100 + row, 72_200 + row]] + 1 for row in range(3)]),
        "sharedix": np.sort(shared)[None] + 1,
    }
    scipy.io.savemat(tmp_path / "nsd_expdesign.mat", content)
    subject = read(study, design=tmp_path / "nsd_expdesign.mat")
    assert subject.test.stimulus_ids.tolist() == [f"nsd{number:05d}" for number in sorted(shared)]
    with pytest.raises(
        InputError, match="0 of 40 training pictures of subj03|training pictures of subj03 are held out"
    ):
        content["subjectim"][:, :7] = 72_900 + np.arange(7)
        scipy.io.savemat(tmp_path / "nsd_expdesign.mat", content)
        read(study, subject="subj03", design=tmp_path / "nsd_expdesign.mat")
    with pytest.raises(InputError, match="leave one of them out"):
        read(study, design="x.mat", test="challenge")
    with pytest.raises(InputError, match="expected the path of nsd_expdesign.mat"):
        read(study, design=3)


def test_responses_that_were_held_back_are_tested_if_they_are_there(tmp_path):
    study = Algonauts(tmp_path / "a", withheld=True)
    subject = read(study)
    assert (
        subject.train.n_stimuli == 40 and subject.details["test"] == "challenge" and subject.noise_ceiling is not None
    )
    np.testing.assert_array_equal(subject.test.betas[:], study.responses[1, "test"])
    np.testing.assert_array_equal(subject.test.images[:], study.pictures[1, "test"])
    np.testing.assert_allclose(read(study, subject=3).noise_ceiling, 100 * study.ceiling, rtol=1e-6)
    assert read(study, test="held-out", one_in=3).train.n_stimuli < 40
    with pytest.raises(InputError, match="lh_test_fmri.npy; copy it there"):
        read(Algonauts(tmp_path / "b"), test="challenge")


def test_folds_and_one_subjects_folder(study):
    n_tested = [read(study, fold=(k, 4)).test.n_stimuli for k in range(4)]
    assert n_tested == [10] * 4
    one = load(f"algonauts2023:{study.folder(3)}")
    assert one.name == "subj03" and dataset_of("algonauts2023").subjects(study.folder(3)) == ["subj03"]
    assert dataset_of("algonauts2023").subjects(study.root) == ["subj01", "subj03"]


def test_the_mappings_of_the_release_are_never_unpickled(study, tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    for path in study.root.rglob("mapping_*.npy"):
        np.save(path, np.array(Trap(), dtype=object), allow_pickle=True)
    assert any("pickles and are not opened" in note for note in read(study).notes)
    assert not (tmp_path / "ran").exists()


def test_a_subject_of_full_size_is_not_loaded(tmp_path):
    """9,841 pictures, 19,004 and 20,544 vertices of the published files, as holes of files that are mapped."""
    root = tmp_path / "subj01"
    rng = np.random.default_rng(0)
    sizes = (19_004, 20_544)
    for half, n in zip(("lh", "rh"), sizes):
        path = root / "training_split/training_fmri" / f"{half}_training_fmri.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (9841, n)})
            file.truncate(file.tell() + 9841 * n * 4)
        where = np.zeros(163_842, dtype=np.int64)
        where[np.sort(rng.choice(163_842, n, replace=False))] = 1
        (root / "roi_masks").mkdir(exist_ok=True)
        np.save(root / "roi_masks" / f"{half}.all-vertices_fsaverage_space.npy", where)
    folder = root / "training_split/training_images"
    folder.mkdir()
    Image.fromarray(rng.integers(0, 256, (425, 425, 3), dtype=np.uint8)).save(tmp_path / "one.png")
    Image.fromarray(rng.integers(0, 256, (425, 425, 3), dtype=np.uint8)).save(tmp_path / "two.png")
    for row, number in enumerate(np.sort(rng.permutation(73_000)[:9841])):
        (folder / f"train-{row + 1:04d}_nsd-{number:05d}.png").symlink_to(tmp_path / ("one.png", "two.png")[row % 2])
    pytest.importorskip("nilearn.datasets")  # loaded for its flat map, before memory is counted
    tracemalloc.start()
    subject = load(f"algonauts2023:{tmp_path}")
    assert subject.n_voxels == sum(sizes) and subject.surface.mesh == "fsaverage"
    assert subject.train.n_stimuli + subject.test.n_stimuli == 9841 and 900 < subject.test.n_stimuli < 1070
    assert subject.test.betas[:64].shape == (64, sum(sizes))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150 * 2**20


# Damage


def changed(place, change):
    def spoil(study):
        path = place(study)
        np.save(path, change(np.load(path)), allow_pickle=True)

    return spoil


def betas(study, half="rh"):
    return study.response_file(half)


def vertices(study):
    return study.mask_file("all-vertices_fsaverage_space", "rh")


def streams(study):
    return study.mask_file("streams_challenge_space", "lh")


def rename(number, name):
    def spoil(study):
        file = study.picture_files()[number]
        file.rename(file.with_name(name.format(*file.name.partition("_"))))

    return spoil


def grey(study):
    for file in study.picture_files():
        Image.new("L", (6, 6), 9).save(file)


def duplicate(study):
    first, second = study.picture_files()[:2]
    second.rename(second.with_name("train-0002_" + first.name.partition("_")[2]))


def poke(values):
    values = values.copy()
    values[3, 2] = np.nan
    return values


def own_names(text):
    return lambda study: (study.folder() / "roi_masks" / "mapping_streams.json").write_text(text)


DAMAGE = {
    "no responses": (lambda study: betas(study).unlink(), "There is no .*rh_training_fmri.npy; copy it there"),
    "cut": (lambda study: cut(betas(study)), "rh_training_fmri.npy says that it holds float32"),
    "cut header": (lambda study: cut(betas(study), 0.01), "rh_training_fmri.npy cannot be read as a .npy array"),
    "empty": (lambda study: betas(study).write_bytes(b""), "rh_training_fmri.npy cannot be read"),
    "a folder": (lambda study: (betas(study).unlink(), betas(study).mkdir()), "There is no .*rh_training_fmri.npy"),
    "pickled": (changed(betas, lambda values: values.astype(object)), "holds pickled Python objects"),
    "one dimension": (changed(betas, np.ravel), r"expected numbers \(pictures, vertices\)"),
    "text": (changed(betas, lambda values: values.astype(str)), r"holds <U32 .*expected numbers"),
    "other rows": (changed(betas, lambda values: values[1:]), "has 40 rows but rh_training_fmri.npy 39"),
    "other vertices": (changed(betas, lambda values: values[:, 1:]), "take all of one subject"),
    "NaN": (
        changed(betas, poke),
        "1 of .* voxels hold NaN or infinite betas in .*lh_training_fmri.npy and rh_training",
    ),
    "no pictures": (
        lambda study: [file.unlink() for file in study.picture_files()],
        "holds no train-0001_nsd-00013.png",
    ),
    "a picture is missing": (
        lambda study: study.picture_files()[7].unlink(),
        "numbered to 40 .* 39, of which number 9",
    ),
    "the last is missing": (
        lambda study: study.picture_files()[-1].unlink(),
        "holds 39 pictures but there are 40 responses",
    ),
    "another name": (rename(4, "picture.png"), "is not called as the challenge calls its pictures"),
    "of another split": (rename(4, "test-0005_nsd-00001.png"), "is not called as the challenge calls its pictures"),
    "beyond NSD": (rename(4, "train-0005_nsd-73000.png"), "names picture 73000 but NSD has 73,000"),
    "a number twice": (rename(4, "train-0004_nsd-00001.png"), "of which number 4 stands where another was expected"),
    "a picture twice": (duplicate, r"shows picture nsd\d{5} of NSD twice"),
    "a picture is cut": (lambda study: cut(study.picture_files()[0], 0.3), "train-0001.* cannot be read as a picture"),
    "all pictures one": (grey, "one and the same"),
    "pictures of two sizes": (
        lambda study: Image.new("RGB", (7, 5), (1, 2, 250)).save(study.picture_files()[5]),
        "is 7 x 5 pixels but",
    ),
    "a hemisphere of a mask": (
        lambda study: vertices(study).unlink(),
        "is there but not rh.all-vertices_fsaverage_space.npy",
    ),
    "other places": (changed(vertices, np.zeros_like), "mark .* and 0 vertices but there are responses of"),
    "places in a matrix": (changed(vertices, lambda values: values[None]), r"expected a number for each vertex"),
    "places of infinity": (changed(vertices, lambda values: values + np.inf), "values that are no labels"),
    "other labels": (changed(streams, lambda values: values[2:]), "vertices but the responses"),
    "labels are pickled": (changed(streams, lambda values: values.astype(object)), "holds pickled Python objects"),
    "labels are cut": (lambda study: cut(streams(study)), "streams_challenge_space.npy says that it holds"),
    "names that are no JSON": (own_names("{"), "mapping_streams.json cannot be read as JSON"),
    "names that are a list": (own_names("[1]"), "holds list where an object"),
    "names without numbers": (own_names('{"early": 1}'), "has 'early': 1; expected numbers and names"),
    "names that are no text": (
        lambda study: (study.folder() / "roi_masks/mapping_streams.json").write_bytes(b"\xff\xfe{}"),
        "JSON",
    ),
    "no subject": (lambda study: study.root.rename(study.root.with_name("away")), "holds no subject of the challenge"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_one_sentence(case, study, tmp_path, capsys):
    spoil, told = DAMAGE[case]
    spoil(study)
    with pytest.raises(InputError, match=told) as caught:
        subject = read(study, one_in=3)
        for split in subject.splits.values():
            split.patterns, split.images[:]
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    line = ["data", "prepare", f"algonauts2023:{study.root}", "--option", "one_in=3", "--out", str(tmp_path / "made")]
    assert run_command(line) == 2 and (case == "NaN" or not (tmp_path / "made").exists())
    assert capsys.readouterr().err.splitlines()[-1].endswith(".")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"one_in": 1}, "one_in"),
        ({"one_in": "few"}, "one_in"),
        ({"test": "mine"}, "test"),
        ({"one_in": 10**9}, r"0 of 40 training pictures of subj01 are held out \(one in 1000000000"),
        ({"subject": "subj02"}, "holds no subj02 but subj01, subj03"),
        ({"flat": "nowhere"}, "There is no folder nowhere with flat maps"),
        ({"design": "nowhere.mat"}, "There is no nowhere.mat"),
    ],
)
def test_options_that_do_not_fit(asked, told, study):
    with pytest.raises(InputError, match=told) as caught:
        read(study, **asked)
    assert str(caught.value).endswith(".")

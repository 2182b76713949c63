"""Packed files that cannot be used: each is refused in one sentence, and no pickle is run."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from damage import cut
from packed_layouts import bd_file, write_brain_diffuser, write_mind_vis, write_mindeye2

from brainrecon.datasets.packed import reader as packed
from stages.ground.errors import InputError


def change_npy(path, change):
    np.save(path, change(np.load(path)), allow_pickle=True)


def change_hdf5(path, name, change):
    with h5py.File(path, "r+") as file:
        values = change(file[name][:])
        del file[name]
        file[name] = values


def change_npz(path, **changes):
    with np.load(path) as content:
        new = dict(content) | changes
    np.savez(path, **{name: value for name, value in new.items() if value is not None})


def poke(values, place, value):
    values = values.copy()
    values[place] = value
    return values


def nothing_there(root):
    return root / "absent"


def no_layout(root):
    (root / "notes.txt").write_text("none")


def two_layouts(root):
    write_mindeye2(root)
    write_mind_vis(root)


def bd(change):
    """A Brain-Diffuser folder with one thing changed."""

    def spoil(root):
        change(write_brain_diffuser(root, base=".").root)

    return spoil


def me2(change, **options):
    def spoil(root):
        change(write_mindeye2(root, **options).extra)

    return spoil


def vis(change, **changes):
    def spoil(root):
        change(write_mind_vis(root, **changes).root)

    return spoil


def bd_betas(root, split="train"):
    return bd_file(root, split, "fmriavg_nsdgeneral")


def bd_stim(root, split="train"):
    return bd_file(root, split, "stim")


def rename_label(root):
    path = root / "imagenet_training_label.csv"
    number, _, rest = path.read_text().partition(",")
    path.write_text(f"{number},1e400.JPEG\n{rest.partition(chr(10))[2]}")


def as_objects(values):
    return values.astype(object)


CASES = {
    "nothing there": (nothing_there, {}, "There is no .*absent; give the folder"),
    "no layout": (no_layout, {}, r"holds none of the layouts .*Brain-Diffuser \(.*MindEye2 \(.*MinD-Vis \("),
    "two layouts": (two_layouts, {}, "holds the files of MindEye2 and MinD-Vis"),
    "unknown subject": (bd(lambda root: None), {"subject": "subj09"}, "holds no subj09 but subj01"),
    "design where none is needed": (bd(lambda root: None), {"design": "x.mat"}, "where no design is needed"),
    "bd: roi": (bd(lambda root: None), {"roi": "V1"}, "no roi 'V1'; it has nsdgeneral"),
    "bd: no test responses": (bd(lambda root: bd_betas(root, "test").unlink()), {}, "There is no .*nsd_test_fmriavg"),
    "bd: no pictures": (
        bd(lambda root: bd_stim(root).unlink()),
        {},
        "There is no .*nsd_train_stim_sub1.npy, which belongs",
    ),
    "bd: other rows": (
        bd(lambda root: change_npy(bd_stim(root), lambda values: values[1:])),
        {},
        "nsd_train_stim_sub1.npy has 10 rows but nsd_train_fmriavg_nsdgeneral_sub1.npy 11",
    ),
    "bd: other captions": (
        bd(lambda root: change_npy(bd_file(root, "test", "cap"), lambda values: values[1:])),
        {},
        "nsd_test_cap_sub1.npy has 4 rows but .* 5",
    ),
    "bd: emptied captions": (
        bd(lambda root: bd_file(root, "test", "cap").write_bytes(b"")),
        {},
        "nsd_test_cap_sub1.npy cannot be read as a .npy array .*delete it to go on without captions",
    ),
    "bd: cut captions": (
        bd(lambda root: cut(bd_file(root, "train", "cap"), 0.7)),
        {},
        "nsd_train_cap_sub1.npy says that it holds <U.* but has",
    ),
    "bd: other voxels": (
        bd(lambda root: change_npy(bd_betas(root), lambda values: values[:, 1:])),
        {},
        "nsd_train_fmriavg_nsdgeneral_sub1.npy has 6 voxels but nsd_test_fmriavg_nsdgeneral_sub1.npy 7",
    ),
    "bd: pickled": (bd(lambda root: change_npy(bd_betas(root), as_objects)), {}, "pickled Python objects.*dtype="),
    "bd: truncated": (bd(lambda root: cut(bd_betas(root))), {}, "says that it holds float64"),
    "bd: truncated header": (bd(lambda root: cut(bd_betas(root), 0.05)), {}, "cannot be read as a .npy array"),
    "bd: empty": (bd(lambda root: bd_betas(root).write_bytes(b"")), {}, "cannot be read as a .npy array"),
    "bd: a pickle": (
        bd(lambda root: bd_betas(root).write_bytes(b"\x80\x04K\x01.")),
        {},
        "cannot be read as a .npy array",
    ),
    "bd: three dimensions": (
        bd(lambda root: change_npy(bd_betas(root), lambda values: values[:, None])),
        {},
        r"holds float64 \(11, 1, 7\); expected responses",
    ),
    "bd: no row": (
        bd(lambda root: change_npy(bd_betas(root), lambda values: values[:0])),
        {},
        r"holds float64 \(0, 7\)",
    ),
    "bd: NaN": (
        bd(lambda root: change_npy(bd_betas(root), lambda values: poke(values, (3, 2), np.nan))),
        {},
        "1 of 7 voxels hold NaN or infinite betas in .*nsd_train_fmriavg",
    ),
    "bd: channels first": (
        bd(lambda root: change_npy(bd_stim(root), lambda values: values.transpose(0, 3, 1, 2))),
        {},
        r"holds float64 \(11, 3, 6, 6\); expected pictures \(n, height, width, 3\)",
    ),
    "bd: too bright": (
        bd(lambda root: change_npy(bd_stim(root), lambda values: poke(values, (4, 1, 1, 1), 300))),
        {},
        "Pictures in .*nsd_train_stim_sub1.npy run from .* to 300; expected 0 to 255",
    ),
    "bd: NaN in a picture": (
        bd(lambda root: change_npy(bd_stim(root), lambda values: poke(values, (4, 1, 1, 1), np.nan))),
        {},
        "Pictures in .* run from nan",
    ),
    "bd: 0 to 1": (
        bd(lambda root: change_npy(bd_stim(root), lambda values: values / 255)),
        {},
        r"have \S+ as their highest value but 255 is white here",
    ),
    "me2: roi": (me2(lambda paths: None), {"roi": "V1"}, "no roi 'V1'; it has nsdgeneral"),
    "me2: no pictures": (me2(lambda paths: paths["images"].unlink()), {}, "There is no .*coco_images_224_float16.hdf5"),
    "me2: no design": (
        me2(lambda paths: paths["design"].unlink()),
        {},
        "There is no nsd_expdesign.mat in .* give its place",
    ),
    "me2: design not there": (me2(lambda paths: None), {"design": "absent.mat"}, "There is no absent.mat"),
    "me2: damaged design": (
        me2(lambda paths: cut(paths["design"])),
        {},
        "nsd_expdesign.mat cannot be read as a MATLAB",
    ),
    "me2: too many trials": (
        me2(lambda paths: change_hdf5(paths["betas"], "betas", lambda values: np.repeat(values, 2, axis=0))),
        {},
        "has 36 trials but .*nsd_expdesign.mat only 27",
    ),
    "me2: truncated": (me2(lambda paths: cut(paths["betas"])), {}, "renorm.hdf5 cannot be read as HDF5"),
    "me2: not HDF5": (me2(lambda paths: paths["images"].write_bytes(b"no")), {}, "float16.hdf5 cannot be read as HDF5"),
    "me2: other dataset": (
        me2(lambda paths: h5py.File(paths["betas"], "w").create_group("voxels").file.close()),
        {},
        "has no dataset 'betas' but voxels",
    ),
    "me2: one dimension": (
        me2(lambda paths: change_hdf5(paths["betas"], "betas", np.ravel)),
        {},
        r"holds float32 \(126,\); expected responses",
    ),
    "me2: NaN": (
        me2(lambda paths: change_hdf5(paths["betas"], "betas", lambda values: poke(values, (1, slice(2)), np.inf))),
        {},
        "2 of 7 voxels hold NaN or infinite betas in .*renorm.hdf5",
    ),
    "me2: fewer pictures": (
        me2(lambda paths: change_hdf5(paths["images"], "images", lambda values: values[:2])),
        {},
        r"Picture \d+ \(counted from 0\) was shown but .*float16.hdf5 holds 2",
    ),
    "me2: channels last": (
        me2(lambda paths: change_hdf5(paths["images"], "images", lambda values: np.moveaxis(values, 1, 3))),
        {},
        r"holds float16 \(30, 6, 6, 3\); expected pictures \(n, 3, height, width\)",
    ),
    "me2: 0 to 255": (
        me2(lambda paths: change_hdf5(paths["images"], "images", lambda values: values * 255)),
        {},
        "run from .* expected 0 to 1",
    ),
    "me2: no test trial": (
        me2(lambda paths: change_hdf5(paths["betas"], "betas", lambda values: values[:1])),
        {},
        "The 1 trials of .* hold no train trial",
    ),
    "me2: subject beyond the design": (
        me2(lambda paths: paths["betas"].rename(paths["betas"].with_name("betas_all_subj08_fp32_renorm.hdf5"))),
        {},
        "lists 3 subjects, so none is subj08",
    ),
    "vis: roi": (vis(lambda root: None), {"roi": "V9"}, "no roi 'V9'; it has V1, FFA, VC, all"),
    "vis: empty roi": (vis(lambda root: None), {"roi": "PPA"}, "no roi 'PPA'; it has V1"),
    "vis: no images": (vis(lambda root: (root / "images_256.npz").unlink()), {}, "There is no images_256.npz in"),
    "vis: truncated": (vis(lambda root: cut(root / "sbj_3.npz")), {}, "sbj_3.npz cannot be read as a .npz"),
    "vis: truncated images": (vis(lambda root: cut(root / "images_256.npz")), {}, "images_256.npz cannot be read"),
    "vis: pickled": (
        vis(lambda root: None, arr_0=np.ones((10, 7), object)),
        {},
        "sbj_3.npz holds pickled Python objects",
    ),
    "vis: no arr_3": (vis(lambda root: None, arr_3=None), {}, "has no arr_3 but arr_0, arr_1"),
    "vis: other rows": (
        vis(lambda root: None, arr_3=np.arange(9)),
        {},
        r"arr_3 of .* is int64 \(9,\) and arr_0 \(10, 7\)",
    ),
    "vis: other mask": (
        vis(lambda root: None, V2=np.ones(8, bool)),
        {},
        r"V2 of .* is bool \(8,\) and arr_0 \(10, 7\)",
    ),
    "vis: mask of numbers": (vis(lambda root: None, V2=np.ones(7)), {}, r"V2 of .* is float64 \(7,\)"),
    "vis: one dimension": (vis(lambda root: None, arr_0=np.ones(7)), {}, r"arr_0 of .* is float64 \(7,\)"),
    "vis: a number": (vis(lambda root: None, arr_0=np.ones(())), {}, r"arr_0 of .* is float64 \(\)"),
    "vis: NaN": (vis(lambda root: None, arr_0=np.full((10, 7), np.nan)), {}, "7 of 7 voxels hold NaN .* arr_0 of"),
    "vis: unknown picture": (
        vis(lambda root: None, arr_3=np.arange(10) + 5),
        {},
        "Picture 14 .*images_256.npz holds 10",
    ),
    "vis: counted from 1": (
        vis(lambda root: None, arr_4=np.repeat(np.arange(1, 5), 5)),
        {},
        "arr_4 of .* runs from 1 to 4",
    ),
    "vis: other pictures": (
        vis(lambda root: change_npz(root / "images_256.npz", train_images=np.ones((10, 3, 6, 6)))),
        {},
        r"images_256.npz holds float64 \(10, 3, 6, 6\)",
    ),
    "vis: no test images": (
        vis(lambda root: change_npz(root / "images_256.npz", test_images=None)),
        {},
        "images_256.npz has no test_images but train_images",
    ),
    "vis: pickled images": (
        vis(lambda root: change_npz(root / "images_256.npz", test_images=np.ones((4, 6, 6, 3), object))),
        {},
        "images_256.npz holds pickled Python objects",
    ),
    "vis: black": (
        vis(lambda root: change_npz(root / "images_256.npz", train_images=np.full((10, 6, 6, 3), 1 / 255))),
        {},
        "have 0.00392 as their highest value but 1 is white",
    ),
    "vis: 0 to 255": (
        vis(lambda root: change_npz(root / "images_256.npz", train_images=np.full((10, 6, 6, 3), 200.0))),
        {},
        "run from 200 to 200; expected 0 to 1",
    ),
    "vis: by columns": (
        vis(lambda root: change_npz(root / "images_256.npz", train_images=np.ones((3, 6, 6, 10)).T)),
        {},
        "is stored by columns",
    ),
    "vis: other labels": (
        vis(lambda root: (root / "imagenet_testing_label.csv").write_text("1.2,a.JPEG\n")),
        {},
        "imagenet_testing_label.csv names 1 pictures but there are 4",
    ),
    "vis: another name": (
        vis(rename_label),
        {},
        r"Line 1 of .*imagenet_training_label.csv names '1e400' a picture of n\d{8}; expected 'n\d{8}_",
    ),
    "vis: damaged labels": (
        vis(lambda root: (root / "imagenet_training_label.csv").write_text("a,b\n")),
        {},
        "imagenet_training_label.csv has a line that is not",
    ),
    "vis: damaged classes": (
        vis(lambda root: (root / "imagenet_class_index.json").write_text("[1]")),
        {},
        "imagenet_class_index.json holds list where an object",
    ),
    "vis: no classes": (
        vis(lambda root: (root / "imagenet_class_index.json").write_text("{}")),
        {},
        "imagenet_class_index.json is no table of classes",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence(case, tmp_path):
    spoil, asked, told = CASES[case]
    path = spoil(tmp_path) or tmp_path
    with pytest.raises(InputError, match=told) as caught:
        subject = packed.load(path, **asked)
        for split in subject.splits.values():
            split.patterns, split.images[:]
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and ". " not in message.replace(str(tmp_path), "")


def test_a_pickle_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    written = write_brain_diffuser(tmp_path, base=".")
    np.save(bd_file(tmp_path, "train", "cap"), np.array([Trap()] * 11), allow_pickle=True)
    packed.load(tmp_path)
    np.save(bd_betas(written.root), np.array([[Trap()]]), allow_pickle=True)
    with pytest.raises(InputError):
        packed.load(tmp_path)
    write_mind_vis(tmp_path / "vis", arr_1=np.array([Trap()]))
    with pytest.raises(InputError):
        packed.load(tmp_path / "vis")
    assert not (tmp_path / "ran").exists()

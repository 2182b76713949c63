"""Packed files that cannot be used: each is refused in one sentence, and no pickle is run."""

import gzip
import io
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from damage import cut
from packed_layouts import bd_file, npy, write_brain_diffuser, write_mind_vis, write_mindeye1, write_mindeye2, write_tar

from brainrecon.cli.main import run_command
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


def me1(change, part="train", number=0):
    """MindEye's archives with one of them changed."""

    def spoil(root):
        written = write_mindeye1(root)
        change(written.extra["folder"] / part / f"{part}_subj01_{number}.tar", written.extra["members"])

    return spoil


def member(place, change, part="train"):
    """A member of the first sample that is changed; `place` is what follows its name."""

    def spoil(path, all_members):
        members = list(all_members[path])
        row = next(row for row, (name, _) in enumerate(members) if name.endswith(place))
        name, content = members[row]
        changed = change(content)
        members[row : row + 1] = changed if isinstance(changed, list) else [(name, changed)]
        write_tar(path, members)

    return me1(spoil, part)


def rows(change):
    return member(".nsdgeneral.npy", lambda content: npy(change(np.load(io.BytesIO(content)))))


def end_of_members(path):
    with tarfile.open(path) as archive:
        return max(entry.offset_data + -(-entry.size // 512) * 512 for entry in archive)


def renamed(name, kind=None):
    """The picture of the first sample under another name, or as a link."""

    def spoil(path, all_members):
        members = [(name if old == "sample000000000.png" else old, content) for old, content in all_members[path]]
        members = [(old, (kind, "/etc/passwd") if old == name and kind else content) for old, content in members]
        write_tar(path, members)

    return spoil


leads_out, absolute = renamed("../../sample000000000.png"), renamed("/tmp/sample000000000.png")
linked = renamed("sample000000000.png", tarfile.SYMTYPE)


def doubled(path, all_members):
    members = all_members[path]
    write_tar(path, [*members, next(one for one in members if one[0].endswith("000.png"))])


def numbered(path, all_members, rows):
    """Samples of an archive that all show picture 7."""
    members, seen = [], 0
    for name, content in all_members[path]:
        if name.endswith("coco73k.npy"):
            content, seen = (npy(np.array([7])) if seen < rows else content), seen + 1
        members.append((name, content))
    write_tar(path, members)


def same_picture(path, all_members):
    numbered(path, all_members, 2)


def shown_too(path, all_members):
    numbered(path, all_members, 1)
    numbered(path.parent.parent / "test" / "test_subj01_0.tar", all_members, 1)


def in_val_too(path, all_members):
    numbered(path, all_members, 1)
    numbered(path.parent.parent / "val" / "val_subj01_0.tar", all_members, 1)


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
    "me1: roi": (me1(lambda path, members: None), {"roi": "V1"}, "no roi 'V1'; it has nsdgeneral"),
    "me1: val": (me1(lambda path, members: None), {"val": "test"}, "val.*'train', 'apart'"),
    "me1: copies": (me1(lambda path, members: None), {"copies": "some"}, "copies"),
    "me1: design": (me1(lambda path, members: None), {"design": "x.mat"}, "where no design is needed"),
    "bd: val": (bd(lambda root: None), {"val": "apart"}, "where no val is needed, but one was given .apart."),
    "me1: no train": (
        me1(lambda path, members: [file.unlink() for file in path.parent.iterdir()]),
        {},
        "There is no train_subj01_0.tar beside",
    ),
    "me1: no test": (
        me1(lambda path, members: [file.unlink() for file in path.parent.iterdir()], "test"),
        {},
        "There is no test_subj01_0.tar beside",
    ),
    "me1: cut": (me1(lambda path, members: cut(path)), {}, "train_subj01_0.tar (cannot be read as a .tar|ends after)"),
    "me1: cut between members": (
        me1(lambda path, members: path.write_bytes(path.read_bytes().rstrip(bytes(1)) + bytes(0))),
        {},
        "train_subj01_0.tar (cannot be read as a .tar|ends after)",
    ),
    "me1: its end is lost": (
        me1(lambda path, members: path.write_bytes(path.read_bytes()[: end_of_members(path)])),
        {},
        "before the mark that ends an archive",
    ),
    "me1: empty": (me1(lambda path, members: path.write_bytes(b"")), {}, "train_subj01_0.tar cannot be read as a .tar"),
    "me1: zeros": (me1(lambda path, members: path.write_bytes(bytes(4096))), {}, "holds no sample"),
    "me1: gzip": (
        me1(lambda path, members: path.write_bytes(gzip.compress(path.read_bytes()))),
        {},
        "train_subj01_0.tar cannot be read as a .tar archive .*it is compressed by gzip",
    ),
    "me1: a web page": (
        me1(lambda path, members: path.write_text("<html>" + "x" * 2000)),
        {},
        "train_subj01_0.tar cannot be read as a .tar archive .*web page",
    ),
    "me1: leads out": (
        me1(leads_out),
        {},
        "has a member '../../sample000000000.png', which leads out of the archive",
    ),
    "me1: absolute": (me1(absolute), {}, "has a member '/tmp/sample000000000.png', which leads out of the archive"),
    "me1: a link": (me1(linked), {}, "has a member 'sample000000000.png', which is no file but a link or a device"),
    "me1: a member twice": (me1(doubled), {}, "has 'sample000000000.png' twice"),
    "me1: no responses": (member(".nsdgeneral.npy", lambda content: []), {}, "has no nsdgeneral.npy but coco73k.npy"),
    "me1: no picture": (member(".png", lambda content: []), {}, "has no jpg but coco73k.npy"),
    "me1: pickled": (
        member(".nsdgeneral.npy", lambda content: npy(np.load(io.BytesIO(content)).astype(object))),
        {},
        "sample000000000.nsdgeneral.npy in .* holds pickled Python objects",
    ),
    "me1: pickled number": (
        member(".coco73k.npy", lambda content: npy(np.array([3], dtype=object))),
        {},
        "sample000000000.coco73k.npy in .* holds pickled Python objects",
    ),
    "me1: no .npy": (
        member(".num_uniques.npy", lambda content: b"3"),
        {},
        "num_uniques.npy in .* cannot be read as a .npy",
    ),
    "me1: empty .npy": (member(".coco73k.npy", lambda content: b""), {}, "coco73k.npy in .* cannot be read as a .npy"),
    "me1: one row": (rows(lambda values: values[0]), {}, r"holds float32 \(7,\); expected numbers \(trials, voxels\)"),
    "me1: other voxels": (rows(lambda values: values[:, 1:]), {}, "bytes but the other samples .*; take all archives"),
    "me1: of another shape": (
        rows(lambda values: values.reshape(7, 3)),
        {},
        "others have|is said to have|rows, 1 or more|voxels",
    ),
    "me1: NaN": (
        rows(lambda values: values * np.nan),
        {},
        "7 of 7 voxels hold NaN .* sample000000000.nsdgeneral.npy in",
    ),
    "me1: other repeats": (
        member(".num_uniques.npy", lambda content: npy(np.array(np.load(io.BytesIO(content)).reshape(-1)[0] % 3 + 1))),
        {},
        "rows that differ from each other but is said to have .* --option copies=true",
    ),
    "me1: no trial": (
        member(".num_uniques.npy", lambda content: npy(np.array(0))),
        {},
        "is 0 but a picture has 3 rows",
    ),
    "me1: four trials": (
        member(".num_uniques.npy", lambda content: npy(np.array(4))),
        {},
        "is 4 but a picture has 3 rows",
    ),
    "me1: half a trial": (
        member(".num_uniques.npy", lambda content: npy(np.array(1.5))),
        {},
        r"holds float64 \(\); expected one whole number",
    ),
    "me1: two pictures": (
        member(".coco73k.npy", lambda content: npy(np.array([1, 2]))),
        {},
        r"holds int64 \(2,\); expected one whole number",
    ),
    "me1: beyond NSD": (
        member(".coco73k.npy", lambda content: npy(np.array([73_000]))),
        {},
        "is 73000 but NSD has 73,000 pictures, from 0 on",
    ),
    "me1: negative": (member(".coco73k.npy", lambda content: npy(np.array([-1]))), {}, "is -1 but NSD has 73,000"),
    "me1: a picture twice": (me1(same_picture), {}, "are both picture nsd00007 of NSD"),
    "me1: trained and tested": (me1(shown_too), {}, "stimuli are in both train and test|is in both"),
    "me1: trained twice": (me1(in_val_too), {}, "is in archives of train and of val"),
    "me1: no picture file": (
        member(".png", lambda content: b"none"),
        {},
        "sample000000000.png in .* cannot be read as a picture",
    ),
    "me1: a cut picture": (
        member(".png", lambda content: content[:-40]),
        {},
        "sample000000000.png in .* cannot be read",
    ),
    "me1: two releases": (
        lambda root: (write_mindeye1(root), write_mindeye1(root, base="webdataset_avg_new"))[0] and None,
        {},
        "holds archives of subj01 in .* give the folder of one release",
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


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("me1: ")][::3])
def test_nothing_is_written_of_archives_that_do_not_fit(case, tmp_path, capsys):
    spoil, asked, _ = CASES[case]
    spoil(tmp_path / "data")
    options = [
        part for name, value in asked.items() for part in ("--option" if name != "roi" else "--roi", f"{name}={value}")
    ]
    options = [part.removeprefix("roi=") for part in options]
    line = ["data", "prepare", f"packed:{tmp_path / 'data'}", *options, "--out", str(tmp_path / "made")]
    assert run_command(line) == 2 and not (tmp_path / "made" / "subject.json").exists()
    assert capsys.readouterr().err.splitlines()[-1].endswith(".")


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

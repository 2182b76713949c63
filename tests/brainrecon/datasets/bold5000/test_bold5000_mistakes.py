"""Files of BOLD5000 that cannot be used, and options that are none: one sentence each, and nothing is written."""

import re

import h5py
import nibabel
import numpy as np
import pytest
from bold5000_files import AFFINE, REGIONS, Bold5000
from damage import cut
from PIL import Image

from brainrecon.cli.main import run_command

LISTS = "BOLD5000_Stimuli/Stimuli_Presentation_Lists/CSI1"
REPEATED = "BOLD5000_Stimuli/Scene_Stimuli/repeated_stimuli_113_list.txt"
RUN = f"{LISTS}/CSI1_sess02/CSI_sess02_run01.txt"
EVENTS = "sub-CSI1/ses-02/func/sub-CSI1_ses-02_task-5000scenes_run-01_events.tsv"
REGION, BRAIN, FIRST = ("lists", "repeated", "regions"), ("lists", "repeated", "brain"), ("lists", "repeated", "first")
OF_EVENTS = ("events", "repeated", "regions")


def text(file, old, new):
    """Replace a text in a file, all of it if there is nothing to look for."""

    def spoil(written):
        place = written.root / file
        place.write_bytes(place.read_bytes().replace(old, new) if old else new)

    return spoil


def line_of(file, new):
    """Another first line."""

    def spoil(written):
        place = written.root / file
        place.write_bytes(b"\n".join([new, *place.read_bytes().splitlines()[1:]]))

    return spoil


def gone(file):
    return lambda written: (written.root / file).unlink()


def all_gone(pattern):
    def spoil(written):
        for place in written.root.glob(pattern):
            place.unlink()

    return spoil


def folder_there(file):
    def spoil(written):
        (written.root / file).unlink()
        (written.root / file).mkdir()

    return spoil


def region(change, name="LHPPA"):
    def spoil(written):
        place = written.region_file("CSI1", name)
        np.save(place, change(np.load(place)))

    return spoil


def spoilt_nan(values):
    values[2, 0] = np.nan
    return values


def first_file(change):
    def spoil(written):
        with h5py.File(written.first_file("CSI1"), "r+") as file:
            change(file)

    return spoil


def session_file(change):
    def spoil(written):
        place = written.session_file("CSI1", 2)
        values = change(nibabel.load(place).get_fdata().astype(np.float32))
        nibabel.save(nibabel.Nifti1Image(values, AFFINE), place)

    return spoil


def mask_file(change, affine=AFFINE):
    def spoil(written):
        place = written.mask_file("CSI1", "RHLOC")
        nibabel.save(nibabel.Nifti1Image(change(nibabel.load(place).get_fdata()).astype(np.float32), affine), place)

    return spoil


def brain_nan(written):
    """One voxel of a region without a value in a later trial."""
    place = written.session_file("CSI1", 2)
    values = nibabel.load(place).get_fdata().astype(np.float32)
    values[tuple(np.argwhere(written.masks["CSI1"]["RHLOC"])[0])][3] = np.nan
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), place)


def one_picture(written):
    return sorted(written.picture_folder.rglob("*.*"))[0]


def twice(written):
    place = one_picture(written)
    (written.picture_folder / "Scene" / place.name.lower()).write_bytes(place.read_bytes())


def other_size(written):
    Image.new("RGB", (9, 7)).save(one_picture(written), format="JPEG")


PICTURES = (*REGION, "pictures")
CASES = {
    "no responses": (REGION, all_gone("BOLD5000_GLMsingle_ROI_betas/py/*"), [], "has no responses such as"),
    "no lists of a session": (
        REGION,
        all_gone(f"{LISTS}/CSI1_sess02/*"),
        [],
        "sess02 has no list of a run such as CSI_sess01",
    ),
    "no word of what was shown": (("regions",), None, [], "does not say what CSI1 was shown; add BOLD5000_Stimuli"),
    "absent subject": (REGION, None, ["--subject", "CSI3"], "has no subject CSI3; it has CSI1"),
    "no subject's name": (REGION, None, ["--subject", "nobody"], "has no subject nobody; it has CSI1"),
    "a run is missing": (REGION, gone(RUN), [], r"has 40 trials but .* 35 in sessions 1-3"),
    "an empty run": (REGION, text(RUN, None, b"\r\n\r\n"), [], "is empty; expected a name on each line"),
    "no UTF-8": (REGION, line_of(RUN, b"caf\xe9.jpg"), [], "cannot be read as a list of names"),
    "a folder for a run": (REGION, folder_there(RUN), [], "is a folder where a file of a list of names was expected"),
    "a name that leads out": (REGION, line_of(RUN, b"../../secret.jpg"), [], "it holds a separator of folders"),
    "a name that is a mark": (REGION, line_of(RUN, b"rep_.jpg"), [], "which is no picture; expected names such as"),
    "a name with a bell": (REGION, line_of(RUN, b"tail\x07or6.jpg"), [], "a character that is not printable"),
    "a run twice": (
        REGION,
        lambda written: (written.root / f"{LISTS}/CSI1_sess02/x_run1.txt").write_text("a.jpg"),
        [],
        "both session 2, run 1",
    ),
    "another order": (
        (*REGION, "imgnames"),
        lambda written: (written.root / "CSI1_imgnames.txt").write_text(
            "".join(f"{row[0]}\n" for row in written.shown["CSI1"][1:] + written.shown["CSI1"][:1])
        ),
        [],
        "Trial 1 of CSI1 showed .* but .* by .*CSI1_imgnames.txt",
    ),
    "events of nothing": (
        OF_EVENTS,
        text(EVENTS, None, b"onset\tduration\r\n1\t2\r\n"),
        [],
        "has none of the columns ImgName",
    ),
    "events cut": (OF_EVENTS, lambda written: cut(written.root / EVENTS), [], r"has 40 trials but the events below"),
    "events in UTF-16": (OF_EVENTS, text(EVENTS, None, "onset\tImgName".encode("utf-16")), [], "no text in UTF-8"),
    "a folder of events": (OF_EVENTS, folder_there(EVENTS), [], "is a folder where a file of a table of events"),
    "events with an empty name": (OF_EVENTS, text(EVENTS, None, b"onset\tImgName\r\n6.0\t\r\n"), [], "for it is empty"),
    "an empty list of repeats": (REGION, text(REPEATED, None, b""), [], "is empty; expected a name on each line"),
    "repeats of another study": (
        REGION,
        text(REPEATED, None, b"owl.jpg"),
        [],
        "names none of the pictures that CSI1 saw",
    ),
    "all are repeated": (
        REGION,
        lambda written: (written.root / REPEATED).write_text("\n".join(written.seen)),
        [],
        "All 29 pictures of CSI1 are tested",
    ),
    "cut betas": (REGION, lambda written: cut(written.region_file("CSI1", "LHPPA")), [], "says that it holds float32"),
    "betas of another length": (
        REGION,
        region(lambda values: values[:-1]),
        [],
        "LHPPA in .* has 39 trials but LHEarlyVis 40",
    ),
    "betas of three axes": (REGION, region(lambda values: values[None]), [], r"expected numbers \(trials, voxels\)"),
    "betas of no voxel": (REGION, region(lambda values: values[:, :0]), [], r"\(40, 0\); expected numbers"),
    "betas of text": (REGION, region(lambda values: values.astype(str)), [], r"expected numbers \(trials, voxels\)"),
    "pickled betas": (REGION, region(lambda values: np.array([[None]])), [], "pickled Python objects"),
    "no array": (
        REGION,
        lambda written: written.region_file("CSI1", "LHPPA").write_bytes(b"no array"),
        [],
        "cannot be read as a .npy array",
    ),
    "NaN": (REGION, region(spoilt_nan), [], r"1 of \d+ voxels hold NaN or infinite betas in .*LHPPA.npy; leave"),
    "a region twice": (
        REGION,
        lambda written: np.save(str(written.region_file("CSI1", "LHLOC")).replace("LHLOC", "LHLO"), np.ones((40, 2))),
        [],
        "are both LHLOC; keep one of them",
    ),
    "no session": (
        REGION,
        None,
        ["--option", "betas=brain"],
        "has no CSI1_GLMbetas-TYPED-..._ses-01.nii.gz and others",
    ),
    "a cut session": (
        BRAIN,
        lambda written: cut(written.session_file("CSI1", 2)),
        [],
        "ses-02.nii.gz cannot be read as NIfTI",
    ),
    "a session on another grid": (
        BRAIN,
        session_file(lambda values: values[1:]),
        [],
        r"has \(5, 5, 4\) voxels but .* \(6, 5, 4\)",
    ),
    "a session of one volume": (
        BRAIN,
        session_file(lambda values: values[..., 0]),
        [],
        r"expected betas \(x, y, z, trials\)",
    ),
    "a session of fewer trials": (
        BRAIN,
        session_file(lambda values: values[..., :-1]),
        [],
        "has 9 trials but .* 10; take both",
    ),
    "a session without values": (
        BRAIN,
        session_file(lambda values: values * np.nan),
        [],
        "no voxel with a value in its first volume",
    ),
    "NaN in a session": ((*BRAIN, "masks"), brain_nan, [], r"1 of \d+ voxels hold NaN or infinite betas in session 2"),
    "a session twice": (
        BRAIN,
        lambda written: (
            written.session_file("CSI1", 2)
            .with_name(written.session_file("CSI1", 2).name.replace("ses-02", "ses-2"))
            .write_bytes(b"")
        ),
        [],
        "are both session 2; keep one of them",
    ),
    "a cut file of release 1": (
        FIRST,
        lambda written: cut(written.first_file("CSI1")),
        [],
        "TR34.h5 cannot be read as HDF5",
    ),
    "no region in release 1": (
        FIRST,
        first_file(lambda file: [file.__delitem__(name) for name in REGIONS]),
        [],
        "holds no region such as LHEarlyVis but nothing",
    ),
    "two spellings in release 1": (
        FIRST,
        first_file(lambda file: file.__setitem__("RHRRSC", np.ones((40, 2)))),
        [],
        "holds RHRSC twice, in two spellings",
    ),
    "a volume that is not there": (FIRST, None, ["--option", "betas=TR2"], "There is no file .*CSI1_ROIs_TR2.h5"),
    "a mask of numbers": ((*REGION, "masks"), mask_file(lambda mask: mask * 3), [], "holds 3 beside 0 and 1"),
    "a mask on another grid": (
        (*REGION, "masks"),
        mask_file(lambda mask: mask[1:]),
        [],
        r"has \(5, 5, 4\) voxels and .*or another affine",
    ),
    "a mask elsewhere": (
        (*REGION, "masks"),
        mask_file(lambda mask: mask, 2 * AFFINE),
        [],
        "or another affine; take both",
    ),
    "a mask of two volumes": (
        (*REGION, "masks"),
        mask_file(lambda mask: np.stack([mask, mask], 3)),
        [],
        r"expected a mask \(x, y, z\)",
    ),
    "a picture is missing": (
        PICTURES,
        lambda written: one_picture(written).unlink(),
        [],
        "has no picture for 1 of .* leave pictures out",
    ),
    "a picture twice": (PICTURES, twice, [], "are both COCO_train2014_.*; keep one of them"),
    "a picture that is none": (
        PICTURES,
        lambda written: one_picture(written).write_bytes(b"none"),
        [],
        "cannot be read as a picture",
    ),
    "a picture of another size": (PICTURES, other_size, [], "is 9 x 7 pixels but|pixels but .* 9 x 7"),
    "no such folder": (PICTURES, None, ["--option", "images=/nowhere/at/all"], "There is no folder /nowhere/at/all"),
    "a folder without pictures": (
        REGION,
        lambda written: (written.root / "empty").mkdir(),
        ["--option", "images={root}/empty"],
        "empty holds no pictures; name the folder of the pictures",
    ),
    "no size": (PICTURES, None, ["--option", "image_size=big"], "image_size is 'big'; expected a whole number"),
    "no betas": (REGION, None, ["--option", "betas=TR7"], "betas is 'TR7'; expected one of regions, brain, TR34"),
    "no model": (REGION, None, ["--option", "model=E"], "model is 'E'; expected one of A, B, C, D"),
    "no session's number": (
        REGION,
        None,
        ["--option", "sessions=two"],
        "sessions is 'two'; expected numbers from 1 on",
    ),
    "no such session": (REGION, None, ["--option", "sessions=2-4"], "lacks session 4 of those asked for"),
    "no source": (REGION, None, ["--option", "source=sun"], "source is 'sun'; expected one of imagenet, coco, scenes"),
    "no scaling": (REGION, None, ["--option", "scaling=all"], "scaling is 'all'; expected one of session, global"),
    "too much to scale": (BRAIN, None, ["--option", "scaling=global"], "betas=brain are too many for that"),
    "no order": (REGION, None, ["--option", "voxel_order=B"], "voxel_order is 'B'; expected one of C, F"),
    "neither pictures nor none": (
        REGION,
        None,
        ["--option", "pictures=some"],
        "pictures is 'some'; expected one of true, false",
    ),
    "no region": (REGION, None, ["--roi", "V1"], "has no roi 'V1'; it has EarlyVis, LOC, OPA, PPA, RSC"),
    "labels without words": (
        (*REGION, "labels"),
        text("BOLD5000_Stimuli/Image_Labels/imagenet_final_labels.txt", b" thing", b"_thing"),
        [],
        "expected lines such as n01930112 nematode",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_sentence_and_writes_nothing(case, tmp_path, capsys):
    parts, spoil, asked, told = CASES[case]
    written = Bold5000(tmp_path / "bold5000", parts=parts)
    if spoil:
        spoil(written)
    before = sorted(place for place in tmp_path.rglob("*"))
    line = ["data", "prepare", f"bold5000:{written.root}", "--out", str(tmp_path / "out")]
    line += [part.format(root=written.root) for part in asked]
    assert run_command(line) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(told, said), said
    assert said.endswith(".") and "Traceback" not in said and said.count("error:") <= 1
    assert sorted(place for place in tmp_path.rglob("*")) == before

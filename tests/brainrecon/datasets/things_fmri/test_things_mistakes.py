"""Files of THINGS-data that cannot be used, each in one sentence, and nothing is written."""

import gzip
import shutil

import h5py
import nibabel
import numpy as np
import pytest
from damage import cut
from things_fmri_files import AFFINE, Things, write_frame

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.things_fmri import reader
from stages.ground.errors import InputError

S, V = "sub-01_StimulusMetadata.csv", "sub-01_VoxelMetadata.csv"


def in_stimuli(row, column, value):
    """Put another value into the table of trials."""

    def change(head, rows):
        rows[row][head.index(column)] = value
        return head, rows

    return lambda things: things.write_stimuli(change)


def in_voxels(row, column, value):
    def change(head, rows):
        rows[row][head.index(column)] = value
        return head, rows

    return lambda things: things.write_voxels(change)


def without(column):
    def change(head, rows):
        place = head.index(column)
        return head[:place] + head[place + 1 :], [row[:place] + row[place + 1 :] for row in rows]

    return change


def rename(old, new):
    return lambda head, rows: ([new if name == old else name for name in head], rows)


def swap(name, values):
    """Another dataset in the table of responses, or none."""

    def spoil(things):
        with h5py.File(things.h5, "r+") as file:
            del file[f"ResponseData/{name}"]
            if values is not None:
                file[f"ResponseData/{name}"] = values

    return spoil


def pickled_names(name):
    def spoil(things):
        with h5py.File(things.h5, "r+") as file:
            del file[f"ResponseData/{name}"]
            kind = h5py.vlen_dtype(np.uint8)
            file["ResponseData"].create_dataset(name, (1,), dtype=kind)[0] = np.frombuffer(b"\x80\x03]q\x00.", np.uint8)

    return spoil


def query_table(things):
    with h5py.File(things.h5, "w") as file:
        file["ResponseData/table"] = np.ones(3)


def two_tables(things):
    with h5py.File(things.h5, "r+") as file:
        file.copy("ResponseData", "Other")


def link_outside(things):
    things.h5.rename(things.root / "elsewhere.h5")
    with h5py.File(things.h5, "w") as file:
        file["ResponseData"] = h5py.ExternalLink(str(things.root / "elsewhere.h5"), "ResponseData")


def folder_instead(name):
    def spoil(things):
        (things.csv / name).unlink()
        (things.csv / name).mkdir()

    return spoil


def remove(name):
    return lambda things: (things.csv / name).unlink()


def write(name, content):
    return lambda things: (things.csv / name).write_bytes(content)


def mask_of(shape):
    def spoil(things):
        image = nibabel.Nifti1Image(np.ones(shape, np.uint8), AFFINE)
        nibabel.save(image, next(things.masks.glob("*")))

    return spoil


def smaller_mask(things):
    values = things.brain.copy()
    values[tuple(things.places[0])] = False
    nibabel.save(nibabel.Nifti1Image(values.astype(np.uint8), AFFINE), next(things.masks.glob("*")))


def lose_a_picture(things):
    concept, picture = things.test[0]
    (things.root / "images" / concept / picture).unlink()


TABLE = {
    "truncated responses": (lambda t: cut(t.h5), "ResponseData.h5 cannot be read as HDF5"),
    "no HDF5": (lambda t: t.h5.write_bytes(b"no" * 3000), "ResponseData.h5 cannot be read as HDF5"),
    "a folder for responses": (folder_instead("sub-01_ResponseData.h5"), "sub-01_ResponseData.h5"),
    "pickled columns": (
        pickled_names("block0_items"),
        "block0_items' in .* holds pickled Python objects, which are not",
    ),
    "pickled axis": (pickled_names("axis0"), "axis0' in .* holds pickled Python objects"),
    "pickled values": (pickled_names("block0_values"), "block0_values' in .* holds pickled Python objects"),
    "another format": (query_table, "is a pandas table in the format 'table'; save it again with to_hdf"),
    "two tables": (two_tables, "holds 2 tables"),
    "a link to another file": (link_outside, "is a link into another file"),
    "no table": (lambda t: swap("axis0", None)(t), "and no pandas table"),
    "fewer columns than names": (swap("block0_values", np.ones((66, 9))), r"is \(66, 9\) for 39 columns"),
    "values without a second axis": (swap("block0_values", np.ones(66)), r"is \(66,\) for 39 columns"),
    "names in another charset": (
        lambda t: write_frame(t.h5, "R", [(["voxel_id", "ä"], np.ones((2, 2)))], 2, encoding="latin1"),
        "cannot be read as HDF5",
    ),
    "a trial twice": (
        lambda t: t.write_table(trials=[0, *range(len(t.trials) - 1)]),
        "lists 40 columns and its blocks hold 40",
    ),
    "a trial that the stimuli lack": (
        lambda t: t.write_table(trials=range(1, len(t.trials) + 1)),
        "has 39 trials and .* 39; '0' is in sub-01_StimulusMetadata.csv alone",
    ),
    "other voxels": (lambda t: t.write_table(ids=np.arange(t.n_voxels) + 1), r"has \d+ voxels, numbered 1 to .* 0 to"),
    "a voxel twice": (lambda t: t.write_table(ids=np.zeros(t.n_voxels, int)), r"voxels, numbered 0 to 0"),
    "no voxel numbers": (
        lambda t: write_frame(t.h5, "R", [([str(k) for k in range(39)], np.ones((t.n_voxels, 39)))], t.n_voxels),
        "has no column voxel_id",
    ),
    "no stimuli": (remove(S), f"{S} is missing"),
    "a folder for stimuli": (folder_instead(S), f"{S} is a folder"),
    "empty stimuli": (write(S, b""), "has no row below its head"),
    "stimuli in another charset": (write(S, b"trial_type,concept\ntrain,caf\xe9\n"), "no text in UTF-8"),
    "stimuli without concepts": (lambda t: t.write_stimuli(without("concept")), "has no column concept but trial_type"),
    "unknown trial type": (in_stimuli(3, "trial_type", "imagery"), "Row 5 of .* has trial_type 'imagery'"),
    "a trial number twice": (in_stimuli(3, "trial_id", 2), "Rows 4 and 5 of .* are both trial 2"),
    "a session that is none": (
        in_stimuli(0, "session", "first"),
        "has 'first' as session; expected a whole number from 1",
    ),
    "run zero": (in_stimuli(0, "run", 0), "has '0' as run"),
    "another subject's stimuli": (in_stimuli(1, "subject_id", 2), "Row 3 of .* is a trial of subject 2, not of 1"),
    "a name that leads outside": (in_stimuli(0, "stimulus", "../x.jpg"), "names '../x.jpg', which cannot be a file"),
    "a concept that leads outside": (in_stimuli(0, "concept", ".."), "names '..', which cannot be a file or folder"),
    "a picture in both splits": (
        lambda t: in_stimuli([o["kind"] for o in t.trials].index("test"), "trial_type", "train")(t),
        "1 stimuli are in both train and test",
    ),
    "no test trials": (
        lambda t: t.write_stimuli(lambda head, rows: (head, [["train", *row[1:]] for row in rows])),
        "has no trial for test",
    ),
    "no voxels' table": (remove(V), f"There is no file .*{V}"),
    "truncated voxels": (lambda t: cut(t.csv / V, 0.7), "VoxelMetadata.csv"),
    "empty voxels": (write(V, b""), "has no column voxel_id but nothing"),
    "a head alone": (write(V, b"voxel_id,V1\n"), "has no row below its head"),
    "voxels in another charset": (write(V, "voxel_id,Gyrus é\n1,0\n".encode("latin1")), "cannot be read as CSV"),
    "text among numbers": (in_voxels(4, "voxel_x", "five"), "cannot be read as CSV"),
    "a value too many": (
        lambda t: t.write_voxels(lambda head, rows: (head, [[*row, 1] for row in rows])),
        "columns in its head and .* below it",
    ),
    "a region of more than 0 and 1": (in_voxels(4, "V1", 3), "Column 'V1' of .* holds 3 where a region has 0 or 1"),
    "an empty region": (in_voxels(4, "rFFA", ""), "Column 'rFFA' of .* holds nan where"),
    "two regions of one name": (
        lambda t: t.write_voxels(rename("IT", "V1")),
        "has two columns 'V1'",
    ),
    "two regions of one typed name": (lambda t: t.write_voxels(rename("IT", "V 1")), "has two regions called V1"),
    "a region called all": (lambda t: t.write_voxels(rename("IT", "all")), "has two regions called all"),
    "a ceiling of 900 percent": (
        in_voxels(4, "nc_testset", 900),
        "nc_testset in .* is 900 for a voxel; expected percent",
    ),
    "a voxel number twice": (in_voxels(4, "voxel_id", 3), "does not hold whole numbers, each once"),
    "a place between voxels": (in_voxels(4, "voxel_y", 1.5), "are not whole numbers from 0 on"),
    "a negative place": (in_voxels(4, "voxel_y", -1), "are not whole numbers from 0 on"),
    "another subject's voxels": (in_voxels(4, "subject_id", 3), "holds voxels of subject 3, not of 1"),
    "a brain mask of another size": (mask_of((3, 3, 3)), r"of the \d+ voxels of .* lie in the brain mask"),
    "a brain mask of four axes": (mask_of((5, 4, 4, 2)), r"has shape \(5, 4, 4, 2\); expected a brain mask"),
    "a brain mask without a voxel of the table": (smaller_mask, r"of the \d+ voxels .* lie in the brain mask"),
    "a brain mask that is no NIfTI": (
        lambda t: next(t.masks.glob("*")).write_bytes(gzip.compress(b"no" * 999)),
        "cannot be read as NIfTI",
    ),
    "a picture missing": (lose_a_picture, "has no picture for 1 of 5 test stimuli, the first is"),
    "no picture": (
        lambda t: (t.root / "images" / t.test[0][0] / t.test[0][1]).write_bytes(b"no picture"),
        "cannot be read as a picture",
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Copies of both forms, from which each case takes its own."""
    root = tmp_path_factory.mktemp("whole")
    return {form: Things(root / form, forms=(form,)) for form in ("table", "volume")}


def own_copy(whole, form, folder):
    """A copy whose files may be spoilt; what was written is known of it too."""
    written = whole[form]
    shutil.copytree(written.root, folder / "things")
    copy = object.__new__(Things)
    copy.__dict__.update(written.__dict__)
    copy.root = folder / "things"
    copy.csv, copy.masks = copy.root / "betas_csv", copy.root / "brainmasks"
    copy.rng = np.random.default_rng(0)
    return copy


def check_told(things, told, options, folder, capsys, typed=True):
    """One sentence, and as it is typed at the command line too, with nothing written."""
    with pytest.raises(InputError, match=told) as caught:
        load(f"things-fmri:{things.root}", **options)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    if not typed:
        return
    line = ["run", "mean-image", f"things-fmri:{things.root}", "--out", str(folder / "run")]
    line += [
        part
        for key, value in options.items()
        if key not in ("roi", "subject")
        for part in ("--option", f"{key}={value}")
    ]
    line += [part for key, value in options.items() if key in ("roi", "subject") for part in (f"--{key}", value)]
    capsys.readouterr()
    assert run_command(line) == 2
    said = capsys.readouterr().err.strip()
    assert said and not (folder / "run").exists()


@pytest.mark.parametrize("case", TABLE)
def test_a_table_that_is_damaged(whole, case, tmp_path, capsys):
    things = own_copy(whole, "table", tmp_path)
    spoil, told = TABLE[case]
    spoil(things)
    # Every third through the command line too: all go the same way there.
    check_told(things, told, {}, tmp_path, capsys, typed=list(TABLE).index(case) % 3 == 0)


def other_grid(things):
    file = things.run_file(2, 1)
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3, 7)), AFFINE), file)


def other_affine(things):
    file = things.run_file(2, 1)
    nibabel.save(nibabel.Nifti1Image(things.volumes[2, 1][1], np.eye(4)), file)


def three_axes(things):
    nibabel.save(nibabel.Nifti1Image(np.zeros(things.brain.shape), AFFINE), things.run_file(1, 1))


def fewer_conditions(things):
    things.write_conditions(1, 2, things.volumes[1, 2][0][:-1])


def name_outside(things):
    names = things.volumes[1, 2][0]
    things.write_conditions(1, 2, ["..", *names[1:]])


def one_session(things):
    for session in (2, 3):
        shutil.rmtree(things.run_file(session, 1).parent)


def twice(things):
    file = things.run_file(1, 1)
    shutil.copy(file, file.with_name(file.name.replace("_run-", "_task-things_run-")))


def no_concept(things):
    names = things.volumes[1, 2][0]
    things.write_conditions(1, 2, ["picture.jpg", *names[1:]])


def odd_region(things):
    file = next((things.root / "rois").rglob("*_lFFA.nii.gz"))
    nibabel.save(nibabel.Nifti1Image(np.full(things.brain.shape, 0.5, np.float32), AFFINE), file)


def odd_ceiling(things):
    for file in (things.root / "noise_ceilings").glob("*"):
        nibabel.save(nibabel.Nifti1Image(np.full(things.brain.shape, 130, np.float32), AFFINE), file)


def empty_mask(things):
    image = nibabel.Nifti1Image(np.zeros(things.brain.shape, np.uint8), AFFINE)
    nibabel.save(image, next(things.masks.glob("*")))


def unknown_picture(things):
    things.csv.mkdir()
    things.write_stimuli(lambda head, rows: (head, [row for row in rows if row[-2] != things.test[0][1]]))


VOLUME = {
    "no run": (
        lambda t: shutil.rmtree(t.run_file(1, 1).parent.parent),
        "holds no subject; expected betas_csv/sub-01_ResponseData.h5 or",
    ),
    "empty sessions": (
        lambda t: [file.unlink() for file in t.run_file(1, 1).parent.parent.rglob("*.nii.gz")],
        "or other run; unpack the volumes there",
    ),
    "another grid": (other_grid, r"is on a grid of \(3, 3, 3\) voxels and .* on \(5, 4, 4\)"),
    "another affine": (other_affine, "or their affines differ"),
    "three axes": (three_axes, r"has shape \(5, 4, 4\); expected responses"),
    "no conditions": (lambda t: t.conditions_file(2, 2).unlink(), "conditions.tsv is missing"),
    "fewer conditions": (fewer_conditions, r"has \d volumes but .* \d rows"),
    "conditions in another charset": (
        lambda t: t.conditions_file(2, 2).write_bytes(b"\timage_filename\n0\tcaf\xe9\n"),
        "no text in UTF-8",
    ),
    "conditions without names": (
        lambda t: t.conditions_file(2, 2).write_text("a\tb\n0\t1\n"),
        "no column image_filename",
    ),
    "a name that leads outside": (name_outside, "Row 2 of .* names 'images/..', which is no picture of a concept"),
    "a picture of no concept": (no_concept, "names 'images/picture.jpg', which is no picture of a concept"),
    "one session": (one_session, "No picture of .* was shown twice"),
    "a run twice": (twice, "are run 1 of session 1; keep one of them"),
    "no brain mask": (lambda t: next(t.masks.glob("*")).unlink(), "There is no file .*brainmask.nii.gz"),
    "an empty brain mask": (empty_mask, "holds no voxel"),
    "a truncated run": (lambda t: cut(t.run_file(1, 1), 0.001), "cannot be read as NIfTI|betas.nii.gz"),
    "a region that is no mask": (odd_region, "holds 0.5 beside 0 and 1"),
    "a ceiling of 130 percent": (odd_ceiling, "holds 130 to 130; expected percent"),
    "a picture that the stimuli lack": (unknown_picture, "which .*StimulusMetadata.csv does not name"),
}


@pytest.mark.parametrize("case", VOLUME)
def test_volumes_that_are_damaged(whole, case, tmp_path, capsys):
    things = own_copy(whole, "volume", tmp_path)
    spoil, told = VOLUME[case]
    spoil(things)
    check_told(things, told, {}, tmp_path, capsys)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"form": "cifti"}, "form is 'cifti'; expected table or volume"),
        ({"form": "volume"}, "has sub-01 as table, not as volume; leave form=volume out"),
        ({"zero_shot": "often"}, "zero_shot is 'often'; expected"),
        ({"images": "/nowhere/at/all"}, "There is no folder /nowhere/at/all"),
        ({"image_size": 0}, "image_size is 0; expected a whole number from 1"),
        ({"subject": "sub-07"}, "no subject 'sub-07'; it has sub-01"),
        ({"roi": "V9"}, "has no roi 'V9'; it has"),
    ],
)
def test_options_are_checked(whole, options, told, tmp_path, capsys):
    check_told(whole["table"], told, options, tmp_path, capsys)


def test_zero_shot_needs_concepts_that_are_not_tested(tmp_path):
    things = Things(tmp_path / "things", n_concepts=4, n_test=5, forms=("table",), pictures=False)
    with pytest.raises(InputError, match="Every training concept of .* is tested too"):
        load(f"things-fmri:{things.root}", zero_shot=True)


def test_files_of_another_form_are_none(tmp_path):
    with pytest.raises(InputError, match="form is 'cifti'; expected table or volume"):
        reader.files(tmp_path, form="cifti")
    listed = reader.files(tmp_path, subject="sub-02", form="volume")
    assert listed[0].path.name == "sub-02_ses-things01_run-01_betas.nii.gz"


def test_there_is_no_folder(tmp_path):
    with pytest.raises(InputError, match="There is no folder .*nowhere; give the folder that holds betas_csv"):
        load(f"things-fmri:{tmp_path / 'nowhere'}")


@pytest.mark.parametrize("name", ["ResponseData.h5", "run"])
def test_damage_that_reading_finds_is_told_then(whole, name, tmp_path):
    """The head of a file is whole and the rest is not."""
    form = "table" if name == "ResponseData.h5" else "volume"
    things = own_copy(whole, form, tmp_path)
    file = things.h5 if form == "table" else things.run_file(1, 1)
    subject = load(f"things-fmri:{things.root}")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=file.name) as caught:
        subject.train.betas[:]
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")

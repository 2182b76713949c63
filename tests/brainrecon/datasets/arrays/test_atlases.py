"""Label atlases and pictures of different sizes in one's own study, as folders of arrays and of BIDS."""

import nibabel
import numpy as np
import pytest
from bids_study import Study
from PIL import Image

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.arrays.writing import write_template
from stages.ground.errors import InputError


@pytest.fixture
def folder(tmp_path):
    write_template(tmp_path / "mine")
    (tmp_path / "mine" / "atlases").mkdir()
    return tmp_path / "mine"


def with_atlas(folder, labels, table=None, ending=".tsv", name="Visual areas"):
    np.save(folder / "atlases" / f"{name}.npy", labels)
    if table is not None:
        (folder / "atlases" / f"{name}{ending}").write_text(table, encoding="utf-8")


@pytest.mark.parametrize("dtype", ["<i2", ">i4", "uint8", ">f8"])
@pytest.mark.parametrize(
    ("ending", "table"),
    [
        (
            ".tsv",
            "index\tname\tcolour\n0\tnothing\tred\n1\tarea a\tblue\n2\tb-1\tgrey\n4\tb-1\tgrey\n7\tnowhere\tgrey\n",
        ),
        (".csv", "value,name\r\n1,area a\r\n2,b-1\r\n4,b-1\r\n"),
        (".ctab", "# a table of FreeSurfer's\n  0  Unknown  0 0 0 0\n  1  area\n 2 b-1 0 0 0 0\n4 b-1 1 1 1 0\n"),
    ],
)
def test_each_label_is_a_region_by_its_name(folder, dtype, ending, table):
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3, 4], 10))
    with_atlas(folder, labels.astype(dtype), table, ending)
    whole = load(f"arrays:{folder}")
    one = "area" if ending == ".ctab" else "area a"
    expected = {
        "Visual areas": labels > 0,
        one: labels == 1,
        "b-1": np.isin(labels, [2, 4]),
        "Visual areas:3": labels == 3,
    }
    for name, mask in expected.items():
        np.testing.assert_array_equal(whole.rois[name], mask)
        part = load(f"arrays:{folder}", roi=name)
        np.testing.assert_array_equal(part.test.betas[:], whole.test.betas[:][:, mask])
    assert set(whole.rois) - set(expected) == set(load(f"arrays:{folder}", roi="all").rois) - set(expected)


def test_a_name_that_a_mask_has_says_its_atlas(folder):
    taken = next(iter(load(f"arrays:{folder}").rois))
    before = load(f"arrays:{folder}").rois[taken]
    labels = np.arange(50) % 2
    with_atlas(folder, labels, f"index\tname\n1\t{taken}\n", name="mine")
    found = load(f"arrays:{folder}").rois
    np.testing.assert_array_equal(found[taken], before)
    np.testing.assert_array_equal(found[f"mine:{taken}"], labels == 1)


@pytest.mark.parametrize(
    ("labels", "table", "told"),
    [
        (np.full(50, 0.5), None, "no labels"),
        (np.full(50, np.nan), None, "no labels"),
        (np.array(["V1"] * 50), None, "no labels"),
        (np.zeros(50, int), None, "0 labels above 0"),
        (-np.ones(50, int), None, "0 labels above 0"),
        (np.ones(49, int), None, "49 voxels but the betas have 50"),
        (np.ones(50, int), "number\ttext\n1\tV1\n", "expected the columns index and name"),
        (np.ones(50, int), "", "expected the columns index and name"),
        (np.ones(50, int), "index\tname\n1\tV1\n1\tV2\n", "names label 1 twice"),
        (np.ones(50, int), "index\tname\none\tV1\n", "'one' as a label"),
    ],
)
def test_what_is_no_atlas_is_refused(folder, labels, table, told, capsys):
    with_atlas(folder, labels, table)
    with pytest.raises(InputError, match=told) as caught:
        load(f"arrays:{folder}")
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert run_command(["data", "info", f"arrays:{folder}"]) == 2


def test_a_table_in_latin_letters_is_refused(folder):
    with_atlas(folder, np.ones(50, int))
    (folder / "atlases" / "Visual areas.ctab").write_bytes("1 Größe".encode("latin-1"))
    with pytest.raises(InputError, match="is no text"):
        load(f"arrays:{folder}")


def test_an_atlas_of_a_bids_folder(tmp_path):
    study = Study(tmp_path, 0)
    labels = np.random.default_rng(1).integers(0, 4, study.grid)
    affine = nibabel.load(study.mask).affine
    place = study.mask.with_name("sub-01_atlas-mine_dseg.nii.gz")
    nibabel.save(nibabel.Nifti1Image(labels.astype(np.int16), affine), place)
    place.with_name("sub-01_atlas-mine_dseg.tsv").write_text("index\tname\n1\tone\n3\tthree\n")
    found = load(f"arrays:{study.root}").rois
    inside = labels[study.brain]
    for name, mask in {"mine": inside > 0, "one": inside == 1, "mine:2": inside == 2, "three": inside == 3}.items():
        np.testing.assert_array_equal(found[name], mask)
    nibabel.save(nibabel.Nifti1Image(labels[1:].astype(np.int16), affine), place)
    with pytest.raises(InputError, match="resample one to the other"):
        load(f"arrays:{study.root}")


def test_pictures_of_different_sizes_are_brought_to_one(folder):
    whole = load(f"arrays:{folder}")
    for split in ("train", "test"):
        pictures = whole.splits[split]
        (folder / split / "images.npy").unlink(missing_ok=True)
        (folder / split / "images").mkdir(exist_ok=True)
        for number, name in enumerate(pictures.stimulus_ids):
            picture = Image.fromarray(pictures.images[number]).resize((30 + number, 40))
            picture.save(folder / split / "images" / f"{name}.png")
    sized = load(f"arrays:{folder}", image_size=20)
    assert sized.train.images.shape == (whole.train.n_stimuli, 20, 20, 3)
    first = Image.open(folder / "train" / "images" / f"{sized.train.stimulus_ids[0]}.png")
    square = first.resize((20, 20), Image.Resampling.BICUBIC, box=(0, 5, 30, 35))
    np.testing.assert_array_equal(sized.train.images[0], np.asarray(square))
    assert run_command(["data", "info", f"arrays:{folder}", "--option", "image_size=20"]) == 0
    with pytest.raises(InputError, match="save all pictures in one size"):
        load(f"arrays:{folder}")


@pytest.mark.parametrize("size", [0, -3, 1.5, "big", 10**6])
def test_a_size_that_is_none_is_refused(folder, size):
    with pytest.raises(InputError, match="image_size"):
        load(f"arrays:{folder}", image_size=size)


def test_an_array_of_pictures_has_a_size(folder):
    if not (folder / "train" / "images.npy").exists():
        np.save(folder / "train" / "images.npy", load(f"arrays:{folder}").train.images[:])
    with pytest.raises(InputError, match="one array; leave it out"):
        load(f"arrays:{folder}", image_size=20)

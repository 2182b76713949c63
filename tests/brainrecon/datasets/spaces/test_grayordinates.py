"""Places of CIFTI files against files that nibabel writes and reads."""

import json

import nibabel
import numpy as np
import pytest
from cifti_writing import AFFINE, LEFT, RIGHT, cortex, save_scalars, whole_brain

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.arrays.writing import write
from brainrecon.datasets.flat_maps import FlatMap
from brainrecon.datasets.spaces.grayordinates import Grayordinates
from brainrecon.datasets.spaces.space import Space
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from brainrecon.datasets.subject_raster import raster_of
from stages.ground.errors import InputError


def subject_at(places, seed=0):
    rng = np.random.default_rng(seed)
    splits = {
        name: Split(rng.normal(size=(4, len(places))).astype(np.float32), [f"{name}{row}" for row in range(4)])
        for name in ("train", "test")
    }
    return Subject("sub-01", "mine", "mine:here", splits, "all", space=places)


@pytest.mark.parametrize("seed", range(3))
def test_places_are_those_of_the_axis(seed):
    rng = np.random.default_rng(seed)
    axis, masks = whole_brain(rng)
    places = Grayordinates.of_axis(axis)
    assert isinstance(places, Space) and len(places) == len(axis) and places.surface is None
    assert places.mesh == "a mesh of 24 vertices" and places.volume == (4, 3, 2)
    for name, inside, model in axis.iter_structures():
        own = np.flatnonzero(places.of_structure(str(name)))
        np.testing.assert_array_equal(own, np.arange(len(axis))[inside])
        if "CORTEX" in name:
            np.testing.assert_array_equal(places.places[own, 1], model.vertex)
        else:
            np.testing.assert_array_equal(places.places[own, 1:], model.voxel)
    counts = {name: int(mask.sum()) for name, mask in places.parts().items()}
    assert counts["left"] == masks[0].sum() and counts["right"] == masks[1].sum()
    assert counts["subcortex"] == 5 and counts["thalamus_left"] == 3 and counts["brain_stem"] == 2


@pytest.mark.parametrize("seed", range(3))
def test_a_file_has_each_value_where_it_belongs_and_nan_elsewhere(seed, tmp_path):
    rng = np.random.default_rng(seed)
    axis, _ = whole_brain(rng)
    chosen = rng.permutation(len(axis))[: len(axis) // 2]
    values = rng.normal(size=(2, len(chosen))).astype(np.float32)
    (ending, (part, content)), *others = Grayordinates.of_axis(axis).columns(chosen).files(values).items()
    assert (ending, part, others) == (".dscalar.nii", "", [])
    (tmp_path / "map.dscalar.nii").write_bytes(content)
    image = nibabel.load(tmp_path / "map.dscalar.nii")
    found, read = image.header.get_axis(1), image.get_fdata()
    assert image.nifti_header.get_intent()[0] == "ConnDenseScalar"
    expected = {}
    for column, place in enumerate(chosen):
        name, at = str(axis.name[place]), (int(axis.vertex[place]), *axis.voxel[place].tolist())
        expected[name, at] = values[:, column]
    seen = 0
    for column in range(len(found)):
        at = (str(found.name[column]), (int(found.vertex[column]), *found.voxel[column].tolist()))
        if at in expected:
            np.testing.assert_array_equal(read[:, column].astype(np.float32), expected[at])
            seen += 1
        else:
            assert "CORTEX" in at[0] and np.isnan(read[:, column]).all()
    assert seen == len(chosen) and (found.name == f"CIFTI_STRUCTURE_{LEFT}").sum() == 24
    np.testing.assert_array_equal(found.affine, AFFINE)


def test_equal_values_are_equal_bytes_and_whole_numbers_stay_whole(tmp_path):
    axis, _ = whole_brain(np.random.default_rng(3))
    places = Grayordinates.of_axis(axis)
    values = np.arange(len(places))
    contents = [places.files(values)[".dscalar.nii"][1] for _ in range(2)]
    assert contents[0] == contents[1]
    (tmp_path / "map.dscalar.nii").write_bytes(contents[0])
    image = nibabel.load(tmp_path / "map.dscalar.nii")
    assert image.get_data_dtype() == np.int32 and image.get_fdata().sum() == values.sum()
    with pytest.raises(InputError, match=r"shape \(3,\) but there are \d+ grayordinates"):
        places.to_cifti(np.zeros(3))


@pytest.mark.parametrize("make", [cortex, whole_brain])
def test_a_folder_of_arrays_keeps_them(make, tmp_path):
    places = Grayordinates.of_axis(make(np.random.default_rng(5))[0])
    if make is cortex:
        flat = np.random.default_rng(0).random((48, 2)).astype(np.float32)
        places = places.with_flat_map(FlatMap(flat, (0, 1), "by hand"))
    subject = subject_at(places)
    write(subject, tmp_path / "out")
    again = load(f"arrays:{tmp_path / 'out'}").space
    assert again.facts() == json.loads(json.dumps(places.facts()))
    for name, array in places.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    values = subject.test.patterns[0]
    assert again.files(values) == places.files(values)
    part = load(f"arrays:{tmp_path / 'out'}", mask=np.arange(len(places)) % 3 == 0)
    np.testing.assert_array_equal(part.space.places, places.places[::3])


def test_cortex_alone_is_a_surface_and_is_drawn():
    axis, _ = whole_brain(np.random.default_rng(2))
    random = np.random.default_rng(0)
    flat = FlatMap(random.permutation(48 * 2).reshape(48, 2).astype(np.float32), (0, 96), "by hand")
    whole = subject_at(Grayordinates.of_axis(axis).with_flat_map(flat))
    with pytest.raises(InputError, match=r"has 5 of \d+ values below the cortex.*--roi cortex"):
        raster_of(whole)
    with pytest.raises(InputError, match="no values on a surface alone"):
        whole.to_gifti(whole.test.patterns[0])
    inside = whole.space.parts()["cortex"]
    part = subject_at(whole.space.columns(inside))
    assert part.surface.mesh == "a mesh of 24 vertices" and part.surface.n_vertices == (24, 24)
    np.testing.assert_array_equal(part.surface.right, (axis.name == f"CIFTI_STRUCTURE_{RIGHT}")[inside])
    np.testing.assert_array_equal(part.surface.vertices, axis.vertex[inside])
    expected = flat.flat[axis.vertex[inside] + 24 * part.surface.right]
    np.testing.assert_array_equal(part.surface.flat, expected)
    assert "flat map of a mesh of 24 vertices (by hand)" in raster_of(part).origin
    image = part.to_gifti(part.test.patterns[0])["rh"].darrays[0].data
    np.testing.assert_array_equal(
        image[part.surface.vertices[part.surface.right]], part.test.patterns[0][part.surface.right]
    )


def change(**facts):
    def spoil(folder):
        told = json.loads((folder / "subject.json").read_text())
        told["grayordinates"] |= facts
        (folder / "subject.json").write_text(json.dumps(told))

    return spoil


def replace_array(change_array):
    def spoil(folder):
        np.save(folder / "grayordinates.npy", change_array(np.load(folder / "grayordinates.npy")))

    return spoil


def beyond(places):
    places[0, 1] = 24
    return places


def twice(places):
    places[1] = places[0]
    return places


def nameless(places):
    places[0, 0] = 7
    return places


def both_spaces(folder):
    np.save(folder / "voxel_indices.npy", np.zeros((3, 3), int))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (change(structures=["a"]), "has .* as grayordinates; expected structures"),
        (change(affine=[1, 2]), "as grayordinates; expected structures"),
        (change(volume=None), "as grayordinates; expected structures"),
        (replace_array(beyond), "places outside their surface or volume"),
        (replace_array(twice), "a vertex or voxel twice"),
        (replace_array(nameless), "a structure that it does not name"),
        (replace_array(lambda places: places[:-1]), r"expected whole numbers \(\d+, 4\)"),
        (replace_array(lambda places: places.astype(float)), "is float64"),
        (lambda folder: (folder / "grayordinates.npy").unlink(), "grayordinates.npy is missing"),
        (both_spaces, "says twice where its values are"),
    ],
)
def test_damage_is_one_sentence(spoil, said, tmp_path, capsys):
    places = Grayordinates.of_axis(whole_brain(np.random.default_rng(5))[0])
    write(subject_at(places), tmp_path / "out")
    spoil(tmp_path / "out")
    with pytest.raises(InputError, match=said) as caught:
        load(f"arrays:{tmp_path / 'out'}")
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert run_command(["data", "info", f"arrays:{tmp_path / 'out'}"]) == 2
    assert capsys.readouterr().err.strip().count("\n") == 0


def test_an_axis_may_be_read_from_a_file(tmp_path):
    axis, _ = whole_brain(np.random.default_rng(9))
    save_scalars(tmp_path / "a.dscalar.nii", np.ones((1, len(axis))), ["one"], axis)
    read = nibabel.load(tmp_path / "a.dscalar.nii").header.get_axis(1)
    np.testing.assert_array_equal(Grayordinates.of_axis(read).places, Grayordinates.of_axis(axis).places)

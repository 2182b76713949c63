import numpy as np
import pytest

from brainrecon.datasets import load
from stages.ground.errors import InputError


@pytest.mark.parametrize(
    "roi, atlas, values",
    [
        (None, "nsdgeneral", [1]),
        ("nsdgeneral", "nsdgeneral", [1]),
        ("prf-visualrois", "prf-visualrois", range(1, 8)),
        ("V1v", "prf-visualrois", [1]),
        ("V1", "prf-visualrois", [1, 2]),
        ("V3", "prf-visualrois", [5, 6]),
        ("hV4", "prf-visualrois", [7]),
        ("V1+hV4", "prf-visualrois", [1, 2, 7]),
        ("V1 + V2v", "prf-visualrois", [1, 2, 3]),
        ("FFA-1", "floc-faces", [2]),
        ("floc-faces:FFA-1", "floc-faces", [2]),
    ],
)
def test_voxels_are_those_with_the_label(nsd, roi, atlas, values):
    subject = load(f"nsd:{nsd.root}", roi=roi)
    mask = np.isin(nsd.rois["subj01"][atlas], list(values))
    assert subject.n_voxels == mask.sum()
    expected = nsd.stored["subj01"][1][mask][:, 0] / 300
    first = min(subject.splits.values(), key=lambda split: split.betas.rows[0] + 100 * split.sessions[0])
    np.testing.assert_allclose(first.betas[0], expected, rtol=1e-6)


def test_a_union_over_atlases_counts_a_voxel_once(nsd):
    rois = nsd.rois["subj01"]
    subject = load(f"nsd:{nsd.root}", roi="nsdgeneral+V1")
    union = (rois["nsdgeneral"] == 1) | np.isin(rois["prf-visualrois"], [1, 2])
    assert subject.n_voxels == union.sum()
    np.testing.assert_array_equal(subject.rois["nsdgeneral"], rois["nsdgeneral"][union] == 1)
    np.testing.assert_array_equal(subject.rois["V2"], np.isin(rois["prf-visualrois"][union], [3, 4]))
    assert "OFA" not in subject.rois and "FFA-1" in subject.rois


def test_differences_are_taken_from_left_to_right(nsd):
    rois, source = nsd.rois["subj01"], f"nsd:{nsd.root}"
    general, visual = rois["nsdgeneral"] == 1, rois["prf-visualrois"]
    first, second = np.isin(visual, [1, 2]), np.isin(visual, [3, 4])
    assert load(source, roi="nsdgeneral-V1").n_voxels == (general & ~first).sum()
    assert load(source, roi="nsdgeneral - V1 + V2").n_voxels == ((general & ~first) | second).sum()
    assert load(source, roi="nsdgeneral+V2-V1").n_voxels == ((general | second) & ~first).sum()
    assert load(source, roi="FFA-1+V1").n_voxels == ((rois["floc-faces"] == 2) | first).sum()
    assert load(source, roi="FFA-1-V1").n_voxels == ((rois["floc-faces"] == 2) & ~first).sum()
    with pytest.raises(InputError, match="'V1-prf-visualrois' of subj01 .* leaves no voxel"):
        load(source, roi="V1-prf-visualrois")


def test_hemispheres(nsd, volume_writer):
    source, visual = f"nsd:{nsd.root}", nsd.rois["subj01"]["prf-visualrois"]
    left = np.where(np.arange(nsd.shape[0])[:, None, None] < 4, visual, -1)
    volume_writer(nsd.roi_file("lh.prf-visualrois"), left.astype(np.int16))
    assert load(source, roi="lh.V1").n_voxels == np.isin(left, [1, 2]).sum()
    assert load(source, roi="lh.prf-visualrois:V2 + hV4").n_voxels == (np.isin(left, [3, 4]) | (visual == 7)).sum()
    assert load(source, roi="V1-lh.V1").n_voxels == (np.isin(visual, [1, 2]) & ~np.isin(left, [1, 2])).sum()
    assert not any(name.startswith("lh.") for name in load(source).rois)
    with pytest.raises(InputError, match="rh.prf-visualrois.nii.gz; copy it"):
        load(source, roi="rh.V1")
    volume_writer(nsd.roi_file("rh.prf-visualrois"), left[:-1].astype(np.int16))
    with pytest.raises(InputError, match="rh.prf-visualrois.nii.gz has shape .* take both from the same subject"):
        load(source, roi="rh.V1")


def test_labels_come_from_the_table_and_else_are_built_in(nsd):
    path = nsd.root / "nsddata/freesurfer/subj01/label/floc-faces.mgz.ctab"
    path.write_text("0 Unknown\n2 my-face-area\n")
    assert "my-face-area" in load(f"nsd:{nsd.root}").rois
    path.unlink()
    assert "FFA-1" in load(f"nsd:{nsd.root}").rois


def test_a_label_that_two_atlases_have(nsd, volume_writer):
    label = nsd.root / "nsddata/freesurfer/subj01/label/HCP_MMP1.mgz.ctab"
    label.write_text("0 ???\n1 V1\n2 MST\n")
    other = np.zeros(nsd.shape, np.int16)
    other[0, 0, :2] = 1, 2
    other[1, 1, 1] = 9  # a value that no table names
    volume_writer(nsd.roi_file("HCP_MMP1"), other)
    source = f"nsd:{nsd.root}"
    assert load(source, roi="HCP_MMP1:V1").n_voxels == load(source, roi="MST").n_voxels == 1
    assert load(source, roi="HCP_MMP1:9").n_voxels == 1
    assert load(source, roi="V1").n_voxels == np.isin(nsd.rois["subj01"]["prf-visualrois"], [1, 2]).sum()
    assert load(source, roi="HCP_MMP1").n_voxels == 3


def test_an_unknown_roi_lists_those_present(nsd):
    with pytest.raises(
        InputError, match="subj01 below .* has no roi 'V9'; it has nsdgeneral, prf-visualrois, V1v, .*FFA-1"
    ):
        load(f"nsd:{nsd.root}", roi="V1+V9")
    with pytest.raises(InputError, match="no roi 'floc-faces:V1'"):
        load(f"nsd:{nsd.root}", roi="floc-faces:V1")


def test_a_roi_without_voxels_names_those_that_have_some(nsd):
    with pytest.raises(
        InputError, match="'FFA-2' of subj01 below .* has no voxels; those that have some are nsdgeneral"
    ):
        load(f"nsd:{nsd.root}", roi="FFA-2")


def test_a_family_of_nsd_is_all_of_its_numbered_areas(cohort):
    parts = load(f"nsd:{cohort}", roi="FFA-1 | FFA-2")
    whole, left = load(f"nsd:{cohort}", roi="FFA"), load(f"nsd:{cohort}", roi="lh.FFA")
    np.testing.assert_array_equal(whole.grid.indices, parts.grid.indices)
    np.testing.assert_array_equal(left.grid.indices, load(f"nsd:{cohort}", roi="lh.FFA-1 | lh.FFA-2").grid.indices)

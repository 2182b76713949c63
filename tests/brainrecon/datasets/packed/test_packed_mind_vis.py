"""MinD-Vis' archives: what was written comes back."""

import numpy as np
import pytest
from packed_layouts import N_VOXELS, SIZE, check_round_trip, write_mind_vis

from brainrecon.datasets.packed import reader as packed


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("singles", [True, False])
def test_mind_vis(tmp_path, seed, save, singles):
    written = write_mind_vis(tmp_path / "Kamitani/npz", seed, singles=singles, save=save)
    assert packed.subjects(tmp_path) == ["subj03"]
    check_round_trip(packed.load(tmp_path, roi="all"), written)
    subject = packed.load(written.extra["file"])
    assert subject.roi == "VC" and subject.n_voxels == 6 and subject.name == "subj03"
    np.testing.assert_allclose(subject.test.betas[:], written.responses["test"][:, :6], rtol=1e-6)
    assert {name: mask.sum() for name, mask in subject.rois.items()} == {"V1": 3, "FFA": 1, "VC": 6}
    assert packed.load(tmp_path, roi="FFA").n_voxels == 1
    mask = subject.rois["V1"] | subject.rois["FFA"]
    for roi, chosen in {"V1+FFA": mask, "VC - V1": ~subject.rois["V1"]}.items():
        np.testing.assert_array_equal(packed.load(tmp_path, roi=roi).test.betas[:], subject.test.betas[:][:, chosen])
    row = written.extra["train"][0]
    assert subject.train.trial_stimulus_ids[0] == f"n{1443537 + row:08d}_{row}"
    place = subject.train.stimulus_ids.tolist().index("n01443538_1")
    assert subject.train.categories[place] == ["goldfish"]
    assert ["frog"] in subject.test.categories and ["n01621128"] in subject.test.categories
    assert any("does not say which trial" in note for note in subject.notes) == (not singles)
    assert not any("arr_2" in note for note in subject.notes)
    assert all(file.is_file() for file, *_ in packed.files(tmp_path))


def test_mind_vis_without_names(tmp_path):
    written = write_mind_vis(tmp_path, names=False, name="sub-3.npz", VC=None, arr_2=np.ones((4, N_VOXELS)))
    subject = packed.load(tmp_path)
    check_round_trip(subject, written)
    assert subject.roi == "all" and subject.train.categories is None
    assert subject.train.trial_stimulus_ids.tolist() == [f"train{row:05d}" for row in written.extra["train"]]
    assert any("are not those of its single trials" in note for note in subject.notes)
    assert sum("named after their rows" in note for note in subject.notes) == 2


def test_the_largest_pictures_are_taken(tmp_path):
    write_mind_vis(tmp_path)
    with np.load(tmp_path / "images_256.npz") as images:
        np.savez(tmp_path / "images_500.npz", **{name: np.repeat(values, 2, axis=1) for name, values in images.items()})
    subject = packed.load(tmp_path)
    assert subject.train.images.shape == (10, 2 * SIZE, SIZE, 3) and subject.details["pictures"] == "images_500.npz"

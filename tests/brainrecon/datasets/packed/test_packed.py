"""What holds for every packed layout."""

from brainrecon.datasets.packed import reader as packed


def test_files_of_nothing_are_those_of_all_layouts(tmp_path):
    names = {file.name for file, *_ in packed.files(tmp_path, "subj02")}
    assert {"nsd_train_stim_sub2.npy", "betas_all_subj02_fp32_renorm.hdf5", "sbj_2.npz", "nsd_expdesign.mat"} <= names


def test_the_description_tells_whose_terms_hold():
    text = packed.DESCRIPTION.available + packed.DESCRIPTION.licence
    assert "terms of the originals hold" in text and "10.1038/s41593-021-00962-x" in packed.DESCRIPTION.citation

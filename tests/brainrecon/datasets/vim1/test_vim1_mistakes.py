"""Files of vim-1 that cannot be used, each in one sentence, and nothing is written."""

import h5py
import numpy as np
import pytest
import scipy.io
from damage import cut
from vim1_files import Kay, save_73

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from stages.ground.errors import InputError


def change(name, new, file="EstimatedResponses.mat"):
    """Another value of a variable of an HDF5 file, or none."""

    def spoil(kay):
        with h5py.File(kay.root / file, "r+") as content:
            values = None if new is None else new(content[name][()])
            del content[name]
            if values is not None:
                content[name] = values

    return spoil


def replaced(**changed):
    """The open copy with other arrays."""
    return lambda kay: kay.write_osf(**{name: new(kay.osf()[name]) if new else None for name, new in changed.items()})


def small(**changed):
    """Stimuli.mat with other variables."""

    def spoil(kay):
        content = {
            name: values for name, values in scipy.io.loadmat(kay.root / "Stimuli.mat").items() if name[0] != "_"
        }
        for name, new in changed.items():
            values = content.pop(name)
            if new:
                content[name] = new(values)
        scipy.io.savemat(kay.root / "Stimuli.mat", content)

    return spoil


def labels(new):
    return lambda kay: np.save(kay.root / "kay_labels.npy", new(kay.labels["Trn"]))


def cut_file(name, keep=0.5):
    return lambda kay: cut(kay.root / name, keep)


def without(name):
    return lambda kay: (kay.root / name).unlink()


def as_folder(name):
    def spoil(kay):
        (kay.root / name).unlink()
        (kay.root / name).mkdir()

    return spoil


def text(name):
    return lambda kay: (kay.root / name).write_text("no data " * 400)


def twice(places):
    places[0, 3] = places[0, 5]
    return places


def zeroed(places):
    return places - places.min()


def poisoned(values):
    values = values.copy()
    values[2, 3, 4] = np.nan
    return values


def rename_full(kay):
    (kay.root / "Stimuli_Trn_FullRes_01.mat").rename(kay.root / "Stimuli_Trn_FullRes_2.mat")


def other_size(kay):
    save_73(kay.root / "Stimuli_Trn_FullRes_02.mat", {"stimTrn": kay.full["Trn"][:10, :-1]})


def header(kay):
    place = kay.root / "EstimatedResponses.mat"
    content = bytearray(place.read_bytes())
    content[8:40] = b"\xff" * 32
    place.write_bytes(content)


FULL = {"resolution": "full"}
CRCNS = {
    "nothing": (
        without("EstimatedResponses.mat"),
        {},
        "holds no EstimatedResponses.mat and no kay_images.npz; type brainrecon",
    ),
    "no folder": (lambda kay: kay.root.rename(kay.root.parent / "moved"), {}, "for there is no such folder"),
    "truncated": (cut_file("EstimatedResponses.mat"), {}, "EstimatedResponses.mat cannot be read as HDF5"),
    "no data": (text("EstimatedResponses.mat"), {}, "EstimatedResponses.mat cannot be read as a MATLAB file"),
    "damaged header": (header, {}, "EstimatedResponses.mat cannot be read as"),
    "a folder for a file": (
        as_folder("EstimatedResponses.mat"),
        {},
        "is a folder where a file of a MATLAB file was expected",
    ),
    "unknown subject": (None, {"subject": "S3"}, "has no subject 'S3'; it has subj01, subj02"),
    "no subject": (
        lambda kay: [change(name, None)(kay) for name in ("dataTrnS1", "dataTrnS2")],
        {},
        "holds no dataTrnS1 and so no subject",
    ),
    "no test responses": (change("dataValS1", None), {}, "but no dataValS1; copy the file again from CRCNS"),
    "no areas": (change("roiS1", None), {}, "but no roiS1"),
    "transposed": (change("dataTrnS1", np.transpose), {}, "transpose them to a row for each picture"),
    "another width": (
        change("dataValS1", lambda old: old[:, 1:]),
        {},
        r"The test responses in .* but areas are told of 70 voxels",
    ),
    "an unknown area": (change("roiS1", lambda old: old + 3), {}, "gives a voxel the area 10; expected 0 to 7"),
    "half an area": (change("roiS1", lambda old: old + 0.5), {}, "numbers of areas .* not all whole"),
    "areas that are NaN": (change("roiS1", lambda old: old * np.nan), {}, "numbers of areas .* not all whole"),
    "numbers from 0": (change("voxIdxS1", zeroed), {}, "gives a voxel the number 0; expected 1 to 73,728"),
    "numbers too high": (change("voxIdxS1", lambda old: old + 73000), {}, "expected 1 to 73,728"),
    "a number twice": (change("voxIdxS1", twice), {}, r"gives 2 voxels the number [\d,]+; expected each once"),
    "fewer places": (change("voxIdxS1", lambda old: old[:, 1:]), {}, "69 places in voxIdxS1 but 70 areas in roiS1"),
    "no voxel with values": (change("dataValS1", lambda old: old * np.nan), {}, "Every voxel of .* lacks a response"),
    "text": (
        change("dataTrnS1", lambda old: np.full(old.shape, b"x")),
        {},
        r"'dataTrnS1' in .* holds \|S1; expected numbers",
    ),
    "complex": (change("dataTrnS1", lambda old: old + 1j), {}, "train responses in .* are complex"),
    "pictures truncated": (cut_file("Stimuli.mat"), {}, "Stimuli.mat cannot be read as a MATLAB file"),
    "no test pictures": (small(stimVal=None), {}, "stimTrn, seqTrn, seqVal but no stimVal"),
    "fewer pictures": (small(stimTrn=lambda old: old[1:]), {}, "has 29 pictures but there are responses to 30"),
    "pictures of another shape": (
        small(stimTrn=lambda old: old[..., 0]),
        {},
        r"is float32 \(30, 24\); expected grey pictures",
    ),
    "a picture with NaN": (small(stimTrn=poisoned), {}, "1 pictures of .*Stimuli.mat hold values that are not finite"),
    "one grey": (
        small(stimTrn=lambda old: old * 0, stimVal=lambda old: old * 0),
        {},
        "are one and the same grey, 0; expected what was shown",
    ),
    "a file is lacking": (
        without("Stimuli_Trn_FullRes_01.mat"),
        FULL,
        "2 files Stimuli_Trn_FullRes.*, of which number 1 is absent",
    ),
    "a file twice": (rename_full, FULL, "has both Stimuli_Trn_FullRes_02.mat and Stimuli_Trn_FullRes_2.mat"),
    "no full test pictures": (
        without("Stimuli_Val_FullRes.mat"),
        FULL,
        r"has Stimuli_Trn_FullRes_\*\.mat but no Stimuli_Val_FullRes.mat; add it",
    ),
    "files of different sizes": (other_size, FULL, "are of 47 x 40, 48 x 40"),
    "a full file truncated": (cut_file("Stimuli_Trn_FullRes_03.mat"), FULL, "FullRes_03.mat cannot be read as HDF5"),
    "only a full test file": (
        lambda kay: [without(f"Stimuli_Trn_FullRes_0{number}.mat")(kay) for number in (1, 2, 3)],
        FULL,
        "has Stimuli_Val_FullRes.mat but no Stimuli_Trn_FullRes_01.mat",
    ),
    "resolution": (None, {"resolution": "huge"}, "resolution is 'huge'; expected small or full"),
    "copy": (None, {"copy": "ofs"}, r"copy is 'ofs'; expected crcns or osf \(did you mean 'osf'"),
    "another copy": (None, {"copy": "osf"}, "holds no kay_images.npz; type brainrecon data download"),
    "no range": (None, {"range": "dark,bright"}, "range is 'dark,bright'; expected the values of black and of white"),
    "one end": (None, {"range": 3}, "range is 3; expected the values"),
    "a range in words": (None, {"range": "white=1,black=0"}, "expected the values of black and of white"),
    "ends in the wrong order": (None, {"range": [1, 0]}, "expected the value of black, then a higher one"),
    "an unknown roi": (None, {"roi": "V7"}, "has no roi 'V7'; it has Other, V1, V2"),
}
OSF = {
    "truncated": (cut_file("kay_images.npz"), {}, "kay_images.npz cannot be read as a .npz archive"),
    "no data": (text("kay_images.npz"), {}, "kay_images.npz cannot be read as a .npz archive"),
    "a web page": (
        lambda kay: (kay.root / "kay_images.npz").write_text("<!DOCTYPE html><html></html>"),
        {},
        "kay_images.npz cannot be read as a .npz archive",
    ),
    "no responses": (replaced(responses=None), {}, "but no responses; copy the file again from OSF"),
    "no pictures": (replaced(stimuli_test=None), {}, "but no stimuli_test"),
    "another width": (
        replaced(responses_test=lambda old: old[:, :-2]),
        {},
        "The test responses in .* areas are told of",
    ),
    "fewer pictures": (replaced(stimuli=lambda old: old[:-1]), {}, "has 29 pictures but there are responses to 30"),
    "an unknown area": (
        replaced(roi=lambda old: old + 1),
        {},
        "gives a voxel the area 8; expected 0 to 7, from Other to LatOcc",
    ),
    "an area with no name": (replaced(roi_names=lambda old: old[:5]), {}, "gives a voxel the area 7; expected 0 to 4"),
    "a name twice": (replaced(roi_names=lambda old: np.repeat(old, 2)[:8]), {}, "expected different names"),
    "names that are numbers": (replaced(roi_names=lambda old: np.arange(8)), {}, "expected different names"),
    "pickled names": (replaced(roi_names=lambda old: old.astype(object)), {}, "pickled Python objects"),
    "pictures with infinity": (
        replaced(stimuli=lambda old: poisoned(old) * np.inf),
        {},
        "hold values that are not finite",
    ),
    "no voxel with values": (replaced(responses=lambda old: old * np.nan), {}, "Every voxel of .* lacks a response"),
    "no picture at all": (replaced(responses=lambda old: old[:0]), {}, r"The train responses in .* are float32 \(0, "),
    "labels of other pictures": (labels(lambda old: old[:, 1:]), {}, r"holds <U3 \(4, 29\); expected texts \(4, 30\)"),
    "labels that are numbers": (
        labels(lambda old: np.zeros(old.shape)),
        {},
        "holds float64 .* or delete it to go on without",
    ),
    "labels truncated": (cut_file("kay_labels.npy"), {}, "kay_labels.npy says that it holds"),
    "labels are a folder": (as_folder("kay_labels.npy"), {}, "kay_labels.npy is a folder where a file"),
    "unknown subject": (None, {"subject": "subj02"}, "has no subject 'subj02'; it has subj01"),
    "full resolution": (None, FULL, "has small pictures alone; leave resolution out"),
    "a region that is not there": (None, {"roi": "Other"}, "has no roi 'Other'; it has V1"),
}
CASES = {
    f"{copy}, {name}": (copy, *case) for copy, cases in (("crcns", CRCNS), ("osf", OSF)) for name, case in cases.items()
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_sentence_and_nothing_is_written(case, tmp_path, capsys):
    copy, spoil, asked, told = CASES[case]
    kay = Kay(tmp_path / "vim1", 3)
    kay.write_crcns(full=True) if copy == "crcns" else kay.write_osf()
    if spoil:
        spoil(kay)
    before = {file for file in tmp_path.rglob("*")}
    with pytest.raises(InputError, match=told) as caught:
        load(f"vim1:{kay.root}", **asked)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    line = ["run", "mean-image", f"vim1:{kay.root}", "--out", str(tmp_path / "run")]
    for name, value in asked.items():
        line += [f"--{name}", str(value)] if name in ("subject", "roi") else ["--option", f"{name}={value}"]
    assert run_command(line) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error and str(caught.value)[:60] in " ".join(error.split())
    assert {file for file in tmp_path.rglob("*")} == before


def test_a_file_is_no_folder(tmp_path):
    kay = Kay(tmp_path / "vim1").write_osf()
    with pytest.raises(
        InputError, match="kay_images.npz is a file; give the folder that holds EstimatedResponses.mat or"
    ):
        load(f"vim1:{kay.root / 'kay_images.npz'}")


def test_a_test_set_that_is_changed_changes_no_training_response(tmp_path):
    kay = Kay(tmp_path / "one").write_osf()
    there = load(f"vim1:{kay.root}").train.betas[:]
    kay.people[0].val *= 1000
    kay.write_osf()
    np.testing.assert_array_equal(load(f"vim1:{kay.root}").train.betas[:], there)

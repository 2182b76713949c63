import json

import numpy as np
import pytest
import scipy.io

from brainrecon.datasets import load, subjects
from brainrecon.datasets.noise_ceiling import noise_ceiling


def every_trial(subject):
    """(session, row) -> (stimulus id, response, split), over all splits."""
    trials = {}
    for name, split in subject.splits.items():
        betas = np.asarray(split.betas)
        for stimulus, session, row, response in zip(split.trial_stimulus_ids, split.sessions, split.betas.rows, betas):
            trials[int(session), int(row)] = (str(stimulus), response, name)
    return trials


@pytest.mark.parametrize("file_format", ["hdf5", "nifti"])
@pytest.mark.parametrize("name", ["subj01", "subj02"])
@pytest.mark.parametrize("sessions", [(1, 2, 3), (1, 3), (2,)])
def test_every_trial_is_what_was_written(nsd_writer, file_format, name, sessions):
    nsd = nsd_writer(formats=[file_format])
    for session in {1, 2, 3} - set(sessions):
        nsd.session(session, name, ".hdf5" if file_format == "hdf5" else ".nii.gz").unlink()
    subject = load(f"nsd:{nsd.root}", subject=name)
    trials = every_trial(subject)
    assert set(trials) == {(session, row) for session in sessions for row in range(nsd.trials_per_session)}
    voxels = np.argwhere(nsd.rois[name]["nsdgeneral"] == 1)  # row-major: C order of (x, y, z)
    for (session, row), (stimulus, response, split) in trials.items():
        picture = nsd.shown[name][session][row]
        assert stimulus == f"nsd{picture:05d}"
        assert split == ("test" if picture in nsd.shared else "train")
        expected = [nsd.stored[name][session][x, y, z, row] / 300 for x, y, z in voxels]
        np.testing.assert_allclose(response, expected, rtol=1e-6)
    assert subject.details["sessions"] == list(sessions)
    assert any("missing" in note for note in subject.notes) == (len(sessions) < 3)


@pytest.mark.parametrize("vintage", ["early", "whole"])
@pytest.mark.parametrize("seed", range(6))
def test_any_cohort_comes_back(nsd_writer, seed, vintage):
    """Sizes, formats and gaps by lot; the early vintage lacks the last sessions on disk and in the behaviour alike."""
    lot = np.random.default_rng(seed)
    sizes = {
        "shape": tuple(lot.integers(3, 9, 3).tolist()),
        "trials_per_run": tuple(lot.integers(4, 8, lot.integers(2, 4)).tolist()),
        "n_sessions": int(lot.integers(5, 8)),
        "n_shared": int(lot.integers(2, 6)),
    }
    formats = [["hdf5"], ["nifti"], ["hdf5", "nifti"]][lot.integers(3)]
    nsd = nsd_writer(seed=seed, formats=formats, n_pictures=sizes["n_shared"] + int(lot.integers(3, 9)), **sizes)
    last = nsd.n_sessions - (2 if vintage == "early" else 0)
    present = [session for session in range(1, last + 1) if session <= 2 or lot.random() < 0.7]
    for session in set(range(1, nsd.n_sessions + 1)) - set(present):
        for suffix in (".hdf5", ".nii.gz"):
            nsd.session(session, suffix=suffix).unlink(missing_ok=True)
    lines = nsd.responses().read_text().splitlines()
    nsd.responses().write_text(
        "\n".join([lines[0], *(line for line in lines[1:] if int(line.split("\t")[1]) <= last)]) + "\n"
    )

    subject = load(f"nsd:{nsd.root}", subject="subj01", roi="prf-visualrois")
    trials = every_trial(subject)
    assert set(trials) == {(session, row) for session in present for row in range(nsd.trials_per_session)}
    mask = nsd.rois["subj01"]["prf-visualrois"] > 0
    for (session, row), (stimulus, response, split) in trials.items():
        picture = nsd.shown["subj01"][session][row]
        assert (stimulus, split) == (f"nsd{picture:05d}", "test" if picture in nsd.shared else "train")
        np.testing.assert_allclose(response, nsd.stored["subj01"][session][mask][:, row] / 300, rtol=1e-6)
    for split in subject.splits.values():
        pictures = [int(name.removeprefix("nsd")) for name in split.stimulus_ids]
        np.testing.assert_array_equal(np.asarray(split.images), nsd.images[pictures])
    assert subject.details["sessions"] == present
    assert f"{len(present)} of {nsd.n_sessions} sessions found" in "".join(subject.notes)


def test_hdf5_and_nifti_give_equal_betas(nsd_writer):
    nsd = nsd_writer(formats=("hdf5", "nifti"))
    by_format = [load(f"nsd:{nsd.root}", format=name) for name in ("hdf5", "nifti")]
    assert by_format[0].train.betas.store.files[1].suffix == ".hdf5"
    assert by_format[1].train.betas.store.files[1].name.endswith(".nii.gz")
    for split in ("train", "test"):
        first, second = (np.asarray(subject.splits[split].betas) for subject in by_format)
        assert first.dtype == np.float32
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(*(subject.splits[split].patterns for subject in by_format))


def test_a_session_in_one_format_only_is_found(nsd_writer):
    nsd = nsd_writer(formats=("hdf5", "nifti"))
    nsd.session(2).unlink()
    files = load(f"nsd:{nsd.root}").train.betas.store.files
    assert [path.name for path in files.values()] == [
        "betas_session01.hdf5",
        "betas_session02.nii.gz",
        "betas_session03.hdf5",
    ]


def test_index_bases_by_hand(nsd_writer):
    """masterordering 1 is a subject's first picture, subjectim 1 is row 0 of the stimulus file."""
    nsd = nsd_writer(n_subjects=1, n_sessions=1, trials_per_run=(2, 2), n_shared=2, n_pictures=3, responses=False)
    scipy.io.savemat(
        nsd.design,
        {
            "masterordering": np.array([[3, 1, 2, 3]]),
            "subjectim": np.array([[1, 8, 5]]),
            "sharedix": np.array([[1, 8]]),
            "stimpattern": np.array([[[1, 0, 1], [0, 1, 1]]]),
        },
    )
    subject = load(f"nsd:{nsd.root}")
    assert subject.train.trial_stimulus_ids.tolist() == ["nsd00004", "nsd00004"]
    assert subject.test.trial_stimulus_ids.tolist() == ["nsd00000", "nsd00007"]
    assert subject.train.runs.tolist() == [1, 2] and subject.test.runs.tolist() == [1, 2]
    np.testing.assert_array_equal(subject.test.images[:], nsd.images[[0, 7]])
    np.testing.assert_array_equal(subject.train.images[0], nsd.images[4])


def test_stimuli_come_in_the_order_of_first_presentation(nsd):
    subject = load(f"nsd:{nsd.root}", subject="subj02")
    shown = [picture for session in (1, 2, 3) for picture in nsd.shown["subj02"][session]]
    for name, split in subject.splits.items():
        order = list(dict.fromkeys(p for p in shown if (p in nsd.shared) == (name == "test")))
        assert split.stimulus_ids.tolist() == [f"nsd{picture:05d}" for picture in order]
        np.testing.assert_array_equal(split.images[:], nsd.images[order])
        assert split.captions == [[f"caption {j} of {nsd.coco_ids[p]}" for j in range(2)] for p in order]
        assert split.categories == [["car", "toothbrush"]] * len(order)
        for position, picture in enumerate(order):
            trials = [
                nsd.stored["subj02"][session][..., row]
                for session in (1, 2, 3)
                for row, other in enumerate(nsd.shown["subj02"][session])
                if other == picture
            ]
            mean = np.mean(trials, axis=0, dtype=np.float64)[nsd.rois["subj02"]["nsdgeneral"] > 0] / 300
            np.testing.assert_allclose(split.patterns[position], mean, rtol=1e-5, atol=1e-6)
            assert split.repeats[position] == len(trials)


def test_runs_come_from_the_responses_and_else_from_the_design(nsd_writer):
    for responses in (True, False):
        nsd = nsd_writer(f"responses {responses}", responses=responses)
        split = load(f"nsd:{nsd.root}").train
        runs = [1] * 5 + [2] * 4
        assert split.runs.tolist() == [runs[row] for row in split.betas.rows]


def test_without_stimpattern_sessions_are_of_one_length(nsd_writer):
    nsd = nsd_writer(responses=False)
    content = scipy.io.loadmat(nsd.design)
    scipy.io.savemat(nsd.design, {name: content[name] for name in ("masterordering", "subjectim", "sharedix")})
    nsd.session(1).unlink()
    subject = load(f"nsd:{nsd.root}")
    assert subject.train.runs is None
    for (session, row), (stimulus, _, _) in every_trial(subject).items():
        assert stimulus == f"nsd{nsd.shown['subj01'][session][row]:05d}"


def test_noise_ceiling_is_that_of_the_test_patterns(nsd):
    nsd.session(3).unlink()  # leaves mixed repeats
    subject = load(f"nsd:{nsd.root}")
    counts = {k: int((subject.test.repeats == k).sum()) for k in (1, 2, 3)}
    mixed = (counts[1] + counts[2] / 2 + counts[3] / 3) / sum(counts.values())
    ncsnr = nsd.ncsnr["subj01"][nsd.rois["subj01"]["nsdgeneral"] > 0].astype(np.float64)
    np.testing.assert_allclose(subject.noise_ceiling, 100 * ncsnr**2 / (ncsnr**2 + mixed), rtol=1e-5)
    assert noise_ceiling([1.0, np.nan, 0.0], [3, 3]).tolist() == [75.0, 0.0, 0.0]


def test_versions_and_spaces(nsd):
    source = f"nsd:{nsd.root}"
    assert load(source).details["betas"] == "betas_fithrf_GLMdenoise_RR"
    nsd.betas_folder().rename(nsd.betas_folder(version="betas_assumehrf"))
    assert load(source).details["betas"] == "betas_assumehrf"
    assert load(source, betas="b1").details == load(source, betas="betas_assumehrf").details
    assert load(source).details["space"] == load(source, space="func1pt8mm").details["space"] == "func1pt8mm"


def test_what_is_optional_may_be_absent(nsd):
    source = f"nsd:{nsd.root}"
    whole = load(source)
    (nsd.betas_folder() / "ncsnr.nii.gz").unlink()
    (nsd.annotations / "instances_val2017.json").unlink()
    (nsd.annotations / "captions_train2017.json").unlink()
    subject = load(source)
    assert subject.noise_ceiling is None and subject.train.captions is None and subject.train.categories is None
    notes = " ".join(subject.notes)
    assert "captions_train2017.json" in notes and "instances_val2017.json" in notes and "ncsnr.nii.gz" in notes
    assert "captions_val2017.json" not in notes
    nsd.stimuli.unlink()
    (nsd.design.parent / "nsd_stim_info_merged.csv").unlink()
    subject = load(source)
    assert subject.train.images is None and "nsd_stimuli.hdf5" in " ".join(subject.notes)
    np.testing.assert_array_equal(subject.test.patterns, whole.test.patterns)


def test_simulated_cohorts_say_so(nsd):
    assert not load(f"nsd:{nsd.root}").simulated
    (nsd.root / "simulated.json").write_text(json.dumps({"seed": 0}))
    subject = load(f"nsd:{nsd.root}")
    assert subject.simulated and subject.notes[0].startswith("simulated")
    assert "(thing, background, colour, digit, place)" in subject.notes[0]


def test_fingerprint_is_the_same_for_every_roi_and_place(nsd_writer):
    first, again, other = nsd_writer("a"), nsd_writer("b"), nsd_writer("c", seed=1)
    prints = [load(f"nsd:{nsd.root}").fingerprint for nsd in (first, again, other)]
    assert prints[0] == prints[1] != prints[2]
    assert load(f"nsd:{first.root}", roi="hV4").fingerprint == prints[0]
    assert load(f"nsd:{first.root}", subject="subj02").fingerprint != prints[0]


def test_subjects_by_any_of_their_names(nsd):
    assert subjects(f"nsd:{nsd.root}") == ["subj01", "subj02"]
    assert {load(f"nsd:{nsd.root}", subject=name).name for name in ("subj02", "sub-02", "2", 2)} == {"subj02"}
    assert load(f"nsd:{nsd.root}").name == "subj01"

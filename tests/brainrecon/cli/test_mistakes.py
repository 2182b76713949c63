"""What a user can mend: one sentence, exit code 2, and what was there before still there."""

import hashlib
import re
import shutil

import h5py
import numpy as np
import pytest

from brainrecon.cli.main import run_command

TINY = ("--weights", "tiny")

FEW_STEPS = ["--set", "generator.num_inference_steps=4"]


def state(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


def refuse(capsys, line):
    """Run a line that has to be refused, and return its one sentence."""
    capsys.readouterr()
    assert run_command([str(part) for part in line]) == 2
    message = capsys.readouterr().err.strip().splitlines()
    sentences = [text for text in message if not re.search(r": \d+/\d+ \(\d+ %\)", text)]  # progress lines
    assert len(sentences) == 1, message
    return sentences[0]


@pytest.fixture
def damaged(cohort, tmp_path):
    """A copy of the cohort, to be damaged."""
    return shutil.copytree(cohort, tmp_path / "nsd")


def session_file(root):
    return next(root.rglob("betas_session02.hdf5"))


def test_missing_folder(capsys, tmp_path):
    message = refuse(capsys, ["fit", "brain-diffuser", *TINY, f"nsd:{tmp_path / 'nowhere'}", "--out", tmp_path / "run"])
    assert "nowhere" in message


def test_absent_subject(capsys, cohort, tmp_path):
    line = ["fit", "brain-diffuser", *TINY, f"nsd:{cohort}", "--subject", "subj07", "--out", tmp_path / "run"]
    message = refuse(capsys, line)
    assert "subj07" in message and "subj01" in message
    assert not (tmp_path / "run").exists()


def test_more_folds_than_stimuli(capsys, cohort, tmp_path):
    line = ["run", "brain-diffuser", *TINY, f"nsd:{cohort}", "--folds", "9999", "--out", tmp_path / "run"]
    assert "9,999 folds of" in refuse(capsys, line)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("roi", ["V9", "V1+nothing"])
def test_unknown_roi_lists_what_there_is(capsys, cohort, tmp_path, roi):
    message = refuse(capsys, ["data", "info", f"nsd:{cohort}", "--roi", roi])
    assert "V1" in message


def test_roi_without_voxels(capsys, damaged):
    import nibabel

    for path in damaged.rglob("*floc-faces.nii.gz"):
        image = nibabel.load(path)
        values = np.asarray(image.dataobj)
        nibabel.save(nibabel.Nifti1Image(np.where(values > 0, 0, values), image.affine), path)
    assert "FFA-1" in refuse(capsys, ["data", "info", f"nsd:{damaged}", "--roi", "FFA-1"])


def test_betas_of_another_voxel_count(capsys, fitted, features, tmp_path):
    before = state(fitted)
    np.save(tmp_path / "betas.npy", np.zeros((3, 7), dtype=np.float32))
    line = ["predict", fitted, "--betas", tmp_path / "betas.npy", "--out", tmp_path / "out.safetensors"]
    message = refuse(capsys, line)
    assert "(3, 7)" in message and "300" in message
    assert not (tmp_path / "out.safetensors").exists() and state(fitted) == before


def test_nan_in_the_betas(capsys, damaged, features, tmp_path):
    with h5py.File(session_file(damaged), "r") as file:
        betas = file["betas"][()].astype(np.float32)
    betas[5] = np.nan
    with h5py.File(session_file(damaged), "w") as file:
        file["betas"] = betas
    line = ["fit", "brain-diffuser", *TINY, f"nsd:{damaged}", "--out", tmp_path / "run", "--features", features]
    message = refuse(capsys, line)
    assert "NaN" in message and "session 2" in message
    assert not (tmp_path / "run" / "decoder").exists()


def test_truncated_hdf5(capsys, damaged, features, tmp_path):
    path = session_file(damaged)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    line = ["fit", "brain-diffuser", *TINY, f"nsd:{damaged}", "--out", tmp_path / "run", "--features", features]
    assert "betas_session02.hdf5" in refuse(capsys, line)


def test_checkpoint_with_a_wrong_hash(capsys, cohort, run_folder, features, tmp_path, monkeypatch):
    from weights import store

    copied = shutil.copytree(store.MANIFEST.parent, tmp_path / "weights")
    target = next((copied / "tiny" / "generator").rglob("*.safetensors"))
    content = bytearray(target.read_bytes())
    content[-1] ^= 1
    target.write_bytes(content)
    monkeypatch.setattr(store, "MANIFEST", copied / "manifest.toml")
    before = state(run_folder)
    message = refuse(capsys, ["reconstruct", run_folder, "--features", features])
    assert "tiny-generator" in message
    drawn = {path: digest for path, digest in state(run_folder).items() if path in before}
    assert {path: digest for path, digest in before.items() if path.name != "manifest.jsonl"}.items() <= drawn.items()


def test_unknown_option(capsys):
    assert "--bogus" in refuse(capsys, ["run", "--bogus"])


def test_unknown_setting(capsys, cohort, tmp_path):
    line = ["fit", "brain-diffuser", *TINY, f"nsd:{cohort}", "--out", tmp_path / "run", "--set", "decoder.alhpa=3"]
    assert "did you mean 'decoder.alpha'" in refuse(capsys, line)
    assert not (tmp_path / "run").exists()


def test_a_run_with_other_settings_is_kept(capsys, cohort, run_folder, features):
    before = state(run_folder)
    line = ["fit", "brain-diffuser", *TINY, f"nsd:{cohort}", "--out", run_folder, "--features", features]
    message = refuse(capsys, [*line, *FEW_STEPS, "--seed", "5"])
    assert "seed = 0" in message and "5" in message
    assert state(run_folder) == before


def test_a_folder_of_other_files_is_kept(capsys, cohort, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("important")
    refuse(capsys, ["fit", "brain-diffuser", *TINY, f"nsd:{cohort}", "--out", tmp_path / "mine"])
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "line, words",
    [
        (["reconstruct", "RUN", "--stimuli", "nsd99999"], ["nsd99999", "12 test stimuli"]),
        (["reconstruct", "RUN", "--shard", "4/4"], ["0/4"]),
        (["reconstruct", "RUN", "--controls", "telepathy"], ["telepathy", "shuffled_responses"]),
        (["evaluate", "RUN"], ["brainrecon reconstruct"]),
        (["report", "RUN"], ["brainrecon evaluate"]),
        (["reconstruct", "RUN", "--device", "cuda:9"], ["cuda:9", "cpu"]),
    ],
)
def test_requests_that_cannot_be(capsys, fitted, features, line, words):
    before = state(fitted)
    message = refuse(capsys, [fitted if part == "RUN" else part for part in line] + ["--features", features])
    assert all(word in message for word in words)
    assert state(fitted) == before


def test_no_run_folder(capsys, tmp_path):
    assert "config.toml is missing" in refuse(capsys, ["reconstruct", tmp_path])


@pytest.mark.parametrize(
    "options",
    [
        ["--set", "generator.strength=1.5"],
        ["--set", "generator.num_inference_steps=0"],
        ["--set", "generator.guidance_scale=nan"],
        ["--set", "decoder.rescale=sometimes"],
        ["--seed", "-1"],
        ["--samples", "0"],
        ["--set", "data=3"],
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_done(capsys, cohort, tmp_path, options):
    refuse(capsys, ["run", "brain-diffuser", *TINY, f"nsd:{cohort}", "--out", tmp_path / "run", *options])
    assert not (tmp_path / "run").exists()


def test_no_samples_leave_the_run_as_it_was(capsys, run_folder, features):
    before = state(run_folder)
    assert "expected 1 or more" in refuse(capsys, ["reconstruct", run_folder, "--samples", "0", "--features", features])
    assert state(run_folder) == before


def test_other_data_at_the_same_place(capsys, damaged, features, tmp_path):
    line = ["fit", "brain-diffuser", *TINY, f"nsd:{damaged}", "--out", tmp_path / "run", "--features", features]
    assert run_command([str(part) for part in line]) == 0
    brick = next(damaged.rglob("nsd_stimuli.hdf5"))
    with h5py.File(brick, "r+") as file:
        file["imgBrick"][...] = 255 - file["imgBrick"][...]
    before = state(tmp_path / "run")
    for verb in (line, ["reconstruct", tmp_path / "run", "--controls", "all"], ["evaluate", tmp_path / "run"]):
        capsys.readouterr()
        assert run_command([str(part) for part in verb]) == 2
    assert "other stimuli" in refuse(capsys, line)
    kept = state(tmp_path / "run")
    assert before.items() <= kept.items()


@pytest.fixture
def theirs(cohort, tmp_path):
    """A folder of pictures from elsewhere, named by stimulus."""
    from PIL import Image

    import brainrecon

    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in brainrecon.load(f"nsd:{cohort}", subject="subj01").test.stimulus_ids:
        Image.fromarray(np.full((32, 32, 3), 90, dtype=np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "--truth KIND:PATH"),
        (["--truth", "COHORT"], "--out DIR"),
        (["--truth", "COHORT", "--out", "OUT", "--controls", "all"], "leave --controls"),
        (["--truth", "COHORT", "--out", "OUT", "--protocol", "guess"], "brainrecon-1.*mindeye-2023"),
        (["--truth", "COHORT", "--out", "OUT", "--protocol", "mindeye-2023"], "alexnet-imagenet1k-v1.*weights"),
        (["--truth", "COHORT", "--out", "RUN"], "is a run"),
    ],
)
def test_pictures_from_elsewhere_asked_for_in_the_wrong_way(capsys, cohort, run_folder, theirs, tmp_path, more, words):
    places = {"COHORT": f"nsd:{cohort}", "OUT": tmp_path / "out", "RUN": run_folder}
    before = state(run_folder)
    message = refuse(capsys, ["evaluate", "--images", theirs, *(places.get(part, part) for part in more)])
    assert re.search(words, message), message
    assert not (tmp_path / "out" / "scores").exists() and state(run_folder) == before


@pytest.mark.parametrize(
    ("damage", "words"), [("stranger", "zebra.png"), ("size", "8 x 8"), ("broken", "cannot be read")]
)
def test_pictures_from_elsewhere_that_do_not_fit(capsys, cohort, theirs, tmp_path, damage, words):
    from PIL import Image

    path = sorted(theirs.iterdir())[3]
    if damage == "stranger":
        for each in theirs.iterdir():
            each.rename(theirs / f"zebra{'' if each == path else each.stem}.png")
    elif damage == "size":
        Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(path)
    else:
        path.write_bytes(path.read_bytes()[:20])
    line = ["evaluate", "--images", theirs, "--truth", f"nsd:{cohort}", "--out", tmp_path / "out"]
    assert words in refuse(capsys, line)
    assert not (tmp_path / "out" / "scores").exists()


@pytest.mark.parametrize(
    "line", [["evaluate"], ["evaluate", "RUN", "--images", "DIR"], ["evaluate", "RUN", "--out", "DIR"]]
)
def test_a_run_or_pictures_but_not_both(capsys, run_folder, tmp_path, line):
    places = {"RUN": run_folder, "DIR": tmp_path}
    assert "--images" in refuse(capsys, [places.get(part, part) for part in line])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "no plan yet"),
        (["DATA", "--methods", "magic"], "magic.*brain-diffuser"),
        (["DATA", "--methods", "absent.toml"], "absent.toml"),
        (["DATA", "--methods", "brain-diffuser", *TINY, "--subjects", "subj07"], "subj07.*subj01"),
        (["DATA", "--methods", "brain-diffuser", *TINY, "--rois", "V9"], "V9"),
        (["DATA", "--methods", "brain-diffuser", *TINY, "--protocols", "guess"], "guess.*brainrecon-1"),
        (["DATA", "--methods", "brain-diffuser", *TINY, "--controls", "magic"], "magic.*shuffled_responses"),
    ],
)
def test_a_benchmark_that_cannot_be_planned_writes_nothing(capsys, cohort, tmp_path, more, words):
    line = ["benchmark", *(f"nsd:{cohort}" if part == "DATA" else part for part in more), "--out", tmp_path / "bench"]
    assert re.search(words, refuse(capsys, line))
    assert not (tmp_path / "bench").exists()


def test_a_benchmark_into_a_folder_of_other_files(capsys, cohort, tmp_path):
    (tmp_path / "thesis.txt").write_text("all of it")
    line = ["benchmark", f"nsd:{cohort}", "--methods", "brain-diffuser", *TINY, "--out", tmp_path]
    assert "is no benchmark" in refuse(capsys, line)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

"""Plain arrays: a round trip, a template that loads, resuming, hostile input."""

import json

import numpy as np
import pytest
from PIL import Image

from brainrecon.datasets import load
from brainrecon.datasets.arrays import write, write_template
from brainrecon.datasets.subject import Split, Subject
from stages.errors import InputError


@pytest.fixture
def subject():
    generator = np.random.default_rng(3)

    def split(name, n_stimuli):
        trials = generator.permutation(np.repeat([f"{name}{row}" for row in range(n_stimuli)], 3))
        return Split(
            generator.normal(size=(len(trials), 30)).astype(np.float32),
            trials,
            sessions=np.arange(len(trials)) // 5 + 1,
            images=generator.integers(0, 256, (n_stimuli, 8, 9, 3), dtype=np.uint8),
            captions=[[f"caption {row}"] for row in range(n_stimuli)],
        )

    mask = np.arange(30) < 12
    splits = {"train": split("a", 100), "test": split("b", 7)}
    return Subject(
        "subj03", "nsd", "nsd:x", splits, "nsdgeneral", {"V1": mask}, np.linspace(0, 50, 30), "f" * 8, ["note"], True
    )


def test_round_trip(tmp_path, subject):
    write(subject, tmp_path / "out")
    again = load(f"arrays:{tmp_path / 'out'}")
    for name, split in subject.splits.items():
        np.testing.assert_array_equal(again.splits[name].patterns, split.patterns)
        np.testing.assert_array_equal(again.splits[name].images[:], split.images)
        np.testing.assert_array_equal(again.splits[name].stimulus_ids, split.stimulus_ids)
        assert again.splits[name].captions == split.captions
    assert (again.name, again.dataset, again.roi, again.simulated) == ("subj03", "nsd", "nsdgeneral", True)
    assert again.fingerprint == subject.fingerprint
    one = load(f"arrays:{tmp_path / 'out'}", roi="V1")
    np.testing.assert_array_equal(one.test.patterns, subject.test.patterns[:, :12])
    assert one.noise_ceiling.shape == (12,)


def test_an_interrupted_writing_goes_on(tmp_path, subject):
    def stop(label, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(subject, tmp_path / "out", progress=stop)
    with pytest.raises(InputError, match="subject.json is missing"):
        load(f"arrays:{tmp_path / 'out'}")
    done = []
    write(subject, tmp_path / "out", progress=lambda label, rows, total: done.append((label, rows)))
    assert done[0] == ("train betas", 300)  # the first block of 256 was there
    np.testing.assert_array_equal(load(f"arrays:{tmp_path / 'out'}").train.patterns, subject.train.patterns)


def test_template_loads_and_describes_itself(tmp_path):
    write_template(tmp_path / "mine")
    subject = load(f"arrays:{tmp_path / 'mine'}")
    assert subject.train.n_stimuli == 12 and list(subject.test.repeats) == [3] * 4
    assert "trials.csv" in (tmp_path / "mine" / "README.md").read_text()


def test_pictures_may_be_files(tmp_path):
    write_template(tmp_path / "mine")
    images = np.load(tmp_path / "mine" / "test" / "images.npy")
    (tmp_path / "mine" / "test" / "images.npy").unlink()
    (tmp_path / "mine" / "test" / "images").mkdir()
    for row, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "mine" / "test" / "images" / f"test{row:03d}.png")
    np.testing.assert_array_equal(load(f"arrays:{tmp_path / 'mine'}").test.images[[2, 0]], images[[2, 0]])


def damage(name):
    def change(folder):
        if name == "nan":
            betas = np.load(folder / "train" / "betas.npy")
            betas[3, 7] = np.nan
            np.save(folder / "train" / "betas.npy", betas)
        elif name == "voxels":
            np.save(folder / "test" / "betas.npy", np.zeros((12, 49), dtype=np.float32))
        elif name == "trials":
            np.save(folder / "test" / "betas.npy", np.zeros((11, 50), dtype=np.float32))
        elif name == "pickle":
            np.save(folder / "test" / "betas.npy", np.array([{}], dtype=object), allow_pickle=True)
        elif name == "leak":
            text = (folder / "test" / "trials.csv").read_text().replace("test000", "train000")
            (folder / "test" / "trials.csv").write_text(text)
            captions = json.loads((folder / "test" / "captions.json").read_text())
            captions["train000"] = captions.pop("test000")
            (folder / "test" / "captions.json").write_text(json.dumps(captions))
        elif name == "caption":
            (folder / "test" / "captions.json").write_text("{}")
        elif name == "absent":
            (folder / "test" / "trials.csv").unlink()

    return change


@pytest.mark.parametrize(
    "name, message",
    [
        ("nan", "1 of 50 voxels hold NaN"),
        ("voxels", "49 voxels .* 50"),
        ("trials", "11 trials but trials.csv 12"),
        ("pickle", "cannot be read"),
        ("leak", "in both train and test"),
        ("caption", "nothing for 4 of 4 stimuli"),
        ("absent", "trials.csv is missing"),
    ],
)
def test_hostile_input(tmp_path, name, message):
    write_template(tmp_path / "mine")
    damage(name)(tmp_path / "mine")
    with pytest.raises(InputError, match=message):
        load(f"arrays:{tmp_path / 'mine'}").train.patterns


def test_a_folder_in_use_is_kept(tmp_path, subject):
    write_template(tmp_path / "mine")
    with pytest.raises(InputError, match="name another folder"):
        write(subject, tmp_path / "mine")
    with pytest.raises(InputError, match="not empty"):
        write_template(tmp_path / "mine")


def test_another_subject_does_not_finish_what_one_began(tmp_path, subject):
    def stop(label, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(subject, tmp_path / "out", progress=stop)
    subject.name = "subj04"
    with pytest.raises(InputError, match="unfinished writing of subj03"):
        write(subject, tmp_path / "out")


def test_the_users_own_files_are_kept(tmp_path, subject):
    (tmp_path / "mine" / "train").mkdir(parents=True)
    (tmp_path / "mine" / "train" / "trials.csv").write_text("mine")
    with pytest.raises(InputError, match="other files"):
        write(subject, tmp_path / "mine")
    assert (tmp_path / "mine" / "train" / "trials.csv").read_text() == "mine"

import numpy as np
import pytest
import scipy.io
from drawn_digits import draw_digit, write_digits

from brainrecon.datasets import digits69, inventory, load
from brainrecon.datasets.digits69_file import read_digits
from stages.ground.errors import InputError


@pytest.fixture
def drawn(tmp_path):
    """A small file of the same layout, its content, and the name of each digit."""
    path = tmp_path / "digits.mat"
    return path, *write_digits(path)


def test_the_files_own_split(drawn):
    path, content, names = drawn
    subject = load(f"digits69:{path}")
    np.testing.assert_array_equal(subject.train.patterns, content["y_train"])
    np.testing.assert_array_equal(subject.test.patterns, content["y_test"])
    assert subject.test.stimulus_ids.tolist() == ["digit013", "digit014", "digit015", "digit016"]
    assert subject.train.categories == [[name] for name in names[:12]]
    images = subject.train.images
    assert images.shape == (12, 28, 28, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(images[1], np.repeat(draw_digit("nine")[..., None] * 255, 3, axis=-1))
    assert subject.train.captions is None and subject.noise_ceiling is None and not subject.rois
    assert subject.caption_choices == ("a handwritten six", "a handwritten nine")
    assert inventory.describe(subject)["splits"]["test"]["repeats"] == {1: 4}
    assert inventory.files("digits69", path)[0]["present"]


def test_upright_pictures_are_left_as_they_are(drawn):
    path, content, names = drawn
    turned = content | {name: content[name].transpose(0, 2, 1, 3) for name in ("x_train", "x_test")}
    scipy.io.savemat(path, turned)
    subject = load(f"digits69:{path}")
    assert subject.train.categories == [[name] for name in names[:12]]
    assert not any("turned" in note for note in subject.notes)


def test_folds_cover_all_digits_once_and_balanced(drawn):
    path, _, names = drawn
    for n in (2, 3, 8, 16):
        tests = []
        for k in range(n):
            subject = load(f"digits69:{path}", fold=(k, n))
            assert subject.train.n_stimuli + subject.test.n_stimuli == 16
            sixes = subject.test.categories.count(["six"])
            assert abs(2 * sixes - subject.test.n_stimuli) <= 1
            tests += subject.test.stimulus_ids.tolist()
            assert subject.details["fold"] == [k, n]
        assert sorted(tests) == [f"digit{number:03d}" for number in range(1, 17)]


def rows_of(content):
    """Pictures as 784 numbers of 0 to 255 in the order in which MATLAB wrote them, and responses."""
    pictures = np.concatenate([content["x_train"], content["x_test"]]) * 255
    return pictures.reshape(16, 784).astype(np.uint8), np.concatenate([content["y_train"], content["y_test"]])


def test_the_original_file_without_a_split(drawn):
    path, content, names = drawn
    pictures, responses = rows_of(content)
    order = np.argsort(names == "nine", kind="stable")
    labels = np.where(names[order] == "six", 1, 2)[:, None]
    whole = path.with_name("69dataset.mat")
    scipy.io.savemat(whole, {"X": pictures[order], "Y": responses[order], "labels": labels})
    subject = load(f"digits69:{whole}")
    # Eight of a class: one of each, the last, is tested.
    assert subject.test.stimulus_ids.tolist() == ["digit008", "digit016"]
    np.testing.assert_array_equal(subject.test.patterns, responses[order][[7, 15]])
    for split in subject.splits.values():
        for picture, (name,) in zip(split.images, split.categories):
            np.testing.assert_array_equal(picture[..., 0], draw_digit(name) * 255)
    assert any("no split" in note for note in subject.notes) and any("labels them" in note for note in subject.notes)
    assert load(f"digits69:{whole}", fold=(0, 2)).test.n_stimuli == 8
    scipy.io.savemat(whole, {"X": pictures, "Y": responses, "labels": labels + 5})
    with pytest.raises(InputError, match=r"'labels' .* such as 6; expected 1 \(six\) or 2 \(nine\) for each of 16"):
        load(f"digits69:{whole}")


def test_the_copy_of_ninety_and_ten(drawn):
    path, content, _ = drawn
    pictures, responses = rows_of(content)
    parts = {"stimTrn": pictures[:14], "fmriTrn": responses[:14], "stimTest": pictures[14:], "fmriTest": responses[14:]}
    copy = path.with_name("digit69_28x28.mat")
    scipy.io.savemat(copy, parts)
    subject, same = load(f"digits69:{copy}"), load(f"digits69:{path}")
    assert (subject.train.n_stimuli, subject.test.n_stimuli) == (14, 2)
    np.testing.assert_array_equal(subject.test.images[:], same.test.images[2:])
    np.testing.assert_array_equal(subject.train.patterns[12:], same.test.patterns[:2])
    scipy.io.savemat(copy, parts | {"fmriTest": responses[13:]})
    with pytest.raises(InputError, match=r"fmriTest \(3, 5\) of stimTrn, fmriTrn, stimTest, fmriTest"):
        load(f"digits69:{copy}")


def test_the_folder_of_the_file(drawn):
    path, _, _ = drawn
    path.rename(path.with_name("69dataset_split.mat"))
    assert load(f"digits69:{path.parent}").test.n_stimuli == 4
    assert inventory.files("digits69", path.parent)[0]["present"]
    write_digits(path.with_name("69dataset.mat"))
    with pytest.raises(InputError, match="holds 69dataset_split.mat, 69dataset.mat; give the .mat file"):
        load(f"digits69:{path.parent}")


def spoil(path, content, **changes):
    scipy.io.savemat(path, {name: value for name, value in (content | changes).items() if value is not None})


@pytest.mark.parametrize(
    "changes, told",
    [
        (dict(x_test=None), r"holds x_train \(12, 28, 28, 1\), .* of x_train, y_train, x_test, y_test"),
        (dict(x_train=np.zeros((12, 28, 20, 1))), "expected square pictures"),
        (dict(y_test=np.zeros((4, 6))), r"y_test \(4, 6\)"),
        (dict(y_test=np.zeros((3, 5))), r"y_test \(3, 5\)"),
        (dict(x_train=np.full((12, 28, 28, 1), 255.5)), "run from 0 to 255.5; expected 0 to 1"),
        (dict(x_train=np.full((12, 28, 28, 1), -1.0)), "run from -1 to 1; expected 0 to 1"),
        (dict(y_test=np.full((4, 5), np.nan)), "5 of 5 voxels hold NaN"),
    ],
)
def test_other_content_is_one_sentence(drawn, changes, told):
    path, content, _ = drawn
    spoil(path, content, **changes)
    with pytest.raises(InputError, match=told):
        load(f"digits69:{path}")


@pytest.mark.parametrize(
    "asked, told",
    [
        (dict(subject="subj02"), "holds one subject, subj01, not subj02"),
        (dict(roi="V1"), "has no roi 'V1'; it has V1-V3"),
        (dict(fold=(8, 8)), "no fold 8 of 8"),
        (dict(fold=(0, 9)), "9 folds of 16 digits cannot be made; choose 2 to 8 folds, or 16"),
        (dict(fold=(0, 17)), "17 folds of 16 digits cannot be made"),
        (dict(betas="b3"), "'betas' is no option of digits69 data; it takes fold"),
    ],
)
def test_what_cannot_be_asked_for(drawn, asked, told):
    with pytest.raises(InputError, match=told):
        load(f"digits69:{drawn[0]}", **asked)


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="There is no file .*absent.mat"):
        load(f"digits69:{tmp_path}/absent.mat")
    (tmp_path / "no.mat").write_text("no MATLAB file at all" * 20)
    with pytest.raises(InputError, match="cannot be read as a MATLAB file"):
        load(f"digits69:{tmp_path}/no.mat")


def test_the_real_digits(digits_file):
    subject = load(f"digits69:{digits_file}")
    assert subject.train.betas.shape == (80, 3092) and subject.test.betas.shape == (20, 3092)
    content = scipy.io.loadmat(digits_file)
    np.testing.assert_array_equal(subject.train.patterns, content["y_train"])
    # The file also holds all pictures in another order: first the fifty sixes, then the nines (seen by eye).
    in_class_order = np.rint(content["x_all"][..., 0].transpose(0, 2, 1) * 255).astype(np.uint8)
    for split in subject.splits.values():
        for picture, names in zip(split.images, split.categories):
            place = np.flatnonzero((in_class_order == picture[..., 0]).all(axis=(1, 2)))[0]
            assert names == (["six"] if place < 50 else ["nine"])
    for k in range(10):
        assert load(f"digits69:{digits_file}", fold=(k, 10)).test.categories.count(["six"]) == 5


def test_names_hold_under_other_thresholds_of_ink(digits_file):
    upright, was_turned = digits69.turn_upright(read_digits(digits_file).pictures)
    assert was_turned
    names = digits69.digit_names(upright)
    np.testing.assert_array_equal(names, digits69.digit_names(np.clip(upright * 1.5, 0, 1)))
    opposite = {"six": "nine", "nine": "six"}
    np.testing.assert_array_equal(digits69.digit_names(upright[:, ::-1, ::-1]), [opposite[name] for name in names])


@pytest.mark.parametrize("fold", [3, [1, 2, 3], [0.5, 5], ["0", "5"], [True, 5]])
def test_folds_are_two_whole_numbers(digits_file, fold):
    with pytest.raises(InputError, match="expected two whole numbers"):
        load(f"digits69:{digits_file}", fold=fold)

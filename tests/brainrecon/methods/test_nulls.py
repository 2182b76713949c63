"""Nulls draw what they say, and nothing of the response gets into those that are not to know it."""

import numpy as np
import pytest
from chains import chain_of, pictures_of

from brainrecon.assembly.reconstructor import Reconstructor
from brainrecon.assembly.registry import system_names
from brainrecon.cli.main import run_command
from brainrecon.datasets.split import Split
from brainrecon.datasets.stimulus_images import read_picture
from brainrecon.datasets.subject import Subject
from brainrecon.runs.run import Run
from brainrecon.studies.benchmark import cell_folder
from stages.ground.errors import InputError

TINY = ("--weights", "tiny")

NULLS = ("mean-image", "nearest-training-picture", "ridge-to-pixels", "noise")
N_TRAIN, N_TEST, N_VOXELS, SIDE = 300, 12, 40, 8


@pytest.fixture(scope="module")
def subject():
    """Smooth pictures, and voxels of very different scale that answer to them."""
    random = np.random.default_rng(0)
    images = np.kron(random.integers(0, 256, (N_TRAIN + N_TEST, 4, 4, 3)), np.ones((1, 2, 2, 1))).astype(np.uint8)
    weights = random.normal(size=(images[0].size, N_VOXELS)) * random.uniform(0.01, 10, N_VOXELS)
    responses = images.reshape(len(images), -1) @ weights / 255
    responses += 0.5 * responses.std(axis=0) * random.normal(size=responses.shape) + 3
    names = np.array([f"s{row:03d}" for row in range(len(images))])
    splits = {
        name: Split(responses[rows].astype(np.float32), names[rows], images=images[rows])
        for name, rows in {"train": slice(0, N_TRAIN), "test": slice(N_TRAIN, None)}.items()
    }
    return Subject("subj01", "arrays", "arrays:x", splits, roi="all")


def fitted(null, subject, settings=None):
    return chain_of(null, settings).fit_in_memory(subject)


@pytest.mark.parametrize("null", NULLS)
def test_a_null_is_a_system_by_name_that_survives_its_files(null, subject, tmp_path):
    assert null in system_names()
    chain = fitted(null, subject)
    before = pictures_of(chain, subject)
    assert before.dtype == np.uint8 and before.shape[0] == N_TEST and before.shape[-1] == 3
    chain.save(tmp_path)
    again = chain_of(null).open(tmp_path, training_pictures=lambda: subject.train.images)
    np.testing.assert_array_equal(pictures_of(again, subject), before)
    np.testing.assert_array_equal(pictures_of(again, subject, batch_size=1), before)


@pytest.mark.parametrize("null", NULLS)
def test_a_null_predicts_no_embeddings(null, subject):
    with pytest.raises(InputError, match="predicts no embeddings"):
        Reconstructor(null).fit(subject).predict(subject.test.patterns)


def test_the_mean_image_is_the_mean_whatever_the_response(subject):
    expected = np.rint(subject.train.images.astype(float).mean(axis=0))
    pictures = pictures_of(fitted("mean-image", subject), subject)
    assert np.abs(pictures - expected).max() <= 1  # halves may round either way
    assert len(np.unique(pictures.reshape(N_TEST, -1), axis=0)) == 1


def test_noise_has_the_mean_and_deviation_of_the_training_pictures(subject):
    names = [f"t{row}" for row in range(3000)]
    pictures = fitted("noise", subject).run_from_patterns(names, np.zeros((3000, N_VOXELS), np.float32))[:, 0]
    pictures = pictures.astype(float)
    images = subject.train.images.astype(float)
    # What is cut off at black and white pulls both towards the middle.
    expected = np.clip(
        images.mean(0) + images.std(0) * np.random.default_rng(1).normal(size=(3000, *images.shape[1:])), 0, 255
    )
    assert np.abs(pictures.mean(axis=0) - expected.mean(axis=0)).max() < 10
    assert np.abs(pictures.std(axis=0) - expected.std(axis=0)).max() < 6
    one, other = pictures[:, 0, 0, 0], pictures[:, 0, 1, 0]
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1


def test_noise_depends_on_seed_stimulus_and_sample_alone(subject):
    chain = fitted("noise", subject)
    pictures = pictures_of(chain, subject)
    np.testing.assert_array_equal(pictures_of(chain, subject, patterns=subject.test.patterns[::-1]), pictures)
    assert (pictures_of(chain, subject, seed=1) != pictures).mean() > 0.9
    two = chain.run_from_patterns(subject.test.stimulus_ids, subject.test.patterns, samples=2)
    np.testing.assert_array_equal(two[:, 0], pictures)
    assert (two[:, 1] != pictures).mean() > 0.9


def test_the_nearest_picture_vs_correlations_written_out(subject):
    train, test = subject.train.patterns.astype(float), subject.test.patterns.astype(float)
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    nearest = [
        np.argmax([np.corrcoef((one - mean) / deviation, (row - mean) / deviation)[0, 1] for row in train])
        for one in test
    ]
    assert len(set(nearest)) > 3
    pictures = pictures_of(fitted("nearest-training-picture", subject), subject)
    np.testing.assert_array_equal(pictures, subject.train.images[nearest])


def test_a_voxel_that_never_changes_names_nobody(subject):
    (step,) = fitted("nearest-training-picture", subject).steps
    dead = {
        name: Split(
            np.hstack([split.betas, np.full((split.n_trials, 1), 5.0, np.float32)]),
            split.stimulus_ids,
            images=split.images,
        )
        for name, split in subject.splits.items()
    }
    loud = Subject("subj01", "arrays", "arrays:x", dead, roi="all")
    (other,) = fitted("nearest-training-picture", loud).steps
    patterns = np.hstack([subject.test.patterns, np.full((N_TEST, 1), 900.0, np.float32)])
    np.testing.assert_array_equal(other.nearest(patterns), step.nearest(subject.test.patterns))


def test_the_nearest_picture_asks_for_pictures(subject, tmp_path):
    fitted("nearest-training-picture", subject).save(tmp_path)
    with pytest.raises(InputError, match="has none; open it through its run folder"):
        chain_of("nearest-training-picture").open(tmp_path)


@pytest.mark.parametrize("null", NULLS)
def test_patterns_that_do_not_fit_are_refused(null, subject, tmp_path):
    fitted(null, subject).save(tmp_path)
    chain = chain_of(null).open(tmp_path, training_pictures=lambda: subject.train.images)
    patterns = subject.test.patterns
    with pytest.raises(InputError, match=r"\(12, 39\) but the method learned from 40 voxels"):
        pictures_of(chain, subject, patterns=patterns[:, 1:])
    with pytest.raises(InputError, match="1 of 12 patterns hold NaN"):
        pictures_of(chain, subject, patterns=np.where(np.arange(N_TEST)[:, None] == 3, np.nan, patterns))


@pytest.mark.parametrize("null", ["nearest-training-picture", "ridge-to-pixels"])
def test_a_null_that_could_repeat_a_test_picture_refuses_to(null, subject):
    train, test = subject.train, subject.test
    images = np.array(test.images)
    images[5] = train.images[9]
    splits = {"train": train, "test": Split(test.betas, test.trial_stimulus_ids, images=images)}
    with pytest.raises(InputError, match="1 of 12 pictures of test are trained on"):
        fitted(null, Subject("subj01", "arrays", "arrays:x", splits, roi="all"))


def test_ridge_to_pixels_vs_scikit_learn(subject):
    from sklearn.linear_model import Ridge

    chain = fitted("ridge-to-pixels", subject, {"size": SIDE, "alpha": 50.0})
    train, test = subject.train.patterns.astype(float), subject.test.patterns.astype(float)
    mean, deviation = train.mean(axis=0), train.std(axis=0, ddof=1)
    model = Ridge(alpha=50.0).fit((train - mean) / deviation, subject.train.images.reshape(N_TRAIN, -1) / 255)
    expected = 255 * np.clip(model.predict((test - mean) / deviation), 0, 1)
    assert np.abs(pictures_of(chain, subject).reshape(N_TEST, -1) - expected).max() < 0.6


def test_ridge_to_pixels_learns_from_single_trials_of_few_stimuli():
    """Penalty and prediction against leaving each stimulus out with all of its trials, by scikit-learn."""
    from sklearn.linear_model import Ridge

    random, alphas = np.random.default_rng(4), (1.0, 30.0, 1e3, 1e5)
    images = random.integers(0, 256, (11, 4, 4, 3)).astype(np.uint8)
    weights = random.normal(size=(48, 30))
    shown = np.repeat(np.arange(11), 8)
    betas = (images.reshape(11, -1) / 255 @ weights)[shown]
    betas = (betas + 2 * random.normal(size=betas.shape)).astype(np.float32)
    names = np.array([f"s{row:02d}" for row in shown])
    splits = {
        name: Split(betas[rows], names[rows], images=images[np.unique(shown[rows])])
        for name, rows in {"train": shown < 9, "test": shown >= 9}.items()
    }
    few = Subject("subj01", "arrays", "arrays:x", splits, roi="all")
    chain = fitted("ridge-to-pixels", few, {"size": 4, "alpha": alphas})
    trained, stimulus = betas[shown < 9].astype(float), shown[shown < 9]
    mean, deviation = trained.mean(axis=0), trained.std(axis=0, ddof=1)
    voxels, pixels = (trained - mean) / deviation, images[:9].reshape(9, -1)[stimulus] / 255
    errors = []
    for alpha in alphas:
        left_out = [
            Ridge(alpha)
            .fit(voxels[stimulus != one], pixels[stimulus != one])
            .predict(voxels[stimulus == one])
            .mean(axis=0)
            - images[one].reshape(-1) / 255
            for one in range(9)
        ]
        varying = images[:9].reshape(9, -1).std(axis=0)
        errors.append(np.mean(np.square(np.array(left_out) / varying)))
    best = alphas[int(np.argmin(errors))]
    assert chain.steps[0].decoder.alpha_["pixels"] == best
    expected = Ridge(best).fit(voxels, pixels).predict((few.test.patterns - mean) / deviation)
    found = pictures_of(chain, few).reshape(2, -1)
    assert np.abs(found - 255 * np.clip(expected, 0, 1)).max() < 0.6
    averaged = fitted("ridge-to-pixels", few, {"size": 4, "alpha": alphas, "trials": "averaged"})
    assert np.abs(pictures_of(averaged, few).reshape(2, -1).astype(float) - found).max() > 1
    assert chain.system.settled(few.train).trials == "single"


def test_damaged_files_are_named(subject, tmp_path):
    fitted("mean-image", subject).save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(InputError, match="model.safetensors is not what was written"):
        chain_of("mean-image").open(tmp_path)


@pytest.fixture(scope="module")
def bench(cohort, features, tmp_path_factory):
    """A benchmark of all nulls and the two-stage method, with clusters held out."""
    folder = tmp_path_factory.mktemp("nulls")
    (folder / "two-stage.toml").write_text('method = "brain-diffuser"\n[generator]\nnum_inference_steps = 2\n')
    names = ",".join([*NULLS, str(folder / "two-stage.toml")])
    line = [
        "benchmark",
        f"nsd:{cohort}",
        "--methods",
        names,
        *TINY,
        "--heldout",
        "clusters:4",
        "--controls",
        "none",
        "--features",
        str(features),
    ]
    assert run_command([*line, "--out", str(folder / "bench")]) == 0
    return folder / "bench"


def test_nulls_stand_in_one_leaderboard_with_the_two_stage_method(bench):
    table = (bench / "leaderboard.md").read_text()
    for name in (*NULLS, "two-stage"):
        assert f"| {name} " in table
    assert "Not finished" not in table


def test_all_methods_are_tested_on_the_same_held_out_clusters(bench, features):
    tested = set()
    for name in (*NULLS, "two-stage"):
        cell = cell_folder(bench, name, "subj01", None)
        tested.add(tuple(Run(cell / "heldout", features).subject.test.stimulus_ids))
    assert len(tested) == 1


def test_a_run_of_a_null_shows_training_pictures_when_opened_again(bench, features):
    cell = cell_folder(bench, "nearest-training-picture", "subj01", None)
    run = Run(cell, features)
    name = run.subject.test.stimulus_ids[0]
    (step,) = run.chain.steps
    (row,) = step.nearest(run.subject.test.patterns[:1])
    np.testing.assert_array_equal(read_picture(run.image_path("reconstruction", name)), run.subject.train.images[row])


def test_the_control_is_the_system(bench, cohort, features, tmp_path):
    cell = cell_folder(bench, "ridge-to-pixels", "subj01", None)
    line = ["run", "mean-image", f"nsd:{cohort}", "--out", str(tmp_path / "run"), "--features", str(features)]
    assert run_command([*line, "--controls", "ridge_to_pixels"]) == 0
    run, own = Run(tmp_path / "run", features), Run(cell, features)
    for name in run.subject.test.stimulus_ids:
        control = read_picture(run.image_path("ridge_to_pixels", name))
        np.testing.assert_array_equal(control, read_picture(own.image_path("reconstruction", name)))


def test_predict_on_a_run_without_embeddings_says_so(bench, features, tmp_path, capsys):
    cell = cell_folder(bench, "mean-image", "subj01", None)
    assert (
        run_command(["predict", str(cell), "--out", str(tmp_path / "x.safetensors"), "--features", str(features)]) == 2
    )
    assert "predicts no embeddings" in capsys.readouterr().err
    assert not (tmp_path / "x.safetensors").exists()


def test_conditions_that_a_method_cannot_be_drawn_under_are_named(cohort, features, tmp_path, capsys):
    line = ["run", "noise", f"nsd:{cohort}", "--out", str(tmp_path / "run"), "--features", str(features)]
    assert run_command([*line, "--controls", "oracle_embeddings,mean_response"]) == 0
    assert "oracle_embeddings is left out: the method has nothing for it." in capsys.readouterr().out
    assert not (tmp_path / "run" / "controls" / "oracle_embeddings").exists()

"""Local image decoders as a method: what they learn from, what they draw, and the study that they reproduce."""

import re

import numpy as np
import pytest
from chains import chain_of, pictures_of, value_of
from PIL import Image

import brainrecon
from brainrecon.assembly.reconstructor import Reconstructor
from brainrecon.cli.main import run_command
from brainrecon.datasets.split import Split
from brainrecon.datasets.stimulus_images import read_picture
from brainrecon.datasets.subject import Subject
from brainrecon.methods.miyawaki2008 import contrast_grids
from brainrecon.runs.run import Run
from brainrecon.simulation import simulate_miyawaki
from brainrecon.studies.benchmark import cell_folder
from stages.ground.errors import InputError

FAST = {"decoder": {"model": "omp", "n_voxels": 200, "weights": "equal"}}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Folder of a small simulated recording."""
    folder = tmp_path_factory.mktemp("recording") / "miyawaki"
    simulate_miyawaki(folder, voxels=300, random_patterns=220, figures=12, repeats=2, noise=0.5)
    return folder


@pytest.fixture(scope="module")
def subject(recording):
    return brainrecon.load(f"miyawaki:{recording}", roi="V1+V2")


@pytest.fixture(scope="module")
def fitted(subject):
    return chain_of("miyawaki2008", FAST).fit_in_memory(subject)


def test_figures_are_reconstructed_from_random_patterns(fitted, subject):
    pictures = pictures_of(fitted, subject)
    assert pictures.shape == (12, 10, 10, 3) and (pictures[..., 0] == pictures[..., 2]).all()
    shown = subject.test.images[..., 0] > 127
    own = np.array([[np.corrcoef(a.ravel(), b.ravel())[0, 1] for b in shown] for a in pictures[..., 0]])
    assert np.diag(own).mean() > 0.5 > 0.2 > own[~np.eye(12, dtype=bool)].mean()
    assert ((pictures[..., 0] > 127) == shown).mean() > max(shown.mean(), 1 - shown.mean()) + 0.05


def test_pictures_vs_the_estimator(fitted, subject):
    from stages.decoders.local.multiscale import MultiscaleDecoder

    decoder = MultiscaleDecoder(model="omp", n_voxels=200, weights="equal")
    decoder.fit(subject.train.patterns, subject.train.images[..., 0] / 255)
    expected = np.clip(decoder.predict(subject.test.patterns), 0, 1) * 255
    assert np.abs(pictures_of(fitted, subject)[..., 0] - expected).max() <= 0.51


def test_binarised_is_the_reconstruction_above_one_half(fitted, subject):
    grey, binary = pictures_of(fitted, subject), value_of(fitted, "binarised", subject)
    clear = np.abs(grey.astype(float) - 127.5) > 1
    assert set(np.unique(binary)) == {0, 255}
    np.testing.assert_array_equal((binary > 127)[clear], (grey > 127)[clear])


def test_files_keep_everything(fitted, subject, tmp_path):
    fitted.save(tmp_path)
    again = chain_of("miyawaki2008", FAST).open(tmp_path)
    np.testing.assert_array_equal(pictures_of(again, subject), pictures_of(fitted, subject))
    assert again.summary() == fitted.summary()
    assert [row["size"] for row in fitted.summary()] == ["1 x 1", "1 x 2", "2 x 1", "2 x 2"]
    assert [row["elements"] for row in fitted.summary()] == [100, 90, 90, 81]


def of_pictures(n, repeats):
    """A subject of n training pictures, each shown several times, whose voxels are the cells and noise."""
    random = np.random.default_rng(0)
    pictures = 255 * random.integers(0, 2, (n + 3, 2, 2), dtype=np.uint8)
    names, splits = np.array([f"s{row:03d}" for row in range(n + 3)]), {}
    for name, rows in (("train", np.arange(n)), ("test", np.arange(n, n + 3))):
        shown = random.permutation(np.repeat(rows, repeats))
        betas = np.repeat(pictures.reshape(n + 3, 4), 3, axis=1)[shown] / 255
        betas = (betas + random.normal(size=betas.shape)).astype(np.float32)
        split = Split(betas, names[shown])
        order = [int(one[1:]) for one in split.stimulus_ids]
        images = np.repeat(pictures[order][..., None], 3, axis=-1)
        splits[name] = Split(betas, names[shown], images=images)
    return Subject("subj01", "arrays", "arrays:x", splits, roi="all")


@pytest.mark.parametrize(
    ("n", "repeats", "trials", "weights"),
    [(9, 8, "single", "equal"), (99, 2, "single", "equal"), (9, 1, "averaged", "equal"), (100, 2, "averaged", "nnls")],
)
def test_what_is_left_to_the_data_follows_the_number_of_pictures(n, repeats, trials, weights):
    """Single trials and equal weights of few pictures, what the paper did of many."""
    system = chain_of("miyawaki2008").system
    settled = system.settled(of_pictures(n, repeats).train)
    assert (settled.trials, settled.decoder.weights, settled.decoder.model) == (trials, weights, "sparse_logistic")
    assert (system.settings.trials, system.settings.decoder.weights) == ("auto", "auto")
    asked = chain_of("miyawaki2008", {"trials": "averaged", "decoder": {"weights": "sgd"}}).system
    settled = asked.settled(of_pictures(9, 8).train)
    assert (settled.trials, settled.decoder.weights) == ("averaged", "sgd")


def test_a_chain_in_memory_settles_as_a_run_does():
    from stages.decoders.local.multiscale import MultiscaleDecoder

    subject = of_pictures(9, 8)
    left_open = {"grid": 2, "decoder": {"model": "ridge"}}
    train = subject.train
    (step,) = chain_of("miyawaki2008", left_open).fit_in_memory(subject).steps
    contrasts = contrast_grids(train.images, 2)[train.positions]
    expected = MultiscaleDecoder(model="ridge", n_voxels=100, weights="equal").fit(train.betas, contrasts)
    np.testing.assert_array_equal(step.contrasts(subject.test.patterns), expected.predict(subject.test.patterns))


def test_a_run_records_what_the_data_settled(recording, features, tmp_path):
    line = ["run", "miyawaki2008", f"miyawaki:{recording}", *OPTIONS[:2], "--roi", "V1+V2", "--features", str(features)]
    assert run_command([*line, "--out", str(tmp_path / "run")]) == 0
    settings = Run(tmp_path / "run", features).config.settings
    assert (settings.trials, settings.decoder.weights) == ("averaged", "nnls")
    # What was settled may also be said.
    more = ["--set", "trials=averaged", "--set", "decoder.weights=nnls"]
    assert run_command([*line, *more, "--out", str(tmp_path / "run")]) == 0


def test_what_takes_long_says_so_before_it_begins(recording, subject):
    (step,) = chain_of("miyawaki2008").steps
    (line,) = step.cost(subject.train)
    assert line.startswith(
        "Sparse logistic regressions of 361 image elements, 6 times over to find their weights: about "
    )
    assert re.search(r"about \d+ (s|min) with \d+ cores; --set decoder.model=omp takes seconds", line)
    (equal,) = chain_of("miyawaki2008", {"decoder": {"weights": "equal"}}).steps
    assert "times over" not in equal.cost(subject.train)[0]
    (fast,) = chain_of("miyawaki2008", FAST).steps
    assert fast.cost(subject.train) == []


def test_pictures_become_grids_of_mean_greys():
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3)).astype(np.uint8)
    grey = np.stack([np.asarray(Image.fromarray(image).convert("L"), dtype=float) for image in images])
    expected = grey.reshape(3, 10, 4, 10, 6).mean(axis=(2, 4)) / 255
    assert np.abs(contrast_grids(images, 10) - expected).max() < 1e-6
    with pytest.raises(InputError, match="no 50 x 50 cells"):
        contrast_grids(images, 50)


def test_cells_are_whole_pixels_and_pictures_no_smaller_than_those_shown(subject):
    enlarged = {
        name: Split(
            split.betas, split.trial_stimulus_ids, images=np.kron(split.images, np.ones((1, 7, 7, 1), np.uint8))
        )
        for name, split in subject.splits.items()
    }
    large = Subject("subj01", "arrays", "arrays:x", enlarged, roi="all")
    pictures = pictures_of(chain_of("miyawaki2008", FAST).fit_in_memory(large), large)
    assert pictures.shape == (12, 70, 70, 3)
    np.testing.assert_array_equal(pictures, np.kron(pictures[:, ::7, ::7], np.ones((1, 7, 7, 1), np.uint8)))


def test_a_picture_on_both_sides_is_refused(subject):
    train, test = subject.train, subject.test
    images = np.array(test.images)
    images[3] = train.images[17]
    splits = {"train": train, "test": Split(test.betas, test.trial_stimulus_ids, images=images)}
    leaking = Subject("subj01", "arrays", "arrays:x", splits, roi="all")
    with pytest.raises(InputError, match="1 of 12 pictures of test are trained on"):
        chain_of("miyawaki2008", FAST).fit_in_memory(leaking)


def test_single_trials_train_when_asked(cohort):
    nsd = brainrecon.load(f"nsd:{cohort}", subject="subj01")
    from stages.decoders.local.multiscale import MultiscaleDecoder

    (step,) = chain_of("miyawaki2008", {"grid": 4, "trials": "single", **FAST}).fit_in_memory(nsd).steps

    contrasts = contrast_grids(nsd.train.images, 4)[nsd.train.positions]
    assert len(contrasts) == nsd.train.n_trials > nsd.train.n_stimuli
    expected = MultiscaleDecoder(model="omp", n_voxels=200, weights="equal").fit(nsd.train.betas[:], contrasts)
    np.testing.assert_allclose(step.contrasts(nsd.test.patterns), expected.predict(nsd.test.patterns), atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"grid": 0}, "grid is 0"),
        ({"trials": "some"}, "trials is 'some'"),
        ({"test_trials": "mean"}, "test_trials is 'mean'"),
        ({"decoder": {"scale": "two"}}, "decoder.scale.*expected int"),
        ({"decoder": {"sizes": [1, 2]}}, "decoder.sizes.*expected list: set it with --set decoder.sizes=VALUE"),
        ({"decoder": {"model": "magic"}}, "model is 'magic'"),
        ({"decoder": {"scale": 50}}, "50 cells do not fit"),
        ({"decoder": {"n_voxels": 0}}, "n_voxels is 0"),
        ({"decoder": {"sizes": []}}, "sizes is"),
    ],
)
def test_settings_that_mean_nothing_are_refused_before_anything_is_written(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of("miyawaki2008", settings)


def test_in_a_notebook(subject):
    reconstructor = Reconstructor("miyawaki2008", FAST).fit(subject)
    pictures = reconstructor.reconstruct(subject.test.patterns, subject.test.stimulus_ids, samples=1)
    assert pictures.shape == (12, 1, 10, 10, 3)
    single = Reconstructor("miyawaki2008", FAST | {"test_trials": "single"}).fit(subject)
    with pytest.raises(InputError, match="one per trial, but 3 of one pattern"):
        single.reconstruct(subject.test.patterns, subject.test.stimulus_ids, samples=3)


OPTIONS = ["--set", "decoder.model=omp", "--set", "decoder.weights=equal", "--roi", "V1+V2"]


def test_samples_are_single_trials(recording, features, tmp_path):
    line = ["run", "miyawaki2008", f"miyawaki:{recording}", *OPTIONS, "--features", str(features)]
    assert run_command([*line, "--set", "test_trials=single", "--samples", "5", "--out", str(tmp_path / "run")]) == 0
    run = Run(tmp_path / "run", features)
    test, (step,) = run.subject.test, run.chain.steps
    assert len(list((run.folder / "images").iterdir())) == test.n_trials == 24
    for name in test.stimulus_ids[:3]:
        trials = test.betas[np.flatnonzero(test.trial_stimulus_ids == name)]
        expected = np.clip(step.contrasts(trials), 0, 1) * 255
        found = np.stack([read_picture(run.image_path("reconstruction", name, sample))[..., 0] for sample in (0, 1)])
        assert np.abs(found - expected).max() <= 0.51
        binary = np.stack([read_picture(run.image_path("binarised", name, sample))[..., 0] for sample in (0, 1)])
        clear = np.abs(expected - 127.5) > 1
        np.testing.assert_array_equal((binary > 127)[clear], (expected > 127.5)[clear])
    again = [*line, "--set", "test_trials=single", "--samples", "5", "--out", str(tmp_path / "run")]
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*.png")}
    assert run_command(again) == 0
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*.png")} == before


def test_one_stimulus_is_left_out_at_a_time(tmp_path, features, capsys):
    folder = tmp_path / "few"
    simulate_miyawaki(folder, voxels=60, random_patterns=16, figures=4, repeats=2)
    line = ["run", "miyawaki2008", f"miyawaki:{folder}", *OPTIONS, "--folds", "stimuli", "--features", str(features)]
    assert run_command([*line, "--protocol", "miyawaki-2008", "--out", str(tmp_path / "run")]) == 0
    assert "left out" not in capsys.readouterr().out
    run = Run(tmp_path / "run", features)
    assert run.config.data.folds == 20 == len(run.parts)
    tested = [part.subject.test.stimulus_ids for part in run.parts]
    assert all(len(ids) == 1 for ids in tested) and len(np.unique(np.concatenate(tested))) == 20
    for part, ids in zip(run.parts, tested):
        assert part.subject.train.n_stimuli == 19 and ids[0] not in part.subject.train.stimulus_ids
    assert (run.folder / "report.html").exists()


def test_folds_are_a_number_or_stimuli(recording, tmp_path, capsys):
    line = ["run", "miyawaki2008", f"miyawaki:{recording}", "--folds", "all", "--out", str(tmp_path / "run")]
    assert run_command(line) == 2
    assert "folds is 'all'; expected" in capsys.readouterr().err


@pytest.mark.slow
def test_the_study_holds_on_a_simulated_recording(tmp_path):
    """The claims of the preset on the full simulated recording, each by the interval of its paired difference."""
    folder = tmp_path / "miyawaki"
    simulate_miyawaki(folder)
    line = ["benchmark", f"miyawaki:{folder}", "--preset", "miyawaki-study", "--out", str(tmp_path / "bench")]
    assert run_command(line) == 0
    text = (tmp_path / "bench" / "leaderboard.md").read_text().split("What miyawaki-study claims")[1].split("\n**")[0]
    rows = {line.split(" (")[0].strip("| "): line for line in text.splitlines() if " minus " in line}
    for better, worse in (
        ("OMP scale 2", "OMP 1x1 alone"),
        ("OMP scale 3", "OMP 1x1 alone"),
        ("OMP scale 5", "OMP 1x1 alone"),
        ("OMP scale 2", "linear regression"),
        ("OMP scale 2", "linear regression 500 voxels"),
        ("ridge 500 voxels", "linear regression 500 voxels"),
        ("OMP scale 2 equal weights", "linear regression equal weights"),
        ("ridge equal weights", "linear regression equal weights"),
    ):
        assert "▲" in rows[f"{better} minus {worse}"], rows
    assert "▼" not in rows["OMP scale 2 minus OMP scale 2 equal weights"]
    assert cell_folder(tmp_path / "bench", "OMP scale 2", "subj01", "V1+V2").exists()


def test_the_control_of_single_trials_is_given_a_single_trial_too(recording, features, tmp_path):
    line = ["run", "miyawaki2008", f"miyawaki:{recording}", *OPTIONS, "--features", str(features)]
    single = ["--set", "test_trials=single", "--controls", "ridge_to_pixels"]
    assert run_command([*line, *single, "--out", str(tmp_path / "run")]) == 0
    run = Run(tmp_path / "run", features)
    test, name = run.subject.test, run.subject.test.stimulus_ids[4]
    ridge = chain_of("ridge-to-pixels").fit_in_memory(run.subject)
    first = test.betas[np.flatnonzero(test.trial_stimulus_ids == name)[:1]]
    ((expected,),) = ridge.run_from_patterns([name], first)
    assert np.abs(read_picture(run.image_path("ridge_to_pixels", name)).astype(int) - expected).max() <= 1


def test_a_wrong_setting_leaves_no_run_and_no_plan_behind(recording, tmp_path, capsys):
    out = tmp_path / "run"
    line = ["run", "miyawaki2008", f"miyawaki:{recording}", "--out", str(out)]
    assert run_command([*line, "--set", "decoder.model=magic"]) == 2
    (tmp_path / "bad.toml").write_text('method = "miyawaki2008"\ndecoder = { model = "magic" }\n')
    bench = ["benchmark", f"miyawaki:{recording}", "--methods", f"noise,{tmp_path / 'bad.toml'}"]
    bench += ["--out", str(tmp_path / "bench")]
    assert run_command(bench) == 2
    (tmp_path / "bad.toml").write_text('method = "brain-diffuser"\ncheckpoints = { clip = "magic" }\n')
    assert run_command(bench) == 2
    assert "no checkpoint 'magic'" in capsys.readouterr().err
    assert not out.exists() and not (tmp_path / "bench" / "benchmark.toml").exists()

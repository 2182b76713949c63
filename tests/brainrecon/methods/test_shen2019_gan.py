"""The end-to-end GAN as a method: what it reads, how it draws, that a run goes on, and the study of its parts."""

import json
from dataclasses import replace

import numpy as np
import pytest
from chains import chain_of
from interruption import COMMAND_LINE, interrupted
from PIL import Image
from skimage.metrics import structural_similarity

import brainrecon
from brainrecon.assembly.reconstructor import Reconstructor
from brainrecon.assembly.settings import from_dict, to_dict
from brainrecon.assembly.values import Item
from brainrecon.cli.main import run_command
from brainrecon.methods.shen2019_gan import Shen2019GAN, Shen2019Settings, stretched
from brainrecon.runs.run import Run
from brainrecon.simulation.files.bdata_files import write_bdata
from brainrecon.studies import plan
from brainrecon.studies.benchmark import cell_folder
from brainrecon.studies.plan import make_plan
from brainrecon.studies.preset import load_preset, with_preset
from stages.ground.errors import InputError
from stages.training.state import FILE
from weights import store

QUICK = {"channels": 8, "averages": "scaled", "training": {"iterations": 8, "validate_every": 4, "batch_size": 8}}


@pytest.fixture(scope="module")
def subject(cohort):
    return brainrecon.load(f"nsd:{cohort}", subject="subj01")


@pytest.fixture(scope="module")
def fitted(subject):
    return Reconstructor("shen2019-gan", QUICK, weights="tiny").fit(subject)


def step_of(changes, subject):
    (step,) = Reconstructor("shen2019-gan", QUICK | changes, weights="tiny").fit(subject).chain.steps
    return step


def drawn(step, names, patterns, repeats, seed=0):
    """Pictures of patterns that are each the average of `repeats` trials."""
    values = {"patterns": list(patterns), "repeats": [repeats] * len(patterns)}
    return step.run([Item("subj01", name) for name in names], values, seed=seed)["picture"].astype(int)


def test_single_trials_are_learned_from_and_averages_drawn(fitted, subject):
    (step,), train, test = fitted.chain.steps, subject.train, subject.test
    trials = np.asarray(train.betas[:], dtype=np.float32)
    np.testing.assert_allclose(step.mean, trials.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(step.scale, trials.std(axis=0), rtol=1e-4)
    expected = (test.patterns[:2] - trials.mean(axis=0)) / trials.std(axis=0) * np.sqrt(3)
    np.testing.assert_allclose(step._averages(test.patterns[:2], [3, 3], ["a", "b"]), expected, atol=1e-4)
    from torch import from_numpy, no_grad

    with no_grad():
        drawn = (
            step.generator.greys(step.generator(from_numpy(expected.astype(np.float32)))).permute(0, 2, 3, 1).numpy()
        )
    pictures = fitted.reconstruct(test.patterns[:2], test.stimulus_ids[:2])[:, 0]
    assert pictures.shape == (2, 64, 64, 3)
    assert np.abs(pictures - np.clip(drawn, 0, 255)).max() <= 0.6


def test_each_average_is_scaled_by_its_own_trials(fitted, subject):
    (step,) = fitted.chain.steps
    pattern = subject.test.patterns[:1]
    one, four, unknown = (drawn(step, ["a"], pattern, repeats) for repeats in (1, 4, None))
    doubled = drawn(step, ["a"], 2 * pattern - step.mean, 1)
    # The last digit of a float decides which way a grey is rounded.
    assert np.abs(four - doubled).max() <= 1 < np.abs(one - four).max()
    assert step.test_repeats == 3
    np.testing.assert_array_equal(unknown, drawn(step, ["a"], pattern, 3))
    np.testing.assert_array_equal(fitted.reconstruct(pattern, ["a"], repeats=4)[0], four)
    np.testing.assert_array_equal(fitted.reconstruct(pattern, ["a"])[0], unknown)
    both = step.run([Item("", "a")] * 2, {"patterns": [*pattern, *pattern], "repeats": [1, 4]})["picture"]
    assert np.abs(both - np.concatenate([one, four])).max() <= 1


@pytest.mark.parametrize("plain", [{"trials": "averaged"}, {"averages": "plain"}])
def test_averages_need_not_be_scaled(subject, plain):
    step = step_of(plain, subject)
    patterns = subject.test.patterns
    np.testing.assert_allclose(step._averages(patterns, [3], ["a"]), (patterns - step.mean) / step.scale, rtol=1e-5)


def test_averages_can_be_learned_from_instead(subject):
    step = step_of({"trials": "averaged"}, subject)
    patterns = subject.train.patterns
    np.testing.assert_allclose(step.mean, patterns.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(step.scale, patterns.std(axis=0), rtol=1e-4)


def test_noise_in_place_of_responses_is_the_stimulus_own(subject):
    step, patterns = step_of({"patterns": "noise"}, subject), subject.test.patterns[:3]
    assert step.by_lot
    usual = drawn(step, "abc", patterns, 3)
    # Whatever the responses are, and whoever is drawn with it.
    assert np.abs(usual - drawn(step, "abc", 0 * patterns, 3)).max() <= 1
    assert np.abs(usual[1] - drawn(step, "b", patterns[:1], 3)).max() <= 1
    assert np.abs(usual - drawn(step, "abc", patterns, 3, seed=1)).max() > 1
    assert np.abs(usual[0] - usual[1]).max() > 1


def test_contrast_is_stretched_between_percentiles():
    greys = np.random.default_rng(0).normal(100, 10, (2, 50, 50, 3))
    found = stretched(greys)
    for one, own in zip(found, greys):
        low, high = np.percentile(own, 0.02), np.percentile(own, 99.98)
        np.testing.assert_allclose(one, 255 * (np.clip(own, low, high) - low) / (high - low))
        assert one.min() == 0 and one.max() == 255
    assert np.isfinite(stretched(np.full((1, 4, 4, 3), 7.0))).all()


def test_the_summary_tells_how_training_pictures_came_out(fitted, subject):
    rows = {row["pictures"]: row for row in fitted.chain.summary()}
    assert rows["training"]["stimuli"] == 43 and rows["validation"]["stimuli"] == 5
    ids = subject.train.stimulus_ids
    drawn = fitted.reconstruct(subject.train.patterns, ids)[:, 0] / 255
    shown = np.asarray(subject.train.images[:]) / 255
    grey = np.array([0.2125, 0.7154, 0.0721])
    as_published = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    scores = [
        (np.corrcoef(one.ravel(), other.ravel())[0, 1], structural_similarity(one @ grey, other @ grey, **as_published))
        for one, other in zip(drawn, shown)
    ]
    both = (43 * rows["training"]["pixcorr"] + 5 * rows["validation"]["pixcorr"]) / 48
    assert both == pytest.approx(np.mean([one for one, _ in scores]), abs=2e-3)
    both = (43 * rows["training"]["ssim"] + 5 * rows["validation"]["ssim"]) / 48
    assert both == pytest.approx(np.mean([one for _, one in scores]), abs=2e-3)


def test_files_keep_everything(fitted, subject, tmp_path):
    fitted.save_pretrained(tmp_path)
    again = Reconstructor.from_pretrained(tmp_path)
    patterns, ids = subject.test.patterns, subject.test.stimulus_ids
    np.testing.assert_array_equal(again.reconstruct(patterns, ids), fitted.reconstruct(patterns, ids))
    assert again.chain.summary() == fitted.chain.summary() and again.chain.curves() == fitted.chain.curves()
    (tmp_path / "patterns.safetensors").unlink()
    with pytest.raises(InputError, match="patterns.safetensors is missing; fit again"):
        Reconstructor.from_pretrained(tmp_path)


def test_an_absent_comparator_is_told_before_anything_is_trained(subject, tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path))
    with pytest.raises(store.CheckpointError, match="weights pull caffenet"):
        chain_of("shen2019-gan", QUICK | {"picture": 64}).fit_in_memory(subject)
    without = QUICK | {"picture": 64, "losses": {"feature": 0.0}, "margin": 0}
    assert chain_of("shen2019-gan", without).fit_in_memory(subject).summary()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"comparator": "resnet"}, "comparator is 'resnet'; expected one of caffenet"),
        ({"picture": 32}, "picture is 32 pixels"),
        ({"channels": 12}, "channels is 12"),
        ({"patterns": "eeg"}, "patterns is 'eeg'"),
        ({"margin": -1}, "margin is -1"),
        ({"initial_spread": "he"}, "initial_spread is 'he'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        Shen2019GAN(settings)


def test_defaults_are_the_published_ones():
    settings = Shen2019Settings()
    losses, training = settings.losses, settings.training
    assert (losses.image, losses.feature, losses.adversarial, losses.brightness) == (2e-6, 0.01, 100.0, 1.0)
    assert (training.learning_rate, training.batch_size, training.discriminator_decay) == (2e-4, 64, 4e-4)
    assert training.milestones == (300_000, 500_000, 700_000, 900_000, 1_100_000)
    assert (settings.comparator, settings.picture, settings.margin) == ("caffenet", 227, 248 - 227)
    assert (training.turns, training.adam, settings.initial_spread) == ("discriminator_first", "caffe", "caffe")


def test_the_initial_spread_reaches_the_network(subject):
    still = {"training": QUICK["training"] | {"iterations": 1, "learning_rate": 1e-12}}
    caffe, inputs = (
        step_of({"initial_spread": spread} | still, subject).generator.deconv0.weight for spread in ("caffe", "inputs")
    )
    # 3 colours out and, at 8 channels, 4 in.
    np.testing.assert_allclose(inputs, caffe * np.sqrt(3 / 4), rtol=1e-5)


def test_settings_survive_their_file():
    assert from_dict(Shen2019Settings, to_dict(Shen2019Settings())) == Shen2019Settings()


def test_too_few_stimuli_for_validation_are_told(subject):
    with pytest.raises(InputError, match="validation share of 0.01 of 48 training stimuli is 0"):
        step_of({"training": QUICK["training"] | {"validation": 0.01}}, subject)


# Checkpoints more often than once a minute.
OFTEN = (
    "import functools\n"
    "from stages.training import adversarial\n"
    "adversarial.train_generator = functools.partial(adversarial.train_generator, seconds_between_checkpoints=0.1)\n"
)
LINE = ["shen2019-gan", "--weights", "tiny", "--set", "channels=8", "--set", "training.batch_size=8"]


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_in_the_same_weights(cohort, tmp_path):
    few = [
        "--set",
        "training.iterations=24",
        "--set",
        "training.validate_every=8",
        "--set",
        "training.batch_size=4",
        "--set",
        "training.validation=0.0",
    ]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert run_command(["fit", *LINE, f"nsd:{cohort}", "--out", str(undisturbed), *few]) == 0
    checkpoint = killed / "decoder" / FILE
    interrupted(
        OFTEN + COMMAND_LINE,
        *("fit", *LINE, f"nsd:{cohort}", "--out", killed, *few),
        when=checkpoint.exists,
    )
    assert not (killed / "decoder" / "config.json").exists()
    assert run_command(["fit", *LINE, f"nsd:{cohort}", "--out", str(killed), *few]) == 0
    for name in ("model.safetensors", "training.json", "summary.json"):
        assert (killed / "decoder" / name).read_bytes() == (undisturbed / "decoder" / name).read_bytes(), name
    assert not checkpoint.exists()


def test_a_run_has_pictures_scores_and_curves(cohort, tmp_path):
    folder = tmp_path / "run"
    few = ["--set", "training.iterations=6", "--set", "training.validate_every=2"]
    assert run_command(["run", *LINE, f"nsd:{cohort}", "--out", str(folder), "--controls", "all", *few]) == 0
    run = Run(folder)
    for condition in ("reconstruction", "shuffled_responses", "mean_response", "ridge_to_pixels"):
        pictures = [np.asarray(Image.open(run.image_path(condition, name))) for name in run.subject.test.stimulus_ids]
        assert len(pictures) == 12 and pictures[0].shape == (64, 64, 3)
    page = (folder / "report.html").read_text()
    assert "<h2>Training</h2>" in page and "Validation: pixel correlation" in page and "has random weights" in page
    assert "Frontiers in Computational Neuroscience" in page and "also judges here" not in page
    course = json.loads((folder / "decoder" / "training.json").read_text())
    assert [line["step"] for line in course["history"]] == [2, 4, 6]


# The study


def test_the_preset_has_the_published_rows(cohort):
    preset = load_preset("gan-ablation")
    published = {name: (values["pixcorr"], values["ssim"]) for name, values in preset.published.items()}
    assert published == {
        "noise in place of fMRI": (0.09, 0.18),
        "original weights": (0.26, 0.25),
        "best weights": (0.27, 0.30),
        "V1 + V2": (0.27, 0.24),
        "HVC": (0.10, 0.20),
        "FFA": (0.11, 0.20),
        "PPA": (0.10, 0.20),
        "without feature loss": (0.193, 0.215),
        "without adversarial loss": (0.202, 0.208),
        "without image loss": (-0.04, 0.04),
    }
    assert preset.published_training == {"best weights": {"pixcorr": 0.96, "ssim": 0.75}}
    for kind, values in (("dir", {"HVC": "HVC", "FFA": "FFA"}), ("nsd", {"FFA": "FFA-1+FFA-2"})):
        rows = preset.rows(kind)
        assert {name: rows[name]["roi"] for name in values} == values and "roi" not in rows["best weights"]
    losses = {name: values.get("losses") for name, values in preset.methods.items()}
    assert losses["original weights"] == {"image": 2e-6, "feature": 0.01, "adversarial": 100.0, "brightness": 1.0}
    for part in ("image", "feature", "adversarial"):
        assert losses[f"without {part} loss"] == losses["best weights"] | {part: 0.0}


def test_rows_of_regions_are_given_their_voxels(cohort, subject):
    methods, rest = with_preset("gan-ablation", f"nsd:{cohort}", None, {}, None, "tiny")
    plan = make_plan(f"nsd:{cohort}", methods, **rest)
    config = plan.config("FFA", "subj01", None)
    assert config.data.roi == "FFA-1+FFA-2" and config.settings.picture == 64
    assert config.settings.losses.image == 100 and config.settings.comparator_weights == "random"
    assert config.settings.training.learning_rate == 5e-4 and Shen2019GAN.tiny["training"]["learning_rate"] == 8e-4
    assert load_preset("gan-ablation").rows("dir")["FFA"].get("training") is None
    assert plan.config("best weights", "subj01", None).data.roi is None
    assert plan.config("original weights", "subj01", None).settings.comparator == "caffenet"
    with pytest.raises(
        InputError, match="Method V1 \\+ V2 has voxels of its own, V1\\+V2, .* leave --rois and --mask out"
    ):
        make_plan(f"nsd:{cohort}", methods, **rest | {"rois": ("V1",)})
    arrays, _ = with_preset("gan-ablation", "arrays:somewhere", None, {}, None, "tiny")
    assert arrays["V1 + V2"]["roi"] == "V1 + V2" and arrays["FFA"]["roi"] == "FFA" and "roi" not in arrays["noise"]
    # Asked again without the weights, the rows are those of the plan.
    assert with_preset("gan-ablation", plan.data, None, {}, plan)[0] == plan.methods
    with pytest.raises(InputError, match="gan-ablation is of dir or nsd or arrays data, not god"):
        with_preset("gan-ablation", "god:somewhere", None, {})


@pytest.fixture
def recording(subject, tmp_path):
    """Deep image reconstruction's layout, with the cohort's responses and pictures."""
    folder = tmp_path / "dir"
    (folder / "images").mkdir(parents=True)
    n_voxels = subject.n_voxels
    area = np.arange(n_voxels) % 7
    regions = {"V1": area == 0, "V2": area == 1, "LVC": area < 4, "HVC": area >= 4, "FFA": area == 5, "PPA": area == 6}
    regions |= {"VC": np.ones(n_voxels, dtype=bool)}
    first = 1
    for split, part in (("Training", subject.train), ("Test", subject.test)):
        codes = {}
        for row, name in enumerate(part.stimulus_ids):
            codes[name] = float(f"1518878.{first + row:06d}")
            Image.fromarray(np.asarray(part.images[row])).save(folder / "images" / f"n01518878_{first + row}.png")
        first += part.n_stimuli
        betas = np.asarray(part.betas[:], dtype=float)
        shown = np.array([[codes[name]] for name in part.stimulus_ids[part.positions]])
        columns = {"VoxelData": betas, "Run": np.ones((len(betas), 1)), "stimulus_id": shown}
        on_voxels = {f"ROI_{name}": mask for name, mask in regions.items()}
        path = folder / f"sub-01_perceptionNaturalImage{split}_original_VC.h5"
        write_bdata(path, columns, on_voxels, {}, "simulated for a test")
    return folder


# Fourteen rows with a report each; what tells them apart is tested above and below, row by row.
@pytest.mark.slow
def test_the_study_runs_on_the_papers_own_layout(recording, tmp_path, monkeypatch):
    quick = {"channels": 8, "training": {"iterations": 4, "validate_every": 2, "batch_size": 4, "validation": 0.1}}
    small = {"shen2019-gan": quick}
    monkeypatch.setattr(plan, "load_preset", lambda name: replace(load_preset(name), tiny=small))
    out = tmp_path / "out"
    line = ["benchmark", f"dir:{recording}", "--preset", "gan-ablation", "--weights", "tiny", "--out", str(out)]
    assert run_command(line) == 0
    rows = load_preset("gan-ablation").methods
    assert len(rows) == 14
    voxels = {name: Run(cell_folder(out, name, "subj01", None)).subject.n_voxels for name in rows}
    assert voxels["best weights"] == 300 and voxels["V1 + V2"] == 86 and voxels["HVC"] < voxels["LVC"] < 300
    table = (out / "leaderboard.md").read_text()
    assert "The rows of gan-ablation" in table and "Pictures that were there in training" in table
    (line,) = [line for line in table.splitlines() if line.startswith("| without image loss |") and "0.04" in line][:1]
    assert "−0.04" in line
    (line,) = [line for line in table.splitlines() if line.startswith("| best weights, training pictures")]
    assert "0.96" in line and "0.75" in line
    assert run_command(["benchmark", "--out", str(out)]) == 0


def test_a_comparator_that_judges_too_is_told_and_recorded(cohort, tmp_path):
    folder = tmp_path / "run"
    few = ["--set", "training.iterations=2", "--set", "training.validate_every=2", "--set", "comparator=evaluation"]
    assert run_command(["run", *LINE, f"nsd:{cohort}", "--out", str(folder), "--controls", "none", *few]) == 0
    assert "fitted through tiny-evaluation, which also judges here" in (folder / "report.html").read_text()
    scores = json.loads((folder / "scores" / "brainrecon-1.json").read_text())
    assert any("tiny-evaluation" in note for note in scores["notes"])
    recorded = json.loads((folder / "environment.json").read_text())["checkpoints"]
    assert recorded == {"tiny-evaluation": store.fingerprint("tiny-evaluation")}


def test_rows_with_voxels_of_their_own_are_told_in_the_table(recording, tmp_path, monkeypatch):
    out = tmp_path / "out"
    (tmp_path / "early.toml").write_text('method = "mean-image"\nroi = "V1"\n')
    methods = f"mean-image,{tmp_path / 'early.toml'}"
    line = [
        "benchmark",
        f"dir:{recording}",
        "--methods",
        methods,
        "--heldout",
        "none",
        "--controls",
        "none",
        "--out",
        str(out),
    ]
    assert run_command(line) == 0
    table = (out / "leaderboard.md").read_text()
    assert "12 stimuli, VC" in table and "12 stimuli, V1" in table and "different voxels here" in table

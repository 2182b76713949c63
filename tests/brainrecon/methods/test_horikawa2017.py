"""Generic object decoding: its recipe as numbers, its presets, and runs on the published file's layout and on the small twin."""

import json

import numpy as np
import pytest
from chains import chain_of
from kamitani_files import God, write_image_features

from brainrecon.assembly.settings import from_dict, to_dict
from brainrecon.assembly.values import Training, Workspace
from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.methods.horikawa2017 import Horikawa2017, Horikawa2017Settings
from brainrecon.runs.run import Run
from brainrecon.runs.values import RunValues
from stages.ground.errors import InputError

NAME = "horikawa2017"
LEVELS = {"cnn1": 12, "cnn8": 9, "hmax2": 4, "gist": 5}
REGIONS = ["V1", "V2", "VC"]


@pytest.fixture(scope="module")
def god(tmp_path_factory):
    """A small GOD with pictures and its file of features, thirty categories, those of the test pictures among them."""
    root = tmp_path_factory.mktemp("god")
    written, random = God(root, n_train=40, n_test=6, repeats=4), np.random.default_rng(1)
    written.draw_pictures()
    pictures = [(1, code) for code in written.train.values()] + [(2, code) for code in written.test.values()]
    tested = sorted({int(code) for code in written.test.values()})
    averages = [(3, code) for code in tested] + [(4, 2_000_000 + number) for number in range(30 - len(tested))]
    n_rows = len(pictures) + len(averages)
    levels = {level: random.normal(size=(n_rows, n_units)) for level, n_units in LEVELS.items()}
    write_image_features(root / "ImageFeatures.h5", pictures, averages, levels)
    return root


def run_of(god, folder, *options):
    line = ["run", NAME, f"god:{god}", "--out", str(folder), "--features", str(folder.parent / "store")]
    line += [
        "--set",
        f"regions={json.dumps(REGIONS)}",
        "--set",
        "decoder.iterations=20",
        "--controls",
        "shuffled_responses",
    ]
    assert run_command([*line, *options]) == 0
    return Run(folder, folder.parent / "store")


@pytest.fixture(scope="module")
def seen(god, tmp_path_factory):
    return run_of(god, tmp_path_factory.mktemp("seen") / "run", "--beside", "imagery")


@pytest.fixture(scope="module")
def imagined(seen):
    return seen.splits["imagery"]


# Settings


def test_defaults_are_the_papers():
    settings = Horikawa2017Settings()
    decoder = settings.decoder
    assert (decoder.kind, decoder.iterations, decoder.initial, decoder.prune) == ("ard", 2000, "variance", "weights")
    assert (decoder.trials, decoder.statistics, settings.units) == ("single", "trials", 1000)
    assert settings.regions == ("V1", "V2", "V3", "V4", "LOC", "FFA", "PPA", "LVC", "HVC", "VC")
    voxels = {region: settings.voxels.get(region, decoder.voxels) for region in settings.regions}
    assert voxels == dict.fromkeys(settings.regions[:7], 500) | dict.fromkeys(("LVC", "HVC", "VC"), 1000)


def test_presets_are_what_each_program_does_otherwise():
    matlab, python = (Horikawa2017Settings(preset=name) for name in ("demo-matlab", "demo-python"))
    assert (matlab.decoder.kind, matlab.decoder.iterations, matlab.units) == ("ard", 200, 1000)
    assert (python.decoder.kind, python.units) == ("ridge", 100) and python.decoder.alpha < 1e-3
    for settings in (matlab, python):
        assert from_dict(Horikawa2017Settings, to_dict(settings)) == settings


def test_the_python_demo_is_least_squares(god):
    from sklearn.linear_model import LinearRegression

    subject = load(f"god:{god}", roi="VC")
    units = np.random.default_rng(2).normal(size=(subject.train.n_stimuli, 3)).astype(np.float32)
    step = chain_of(NAME, {"preset": "demo-python", "regions": ["VC"], "features": "pictures"}).steps[0]
    step.targets, step.gives = {"cnn8": step.targets["cnn8"]}, ("cnn8",)
    step.fit(Training({subject.name: subject}, lambda names: {"cnn8": units}), Workspace(store=None))
    train, test = np.asarray(subject.train.betas[:], dtype=float), subject.test.patterns
    expected = LinearRegression().fit(train, units[subject.train.positions]).predict(test)
    found = step.run([None] * len(test), {"patterns": test})["cnn8"]
    np.testing.assert_allclose(found, expected, atol=1e-3 * expected.std())


def test_a_value_for_each_level_and_region():
    chain = chain_of(NAME, {"features": "pictures"})
    assert len(chain.target_of) == 80 and chain.target_of["cnn3_LVC"] == "cnn3" and chain.giver("cnn3_LVC").roi == "LVC"
    assert len(chain.encoded_to_learn()) == 8 and chain.output == "labels"
    assert {chain.targets[f"cnn5_{roi}"] for roi in ("V1", "HVC")} == {chain.targets["cnn5_V2"]}
    alone = chain_of(NAME, {"features": "pictures", "regions": ["early + ventral"], "levels": ["cnn2", "cnn8"]})
    assert alone.given[2:] == ("cnn2", "cnn8", "labels")
    joined = chain_of(NAME, {"features": "pictures", "regions": ["early + ventral", "V1"]})
    assert "cnn8_early_ventral" in joined.given and joined.giver("cnn8_early_ventral").roi == "early + ventral"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"preset": "demo"}, "preset is 'demo'"),
        (
            {"preset": "demo-matlab", "decoder": {"iterations": 50}},
            "decoder.iterations is 50 but the preset demo-matlab sets 200",
        ),
        ({"preset": "demo-python", "units": 50}, "units is 50 but the preset demo-python sets 100"),
        ({"levels": ["cnn9"]}, "levels is 'cnn9'"),
        ({"regions": []}, "regions is"),
        ({"regions": ["V1", "V1"]}, "each once"),
        ({"voxels": {"V9": 5}}, "voxels says 'V9'"),
        ({"voxels": {"V1": 0}}, "voxels.V1 is 0"),
        ({"names": {"region": "V9"}}, "names.region says 'V9'"),
        ({"names": {"level": "conv1"}}, "names.level is 'conv1'"),
        ({"levels": ["cnn1"]}, "names.level is 'cnn8'"),
        ({"features": "pictures", "levels": ["cnn8", "gist"]}, "gist cannot be decoded: .* ImageFeatures.h5"),
        ({"features": "elsewhere/ImageFeatures.h5"}, "There is no file"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


# The published file


def test_the_file_beside_the_data_is_read_and_the_levels_are_those_that_it_has(seen, god):
    assert seen.config.settings.features == str(god / "ImageFeatures.h5")
    assert set(seen.unfitted.target_of.values()) == set(LEVELS) and seen.config.system.checkpoints == ()
    assert not seen.config.system.needs.pictures and seen.config.system.notes == ()
    pictures = Horikawa2017({"features": "pictures"})
    (note, _) = pictures.notes
    assert note.startswith("hmax1, hmax2, hmax3, gist, sift are left out") and pictures.needs.pictures


def test_names_and_rates_are_among_all_categories_of_the_file(seen, god):
    scores = Scores.from_json(seen.folder / "scores" / "horikawa-2017.json")
    assert len(scores.categories.rows) == len(LEVELS) * len(REGIONS)
    assert {row.n_candidates for row in scores.categories.rows} == {30}
    assert "6 of 6 test stimuli are of categories that no training picture has." in scores.notes
    values = RunValues(seen)
    means = seen.config.system.category_means("cnn8")
    for row, name in enumerate(values.stimulus_ids):
        predicted = values.predicted("test", seen.unfitted.giver("cnn8_VC"))["cnn8_VC"][row]
        similar = np.array([np.corrcoef(predicted, one)[0, 1] for one in means.means])
        own = int(means.places([name])[0]) if name in means.labels else int(means.places([name[:9]])[0])
        rate = (29 - (similar > similar[own]).sum()) / 29
        assert scores.categories.values["category_identification"]["cnn8_VC"][row] == pytest.approx(rate)
        labels = values.value("reconstruction", "labels", name).splitlines()
        assert labels == [means.labels[place] for place in np.argsort(-similar)[:5]]


def test_predictions_of_trials_averaged_are_those_of_the_averaged_trials(seen):
    """Voxels are standardised by training statistics, so that a linear decoder lets the order be exchanged."""
    step, test = seen.chain.giver("cnn8_V1"), seen.subject.test
    trials = np.asarray(test.betas[:], dtype=np.float32)
    each = step.run([None] * len(trials), {"patterns": trials})
    average = step.run([None] * test.n_stimuli, {"patterns": test.patterns})
    for name, values in average.items():
        expected = np.stack([each[name][test.positions == row].mean(axis=0) for row in range(test.n_stimuli)])
        np.testing.assert_allclose(values, expected, atol=1e-5 * np.abs(expected).max())


def test_imagery_is_scored_beside_category_averages_without_pictures(imagined, seen):
    scores = Scores.from_json(imagined.folder / "scores" / "horikawa-2017.json")
    assert imagined.subject.test.images is None
    assert scores.categories.stimulus_ids == tuple(str(name) for name in imagined.subject.test.stimulus_ids)
    true = RunValues(imagined).true_features(("cnn8_V1",), "test")["cnn8_V1"]
    means = seen.config.system.category_means("cnn8")
    np.testing.assert_array_equal(np.asarray(true), means.means[means.places(imagined.subject.test.stimulus_ids)])
    assert (imagined.folder / "report.html").exists()
    (rate,) = (row.mean for row in scores.categories.rows if row.value == "cnn8_V1")
    beside = (seen.folder / "report.html").read_text(encoding="utf-8").partition('id="splits"')[2]
    assert f"{100 * rate:.1f}" in beside.partition("</section>")[0]


# Pictures and the small twin


def test_candidates_of_the_stimuli_themselves_or_of_a_folder(cohort, features, tmp_path):
    folder = tmp_path / "run"
    line = ["run", NAME, f"nsd:{cohort}", "--weights", "tiny", "--out", str(folder), "--features", str(features)]
    line += ["--set", 'regions=["early", "ventral"]', "--set", 'levels=["cnn1", "cnn8"]', "--set", "units=20"]
    assert run_command([*line, "--controls", "none"]) == 0
    run = Run(folder, features)
    found = Scores.from_json(folder / "scores" / "horikawa-2017.json").categories
    subject, values = run.subject, RunValues(run)
    tables = [np.asarray(values.true_features(("cnn8_early",), split)["cnn8_early"]) for split in ("train", "test")]
    kinds = [own[0] for split in (subject.train, subject.test) for own in split.categories]
    means = {kind: np.concatenate(tables)[np.array(kinds) == kind].astype(float).mean(axis=0) for kind in set(kinds)}
    predicted = values.predicted("test", run.unfitted.giver("cnn8_early"))["cnn8_early"]
    rates, checked = found.values["category_identification"]["cnn8_early"], 0
    for row, kind in enumerate(own[0] for own in subject.test.categories):
        others = np.flatnonzero(np.array(kinds) == kind).tolist()
        others.remove(subject.train.n_stimuli + row)
        if others and predicted[row].std():
            own = np.corrcoef(predicted[row], np.concatenate(tables)[others].astype(float).mean(axis=0))[0, 1]
            similar = [np.corrcoef(predicted[row], one)[0, 1] for name, one in means.items() if name != kind]
            assert rates[row] == pytest.approx(np.mean(np.array(similar) <= own + 1e-12))
            checked += 1
        elif not others:
            assert np.isnan(rates[row])
    assert checked
    assert "Names are those of the training categories" in " ".join(run.config.system.notes)

    for level in ("cnn1", "cnn8"):
        (tmp_path / "candidates" / level).mkdir(parents=True)
        np.save(
            tmp_path / "candidates" / level / "means.npy",
            np.random.default_rng(3).normal(size=(4, 20)).astype(np.float32),
        )
        labels = "\n".join(["nothing", kinds[-1], "aside", "else"])
        (tmp_path / "candidates" / level / "labels.txt").write_text(labels + "\n")
    named = chain_of(NAME, {"candidates": str(tmp_path / "candidates"), "regions": ["early"]}, "tiny")
    assert not named.steps[-1].is_learned and named.system.category_means("cnn1").labels[0] == "nothing"


@pytest.mark.slow
def test_unseen_categories_are_identified_above_chance(tmp_path):
    """On a simulated subject, no picture of six categories being learned from, beside shuffled responses."""
    data, folder = tmp_path / "nsd", tmp_path / "run"
    assert run_command(["simulate", str(data), "--kinds", "scene", "--sessions", "10"]) == 0
    line = [
        "run",
        NAME,
        f"nsd:{data}",
        "--weights",
        "tiny",
        "--out",
        str(folder),
        "--features",
        str(tmp_path / "store"),
    ]
    line += ["--set", 'regions=["V2", "all"]', "--set", 'levels=["cnn3", "cnn8"]', "--controls", "none"]
    assert run_command([*line, "--split", "category:apple,cat,car,house,boat,flower"]) == 0
    scores = Scores.from_json(folder / "scores" / "horikawa-2017.json")
    rows = {row.value: row for row in scores.categories.rows}
    assert rows["cnn3_all"].is_above and rows["cnn3_V2"].is_above and rows["cnn3_all"].n > 300

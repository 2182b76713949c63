"""Features that a run decodes from several regions: what is read, halves of repeats, and the matrix of simulated data."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import System
from brainrecon.cli.main import run_command
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.report.run.feature_matrix import interaction_sentences
from brainrecon.runs.decoded_features import decoded_features, halves_of_repeats
from brainrecon.runs.predict import read_embeddings
from brainrecon.runs.run import Run


@dataclass(frozen=True)
class Checkpoints:
    early: str = "tiny-vgg19"
    late: str = "tiny-evaluation"


@dataclass(frozen=True)
class LayersSettings:
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: DecoderSettings = field(default_factory=DecoderSettings)
    regions: tuple[str, ...] = ("V1", "ventral")


@system
class LayersByRegion(System):
    """The first layer of one network and the last features of another, each from several regions."""

    name, explanation, settings_class = "layers-by-region", "layers, decoded from several regions", LayersSettings
    output = "conv1_1_V1"

    def steps(self, machine):
        settings = self.settings
        sources = {
            "conv1_1": self.target("stages.targets.vgg19_layers:VGG19Layer", "early", machine, layer="conv1_1"),
            "last": self.target("stages.targets.class_features:ClassFeatures", "late", machine),
        }
        return [
            Decode(
                {f"{name}_{roi}": source for name, source in sources.items()},
                settings.decoder,
                machine,
                roi,
                roi=roi,
                target_of={f"{name}_{roi}": name for name in sources},
            )
            for roi in settings.regions
        ]


def run_of(data, out, features, *options):
    line = ["run", "layers-by-region", f"nsd:{data}", "--out", str(out), "--features", str(features), *options]
    assert run_command(line) == 0
    return out


def test_halves_are_every_other_trial():
    random = np.random.default_rng(0)
    positions = np.array([2, 0, 2, 1, 0, 2, 2, 4, 2, 4])
    betas = random.normal(size=(10, 6)).astype("f4")
    split = SimpleNamespace(betas=betas, positions=positions, repeats=np.bincount(positions, minlength=5))
    rows, patterns, counts = halves_of_repeats(split)
    assert rows.tolist() == [0, 2, 4] and [one.tolist() for one in counts] == [[1, 2, 1], [1, 3, 1]]
    for place, row in enumerate(rows):
        own = betas[positions == row]
        np.testing.assert_allclose(patterns[0][place], own[::2].mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(patterns[1][place], own[1::2].mean(axis=0), atol=1e-6)


@pytest.fixture(scope="module")
def scored(cohort, features, tmp_path_factory):
    return run_of(cohort, tmp_path_factory.mktemp("layers") / "run", features)


def test_a_run_scores_every_layer_from_every_region(scored, capsys):
    scores = Scores.from_json(scored / "scores" / "brainrecon-1.json")
    assert scores.features.regions_and_targets() == (["V1", "ventral"], ["conv1_1", "last"])
    assert {row.measure for row in scores.features.rows} == {
        "profile_correlation",
        "pattern_correlation",
        "identification",
    }
    predicted, _ = read_embeddings(scored / "embeddings" / "test-V1.safetensors")
    run = Run(scored)
    true, lazy, known = decoded_features(run, scores.protocol)
    np.testing.assert_array_equal(np.asarray(lazy["last_V1"]), predicted["last_V1"])
    each = [np.corrcoef(*pair)[0, 1] for pair in zip(np.asarray(true["last"]).T, predicted["last_V1"].T)]
    assert scores.features.row("profile_correlation", "last", "V1").mean == pytest.approx(np.nanmean(each), abs=1e-6)
    halves = known["last_V1"].halves
    rows, patterns, _ = halves_of_repeats(run.subject.test)
    step = run.chain.giver("last_V1")
    first, second = (step.run([], {"patterns": own})["last_V1"] for own in patterns)
    each = [np.corrcoef(*pair)[0, 1] for pair in zip(first.T, second.T)]
    assert len(rows) == 12 and halves.between.profile == pytest.approx(np.mean(each), abs=1e-5)
    assert not (known["last_V1"].voxels & known["last_ventral"].voxels).any()
    mean, std = known["last_V1"].training(0, 3)
    table = np.asarray(run.chain.targets["last_V1"].target.encode(run.subject.train.images[:]))
    np.testing.assert_allclose(mean, table.mean(axis=0)[:3], rtol=1e-4)
    np.testing.assert_allclose(std, table.std(axis=0, ddof=1)[:3], rtol=1e-4)
    assert "Decoded features, region by region" in (scored / "report.html").read_text()


def test_the_terminal_has_the_matrix(scored, capsys):
    assert run_command(["evaluate", str(scored)]) == 0
    assert "profile correlation" in (told := capsys.readouterr().out) and "from ventral" in told


def test_folds_are_rows_of_one_matrix_without_ceilings(cohort, features, tmp_path):
    out = run_of(cohort, tmp_path / "folds", features, "--folds", "3")
    scores = Scores.from_json(out / "scores" / "brainrecon-1.json")
    row = scores.features.row("pattern_correlation", "last", "V1")
    assert row.n == 60 and row.ceiling is None and row.ci_low < row.mean


@pytest.mark.slow
def test_early_layers_belong_to_early_regions_and_late_ones_to_higher(tmp_path):
    """What the simulated cortex was made to do, as the report says it: paired intervals that do not hold 0."""
    options = "--voxels 1200 --sessions 6 --seed 1"
    assert run_command(["simulate", str(tmp_path / "nsd"), *options.split()]) == 0
    out = run_of(tmp_path / "nsd", tmp_path / "run", tmp_path / "features")
    together, apart = interaction_sentences(Scores.from_json(out / "scores" / "brainrecon-1.json"))
    assert "By the profile correlation, yes" in together and "holds 0" not in together + apart

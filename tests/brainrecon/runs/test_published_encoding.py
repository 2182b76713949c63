"""Brain correlation by GNet, the whole way: beside the fitted model's, under conditions, by region, with its limits."""

import numpy as np
import pytest
from random_gnet import save_gnet

from brainrecon.cli.main import run_command
from brainrecon.datasets.padded_trials import padded_patterns
from brainrecon.evaluation.brain.published_encoding import regions_of
from brainrecon.runs.run import Run
from brainrecon.runs.score import evaluate
from stages.networks.gnet import GNet, GNetReadout
from weights import store

NAME = "brain_correlation_gnet"
PROTOCOL = """
name = "with-gnet"
based_on = "brainrecon-1"
description = "As brainrecon-1, and GNet."

[networks.gnet]
kind = "gnet"
checkpoint = "gnet-multisubject"
layer = "maps"
label = "GNet"

[[metrics]]
name = "brain_correlation_gnet"
measure = "brain_correlation"
features = "gnet"
label = "Brain correlation (GNet)"
description = "By a published encoding model."
"""


@pytest.fixture(scope="module")
def drawn(cohort, features, tmp_path_factory):
    """A run that shows the nearest training picture, and shuffled responses beside it."""
    folder = tmp_path_factory.mktemp("nearest") / "run"
    line = [
        "nearest-training-picture",
        "--weights",
        "tiny",
        f"nsd:{cohort}",
        "--out",
        str(folder),
        "--features",
        str(features),
    ]
    assert run_command(["fit", *line]) == 0
    assert (
        run_command(["reconstruct", str(folder), "--controls", "shuffled_responses", "--features", str(features)]) == 0
    )
    return Run(folder, features)


@pytest.fixture
def protocol(tmp_path):
    (tmp_path / "with-gnet.toml").write_text(PROTOCOL)
    return str(tmp_path / "with-gnet.toml")


def pull_gnet(n_voxels, tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "store"))
    (tmp_path / "hub").mkdir()
    save_gnet(tmp_path / "hub" / "gnet_multisubject.pt", {1: n_voxels, 2: 5})
    assert run_command(["weights", "pull", "gnet-multisubject", "--from", str(tmp_path / "hub")]) == 0
    return store.path("gnet-multisubject")


def expected(subject, folder, pictures):
    """Correlations by hand, for all voxels and by region: pictures at 64 px through GNet, padded z-scored responses."""
    mean, std = (
        np.asarray(getattr(np.asarray(subject.train.betas[:], np.float64), one)(axis=0)) for one in ("mean", "std")
    )
    measured = (padded_patterns(subject.test) - mean) / std
    predicted = GNetReadout.from_pretrained(folder, 1).predict(GNet.from_pretrained(folder).embed(pictures))
    regions = {"all": np.ones(subject.n_voxels, bool)} | regions_of(subject)
    return {
        name: np.array([np.corrcoef(one[mask], other[mask])[0, 1] for one, other in zip(measured, predicted)])
        for name, mask in regions.items()
    }


def test_it_is_scored_beside_the_fitted_model_under_conditions_and_by_region(drawn, protocol, tmp_path, monkeypatch):
    subject = drawn.subject
    folder = pull_gnet(subject.n_voxels, tmp_path, monkeypatch)
    scores = evaluate(drawn, protocol)
    values = {name: one.values for name, one in scores.conditions.items()}
    assert {"reconstruction", "shuffled_responses"} <= set(values)
    assert all({NAME, "brain_correlation"} <= set(one) for one in values.values())
    by_hand = expected(subject, folder, np.asarray(subject.test.images[:]))
    limit = scores.ceilings["shown_pictures"][NAME]
    assert limit.mean == pytest.approx(by_hand["all"].mean(), abs=1e-4)
    pictures = np.stack(
        [
            drawn.read_value(drawn.image_path("reconstruction", str(name)), "picture")
            for name in subject.test.stimulus_ids
        ]
    )
    by_hand = expected(subject, folder, pictures)
    np.testing.assert_allclose(values["reconstruction"][NAME], by_hand["all"], atol=1e-4)
    regions = {
        name: {row.metric: row for row in rows if row.condition == "reconstruction"}
        for name, rows in scores.regions.items()
    }
    for name in ("V1", "V2", "V3", "V4", "higher_vis"):
        assert regions[name][NAME].mean == pytest.approx(by_hand[name].mean(), abs=1e-4), name
    assert "brain_correlation" in regions["V1"] and "brain_correlation" not in regions["higher_vis"]
    if "noise_ceiling" in scores.ceilings:
        assert NAME in scores.ceilings["noise_ceiling"] or any("GNet" in note for note in scores.notes)


def test_other_voxels_are_left_out_with_a_note(drawn, protocol, tmp_path, monkeypatch):
    pull_gnet(drawn.subject.n_voxels + 1, tmp_path, monkeypatch)
    scores = evaluate(drawn, protocol)
    values = scores.conditions["reconstruction"].values
    assert NAME not in values and "brain_correlation" in values
    (note,) = [note for note in scores.notes if "GNet" in note]
    assert f"{drawn.subject.n_voxels + 1:,} voxels" in note and "nothing is scored by it" in note

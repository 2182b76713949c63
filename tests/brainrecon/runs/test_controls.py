"""Controls of a run: what is put in the place of the measured response, and that nothing else changes."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from brainrecon.assembly.condition import CONTROLS, ESSENTIAL_CONTROLS, PRIOR_ONLY
from brainrecon.cli.main import run_command
from brainrecon.datasets.stimulus_images import read_picture
from brainrecon.runs.run import Run


@pytest.fixture
def drawn(run_folder, features):
    """A run with its pictures and those of the mean response."""
    line = ["reconstruct", str(run_folder), "--features", str(features), "--controls", "mean_response"]
    assert run_command(line) == 0
    return Run(run_folder, features)


def test_the_mean_response_is_the_average_of_the_training_patterns(drawn):
    found = load_file(drawn.folder / "embeddings" / "mean_response.safetensors")
    expected = drawn.chain.predict(drawn.subject.train.patterns.mean(axis=0, dtype=np.float64)[None].astype(np.float32))
    for name, values in expected.items():
        assert found[name].shape == (1, values.shape[1])
        np.testing.assert_allclose(found[name], values, atol=1e-4 * values.std())


def test_the_mean_response_gives_everybody_the_same_start_and_their_own_noise(drawn):
    folder = drawn.folder / "controls" / "mean_response"
    assert [path.name for path in (folder / "stage_one").iterdir()] == ["stim-mean_response.png"]
    names = drawn.subject.test.stimulus_ids
    images = np.stack([read_picture(drawn.image_path("mean_response", name)) for name in names]).astype(float)
    own = np.stack([read_picture(drawn.image_path("reconstruction", name)) for name in names]).astype(float)
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(names)
    # What differs between stimuli is noise, and less than what the responses put in.
    assert images.std(axis=0).mean() < own.std(axis=0).mean()


def test_essential_controls_are_some_of_all(run_folder, features, capsys):
    assert set(ESSENTIAL_CONTROLS) < set(CONTROLS)
    line = [
        "evaluate",
        str(run_folder),
        "--features",
        str(features),
        "--controls",
        "essential",
        "--control-stimuli",
        "3",
    ]
    assert run_command(["reconstruct", str(run_folder), "--features", str(features)]) == 0
    assert run_command(line) == 0
    # Nothing completes tokens here.
    assert {path.name for path in (run_folder / "controls").iterdir()} == set(ESSENTIAL_CONTROLS) - {PRIOR_ONLY}
    assert "mean response" in capsys.readouterr().out.lower()

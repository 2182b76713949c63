"""A training that is killed again and again, at moments drawn at random, ends in the bytes of one that was left in peace."""

import json
import time

import numpy as np
import pytest
from interruption import COMMAND_LINE, interrupted
from small_systems import SMALL

from brainrecon.cli.main import run_command
from stages.training.state import FILE

NAME, SEED = "mindeye2023", 5
# Of 26 stimuli in batches of 4, in both networks.
STEPS = 5 * 6
# A step takes some hundredths of a second: kills fall into all of its parts, and into the writing of checkpoints.
LONGEST_DELAY = 0.05
WITH_A_CHECKPOINT_EVERY_STEP = (
    "from stages.decoders.trained import TrainedDecoder\n"
    "TrainedDecoder.seconds_between_checkpoints = property(lambda self: 0.0, lambda self, value: None)\n"
)


@pytest.fixture(scope="module")
def line(small_cohort, features):
    settings = [*SMALL[NAME].settings, "decoder.epochs=5", "latent.epochs=5"]
    line = ["fit", NAME, f"nsd:{small_cohort}", "--weights", "tiny", "--features", str(features)]
    return [*line, *(part for text in settings for part in ("--set", text)), "--out"]


@pytest.fixture(scope="module")
def undisturbed(line, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run_command([*line, str(folder)]) == 0
    return folder


def steps_done(folder):
    """Steps of both networks that are safe."""
    return sum(
        STEPS if (own / "config.json").exists() else _step(own) for own in (folder / "tokens", folder / "latent")
    )


def _step(folder):
    # Opened once: the file is replaced while it is read, and safetensors looks at its path twice.
    try:
        with open(folder / FILE, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except FileNotFoundError:
        return 0
    return json.loads(header["__metadata__"]["state"])["step"]


@pytest.mark.parametrize("n_kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_in_the_same_bytes(n_kills, line, undisturbed, tmp_path):
    random, folder = np.random.default_rng([SEED, n_kills]), tmp_path / "run"
    moments = sorted(random.choice(2 * STEPS, n_kills, replace=False))
    assert moments[0] < STEPS < moments[-1]
    found = []
    for moment, delay in zip(moments, random.uniform(0, LONGEST_DELAY, n_kills)):

        def has_come(moment=moment, delay=delay):
            if steps_done(folder / "decoder") < moment:
                return False
            time.sleep(delay)
            return True

        interrupted(WITH_A_CHECKPOINT_EVERY_STEP + COMMAND_LINE, *line, folder, when=has_come)
        found.append(steps_done(folder / "decoder"))
    # None of them began anew.
    assert found == sorted(found) and all(done >= moment for done, moment in zip(found, moments)), (found, moments)
    assert run_command([*line, str(folder)]) == 0
    kept = [
        path.relative_to(undisturbed)
        for place in ("decoder", "embeddings")
        for path in sorted((undisturbed / place).rglob("*"))
        if path.suffix in (".safetensors", ".json")
    ]
    assert sum(path.name == "model.safetensors" for path in kept) == 2 and len(kept) > 4
    for part in kept:
        assert (folder / part).read_bytes() == (undisturbed / part).read_bytes(), part

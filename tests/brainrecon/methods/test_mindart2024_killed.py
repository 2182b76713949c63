"""Both trainings of MindArt, killed at moments drawn at random, end in the bytes of those that were left in peace."""

import json

import numpy as np
import pytest
from interruption import COMMAND_LINE, interrupted
from small_systems import SMALL, pull_random

from brainrecon.cli.main import run_command
from stages.training.state import FILE

NAME, SEED = "mindart2024", 6
# Of 48 pictures: 6 steps of 8 in 8 epochs, and 12 of 4 in 4.
STEPS = 48
WITH_A_CHECKPOINT_EVERY_STEP = (
    "from stages.decoders.trained import TrainedDecoder\n"
    "TrainedDecoder.seconds_between_checkpoints = property(lambda self: 0.0, lambda self, value: None)\n"
)


@pytest.fixture(scope="module")
def line(cohort, features, tmp_path_factory):
    root = tmp_path_factory.mktemp(NAME)
    settings = [*SMALL[NAME].settings, "matching.epochs=8", "captions.epochs=4"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINRECON_WEIGHTS", str(root / "store"))
        pull_random(NAME, root / "origins")
        line = ["fit", NAME, f"nsd:{cohort}", "--features", str(features), "--roi", "early + ventral"]
        yield [*line, *(part for text in settings for part in ("--set", text)), "--out"]


@pytest.fixture(scope="module")
def undisturbed(line, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run_command([*line, str(folder)]) == 0
    return folder


def steps_done(folder):
    """Steps of both networks that are safe."""
    return sum(
        STEPS if (own / "config.json").exists() else _step(own) for own in (folder / "matching", folder / "captions")
    )


def _step(folder):
    try:
        with open(folder / FILE, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except FileNotFoundError:
        return 0
    return json.loads(header["__metadata__"]["state"])["step"]


def test_killed_in_either_it_ends_in_the_same_bytes(line, undisturbed, tmp_path):
    random, folder = np.random.default_rng(SEED), tmp_path / "run"
    found = []
    for first in (0, STEPS):
        moment = first + int(random.integers(5, STEPS - 15))
        interrupted(
            WITH_A_CHECKPOINT_EVERY_STEP + COMMAND_LINE,
            *line,
            folder,
            when=lambda moment=moment: steps_done(folder / "decoder") >= moment,
        )
        found.append(steps_done(folder / "decoder"))
        assert moment <= found[-1]
    assert found[0] < found[1]
    assert run_command([*line, str(folder)]) == 0
    kept = [
        path.relative_to(undisturbed)
        for place in ("decoder", "embeddings")
        for path in sorted((undisturbed / place).rglob("*"))
        if path.suffix in (".safetensors", ".json")
    ]
    assert sum(path.name == "model.safetensors" for path in kept) >= 2 and len(kept) > 6
    for part in kept:
        assert (folder / part).read_bytes() == (undisturbed / part).read_bytes(), part

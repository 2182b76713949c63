"""Decoding that keeps the usual spread of each target: the formula, what is left out, and what a folder gives back."""

from types import SimpleNamespace

import numpy as np
import pytest

from brainrecon.assembly.decode_with_spreads import SPREADS, DecodeWithSpreads
from brainrecon.assembly.linear_decoding import DecodingByBlocks
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.unit_decoding import UnitDecoderSettings
from brainrecon.assembly.values import Machine
from stages.ground.errors import InputError

SHAPES = {"maps": (2, 3, 4), "values": (5,)}
RANDOM = np.random.default_rng(0)
TABLES = {name: RANDOM.normal(1, 3, (20, int(np.prod(shape)))).astype(np.float32) for name, shape in SHAPES.items()}


def target(shape):
    return TargetSource(lambda: SimpleNamespace(shape=shape, n_targets=int(np.prod(shape))), checkpoints=())


def step(kept=True):
    settings, targets = UnitDecoderSettings(voxels=4), {name: target(shape) for name, shape in SHAPES.items()}
    decoding = DecodingByBlocks(settings.decoder(Machine()))
    return DecodeWithSpreads(targets, settings.of_the_step(), Machine(), decoding=decoding, kept=kept)


def workspace(folder=None):
    return SimpleNamespace(
        folder=folder, prediction=None, progress=lambda *_: None, describe=lambda step: None, description={}, store=None
    )


def fitted(decode, place):
    betas = RANDOM.normal(size=(20, 9)).astype(np.float32)
    train = SimpleNamespace(betas=betas, patterns=betas, positions=np.arange(20))
    training = SimpleNamespace(
        features=lambda names: {name: TABLES[name] for name in names}, subject=SimpleNamespace(train=train, rois={})
    )
    decode.fit(training, place)
    return decode


def test_spreads_and_means_of_the_training_pictures():
    decode = fitted(step(), workspace())
    maps = TABLES["maps"].astype(float).reshape(20, 2, 12)
    assert decode.spreads["maps"] == pytest.approx(maps.std(axis=2, ddof=1).mean())
    assert decode.spreads["values"] == pytest.approx(TABLES["values"].astype(float).std(axis=1, ddof=1).mean())
    np.testing.assert_allclose(decode.training_means["maps"], maps.mean(0).reshape(2, 3, 4), rtol=1e-5)
    assert fitted(step(kept=False), workspace()).spreads == {}


def test_a_folder_gives_them_back(tmp_path):
    decode = fitted(step(), workspace())
    decode.save(tmp_path)
    again = step()
    again.open(workspace(tmp_path))
    assert again.spreads == decode.spreads
    np.testing.assert_allclose(again.training_means["values"], decode.training_means["values"])
    (tmp_path / SPREADS).write_text("[")
    with pytest.raises(InputError, match="fit again"):
        step().open(workspace(tmp_path))

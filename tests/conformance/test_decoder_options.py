"""Every choice of a decoder's options beside every other one: it predicts, or says in one sentence why it does not.

A new decoder is a line in `OPTIONS`.
"""

import inspect
import itertools

import numpy as np
import pytest
from small_decoders import TwoHeads

from stages.decoders.inverse_encoding import InverseEncodingDecoder
from stages.decoders.local.element_voxels import SELECTIONS
from stages.decoders.local.local_models import MODELS
from stages.decoders.local.multiscale import WEIGHTS, MultiscaleDecoder
from stages.decoders.ridge import banded_ridge
from stages.decoders.ridge.banded_ridge import BandedRidgeDecoder
from stages.decoders.ridge.kfold_ridge import FOLDS_OF, KFoldRidgeDecoder
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.decoders.ridge.ridge_solver import RESCALINGS
from stages.decoders.ridge.ridge_steps import HELD_OUT, KEEP, PENALTIES
from stages.decoders.trained import TrainedDecoder, Training
from stages.decoders.unitwise import unit_storage
from stages.decoders.unitwise.sparse_linear_regression import INITIAL, PRUNE, STOP
from stages.decoders.unitwise.unitwise import UnitwiseDecoder
from stages.ground.errors import InputError
from stages.training.recipe import OptimiserSpec, Recipe, Schedule

N_STIMULI, N_VOXELS, WIDE = 12, 5, 15
GROUPS = {"vdvae": 4, "clip_image": 2}
PENALTY = {"alphas": [10.0, (1.0, 10.0), {"vdvae": 10.0, "clip_image": (1.0, 10.0)}]}
EARLY = np.arange(WIDE) < 3
OPTIONS = {
    RidgeDecoder: PENALTY
    | {"rescale": [*RESCALINGS, {"vdvae": "none", "clip_image": "transductive"}]}
    | {"penalty": PENALTIES, "held_out": HELD_OUT, "keep": KEEP, "standardise": [True, False]},
    KFoldRidgeDecoder: PENALTY | {"folds": [2, 5], "folds_of": FOLDS_OF, "intercept": [False, True]},
    BandedRidgeDecoder: {"bands": [None, {"V1": EARLY}, {"V1": EARLY, "rest": ~EARLY}], "alphas": [10.0, (1.0, 10.0)]}
    | {"n_iter": [1, 3], "folds": [2, 3], "rescale": banded_ridge.RESCALINGS},
    UnitwiseDecoder: {"kind": ["ridge", "ard"], "voxels": [2, "all"], "statistics": ["stimuli", "trials"]}
    | {
        "initial": INITIAL,
        "prune": PRUNE,
        "stop": STOP,
        "keep": unit_storage.KEEP[:2],
        "iterations": [3],
        "alpha": [1.0],
    },
    InverseEncodingDecoder: {"encoding_penalty": [0.0, 1.0], "inverse_penalty": [0.0, 1.0]},
    MultiscaleDecoder: {
        "sizes": [2],
        "model": MODELS,
        "selection": SELECTIONS,
        "weights": WEIGHTS,
        "alphas": [(1.0, 10.0)],
        "n_folds": [2],
        "n_voxels": [2],
        "n_levels": [2],
    },
    TrainedDecoder: {
        "make": [TwoHeads],
        "optimiser": ["sgd", "muon"],
        "kind": ["one-cycle", "milestones"],
        "validation": [0.0, 0.25],
        "patience": [None, 1],
        "average": [None, 0.9],
        "standardise": [True, False],
    },
}
LEFT_OUT = {"seed", "memory", "device", "n_jobs", "random_state", "sketch", "n_nonzero", "grid"}
"""Options that choose no way: how much of something, and where it is computed."""
TRAINING = {"recipe", "objectives", "arguments", "begin", "seconds_between_checkpoints", "new_subject"}


def numbers(n_stimuli, n_voxels, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n_stimuli, n_voxels)).astype(np.float32)


def cases(kind):
    """Dicts of options, each choice beside each other one."""
    names, choices = OPTIONS[kind], OPTIONS[kind].values()
    return [dict(zip(names, chosen)) for chosen in itertools.product(*choices)]


def predicted(kind, options, trials, wide):
    """Predictions of two patterns by a decoder that was fitted on a few."""
    stimuli = np.arange(2 * N_STIMULI if trials else N_STIMULI) % N_STIMULI
    patterns, targets = numbers(len(stimuli), WIDE if wide else N_VOXELS), numbers(N_STIMULI, 6, seed=1)
    new = numbers(2, patterns.shape[1], seed=2)
    if kind is MultiscaleDecoder:
        pictures = (targets[stimuli] > 0).astype(float)
        return kind(**options).fit(patterns, pictures).predict(new)
    if kind is TrainedDecoder:
        options = dict(options)
        recipe = Recipe(
            steps=3,
            batch_size=4,
            validate_every=1,
            optimiser=OptimiserSpec(options.pop("optimiser")),
            schedule=Schedule(options.pop("kind"), milestones=(1,)),
            **{name: options.pop(name) for name in ("validation", "patience", "average")},
        )
        training = Training(
            {"subj01": patterns}, {"subj01": stimuli}, dict(zip(GROUPS, np.split(targets, [4], axis=1)))
        )
        return np.concatenate(
            [values for *_, values in kind(recipe=recipe, **options).fit(training).predict_blocks(new)], 1
        )
    return kind(**options).fit(patterns, targets, groups=GROUPS, stimuli=stimuli).predict(new)


@pytest.mark.parametrize("trials", [False, True], ids=["averages", "trials"])
@pytest.mark.parametrize("wide", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["few voxels", "many voxels"])
@pytest.mark.parametrize("kind", OPTIONS, ids=lambda kind: kind.__name__)
def test_each_option_beside_each_other_predicts_or_is_refused_in_a_sentence(kind, wide, trials):
    if kind is BandedRidgeDecoder:
        pytest.importorskip("himalaya")
        if not wide:
            pytest.skip("its bands are of many voxels")
    if kind in (MultiscaleDecoder, TrainedDecoder) and (wide or trials):
        pytest.skip("it knows neither a dual form nor repeats")
    works = 0
    for options in cases(kind):
        try:
            values = predicted(kind, options, trials, wide)
        except InputError as error:
            assert str(error).endswith(".") and "\n" not in str(error), options
        except Exception as error:
            raise AssertionError(f"{kind.__name__}({options}) fails with {type(error).__name__}: {error}") from error
        else:
            assert values.shape[0] == 2 and np.isfinite(values).all(), options
            works += 1
    assert works > 0


@pytest.mark.parametrize("kind", OPTIONS, ids=lambda kind: kind.__name__)
def test_no_option_is_left_out(kind):
    known = set(inspect.signature(kind).parameters) - LEFT_OUT
    if kind is TrainedDecoder:
        known -= TRAINING
    assert known <= set(OPTIONS[kind])

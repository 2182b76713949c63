"""A new subject's layers alone, beside one who is known: as good as learning from both, on data of known mixing."""

import numpy as np
import pytest
import torch

from stages.decoders.new_subject import NewSubject
from stages.decoders.trained import TrainedDecoder, Training
from stages.networks.mindbridge import CYCLE_ERROR, RESPONSE_ERROR, MindBridgeNetwork
from stages.objectives.regression import MeanSquare, UnitSquaredError
from stages.objectives.retrieval import SoftContrast
from stages.training.recipe import OptimiserSpec, Recipe, Schedule

N_TRAINED, N_TESTED, N_CAUSES = 400, 100, 12
SIZES = {"length": 60, "hidden": 64, "n_blocks": 1, "bottleneck": 8}
VOXELS = {"known": 60, "new": 60}


@pytest.fixture(scope="module")
def data():
    """Causes of all stimuli, tokens that follow from them, and responses of each subject by a mixing of its own."""
    random = np.random.default_rng(0)
    causes = random.standard_normal((N_TRAINED + N_TESTED, N_CAUSES))
    tokens = (causes @ random.standard_normal((N_CAUSES, 24))).reshape(-1, 4, 6).astype(np.float32)
    responses = {}
    for subject, n_voxels in VOXELS.items():
        mixed = causes @ random.standard_normal((N_CAUSES, n_voxels))
        responses[subject] = (mixed + 0.5 * random.standard_normal(mixed.shape)).astype(np.float32)
    return tokens, responses


def fitted(data, *subjects, pretrained=None, companions=(), epochs=40):
    tokens, responses = data
    steps = epochs * N_TRAINED // 50
    recipe = Recipe(
        steps=steps,
        batch_size=50,
        optimiser=OptimiserSpec("adamw", 2e-3, 1e-2, undecayed="biases"),
        schedule=Schedule("one-cycle", rise=0.1),
        clip=1.0,
        validate_every=steps,
    )

    def objectives(network):
        found = [SoftContrast("rough_image", 0.05), UnitSquaredError("rough_image", 100.0)]
        return found + ([] if network.builder is None else [MeanSquare(RESPONSE_ERROR), MeanSquare(CYCLE_ERROR)])

    decoder = TrainedDecoder(
        MindBridgeNetwork, recipe, objectives, SIZES, new_subject=NewSubject(own_alone=pretrained is not None)
    )
    training = Training(
        {subject: responses[subject][:N_TRAINED] for subject in subjects},
        {subject: np.arange(N_TRAINED) for subject in subjects},
        {"rough_image": tokens[:N_TRAINED]},
        companions=companions,
    )
    return decoder.fit(training, pretrained=pretrained)


def found_among(decoder, data, subject):
    """Share of the tested stimuli whose tokens are nearest to what is decoded of the response."""
    tokens, responses = data
    ((_, _, found),) = decoder.predict_blocks(responses[subject][N_TRAINED:], subject=subject)
    true = tokens[N_TRAINED:].reshape(N_TESTED, -1)
    cosines = (found / np.linalg.norm(found, axis=1, keepdims=True)) @ (true / np.linalg.norm(true, axis=1)[:, None]).T
    return float((cosines.argmax(axis=1) == np.arange(N_TESTED)).mean())


@pytest.mark.slow
def test_layers_of_its_own_are_as_good_as_learning_from_both(data, tmp_path):
    torch.manual_seed(0)
    both = fitted(data, "known", "new")
    joint = found_among(both, data, "new")
    # Responses become those of the other subject: nearer to them than their mean is.
    responses = {subject: torch.from_numpy(rows[N_TRAINED:]) for subject, rows in data[1].items()}
    voxels, network = both.network.voxels, both.network.network
    with torch.inference_mode():
        made = network.synthesised(voxels("known")(responses["known"]), "known", "new")
        true = network.prepared(voxels("new")(responses["new"]))
    assert float((made - true).square().mean() / true.var()) < 0.6
    # The network of one has no builder, which a companion needs: two were known before.
    tokens, responses = data
    random = np.random.default_rng(1)
    third = responses["known"] @ random.standard_normal((60, 60)).astype(np.float32) / 8
    known = tokens, responses | {"third": third}
    before = fitted(known, "known", "third")
    before.save_pretrained(tmp_path / "before")
    own = fitted(known, "known", "third", "new", pretrained=tmp_path / "before", companions=("known", "third"))
    # Tolerance: two standard errors of a share of a hundred.
    assert joint > 0.5 and found_among(own, known, "new") > joint - 0.1
    state = before.network.network.state_dict()
    shared = [name for name in state if not name.startswith(("embedder", "builder"))]
    assert shared and all(torch.equal(own.network.network.state_dict()[name], state[name]) for name in shared)
    # Of responses to other stimuli nothing can be learned.
    order = np.r_[np.random.default_rng(2).permutation(N_TRAINED), N_TRAINED : N_TRAINED + N_TESTED]
    wrong = tokens, known[1] | {"new": responses["new"][order]}
    lost = fitted(wrong, "known", "third", "new", pretrained=tmp_path / "before", companions=("known", "third"))
    assert found_among(lost, known, "new") < 0.1

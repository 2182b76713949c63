"""The network that the notebooks have beside ridge: its size, its training written out, a run with it."""

import numpy as np
import pytest
import torch
from chains import chain_of
from random_checkpoints import save_generator
from torch import nn

from brainrecon.assembly.hidden_layer import HiddenLayerSettings
from brainrecon.runs.run import Run
from stages.ground.errors import InputError
from stages.networks.tanh_mlp import TanhMLP

NAME, BY_NETWORK = "ferrante2022", {"decoded_by": "hidden layer"}


def test_its_size_is_the_published_one():
    with torch.device("meta"):
        network = TanhMLP(4643, {"class_features": (2048,)})
    counts = [sum(one.numel() for one in layer.parameters()) for layer in network.layers]
    assert counts == [4_755_456, 0, 0, 2_099_200] and sum(counts) == 6_854_656


def test_it_is_the_published_network():
    torch.manual_seed(0)
    network = TanhMLP(9, {"a": (4,)}, hidden=5).eval()
    patterns = torch.randn(3, 9)
    first, last = network.layers[0], network.layers[3]
    expected = torch.tanh(patterns @ first.weight.T + first.bias) @ last.weight.T + last.bias
    torch.testing.assert_close(network(patterns)["a"], expected)


def test_the_rate_is_torchs_step_schedule():
    recipe = HiddenLayerSettings(steps_per_epoch=17).recipe
    optimiser = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=3e-3, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 60, 0.5)
    assert (recipe.steps, recipe.batch_size, recipe.optimiser.name) == (200 * 17, 64, "adam")
    assert (recipe.optimiser.learning_rate, recipe.optimiser.weight_decay) == (3e-3, 1e-5)
    for epoch in range(200):
        assert recipe.optimiser.learning_rate * recipe.schedule.factor(17 * epoch, recipe.steps) == pytest.approx(
            schedule.get_last_lr()[0]
        )
        optimiser.step()
        schedule.step()


def test_the_chain_with_it():
    assert repr(chain_of(NAME, BY_NETWORK)) == (
        "Chain(ferrante2022: Learn(class_features) -> NameClasses(labels) -> EachSample(picture))"
    )
    with pytest.raises(InputError, match="decoded_by is 'forest'"):
        chain_of(NAME, {"decoded_by": "forest"})
    with pytest.raises(InputError, match="decoder.rescale is 'transductive' but decoded_by 'hidden layer'"):
        chain_of(NAME, BY_NETWORK | {"decoder": {"rescale": "transductive"}})
    with pytest.raises(InputError, match="hidden_layer.dropout is 1"):
        chain_of(NAME, {"hidden_layer": {"dropout": 1.0}})


def test_a_run_learns_with_it_and_draws(cohort, features, tmp_path):
    save_generator("sd", tmp_path / "sd")
    settings = BY_NETWORK | {
        "checkpoints": {"classifier": "tiny-evaluation", "generator": str(tmp_path / "sd")},
        "generator": {"num_inference_steps": 2},
        "hidden_layer": {"epochs": 200, "hidden": 256},
    }
    config = {"method": NAME, "data": {"source": f"nsd:{cohort}"}, "settings": settings}
    run = Run.create(tmp_path / "run", config, features).fit()
    train = run.subject.train
    assert run.config.settings.hidden_layer.steps_per_epoch == -(-train.n_trials // 64)
    true = run.chain.targets["class_features"].target.encode(np.asarray(train.images[:]))
    found = run.chain.predict(train.patterns)["class_features"]
    # Better than the mean of training, on what it has learned from.
    assert ((found - true) ** 2).mean() < 0.5 * true.var(axis=0).mean()
    run.reconstruct()
    assert len(list((run.folder / "images").glob("*.png"))) == run.subject.test.n_stimuli

"""The shared training loop: stopping it must change nothing, and it must learn."""

import importlib
import json
from pathlib import Path

import pytest
import torch

from stages.training.state import FILE

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("tiny_networks.training")


class Network(torch.nn.Module):
    """Convolution, batch statistics and a tied weight: what a state has to carry."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.second = torch.nn.Conv2d(8, 8, 1)
        self.tied = torch.nn.Conv2d(8, 8, 1, bias=False)
        self.tied.weight = self.second.weight
        self.last = torch.nn.Linear(8, 2)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        return self.last(self.tied(torch.relu(self.second(x))).mean((2, 3)))


def new_network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network()


def batches(step):
    generator = torch.Generator().manual_seed(1000 + step)
    x = torch.randn(16, 3, 8, 8, generator=generator)
    return x, {"label": (x.mean((1, 2, 3)) > 0).long()}


def loss(model, batch, generator):
    x, target = batch
    x = x + 0.1 * torch.randn(x.shape, generator=generator)
    value = torch.nn.functional.cross_entropy(model(x), target["label"])
    return value, {"nats": value.item()}


def options(workspace, **changes):
    return {
        "workspace": workspace,
        "steps": 12,
        "warmup": 3,
        "learning_rate": 1e-2,
        "autocast": False,
        "device": "cpu",
        "threads": 1,
        "log_every": 1000,
    } | changes


def stopping_at(last):
    def batches_until(step):
        if step == last:
            raise KeyboardInterrupt
        return batches(step)

    return batches_until


@pytest.mark.parametrize("muon", [False, True])
def test_a_stopped_and_continued_training_equals_an_undisturbed_one(training, tmp_path, muon):
    whole = training.fit("whole", new_network(), loss, batches, **options(tmp_path, muon=muon))
    for last in (5, 9):
        with pytest.raises(KeyboardInterrupt):
            # Another seed from the second start on: only the kept state may count.
            often = options(tmp_path, save_seconds=0, muon=muon)
            training.fit("parts", new_network(last - 5), loss, stopping_at(last), **often)
    parts = training.fit("parts", new_network(7), loss, batches, **options(tmp_path, muon=muon))
    for key, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[key]), key
    assert training.record(tmp_path, "parts")["pictures"] == 12 * 16


def test_a_finished_training_returns_its_average_without_a_step(training, tmp_path):
    first = training.fit("network", new_network(), loss, batches, **options(tmp_path))
    again = training.fit("network", new_network(3), loss, stopping_at(12), **options(tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values()))
    assert not again.training


def test_one_step_equals_plain_adamw(training, tmp_path):
    model, reference = new_network(), new_network()
    training.fit(
        "one",
        model,
        loss,
        batches,
        **options(tmp_path, steps=1, warmup=0, clip_norm=None, weight_decay=0.0, ema_decay=0.0),
    )
    optimiser = torch.optim.AdamW(reference.parameters(), lr=1e-2, betas=(0.9, 0.99), weight_decay=0.0, fused=False)
    loss(reference, batches(0), torch.Generator().manual_seed(0))[0].backward()
    optimiser.step()
    for (name, trained), expected in zip(model.named_parameters(), reference.parameters()):
        # A bias before batch normalisation has no gradient but rounding, whose sign AdamW makes a full step.
        if name != "first.bias":
            torch.testing.assert_close(trained, expected, rtol=1e-4, atol=1e-6)


def test_it_learns(training, tmp_path):
    average = training.fit("learn", new_network(), loss, batches, **options(tmp_path, steps=150, ema_decay=0.9))
    x, target = batches(5000)
    assert (average(x).argmax(1) == target["label"]).float().mean() >= 0.8


def test_a_loss_that_is_not_finite_stops_the_training(training, tmp_path):
    def broken(model, batch, generator):
        return model(batch[0]).sum() * float("nan"), {}

    with pytest.raises(FloatingPointError, match="step 0"):
        training.fit("broken", new_network(), broken, batches, **options(tmp_path))
    assert not (tmp_path / "broken" / FILE).exists()


def test_bfloat16_keeps_weights_in_float32(training, tmp_path):
    model = new_network()
    training.fit("half", model, loss, batches, **options(tmp_path, autocast=True))
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert json.loads((tmp_path / "half" / "record.json").read_text())["steps"] == 12

"""The training loop against loops written out, and what it says about what cannot be."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import whole_objective
from small_learners import CASES, Case, Comparing, WithDropout, WithStatistics, batch_at, recipe

from stages.ground.errors import InputError
from stages.training.batches import Shuffled, held_out, on_device, share_of, step_seed
from stages.training.curves import Diverged
from stages.training.loop import train
from stages.training.recipe import OptimiserSpec
from stages.training.state import FILE, read_part, remove_checkpoint

CASE = CASES["dropout, average, validation"]
PLAIN = recipe(OptimiserSpec("sgd", 0.05))


def weights(learner):
    return torch.cat([value.flatten().detach() for value in learner.state_dict().values()])


def test_training_vs_a_loop_written_out():
    """AdamW and cosine of PyTorch, clipping, an average, dropout that follows from the step: equal to the byte."""
    learner, expected = CASE.learner(), CASE.learner().train()
    curves = train(learner, batch_at, CASE.recipe, held_out=CASE.validation())

    steps, spec = CASE.recipe.steps, CASE.recipe.optimiser
    matrices = [value for value in expected.parameters() if value.ndim == 2]
    vectors = [value for value in expected.parameters() if value.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=spec.learning_rate, fused=True)
    average = {name: value.clone() for name, value in expected.state_dict().items()}
    kept, losses, validations = [], [], []
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = spec.learning_rate * min(1, (step + 1) / 3) * 0.5 * (1 + np.cos(np.pi * step / steps))
        torch.manual_seed(step_seed(0, step, 1))
        batch = batch_at(step)
        loss, _ = expected({"x": batch["x"], "y": torch.from_numpy(batch["y"])})
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(expected.parameters(), 0.5)
        optimiser.step()
        losses.append(loss.item())
        decay = min(0.9, (1 + step) / (10 + step))
        average = {name: value.lerp(expected.state_dict()[name], 1 - decay) for name, value in average.items()}
        if (step + 1) % 4 == 0:
            validated = WithDropout().eval()
            validated.load_state_dict(average)
            found = [validated({"x": one["x"], "y": torch.from_numpy(one["y"])})[0].item() for one in CASE.validation()]
            validations.append(float(np.mean(found)))
            kept.append(average)
    best = kept[int(np.argmin(validations))]
    for name, value in learner.state_dict().items():
        assert torch.equal(value, best[name]), name
    assert curves["loss"][1] == pytest.approx(np.mean(np.reshape(losses, (3, 4)), axis=1), rel=1e-12)
    assert curves["validation"][1] == pytest.approx(validations, rel=1e-6)


def noise_at(step):
    """What cannot be learned: targets have nothing to do with patterns."""
    random = np.random.default_rng([6, step % 2])
    return {name: random.standard_normal((8, n), dtype=np.float32) for name, n in (("x", 6), ("y", 3))}


def test_early_stopping_keeps_the_best_weights():
    settings = recipe(OptimiserSpec("adam", 0.05), steps=400, validate_every=5, patience=3)
    validation = [noise_at(1), *[{name: -values for name, values in noise_at(0).items()}]]
    learner = CASE.learner()
    curves = train(learner, noise_at, settings, held_out=validation)
    steps, values = curves["validation"]
    best = int(np.argmin(values))
    assert steps[-1] < 400 and len(values) - 1 - best == 3
    until_then = CASE.learner()
    train(until_then, noise_at, replace(settings, steps=steps[best]))
    assert torch.equal(weights(learner), weights(until_then))


def test_parts_of_a_batch_give_the_gradient_of_the_whole():
    learners = []
    for parts in (1, 2, 4):
        learner = WithoutDropout()
        train(learner, batch_at, replace(PLAIN, accumulate=parts))
        learners.append(weights(learner))
    for found in learners[1:]:
        torch.testing.assert_close(found, learners[0], rtol=1e-5, atol=1e-6)


class WithoutDropout(WithStatistics):
    """The shared weight without running means, which parts of a batch would each have of their own."""

    def __init__(self):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            super().__init__()
        self.norm = torch.nn.Identity()


def in_processes(tmp_path, n, **changes):
    """Train by n processes; what the first wrote."""
    return launched("small_learners", tmp_path / f"{n}.json", n, json.dumps(changes))


def launched(module, path, n, told):
    launch = [] if n == 1 else ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(n)]
    program = sys.modules[module].__file__
    subprocess.run([sys.executable, *launch, program, str(path), told], check=True, timeout=300)
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    "learner, parts",
    [pytest.param("WithStatistics", 1, marks=pytest.mark.slow), ("WithALooseEnd", 1), ("Comparing", 4)],
)
def test_two_processes_train_what_one_does_with_a_batch_twice_as_large(learner, parts, tmp_path):
    changes = {"learner": learner, "batch_size": 16, "steps": 8, "validate_every": 2, "average": 0.9}
    one, two = in_processes(tmp_path, 1, **changes), in_processes(tmp_path, 2, **changes, accumulate=parts)
    assert (one["processes"], two["processes"]) == (1, 2)
    assert [line["loss"] for line in two["lines"]] == pytest.approx([line["loss"] for line in one["lines"]], abs=1e-5)
    assert np.abs(np.subtract(one["weights"], two["weights"])).max() < 1e-5


def test_the_whole_objective_of_mindeye_is_that_of_the_joined_batch(tmp_path):
    """In parts or by two processes: loss, contrast, error of the prior, gradient and weights, to 1e-5."""
    whole = whole_objective.found(whole_objective.trained())
    in_parts = whole_objective.found(whole_objective.trained(accumulate=4))
    by_two = launched("whole_objective", tmp_path / "two.json", 2, "3")
    assert by_two["processes"] == 2 and [line["step"] for line in whole["lines"]] == [1, 2, 3, 4, 5, 6]
    for other in (in_parts, by_two):
        for line, expected in zip(other["lines"], whole["lines"], strict=True):
            for name in ("loss", "clip_retrieval contrast", "clip_rough prior error", "gradient"):
                assert line[name] == pytest.approx(expected[name], rel=1e-5), (name, line["step"])
        assert np.abs(np.subtract(other["weights"], whole["weights"])).max() < 1e-5


def test_samples_are_compared_with_the_whole_batch_whatever_its_parts():
    def trained(accumulate):
        learner = Case(Comparing, PLAIN).learner()
        learner.norm = torch.nn.Identity()
        curves = train(learner, batch_at, replace(PLAIN, accumulate=accumulate))
        return curves, torch.cat([value.flatten() for value in learner.state_dict().values()])

    (curves, whole), others = trained(1), [trained(parts) for parts in (2, 4, 8)]
    for found, weights in others:
        torch.testing.assert_close(weights, whole, atol=1e-5, rtol=0)
        for name in ("loss", "contrast", "error", "gradient"):
            assert found[name][1] == pytest.approx(curves[name][1], abs=1e-5), name


def test_statistics_are_counted_once_where_parts_are_computed_twice():
    """Running means are those of the passes that have gradients."""
    learner, parts = Case(Comparing, PLAIN).learner(), 2
    expected, x = torch.zeros(3), batch_at(0)["x"]
    for part in range(parts):
        with torch.no_grad():
            expected = 0.9 * expected + 0.1 * learner.one(x[part::parts]).mean(dim=0)
    train(learner, batch_at, replace(PLAIN, accumulate=parts, steps=1))
    torch.testing.assert_close(learner.norm.running_mean, expected)
    assert learner.norm.num_batches_tracked == parts


def test_a_batch_that_processes_cannot_share_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match=r"recipe.batch_size is 8 but there are 3 processes; expected a multiple of 3"):
        train(WithDropout(), batch_at, PLAIN)


def test_a_batch_of_another_size_than_the_recipe_says_is_refused():
    with pytest.raises(InputError, match=r"batch of step 0 has 5 samples but recipe.batch_size is 8"):
        train(WithDropout(), lambda step: batch_at(step, 5), PLAIN)


def test_a_pattern_that_fits_no_parameter_is_refused():
    with pytest.raises(InputError, match=r"recipe.trains has 'hed\.\*', which fits no parameter; .*trunk.weight"):
        train(WithDropout(), batch_at, replace(PLAIN, trains=("hed.*",)))


def test_a_checkpoint_of_another_training_is_not_gone_on_with(tmp_path):
    train(WithDropout(), batch_at, PLAIN, tmp_path, identity="these data")
    for settings, identity in ((PLAIN, "those data"), (replace(PLAIN, seed=1), "these data")):
        asked = []
        train(WithDropout(), lambda step: asked.append(step) or batch_at(step), settings, tmp_path, identity=identity)  # noqa: B023
        assert asked == list(range(12))
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-9])
    train(WithDropout(), lambda step: asked.append(step) or batch_at(step), replace(PLAIN, seed=1), tmp_path)
    assert len(asked) == 24


def test_the_average_can_be_read_while_training_goes_on(tmp_path):
    learner = CASE.learner()
    train(learner, batch_at, CASE.recipe, tmp_path)
    for name, value in read_part(tmp_path, "average").items():
        assert torch.equal(value, learner.state_dict()[name])
    remove_checkpoint(tmp_path)
    assert not list(tmp_path.iterdir())


def test_gradients_that_overflow_are_skipped_until_there_are_too_many():
    class Overflowing(WithDropout):
        """Finite losses; the gradient of a norm at zero is none."""

        def forward(self, batch):
            loss, parts = super().forward(batch)
            return loss + self.head.bias.square().sum().sqrt(), parts

    learner = Overflowing()
    torch.nn.init.zeros_(learner.head.bias)
    before = weights(learner)
    with pytest.raises(Diverged, match=r"20 gradients running were not finite \(step 19\); lower recipe.optimiser"):
        train(learner, batch_at, replace(PLAIN, steps=30))
    assert torch.equal(weights(learner), before)


def test_mixed_precision_is_for_training_alone():
    learner = CASE.learner()
    train(learner, batch_at, replace(PLAIN, precision="bf16"))
    assert all(parameter.dtype == torch.float32 for parameter in learner.parameters())
    assert learner.trunk(torch.ones(1, 6)).dtype == torch.float32
    loss, _ = learner({"x": torch.ones(1, 6), "y": torch.ones(1, 3)})
    assert loss.dtype == torch.float32
    again = CASE.learner()
    train(again, batch_at, PLAIN)
    assert not torch.equal(weights(again), weights(learner))


def test_rows_of_a_step_follow_from_seed_and_step_alone():
    rows = Shuffled(10, 4, seed=1)
    in_order = np.concatenate([rows(step) for step in range(10)])
    assert all(set(epoch) == set(range(10)) for epoch in in_order.reshape(4, 10))
    assert not np.array_equal(in_order[:10], in_order[10:20])
    for step in (7, 0, 9):
        assert np.array_equal(Shuffled(10, 4, seed=1)(step), in_order[4 * step : 4 * step + 4])
    assert not np.array_equal(Shuffled(10, 4, seed=2)(0), rows(0))


def test_an_array_of_two_names_is_placed_once_and_not_shared():
    values, other = np.arange(12.0).reshape(6, 2), np.arange(6.0)
    placed = on_device(share_of({"one": values, "deeper": {"two": values}, "other": other}, 1, 2), "cpu")
    assert placed["one"] is placed["deeper"]["two"] and placed["one"].tolist() == values[1::2].tolist()
    assert placed["other"].tolist() == [1, 3, 5]
    placed["one"].zero_()
    assert values[1:].all()


def test_the_stimuli_held_out_follow_from_the_seed():
    chosen = held_out(50, 0.2, seed=4)
    assert len(chosen) == 10 and np.array_equal(chosen, held_out(50, 0.2, seed=4)) and len(np.unique(chosen)) == 10
    assert not np.array_equal(chosen, held_out(50, 0.2, seed=5)) and len(held_out(50, 0.0, seed=4)) == 0
    with pytest.raises(InputError, match="A validation share of 0.1 of 3 training stimuli is 0"):
        held_out(3, 0.1, seed=0)

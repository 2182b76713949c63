"""The training loop against loops written out, and what it says about what cannot be."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import whole_objective
from small_learners import CASES, Case, Comparing, WithDropout, WithStatistics, batch_at, recipe
from started_together import joined
from torch.utils._python_dispatch import TorchDispatchMode

from stages.ground.errors import InputError
from stages.training import loop
from stages.training.batches import Shuffled, held_out, step_seed
from stages.training.curves import Diverged
from stages.training.loop import train
from stages.training.optimisers import make_optimisers, set_rates
from stages.training.recipe import OptimiserSpec
from stages.training.sharing import BySubject, few_of, n_samples, on_device, share_of
from stages.training.state import FILE, read_part, remove_checkpoint
from stages.training.trouble import OutOfMemory
from weights.remark import Remark

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


def in_processes(tmp_path, n, by_torchrun, **changes):
    """Train by n processes; what the first wrote."""
    return launched("small_learners", tmp_path / f"{n}.json", n, json.dumps(changes), by_torchrun)


def launched(module, path, n, told, by_torchrun=False):
    program = sys.modules[module].__file__
    if by_torchrun:
        launch = [] if n == 1 else ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(n)]
        subprocess.run([sys.executable, *launch, program, str(path), told], check=True, timeout=300)
    else:
        code, said = joined(n, path, told, program=Path(program).read_text())
        assert code == 0, said
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    "learner, parts, by_torchrun",
    [
        pytest.param("WithStatistics", 1, True, marks=pytest.mark.slow),
        pytest.param("WithALooseEnd", 1, True, marks=pytest.mark.slow),
        ("Comparing", 4, False),
        ("OfSubjects", 2, False),
    ],
)
def test_two_processes_train_what_one_does_with_a_batch_twice_as_large(learner, parts, by_torchrun, tmp_path):
    changes = {"learner": learner, "batch_size": 16, "steps": 8, "validate_every": 2, "average": 0.9}
    one = in_processes(tmp_path, 1, by_torchrun, **changes)
    two = in_processes(tmp_path, 2, by_torchrun, **changes, accumulate=parts)
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
    with pytest.raises(
        Diverged, match=r"20 gradients running were not finite \(step 19\); .* recipe.optimiser.learning_rate"
    ):
        train(learner, batch_at, replace(PLAIN, steps=30))
    assert torch.equal(weights(learner), before)


class Overflowing(WithDropout):
    """Finite losses; in some steps the gradient of a norm at zero is none."""

    def forward(self, batch):
        loss, parts = super().forward(batch)
        if batch["step"] % 3 != 1:
            loss = loss + (self.head.bias - self.head.bias.detach()).square().sum().sqrt()
        return loss, parts


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "muon"])
def test_a_step_that_is_left_out_changes_no_weight_and_no_moment(name):
    """The loop leaves it to the device; a loop that asks before every step ends in the same bytes."""
    spec = OptimiserSpec(name, 0.05, weight_decay=0.1, momentum=0.9)
    settings = recipe(spec)
    learner, expected = (Case(Overflowing, settings).learner() for _ in range(2))
    train(learner, batch_at, settings)
    optimisers, n_taken = make_optimisers(dict(expected.named_parameters()), spec), 0
    for step in range(settings.steps):
        torch.manual_seed(step_seed(0, step, 1))
        expected.train()
        loss, _ = expected(on_device(batch_at(step), "cpu"))
        expected.zero_grad()
        loss.backward()
        if all(parameter.grad.isfinite().all() for parameter in expected.parameters()):
            n_taken += 1
            set_rates(optimisers, settings, step)
            for optimiser in optimisers:
                optimiser.step()
    assert n_taken == 4
    assert torch.equal(weights(learner), weights(expected))


class Reads(TorchDispatchMode):
    """Counts how often a number of a tensor is asked for, which waits for its device: within torch, and by Python."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.n = 0
        for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
            monkeypatch.setattr(torch.Tensor, name, self.counted(getattr(torch.Tensor, name)))

    def counted(self, method):
        def call(*args, **kwargs):
            self.n += 1
            return method(*args, **kwargs)

        return call

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("case", ["dropout, average, validation", "samples that are compared, parts of a batch"])
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_nothing_waits_for_the_device_inside_the_loop(case, precision, monkeypatch):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_READINGS", 1e9)

    def reads(steps):
        settings = replace(CASES[case].recipe, steps=steps, validate_every=steps, precision=precision)
        with monkeypatch.context() as patched, Reads(patched) as counter:
            train(CASES[case].learner(), batch_at, settings, progress=Shown())
        return counter.n

    few, many = reads(5), reads(25)
    # Once for the line of the curves.
    assert few == many > 0


class Shown:
    """What somebody sees of a training."""

    def __init__(self):
        self.remarks, self.calls, self.text = [], [], None

    def remark(self, label, text):
        self.text = text

    def __call__(self, label, done, total):
        self.calls.append((label, done, total))
        self.remarks.append(self.text)


def test_the_loss_is_shown_as_it_was_read_last(monkeypatch):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_READINGS", 0.0)
    shown, learner = Shown(), CASE.learner()
    curves = train(learner, batch_at, CASE.recipe, held_out=CASE.validation(), progress=shown, label="learning")
    assert shown.calls == [("learning", done, 12) for done in range(13)]
    for step, loss, validation in zip(*curves["loss"], curves["validation"][1]):
        assert shown.remarks[step] == f"loss {loss:.3g}, validation loss {validation:.3g}"
    # A function that takes no remark hears nothing of it.
    train(CASE.learner(), batch_at, CASE.recipe, progress=lambda label, done, total: None)


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_a_divergence_that_is_read_late_names_its_step_and_nothing_is_kept_of_it(seconds, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_READINGS", seconds)
    asked = []

    def batches(step):
        asked.append(step)
        batch = batch_at(step)
        return batch | {"y": batch["y"] * np.float32("nan")} if step in (5, 6) else batch

    settings = replace(CASE.recipe, validate_every=12)
    train(CASE.learner(), batches, replace(settings, steps=2), tmp_path, identity="before")
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(Diverged, match="The loss is nan at step 5 and was to be finite"):
        train(CASE.learner(), batches, settings, tmp_path, held_out=CASE.validation())
    assert asked[-1] == (5 if seconds == 0 else 11)
    assert (tmp_path / FILE).read_bytes() == before


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"
        ),
    ],
)
def test_short_memory_is_told_with_the_batch_and_what_to_set_and_the_checkpoint_is_kept(error, tmp_path):
    class Large(WithDropout):
        def forward(self, batch):
            if batch["step"] == 7:
                raise error
            return super().forward(batch)

    settings = replace(CASE.recipe, accumulate=2)
    said = r"Memory of cpu does not suffice .* batches of 8 samples in 2 parts: it ran out in step 7, .* recipe.accumulate = 4 or"
    with pytest.raises(OutOfMemory, match=said):
        train(Case(Large, settings).learner(), batch_at, settings, tmp_path, seconds_between_checkpoints=0.0)
    asked = []
    train(CASE.learner(), lambda step: asked.append(step) or batch_at(step), settings, tmp_path)
    assert asked == [7, 8, 9, 10, 11]


def test_other_errors_of_a_network_stay_what_they_are():
    class Broken(WithDropout):
        def forward(self, batch):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train(Broken(), batch_at, PLAIN)


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


def test_interrupted_it_ends_after_the_step_which_the_checkpoint_holds(tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    expected = train(CASE.learner(), batch_at, CASE.recipe, held_out=CASE.validation())

    def batches(step):
        if step == 7:
            signal.raise_signal(signal.SIGINT)
        return batch_at(step)

    try:
        with pytest.warns(Remark, match="Ending when this step is done"), pytest.raises(KeyboardInterrupt):
            train(CASE.learner(), batches, CASE.recipe, tmp_path, held_out=CASE.validation())
    finally:
        signal.signal(signal.SIGINT, before)
    asked = []
    found = train(
        CASE.learner(),
        lambda step: asked.append(step) or batch_at(step),
        CASE.recipe,
        tmp_path,
        held_out=CASE.validation(),
    )
    assert asked[0] == 8 and found.lines == expected.lines


def test_rows_of_subjects_stay_beside_those_of_the_batch_when_it_is_cut():
    batch = {"patterns": BySubject(a=np.arange(4), b=np.arange(4, 8), c=np.arange(8, 12)), "y": np.arange(12)}
    assert n_samples(batch) == 12
    for among in (2, 4):
        for place in range(among):
            part = share_of(batch, place, among)
            assert np.concatenate(list(part["patterns"].values())).tolist() == part["y"].tolist()
    few = few_of(batch)
    assert np.concatenate(list(few["patterns"].values())).tolist() == few["y"].tolist() == [0, 4, 8]
    assert few_of({"y": np.arange(12)})["y"].tolist() == [0, 6]

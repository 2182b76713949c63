"""A decoder that is trained: it learns, goes on after an interruption, comes back from a folder, and says what is wrong."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_decoders import TwoHeads

from stages.decoders.trained import TrainedDecoder, Training
from stages.ground.errors import InputError
from stages.networks.token_prior import TokenPrior
from stages.objectives.prior_error import PriorError
from stages.objectives.regression import MeanSquaredError
from stages.objectives.retrieval import MixedThenSoft
from stages.priors.diffusion import DiffusionPrior
from stages.training.recipe import OptimiserSpec, Recipe, Schedule
from stages.training.state import FILE

GIVES = {"clip_image": (3, 4), "vdvae": (5,)}
RECIPE = Recipe(
    steps=150,
    batch_size=16,
    optimiser=OptimiserSpec("adamw", 1e-2, weight_decay=1e-2, undecayed="vectors"),
    schedule=Schedule("cosine", warmup=10),
    average=0.9,
    validation=0.2,
    validate_every=25,
    seed=3,
)


@pytest.fixture(scope="module")
def training():
    """60 stimuli seen twice, in trials; targets are linear in what the voxels carry, one voxel is dead."""
    random = np.random.default_rng(0)
    told = random.standard_normal((60, 6))
    rows = random.permutation(np.repeat(np.arange(60), 2))
    responses = told[rows] @ random.standard_normal((6, 30)) + 0.3 * random.standard_normal((120, 30))
    responses = (50 + 3 * responses).astype(np.float32)
    responses[:, 7] = 50
    features = {
        name: (told @ random.standard_normal((6, int(np.prod(shape))))).reshape(60, *shape).astype(np.float32)
        for name, shape in GIVES.items()
    }
    return Training({"subj01": responses}, {"subj01": rows}, features)


@pytest.fixture(scope="module")
def fitted(training):
    return TrainedDecoder(TwoHeads, RECIPE, arguments={"width": 32}).fit(training)


def predicted(decoder, patterns):
    return {name: values for name, columns, values in decoder.predict_blocks(patterns)}


def test_it_predicts_stimuli_that_it_never_saw(fitted, training):
    random = np.random.default_rng(0)
    told = random.standard_normal((60, 6))
    random.permutation(np.repeat(np.arange(60), 2))
    mixing = random.standard_normal((6, 30))
    new = np.random.default_rng(9).standard_normal((20, 6))
    found = predicted(fitted, 50 + 3 * (new @ mixing))
    for name, values in training.features.items():
        true = new @ np.linalg.lstsq(told, values.reshape(60, -1), rcond=None)[0]
        assert np.corrcoef(found[name].ravel(), true.ravel())[0, 1] > 0.8, name
    assert fitted.gives == GIVES


def test_what_was_saved_predicts_the_same(fitted, training, tmp_path):
    fitted.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    again = TrainedDecoder.from_pretrained(tmp_path)
    for name, values in predicted(again, training.responses["subj01"]).items():
        assert np.array_equal(values, predicted(fitted, training.responses["subj01"])[name])
    assert (again.summary(), again.curves(), again.gives) == (fitted.summary(), fitted.curves(), fitted.gives)
    with pytest.raises(InputError, match="holds no objectives"):
        again.fit(training)
    assert again.recipe == RECIPE


def test_the_course_of_training_is_told(fitted):
    curves = fitted.curves()
    assert set(curves) == {
        "loss", "clip_image error", "vdvae error", "norm of the gradient", "learning rate", "validation loss",
    }  # fmt: skip
    assert curves["validation loss"][0] == [25, 50, 75, 100, 125, 150]
    (row,) = fitted.summary()
    assert row["network"] == "TwoHeads" and row["validation loss"] == min(curves["validation loss"][1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_killed_and_started_again_it_ends_in_the_same_bytes(fitted, training, tmp_path):
    def killed(label, done, total):
        if done == 60:
            os.kill(os.getpid(), signal.SIGKILL)

    def made():
        return TrainedDecoder(TwoHeads, RECIPE, arguments={"width": 32}, seconds_between_checkpoints=0.0)

    if not (process := os.fork()):
        try:
            made().fit(training, folder=tmp_path / "parts", progress=killed)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(process, 0)[1])
    assert (tmp_path / "parts" / FILE).exists()
    done = []
    resumed = made().fit(training, folder=tmp_path / "parts", progress=lambda label, step, total: done.append(step))
    assert done[0] == 60
    for folder, decoder in (("parts", resumed), ("whole", fitted)):
        decoder.save_pretrained(tmp_path / folder)
    assert not (tmp_path / "parts" / FILE).exists()
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_held_out_stimuli_teach_it_nothing(fitted, training):
    """Other responses to them change what is validated and so, at most, which weights are kept."""
    held_out = np.isin(training.stimulus_rows["subj01"], np.random.default_rng([3, 3]).permutation(60)[:12])
    changed = training.responses["subj01"].copy()
    changed[held_out] = changed[held_out][::-1] * 1.5
    other = Training({"subj01": changed}, training.stimulus_rows, training.features)
    again = TrainedDecoder(TwoHeads, RECIPE, arguments={"width": 32}).fit(other)
    assert again.curves()["loss"] == fitted.curves()["loss"]
    assert again.curves()["validation loss"] != fitted.curves()["validation loss"]


def test_training_begins_from_weights_that_are_put_in(fitted, training, tmp_path):
    """With other weights, what an interrupted training left is not gone on with."""

    def beginning(told):
        def begin(network):
            network.load_state_dict(fitted.network.network.state_dict())
            return told

        return begin

    class Enough(Exception):
        pass

    def decoder(begin, **changes):
        standing_still = replace(
            RECIPE, optimiser=OptimiserSpec("adamw", 1e-9), average=None, validation=0.0, **changes
        )
        options = {"arguments": {"width": 32}, "seconds_between_checkpoints": 0.0}
        return TrainedDecoder(TwoHeads, standing_still, begin=begin, **options)

    begun = decoder(beginning("these"), steps=2).fit(training).network.network.state_dict()
    for name, value in fitted.network.network.state_dict().items():
        torch.testing.assert_close(begun[name], value, atol=1e-6, rtol=0)

    def first_step(told):
        done = []

        def progress(label, step, total):
            done.append(step)
            if step >= 4:
                raise Enough

        with pytest.raises(Enough):
            decoder(beginning(told), steps=8).fit(training, folder=tmp_path, progress=progress)
        return done[0]

    assert first_step("these") < 3
    assert first_step("these") >= 3
    assert first_step("others") < 3


def test_an_objective_with_a_parameter_is_trained_with_the_network(training):
    class Scaled(torch.nn.Module):
        reads = ("vdvae",)

        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(1.0))
            self.steps = []

        def forward(self, outputs, targets, step):
            self.steps.append(step)
            return (self.scale * outputs["vdvae"] - targets["vdvae"]).square().mean(), {}

    scaled = Scaled()
    settings = Recipe(steps=4, batch_size=8)
    TrainedDecoder(TwoHeads, settings, [scaled, MeanSquaredError("clip_image", 0.5)]).fit(training)
    assert scaled.scale.item() != 1.0 and scaled.steps == [0, 1, 2, 3]


class Led(torch.nn.Module):
    """Two values for one target, and a prior that one of them leads."""

    def __init__(self, n_voxels, gives):
        super().__init__()
        self.rough = torch.nn.Linear(n_voxels, 12)
        self.projector = torch.nn.Linear(4, 4)
        self.net = TokenPrior(3, 4, depth=1, n_heads=2, head_width=4)
        self.prior = DiffusionPrior(self.net)

    def forward(self, patterns):
        rough = self.rough(patterns).unflatten(1, (3, 4))
        return {"rough": rough, "retrieval": self.projector(rough)}


def led(**more):
    recipe = Recipe(steps=12, batch_size=8, optimiser=OptimiserSpec("adamw", 1e-2), seed=1)
    contrast = MixedThenSoft("retrieval", n_epochs=4, steps_per_epoch=3, mixed_share=0.5)

    def objectives(network):
        return [contrast, PriorError("rough", network.prior)]

    return TrainedDecoder(Led, recipe, objectives, **more)


def test_values_of_one_target_and_a_part_that_one_of_them_leads(training, tmp_path):
    clip = training.features["clip_image"]
    decoder = led().fit(replace(training, features={"rough": clip, "retrieval": clip}))
    assert decoder.gives == {"rough": (3, 4), "retrieval": (3, 4)}
    patterns = training.responses["subj01"][:5]
    found = predicted(decoder, patterns)
    assert {name: values.shape for name, values in found.items()} == {"rough": (5, 12), "retrieval": (5, 12)}
    assert {"retrieval contrast", "rough prior error"} <= set(decoder.curves())
    with torch.random.fork_rng():
        torch.manual_seed(1)
        untrained = Led(30, decoder.gives)
    trained = decoder.network.network.state_dict()
    for name, before in untrained.state_dict().items():
        # What no step changes: the angles, and the biases of distances that so few tokens do not have.
        assert name.endswith("freqs") or not torch.equal(trained[name], before), name
    decoder.save_pretrained(tmp_path)
    again = TrainedDecoder.from_pretrained(tmp_path)
    for name, values in predicted(again, patterns).items():
        np.testing.assert_array_equal(values, found[name])
    brain = torch.zeros(1, 3, 4)
    samples = [one.network.network.prior.sample(brain, [torch.Generator().manual_seed(0)]) for one in (decoder, again)]
    assert torch.equal(*samples)


def of_one_target(training):
    return replace(training, features={"vdvae": training.features["vdvae"]})


def test_what_mixes_reads_mixed_patterns_and_targets_as_they_are(training):
    class Noting(MeanSquaredError):
        seen = []

        def before(self, patterns, step):
            self.given = patterns
            return patterns * 0 + step

        def __call__(self, outputs, targets, step):
            self.seen.append((self.given, outputs["vdvae"], targets["vdvae"]))
            return super().__call__(outputs, targets, step)

    class Plain(torch.nn.Linear):
        def __init__(self, n_voxels, gives):
            super().__init__(n_voxels, 5)

        def forward(self, patterns):
            return {"vdvae": super().forward(patterns)}

    recipe = Recipe(steps=2, batch_size=8)
    TrainedDecoder(Plain, recipe, [Noting("vdvae")]).fit(of_one_target(training))
    assert len(Noting.seen) == 2
    for step, (given, outputs, true) in enumerate(Noting.seen):
        # Every pattern that it reads is the number of the step, and so all outputs are one.
        assert given.std() > 0 and true.std(dim=0).min() > 0 and outputs.std(dim=0).max() < 1e-6, step


def test_contrasts_are_of_the_whole_batch_whatever_its_parts(training):
    class Plain(torch.nn.Linear):
        def __init__(self, n_voxels, gives):
            super().__init__(n_voxels, 5)

        def forward(self, patterns):
            return {"vdvae": super().forward(patterns)}

    def trained(accumulate):
        recipe = Recipe(steps=6, batch_size=8, accumulate=accumulate, optimiser=OptimiserSpec("sgd", 1e-2))
        contrast = MixedThenSoft("vdvae", n_epochs=2, steps_per_epoch=3, mixed_share=0.5, temperature=0.1)
        objectives = [contrast, MeanSquaredError("vdvae")]
        return TrainedDecoder(Plain, recipe, objectives).fit(of_one_target(training))

    patterns = training.responses["subj01"][:9]
    (whole, parts) = (trained(accumulate) for accumulate in (1, 4))
    expected = predicted(whole, patterns)["vdvae"]
    np.testing.assert_allclose(predicted(parts, patterns)["vdvae"], expected, atol=1e-4 * expected.std())
    assert parts.curves()["vdvae contrast"][1] == pytest.approx(whole.curves()["vdvae contrast"][1], rel=1e-4)


def test_a_contrast_with_a_parameter_is_refused_where_nobody_would_train_it(training):
    class Sharpened(torch.nn.Module):
        reads, compares = ("vdvae",), True

        def __init__(self):
            super().__init__()
            self.sharpness = torch.nn.Parameter(torch.tensor(1.0))

        def forward(self, outputs, targets, step):
            return self.sharpness * outputs["vdvae"].square().mean(), {}

    with pytest.raises(InputError, match="Sharpened compares samples and has parameters .* recipe.accumulate = 1"):
        TrainedDecoder(TwoHeads, Recipe(steps=2, batch_size=8, accumulate=2), [Sharpened()]).fit(training)
    TrainedDecoder(TwoHeads, Recipe(steps=2, batch_size=8), [Sharpened()]).fit(training)


def test_an_epoch_of_stimuli_meets_none_twice(training):
    class Noting(MeanSquaredError):
        seen = []

        def __call__(self, outputs, targets, step):
            self.seen.append(targets["vdvae"].numpy())
            return super().__call__(outputs, targets, step)

    once = replace(training, epoch_of="stimuli")
    TrainedDecoder(TwoHeads, Recipe(steps=12, batch_size=10), [Noting("vdvae")]).fit(once)
    for epoch in (np.concatenate(Noting.seen[:6]), np.concatenate(Noting.seen[6:])):
        assert len(np.unique(epoch, axis=0)) == 60
    with pytest.raises(InputError, match="epoch_of is 'days'"):
        replace(training, epoch_of="days")


def test_mistakes_are_told(fitted, training, tmp_path):
    with pytest.raises(InputError, match="one subject but 2 were given"):
        TrainedDecoder(TwoHeads, RECIPE).fit(Training({"a": [], "b": []}, {}, {}))
    with pytest.raises(InputError, match="There are 120 responses but 119 stimulus_rows"):
        fewer = {"subj01": training.stimulus_rows["subj01"][1:]}
        TrainedDecoder(TwoHeads, RECIPE).fit(Training(training.responses, fewer, training.features))
    with pytest.raises(InputError, match=r"MeanSquaredError\('clip', weight=1.0\) reads 'clip', .* clip_image, vdvae"):
        TrainedDecoder(TwoHeads, RECIPE, [MeanSquaredError("clip")]).fit(training)
    with pytest.raises(InputError, match=r"Patterns have 29 voxels but the decoder was fitted on 30; load"):
        fitted.predict_blocks(np.zeros((2, 29)))
    with pytest.raises(InputError, match="patterns hold NaN .* first being number 3"):
        fitted.predict_blocks(np.where(np.arange(30) == 3, np.nan, np.zeros((2, 30))))
    with pytest.raises(InputError, match="not fitted"):
        TrainedDecoder(TwoHeads, RECIPE).predict_blocks(np.zeros((2, 30)))
    fitted.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for network, said in (
        # A module that exists, and that nobody imported: a name in a file imports nothing.
        ("this:Network", "The network this:Network is not imported; write `import this` first"),
        ("json:dumps", "json:dumps is no network; expected a torch.nn.Module"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | {"network": network}))
        with pytest.raises(InputError, match=said):
            TrainedDecoder.from_pretrained(tmp_path)

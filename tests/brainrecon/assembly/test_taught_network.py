"""A network that is taught: what it minimises with a teacher and without, and what few pairs of a new subject do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.taught_network import DistillationSettings, TaughtNetworkSettings, taught_network
from brainrecon.assembly.values import Machine
from stages.decoders.fitting import _objectives_of
from stages.decoders.new_subject import NewSubject
from stages.decoders.trained import TrainedDecoder, Training
from stages.ground.errors import InputError
from stages.networks.mindshot import MindShotNetwork
from stages.objectives.regression import MeanSquaredError
from stages.training.recipe import OptimiserSpec, Recipe

SMALL = TaughtNetworkSettings(epochs=4, steps_per_epoch=5, hidden=16, n_blocks=1, length=20).as_version("v1")


class Tokens:
    shape, n_targets = (3, 4), 12


def step(settings=SMALL, **distillation):
    targets = {name: TargetSource(Tokens, checkpoints=()) for name in ("image", "text")}
    return taught_network(targets, settings, DistillationSettings(**distillation), Machine())


def objectives_of(step, *more):
    known = dict.fromkeys(("image", "text", *more), (3, 4))
    network = step.decoder.make({"subj01": 9}, {"image": (3, 4), "text": (3, 4)}, **step.decoder.arguments)
    return network, _objectives_of(step.decoder, network, {"image": (3, 4), "text": (3, 4)}, known)


# What is minimised


def test_without_a_teacher_tokens_alone_are_learned():
    _, found = objectives_of(step())
    assert [(type(one).__name__, one.reads) for one in found] == [
        (kind, (name,)) for name in ("image", "text") for kind in ("SoftContrast", "UnitSquaredError")
    ]


def test_the_loss_with_a_teacher_vs_its_formula():
    """L(u) + L(mixed) + 0.1 mean| |U| - |V| |, of SoftCLIP at 0.005 and 10^4 times the squared difference of unit rows."""
    network, found = objectives_of(step(), "trunk_features")
    random = torch.Generator().manual_seed(0)
    teacher = torch.randn(6, 16, generator=random)
    true = {name: torch.randn(6, 3, 4, generator=random) for name in ("image", "text")}
    outputs = network.eval()({"subj01": torch.randn(6, 9, generator=random)}, teacher)
    loss = sum(one(outputs, true | {"trunk_features": teacher}, 0)[0] for one in found)

    def of_tokens(prefix):
        for name, right in true.items():
            o, t = (
                values.flatten(1) / values.flatten(1).norm(dim=1, keepdim=True)
                for values in (outputs[prefix + name], right)
            )
            soft, logits = (t @ t.T / 0.005).softmax(1), o @ t.T / 0.005
            yield -(soft * logits.log_softmax(1)).sum(1).mean() / 2 - (soft * logits.T.log_softmax(1)).sum(1).mean() / 2
            yield 1e4 * (2 - 2 * (o * t).sum(1)).mean() / 12

    u, v = (np.abs(np.fft.rfft(values.detach().numpy())) for values in (outputs["trunk_features"], teacher))
    expected = sum(of_tokens("")) + sum(of_tokens("mixed_")) + 0.1 * np.abs(u - v).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize(
    "distillation, kinds",
    [
        ({"weight": 0}, ["OfAnotherOutput"] * 4),
        ({"mixed_weight": 0}, ["SpectralDistance"]),
        ({"mixed_weight": 0, "compares": "phase"}, ["SpectralDistance"]),
        ({"mixed_weight": 0, "compares": "relations"}, ["RelationalDistance"]),
        ({"mixed_weight": 0, "weight": 0}, []),
    ],
)
def test_every_part_of_the_teaching_is_an_option(distillation, kinds):
    made = step(**distillation)
    network, found = objectives_of(made, "trunk_features")
    assert [type(one).__name__ for one in found[4:]] == kinds
    assert bool(made._derived) == bool(kinds)
    # Nothing is decoded twice for nobody.
    given = network({"subj01": torch.zeros(2, 9)}, torch.zeros(2, 16))
    assert any("mixed" in name for name in given) == (distillation.get("mixed_weight", 1) > 0)


def test_what_the_distillation_is_set_to_reaches_its_parts():
    _, found = objectives_of(step(compares="phase", low_pass=0.25, weight=0.5, mixed_weight=2.0), "trunk_features")
    assert (found[-1].kind, found[-1].low_pass, found[-1].weight, found[-2].weight) == ("phase", 0.25, 0.5, 2.0)
    arguments = step(low_pass=0.25, largest_share=0.75).decoder.arguments
    assert (arguments["low_pass"], arguments["largest_share"], arguments["hidden"]) == (0.25, 0.75, 16)


def test_versions_differ_in_what_is_trained_of_a_new_subject():
    v1, v2 = (TaughtNetworkSettings().as_version(name) for name in ("v1", "v2"))
    assert (v1.reads, v1.adapter, v1.new_subject) == ("pooled", "convolution", "own layers")
    assert (v2.reads, v2.adapter, v2.new_subject) == ("own layer", "none", "all layers")
    assert [step(one).decoder.new_subject.own_alone for one in (v1, v2)] == [True, False]
    own = TaughtNetworkSettings(adapter="film", new_subject="all layers").as_version("v1")
    assert (own.reads, own.adapter, own.new_subject) == ("pooled", "film", "all layers")


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"reads": "words"}, "reads is 'words'"),
        ({"adapter": "lora"}, "adapter is 'lora'"),
        ({"kernel_length": 6}, "kernel_length is 6, .* decoder.kernel_length=7"),
        ({"reads": "pooled", "adapter": "none"}, "nothing is a subject's own"),
        ({"contrast_weight": 0, "error_weight": 0}, "nothing is learned"),
        ({"temperature": 0}, "temperature is 0"),
        ({"new_subject": "some"}, "new_subject is 'some'"),
    ],
)
def test_settings_that_cannot_be(settings, said):
    with pytest.raises(InputError, match=said):
        TaughtNetworkSettings(**settings)


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"compares": "power"}, "compares is 'power'"),
        ({"low_pass": 0}, "low_pass is 0"),
        ({"largest_share": 2}, "largest_share is 2"),
        ({"weight": -1}, "weight is -1"),
        ({"classes": "words"}, "classes is 'words'"),
        ({"n_clusters": 0}, "n_clusters is 0"),
    ],
)
def test_distillation_that_cannot_be(settings, said):
    with pytest.raises(InputError, match=said):
        DistillationSettings(**settings)


# A few pairs of a new subject


N_VOXELS, N_FEW = 40, 20
ARGUMENTS = {"reads": "pooled", "length": N_VOXELS, "adapter": "film", "hidden": 48, "n_blocks": 1}


def responses(code, seed):
    """One code in voxels of a subject's own gains and offsets."""
    random, shared = np.random.default_rng(seed), np.random.default_rng(9).standard_normal((8, N_VOXELS))
    gain, offset = random.permutation(np.linspace(0.3, 2.5, N_VOXELS)), random.normal(0, 1.5, N_VOXELS)
    return np.float32(gain * (code @ shared) + offset)


def values(code):
    return np.float32(np.tanh(code @ np.random.default_rng(10).standard_normal((8, 12)) / 2))


def decoder(steps, **options):
    recipe = Recipe(steps, batch_size=20, optimiser=OptimiserSpec("adamw", 3e-3))
    return TrainedDecoder(MindShotNetwork, recipe, [MeanSquaredError("image")], ARGUMENTS, standardise=False, **options)


def training(code, **seeds):
    rows = np.arange(len(code))
    return Training(
        {name: responses(code, seed) for name, seed in seeds.items()},
        dict.fromkeys(seeds, rows),
        {"image": values(code)},
    )


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """Folder of a decoder of two subjects."""
    folder, code = tmp_path_factory.mktemp("before"), np.random.default_rng(0).standard_normal((300, 8))
    decoder(400).fit(training(code, a=1, b=2)).save_pretrained(folder)
    return folder


def test_an_adapter_with_twenty_pairs_beats_learning_from_scratch_with_them(before, tmp_path):
    few, tested = (
        np.random.default_rng(1).standard_normal((N_FEW, 8)),
        np.random.default_rng(2).standard_normal((200, 8)),
    )

    def error(fitted):
        ((_, _, found),) = fitted.predict_blocks(responses(tested, 3), subject="new")
        return float(((found - values(tested)) ** 2).mean())

    adapted = decoder(200, new_subject=NewSubject(own_alone=True)).fit(training(few, new=3), pretrained=before)
    alone = decoder(200).fit(training(few, new=3))
    unadapted = decoder(1, new_subject=NewSubject(own_alone=True)).fit(training(few, new=3), pretrained=before)
    assert error(adapted) < 0.5 * error(alone) and error(adapted) < 0.9 * error(unadapted)

    # And nothing of the trunk has moved, to the bit.
    adapted.save_pretrained(tmp_path)
    shared, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path, before))
    assert shared.keys() == theirs.keys() and shared
    assert all(torch.equal(shared[name], theirs[name]) for name in shared)
    own = load_file(tmp_path / "subjects/new.safetensors")
    assert not torch.equal(own["network.inputs.adapter.gain"], torch.ones(N_VOXELS))


def test_with_all_layers_the_trunk_goes_on(before, tmp_path):
    few = np.random.default_rng(1).standard_normal((N_FEW, 8))
    decoder(5).fit(training(few, new=3), pretrained=before).save_pretrained(tmp_path)
    shared, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path, before))
    assert all(not torch.equal(shared[name], theirs[name]) for name in shared if name.endswith("weight"))


def test_settings_before_a_new_subject():
    own = replace(SMALL, pretraining_epochs=3).for_pretraining()
    assert (own.epochs, own.steps_per_epoch, own.reads) == (3, None, "pooled")

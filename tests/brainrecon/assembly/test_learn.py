"""The step that learns by a network: what it says before it begins, and errors in what people type."""

from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from small_decoders import TwoHeads

from brainrecon.assembly import training_cost
from brainrecon.assembly.chain import Chain
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Machine
from brainrecon.runs import estimate
from stages.checkpoints.outlines import count_operations, outlines
from stages.decoders.trained import TrainedDecoder
from stages.ground.errors import InputError
from stages.targets.clip import CLIPImageTokens
from stages.training.picture_changes import PictureChanges
from stages.training.recipe import Recipe
from stages.training.trouble import CannotTrain, OutOfMemory
from weights import store

NSD = SimpleNamespace(n_stimuli=8859, n_trials=24980, n_voxels=15724)


def published(device="cpu", **settings):
    """Both trained steps of MindEye at published sizes, without its checkpoints."""
    kind = system_class("mindeye2023")
    tokens, latent, *_ = Chain(kind(settings), Machine(device)).steps
    for step, shape in ((tokens, (257, 768)), (latent, (4, 64, 64))):
        source = Source(shape)
        # One target of all values of a step, as the system has it.
        step.targets = dict.fromkeys(step.targets, source)
        step.beside = dict.fromkeys(step.beside, Source((256, 512)))
    return tokens, latent


class Source:
    """A target without a network."""

    dtype = "float32"
    sketch = None

    def __init__(self, shape):
        self.outline = SimpleNamespace(shape=shape)


@pytest.fixture
def free(monkeypatch):
    """Bytes that are free by device."""
    found = {"cpu": 1e12, "cuda": 1e12}
    monkeypatch.setattr(training_cost, "free_memory", lambda device: found[str(device)])
    return found


def test_published_sizes_are_told_without_their_memory(free):
    before = psutil.Process().memory_info().rss
    tokens, latent = published("cuda")
    (told,) = tokens.cost(NSD)
    assert psutil.Process().memory_info().rss - before < 1e9
    assert told.startswith(
        "Training clip_rough, clip_retrieval: 1,004 million parameters, 66,240 steps of 32 samples; 29.1 GB of memory on cuda "
        "and 19.0 GB of memory on cpu (weights, gradients and moments 16.1 GB, a batch on its way 13.1 GB, targets 7.0 GB, "
        "a checkpoint 12.0 GB)."
    )
    assert tokens.memory(NSD) == pytest.approx(29.1e9, rel=0.01)
    assert latent.cost(NSD)[0].startswith("Training sd_latent: 206 million parameters, 132,840 steps of 8 samples; ")


def test_operations_are_those_of_the_layers(free):
    """Of the tokens' network by its parameters, of the prior by its parameters and tokens, and its attention."""
    (operations,) = published()[0].operations(NSD).values()
    rows, places, heads = 32, 2 * 257 + 1, 12
    mlp = 6 * rows * (947_579_904 - 7_354_624) - 2 * rows * 15724 * 4096 + 6 * rows * 257 * 7_354_624
    prior = 6 * rows * places * 6 * (768 * 768 * 2 + 768 * 128 + 12 * 768 * 768)
    attention = 6 * 6 * rows * heads * places * (places + 1) * 64 * 2
    assert operations / 66_240 == pytest.approx(mlp + prior + attention, rel=0.02)


def test_parts_of_a_batch_and_half_precision_take_less(free):
    (whole, *_), (parts, *_), (half, *_) = (
        published("cuda", decoder=changes) for changes in ({}, {"accumulate": 4}, {"precision": "bf16"})
    )
    assert parts.memory(NSD) < 0.7 * whole.memory(NSD) and half.memory(NSD) < 0.9 * whole.memory(NSD)


def test_what_does_not_fit_is_told_with_what_to_type(free):
    tokens, latent = published("cuda")
    free["cuda"] = 24e9
    _, short = tokens.cost(NSD)
    assert short == (
        "Memory of cuda does not suffice to train clip_rough, clip_retrieval: 29.1 GB are needed and 24.0 GB are free; "
        "train with --set decoder.accumulate=2 or --set decoder.precision=bf16."
    )
    free["cuda"], free["cpu"] = 1e9, 1e9
    assert "--set latent.accumulate=2" in latent.cost(NSD)[1] and "Memory of cpu" in latent.cost(NSD)[2]


def test_a_training_is_estimated_in_its_own_precision(free, monkeypatch):
    monkeypatch.setattr(estimate, "rate", lambda device: pytest.fail("it is not trained as generators compute"))
    monkeypatch.setattr(estimate, "rate_of_training", lambda device, precision: {"no": 1e12, "bf16": 1e13}[precision])
    for precision, hours in (("no", "5 days"), ("bf16", "11 h")):
        step = published(decoder={"precision": precision})[0]
        (operations,) = step.operations(NSD).values()
        assert f"about {hours} on cpu" in estimate.taking(operations, "cpu", step.precision)


def test_a_decoder_that_counts_nothing_says_nothing():
    step = Learn({"vdvae": None}, SimpleNamespace(fit=None))
    assert (step.cost(NSD), step.memory(NSD), step.operations(NSD), step.precision) == ([], None, {}, None)
    # Nor does one whose network cannot be made in outline.
    step = Learn({}, SimpleNamespace(cost=lambda n_voxels, gives, beside: None, recipe=Recipe(steps=1, batch_size=2)))
    assert (step.cost(NSD), step.memory(NSD), step.operations(NSD), step.precision) == ([], None, {}, "no")


def failing(error, settings):
    class Failing(TrainedDecoder):
        def fit(self, training, *, folder=None, progress=None):
            raise error

    step = Learn({}, Failing(TwoHeads, Recipe(steps=1, batch_size=2)), part="latent", settings=settings)
    split = SimpleNamespace(patterns=np.zeros((2, 3)), n_stimuli=2)
    training = SimpleNamespace(features=lambda names: {}, subjects={"subj01": SimpleNamespace(train=split)})
    return step, training


@pytest.mark.parametrize("kind", [CannotTrain, OutOfMemory])
def test_errors_advise_in_what_people_type(kind, tmp_path):
    error = kind("It failed", "try {accumulate}", {"accumulate": 2})
    step, training = failing(error, "latent")
    for folder, more in ((None, ""), (tmp_path / "latent", ""), (tmp_path / "latent", " and another --out")):
        with pytest.raises(kind, match=f"^It failed; try --set latent.accumulate=2{more}.$"):
            step.fit(training, SimpleNamespace(folder=folder, pretrained=None, progress=None))
        # What another step has learned there.
        if folder:
            (tmp_path / "method.json").touch()
    step, training = failing(error, None)
    with pytest.raises(kind, match="^It failed; try recipe.accumulate = 2.$"):
        step.fit(training, SimpleNamespace(folder=None, pretrained=None, progress=None))
    step, training = failing(InputError("Something else."), "latent")
    with pytest.raises(InputError, match="^Something else.$"):
        step.fit(training, SimpleNamespace(folder=None, pretrained=None, progress=None))


def clip():
    """A target in outline."""

    def sketch():
        with outlines():
            return CLIPImageTokens.from_pretrained(store.path("tiny-clip"), device="meta")

    return TargetSource(lambda: pytest.fail("it is loaded"), ("tiny-clip",), sketch=sketch)


def test_encoding_changed_pictures_is_told_besides(free):
    source, other = clip(), clip()
    recipe = Recipe(steps=10, batch_size=4)
    changes = PictureChanges(size=64, seed=1)
    step = Learn(
        {"rough": source, "retrieval": source},
        TrainedDecoder(TwoHeads, recipe),
        beside={"places": other},
        changing={"rough": changes, "retrieval": changes, "places": changes},
    )
    told = step.operations(SimpleNamespace(n_voxels=7, n_stimuli=3))
    of_one = count_operations(lambda: source.outline.encode(np.zeros((1, 64, 64, 3), np.uint8)))
    assert of_one > 0
    # Two values of one target are encoded once; the other target besides.
    assert told["Encoding the changed pictures of rough, retrieval"] == 10 * 4 * 2 * of_one

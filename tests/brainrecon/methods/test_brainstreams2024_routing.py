"""Brain-Streams' routing: what each head reads, exactly, and that it is worth something if the regions are the right ones."""

import numpy as np
import pytest

from brainrecon.assembly.registry import system_class
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Machine, Training, Workspace
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from brainrecon.methods.brainstreams2024 import BrainStreams2024
from stages.ground.errors import InputError

NAME = "brainstreams2024"
N, HELD_OUT = 60, 100
# Semantic voxels, perceptual ones, and some of either.
N_SEMANTIC, N_PERCEPTUAL = 12, 400
VOXELS = N_SEMANTIC + N_PERCEPTUAL
SEMANTIC = np.arange(VOXELS) < N_SEMANTIC
ROIS = {
    "semantic": SEMANTIC,
    "perceptual": ~SEMANTIC,
    "half": np.arange(VOXELS) < N_SEMANTIC // 2,
    "border": (np.arange(VOXELS) >= N_SEMANTIC // 2) & (np.arange(VOXELS) < N_SEMANTIC + 3),
    "nowhere": np.zeros(VOXELS, dtype=bool),
}
SHAPES = {"clip_text": (2, 4), "optimus": (6,), "clip_image": (3, 4), "first_latent": (4, 4, 4)}
MEANT = {"text": "semantic", "caption": "semantic", "image": "perceptual", "layout": "perceptual"}
SIZES = {"epochs": 2, "steps_per_epoch": 3, "batch_size": 10, "hidden": 8, "n_blocks": 1, "validation": 0.0}
SETTINGS = {
    "decoder": SIZES | {"projected": 6},
    "layout": SIZES | {"map_channels": 32, "channels": [32, 32]},
    "ridge": {"alpha": [1.0, 10.0, 100.0, 1000.0]},
}


class Target:
    def __init__(self, shape):
        self.shape, self.n_targets = shape, int(np.prod(shape))


class Routed(BrainStreams2024):
    """The method on made-up targets, of which no network is read."""

    def _target(self, name, machine):
        return TargetSource(lambda: Target(SHAPES[name]), checkpoints=(), identity=lambda: name)


def made_up():
    """Meaning and layout of each stimulus, responses that carry each in voxels of its own, and values that follow from each."""
    random = np.random.default_rng(0)
    meaning, layout = random.standard_normal((2, N + HELD_OUT, 4)).astype(np.float32)
    responses = np.concatenate(
        [
            meaning @ random.standard_normal((4, N_SEMANTIC)) + random.standard_normal((N + HELD_OUT, N_SEMANTIC)),
            layout @ random.standard_normal((4, N_PERCEPTUAL)) + random.standard_normal((N + HELD_OUT, N_PERCEPTUAL)),
        ],
        axis=1,
    ).astype(np.float32)
    values = {}
    for name, shape in SHAPES.items():
        told = meaning if name in ("clip_text", "optimus") else layout
        values[name] = (told @ random.standard_normal((4, int(np.prod(shape))))).astype(np.float32)
    return responses, values


RESPONSES, VALUES = made_up()


def subject():
    splits = {
        "train": Split(RESPONSES[:N], [f"train{row:03d}" for row in range(N)]),
        "test": Split(RESPONSES[N:], [f"test{row:03d}" for row in range(HELD_OUT)]),
    }
    return Subject("subj01", "arrays", "arrays:memory", splits, roi="all", rois=ROIS)


def true_values(names):
    targets = {"text_direction": "clip_text", "image_direction": "clip_image"}
    return {name: VALUES[targets.get(name, name)][:N] for name in names}


def heads(regions=None, decoded=tuple(SHAPES), **settings):
    """Fitted steps of each value, by its name."""
    made = Routed({**SETTINGS, "regions": MEANT | dict(regions or {}), **settings})
    training, found = Training({"subj01": subject()}, true_values), {}
    for name in decoded:
        found[name] = made._decoded(name, made._target(name, None), Machine())
        for step in found[name]:
            if step.is_learned:
                step.fit(training, Workspace(store=None))
    return found


def told(steps, patterns):
    """The last value of some steps."""
    values = {"patterns": patterns}
    for step in steps:
        values |= step.run([], values)
    return values[steps[-1].gives[0]]


@pytest.fixture(scope="module", params=["network", "ridge"])
def routed(request):
    return request.param, heads(estimator=request.param)


def test_voxels_of_the_other_stream_change_nothing_to_the_bit(routed):
    """(a) of either estimator, and each does read its own."""
    _, steps = routed
    patterns = RESPONSES[N:]
    without_semantic, without_perceptual = (np.where(mask, 0, patterns) for mask in (SEMANTIC, ~SEMANTIC))
    for name in SHAPES:
        deaf, blind = (without_perceptual, without_semantic)
        same, other = (deaf, blind) if MEANT[HEAD[name]] == "semantic" else (blind, deaf)
        whole = told(steps[name], patterns)
        np.testing.assert_array_equal(told(steps[name], same), whole)
        assert np.abs(told(steps[name], other) - whole).max() > 1e-3 * np.abs(whole).max(), name


HEAD = {"clip_text": "text", "optimus": "caption", "clip_image": "image", "first_latent": "layout"}


def test_the_union_of_all_regions_is_the_model_of_all_voxels(routed):
    """To the bit; of ridge to rounding, for NumPy lays chosen columns out otherwise."""
    estimator, _ = routed
    everywhere = "semantic + perceptual"
    union = heads(dict.fromkeys(MEANT, everywhere), estimator=estimator)
    by_setting = heads(routing="all voxels", estimator=estimator)
    for name in SHAPES:
        found = told(by_setting[name], RESPONSES[N:])
        rounding = 0 if estimator == "network" else 1e-5 * found.std()
        np.testing.assert_allclose(told(union[name], RESPONSES[N:]), found, rtol=0, atol=rounding)
        assert all(step.roi == "all" for step in by_setting[name])


def test_overlapping_regions_count_once_in_a_head_and_may_serve_several(routed):
    """(f)"""
    estimator, steps = routed
    own = {"text": "half + border", "caption": "border", "image": "border + perceptual"}
    overlapping = heads(own, decoded=("clip_text", "optimus", "clip_image"), estimator=estimator)
    counts = {name: int(overlapping[name][0].voxels.sum()) for name in overlapping}
    assert counts == {
        "clip_text": N_SEMANTIC + 3,
        "optimus": N_SEMANTIC // 2 + 3,
        "clip_image": VOXELS - N_SEMANTIC // 2,
    }
    again = heads({"text": "border | half | border"}, decoded=("clip_text",), estimator=estimator)
    np.testing.assert_array_equal(told(again["clip_text"], RESPONSES), told(overlapping["clip_text"], RESPONSES))
    assert int(steps["clip_text"][0].voxels.sum()) == N_SEMANTIC


@pytest.mark.parametrize("head", list(MEANT))
def test_a_region_without_a_voxel_is_refused_before_anything_is_trained(head):
    """(g)"""
    output = {"output": "caption"} if head == "caption" else {}
    for region, said in (
        ("nowhere", "The roi 'nowhere' of subj01 .* has no voxels"),
        ("half - half", "leaves no voxel"),
    ):
        made = system_class(NAME)({**SETTINGS, **output, "regions": MEANT | {head: region}})
        with pytest.raises(InputError, match=said):
            made.settled_by(subject())
    # Of what is not decoded nothing is asked, and of all voxels neither.
    unread = "text" if output else "caption"
    system_class(NAME)({**SETTINGS, **output, "regions": MEANT | {unread: "nowhere"}}).settled_by(subject())
    system_class(NAME)({"routing": "all voxels", "regions": dict.fromkeys(MEANT, "nowhere")}).settled_by(subject())


def correlation(steps, name):
    """Mean correlation of held-out values of each column with the true ones."""
    found, true = (values.astype(np.float64) for values in (told(steps, RESPONSES[N:]), VALUES[name][N:]))
    found, true = ((one - one.mean(0)) / (one.std(0) + 1e-9) for one in (found, true))
    return (found * true).mean()


# A correlation of 100 pairs that have nothing in common has a standard deviation of 0.1; four factors are behind all columns.
CHANCE = 0.2


def test_routing_is_worth_something_with_few_stimuli_and_nothing_if_it_is_swapped():
    """(b) by ridge: 60 stimuli, and 400 voxels that know nothing of meaning beside 12 that do."""
    routed, all_voxels = (heads(estimator="ridge", routing=one) for one in ("by stream", "all voxels"))
    swapped = heads(
        {head: "perceptual" if own == "semantic" else "semantic" for head, own in MEANT.items()}, estimator="ridge"
    )
    for name in ("clip_text", "optimus"):
        assert correlation(routed[name], name) > correlation(all_voxels[name], name) + 0.05, name
    for name in ("clip_image", "first_latent"):
        assert correlation(routed[name], name) > correlation(all_voxels[name], name) - 0.01, name
    for name in SHAPES:
        assert correlation(routed[name], name) > 0.8, name
        assert abs(correlation(swapped[name], name)) < CHANCE, name


def test_a_trained_head_gains_by_routing_too():
    sizes = {"epochs": 20, "steps_per_epoch": 6, "hidden": 64, "learning_rate": 5e-3}
    trained = {"decoder": SETTINGS["decoder"] | sizes}
    found = {
        how: correlation(heads(regions, decoded=("clip_text",), **trained, **settings)["clip_text"], "clip_text")
        for how, regions, settings in (
            ("routed", {}, {}),
            ("all", {}, {"routing": "all voxels"}),
            ("swapped", {"text": "perceptual"}, {}),
        )
    }
    assert found["routed"] > max(found["all"], 0.0) + CHANCE and abs(found["swapped"]) < CHANCE, found


def test_a_head_that_fails_leaves_the_others_as_they_are():
    """Heads share nothing: with another text head, or none, image and layout are the same to the bit."""
    whole, other = heads(), heads({"text": "border"}, decoded=("clip_text", "clip_image", "first_latent"))
    for name in ("clip_image", "first_latent"):
        np.testing.assert_array_equal(told(whole[name], RESPONSES), told(other[name], RESPONSES))

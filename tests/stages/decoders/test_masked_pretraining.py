"""Pretraining on responses alone: one scale and one length for all subjects, and the same bytes however often it was killed."""

import os
import signal

import numpy as np
import pytest
import torch

from stages.decoders.masked_pretraining import LABEL, MaskedPretraining, UnpairedResponses
from stages.ground.errors import InputError
from stages.ground.lazy_rows import LazyRows
from stages.networks.masked_brain import MaskedBrainAutoencoder, load_masked_brain
from stages.training.batches import Shuffled, seed_all, step_seed
from stages.training.recipe import OptimiserSpec, Recipe, Schedule
from stages.training.state import FILE

SIZES = {"width": 16, "depth": 1, "n_heads": 2, "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}
RECIPE = Recipe(
    steps=12,
    batch_size=10,
    optimiser=OptimiserSpec("adamw", 1e-3, 0.05, undecayed="vectors", betas=(0.9, 0.95)),
    schedule=Schedule("cosine after warm-up", warmup=3),
    clip=0.8,
    validation=0.1,
    validate_every=4,
    seed=5,
)


class Lazy(LazyRows):
    """Rows that are read when they are asked for."""

    def __init__(self, values):
        super().__init__(values.shape, values.dtype)
        self._held = values

    def _read(self, rows):
        return self._held[rows]


def drawn(n, n_voxels, seed, directions=3):
    """Responses along few directions, with a mean that differs between voxels."""
    random = np.random.default_rng(seed)
    few = random.standard_normal((n, directions)) @ random.standard_normal((directions, n_voxels))
    return (10 + few + random.standard_normal(n_voxels) + 0.3 * random.standard_normal((n, n_voxels))).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def responses():
    return {"subj01": drawn(40, 96, 1), "subj02": drawn(25, 70, 2)}


@pytest.fixture(scope="module")
def whole(responses, tmp_path_factory):
    """Folder of a pretraining in one go."""
    folder = tmp_path_factory.mktemp("whole") / "encoder"
    MaskedPretraining(RECIPE, SIZES).fit(responses).save_pretrained(folder)
    return folder


def test_all_voxels_of_a_subject_have_one_scale_and_all_subjects_one_length(responses):
    rows = UnpairedResponses(responses, 16)
    found = rows[np.arange(len(rows))]
    assert rows.n_voxels == 96 and found.shape == (65, 112) and found.dtype == np.float32
    expected = []
    for name, n_padded in (("subj01", 112), ("subj02", 80)):
        own = responses[name].astype(float)
        padded = np.pad(own, ((0, 0), (0, n_padded - own.shape[1])), mode="wrap")
        assert rows.scales[name] == pytest.approx((padded.mean(), padded.std()), rel=1e-5)
        scaled = (padded - padded.mean()) / padded.std()
        expected.append(np.pad(scaled, ((0, 0), (0, 112 - n_padded)), mode="wrap"))
    assert np.allclose(found, np.concatenate(expected), atol=1e-5)
    # In any order, and from a file.
    chosen = np.array([50, 3, 64, 3])
    assert np.array_equal(rows[chosen], found[chosen])
    lazy = {name: Lazy(one) for name, one in responses.items()}
    assert np.array_equal(UnpairedResponses(lazy, 16)[chosen], found[chosen])


def test_the_error_of_each_voxels_mean_is_told(responses):
    rows = UnpairedResponses({"subj01": responses["subj01"]}, 16)
    values = rows[np.arange(40)]
    assert rows.of_the_mean == pytest.approx(((values - values.mean(axis=0)) ** 2).mean(), rel=1e-4)


def test_its_steps_are_those_of_the_formula(responses):
    """Batches, lots of masks, AdamW and the learning rate, written out in torch."""
    pretraining = MaskedPretraining(Recipe(**vars(RECIPE) | {"validation": 0.0}), SIZES).fit(responses)
    rows, order = UnpairedResponses(responses, 16), Shuffled(65, 10, 5)
    seed_all(5)
    network = MaskedBrainAutoencoder(96, **SIZES)
    named = [(name, one) for name, one in network.named_parameters() if one.requires_grad]
    groups = [
        {"params": [one for _, one in named if one.ndim > 1], "weight_decay": 0.05},
        {"params": [one for _, one in named if one.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.95))
    for step in range(12):
        rate = 1e-3 * (step / 3 if step < 3 else 0.5 * (1 + np.cos(np.pi * (step - 3) / 9)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        seed_all(step_seed(5, step, 1))
        loss, _, _ = network(torch.from_numpy(rows[order(step)]))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([one for _, one in named], 0.8)
        optimiser.step()
    for name, one in network.state_dict().items():
        found = pretraining.network.state_dict()[name]
        if name.endswith("qkv.bias"):
            # Attention does not depend on what is added to all keys: there is nothing but rounding to follow.
            (found, _, *_), (one, _, *_) = found.chunk(3), one.chunk(3)
        assert torch.allclose(found, one, atol=1e-5), name


def test_killed_and_started_again_it_ends_in_the_same_bytes(responses, whole, tmp_path):
    def killed(label, done, total):
        if label == LABEL and done == 7:
            os.kill(os.getpid(), signal.SIGKILL)

    def made():
        return MaskedPretraining(RECIPE, SIZES, seconds_between_checkpoints=0.0)

    if not (process := os.fork()):
        try:
            made().fit(responses, folder=tmp_path, progress=killed)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(process, 0)[1]) and (tmp_path / FILE).exists()
    done = []
    made().fit(responses, folder=tmp_path, progress=lambda label, step, total: done.append(step)).save_pretrained(
        tmp_path
    )
    assert done[0] == 7
    assert not (tmp_path / FILE).exists()
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_other_responses_or_sizes_do_not_go_on_with_it(responses, tmp_path):
    def interrupted(label, done, total):
        if done == 7:
            raise KeyboardInterrupt

    doubled = {name: one * 2 for name, one in responses.items()}
    for number, (other, sizes) in enumerate(
        ((doubled, SIZES), (responses, SIZES | {"mask_ratio": 0.5}), (responses, SIZES))
    ):
        folder, done = tmp_path / str(number), []
        with pytest.raises(KeyboardInterrupt):
            MaskedPretraining(RECIPE, SIZES, seconds_between_checkpoints=0.0).fit(
                responses, folder=folder, progress=interrupted
            )

        def note(label, step, total, done=done):
            done.append(step)

        MaskedPretraining(RECIPE, sizes).fit(other, folder=folder, progress=note)
        assert done[0] == (0, 0, 7)[number]


def test_it_comes_back_from_its_folder(whole, responses):
    opened = MaskedPretraining.from_pretrained(whole)
    (row,) = opened.summary()
    assert row["steps"] == 12 and row["parameters"] == sum(one.numel() for one in opened.network.parameters())
    assert set(opened.curves()) >= {"masked error", "validation error", "rate"}
    assert torch.equal(load_masked_brain(whole, None).cls_token, opened.network.cls_token)
    # The places of 40 voxels are those of their nearest.
    assert load_masked_brain(whole, 40).n_patches == 3


def test_it_learns_what_voxels_share():
    """Along one direction in all voxels a quarter of them tells the rest, better than each voxel's mean."""
    sizes = SIZES | {"patch_size": 4, "decoder_width": 16}
    recipe = Recipe(250, 64, OptimiserSpec("adamw", 1e-2), Schedule("cosine after warm-up", warmup=10), validation=0.1)
    (row,) = MaskedPretraining(recipe, sizes).fit({"subj01": drawn(1500, 30, 3, directions=1)}).summary()
    assert row["validation error"] < 0.8 * row["error of the voxels' means"]


def test_it_goes_on_from_another_at_that_ones_length(whole, responses):
    start = load_masked_brain(whole, None)
    few = Recipe(1, 5, OptimiserSpec("adamw", 1e-4), seed=1)
    on = MaskedPretraining(few, {"mask_ratio": 0.5}, start=whole).fit({"new": drawn(20, 300, 4)})
    assert on.network.n_voxels == 96 and on.network.mask_ratio == 0.5 and on.sizes["width"] == 16
    change = {
        name: (one - start.state_dict()[name]).abs().max().item() for name, one in on.network.state_dict().items()
    }
    assert max(change.values()) <= 1.1e-4 and change["cls_token"] > 0
    assert change["pos_embed"] == change["decoder_pos_embed"] == 0


def test_the_cost_is_that_of_the_network():
    pretraining = MaskedPretraining(RECIPE, SIZES)
    cost = pretraining.cost(96)
    network = MaskedBrainAutoencoder(96, **SIZES)
    assert cost.parameters == sum(one.numel() for one in network.parameters())
    assert cost.moments == 8 * sum(one.numel() for one in network.parameters() if one.requires_grad)
    assert cost.activations > 0 and cost.operations > 0


@pytest.mark.parametrize(
    "responses, words",
    [
        ({}, "no responses"),
        ({"subj01": np.zeros((0, 5), np.float32)}, "no responses"),
        ({"subj01": np.ones((4, 20), np.float32)}, "All responses of subj01 are one number"),
        ({"subj01": np.full((4, 20), np.nan, np.float32)}, "subj01: responses hold NaN"),
    ],
)
def test_responses_from_which_nothing_can_be_learned(responses, words):
    with pytest.raises(InputError, match=words) as caught:
        MaskedPretraining(RECIPE, SIZES).fit(responses)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_pretraining(tmp_path):
    with pytest.raises(InputError, match="No pretraining can be opened"):
        MaskedPretraining.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="cannot go on from"):
        MaskedPretraining(RECIPE, SIZES, start=tmp_path).fit({"subj01": drawn(20, 50, 1)})
    with pytest.raises(InputError, match="has not been fitted"):
        _ = MaskedPretraining(RECIPE, SIZES).network

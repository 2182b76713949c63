"""The matching behind the decoder that trains it: what learns, what repeats, and what a killed training ends in."""

import os
import signal

import numpy as np
import pytest
import torch

from stages.decoders.trained import TrainedDecoder, Training
from stages.ground.errors import InputError
from stages.networks.matched_regions import MatchedRegions
from stages.objectives.optimal_transport import CategoryMatching
from stages.training.pairs import Pairs
from stages.training.recipe import OptimiserSpec, Recipe
from stages.training.state import FILE

N_CATEGORIES, N_VOXELS, WIDTH = 6, 20, 16
REGIONS = [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12], [13, 14, 15, 16, 17, 18, 19]]
SIZES = {"regions": REGIONS, "depth": 1, "n_heads": 2, "hidden": 8, "graph_heads": 2, "n_rounds": 1}
RECIPE = Recipe(steps=6, batch_size=12, validate_every=2, seed=3, optimiser=OptimiserSpec("adam", 1e-3))


def data(of="any", seed=0):
    """24 pictures of 6 categories, each seen in three trials; both sides tell the category and nothing else."""
    random = np.random.default_rng(seed)
    categories = np.repeat(np.arange(N_CATEGORIES), 4)
    shown = random.permutation(np.repeat(np.arange(24), 3))
    brains, meanings = random.standard_normal((N_CATEGORIES, N_VOXELS)), random.standard_normal((N_CATEGORIES, WIDTH))
    responses = (brains[categories[shown]] + 0.5 * random.standard_normal((72, N_VOXELS))).astype(np.float32)
    pictures = (meanings[categories] + 0.3 * random.standard_normal((24, WIDTH))).astype(np.float32)
    return Training(
        {"subj01": responses},
        {"subj01": shown},
        {"clip": pictures},
        "pictures",
        beside={"clip_picture": pictures},
        pairs=Pairs(of, categories=categories),
        free={"tokens": (len(REGIONS) + 1, WIDTH)},
    )


def fitted(training, folder=None, recipe=RECIPE, **options):
    objectives = [CategoryMatching("clip", "clip_picture")]
    decoder = TrainedDecoder(MatchedRegions, recipe, objectives, SIZES, seconds_between_checkpoints=0.0, **options)
    return decoder.fit(training, folder=folder)


def predicted(decoder, patterns):
    return {name: values for name, _, values in decoder.predict_blocks(patterns)}


def test_predictions_are_the_encoder_without_the_graph():
    decoder, patterns = fitted(data()), np.random.default_rng(5).standard_normal((4, N_VOXELS), np.float32)
    found, network = predicted(decoder, patterns), decoder.network
    with torch.no_grad():
        voxels = (torch.from_numpy(patterns) - network.mean) / network.scale
        tokens = torch.zeros(4, 3, 8)
        for row, region in enumerate(REGIONS):
            tokens[:, row, : len(region)] = voxels[:, region]
        expected = network.network.matching.encode(tokens)
    np.testing.assert_allclose(found["tokens"].reshape(4, 4, WIDTH), expected, atol=1e-5)
    np.testing.assert_array_equal(found["clip"], found["tokens"][:, :WIDTH])


def test_every_part_learns_but_the_table_of_places():
    network = MatchedRegions(N_VOXELS, {"clip": (WIDTH,)}, **SIZES)
    outputs = network(torch.randn(12, N_VOXELS), torch.randn(12, WIDTH))
    categories = torch.arange(12)[:, None].float() % 5
    features = {"clip_picture": torch.randn(12, WIDTH), "brain category": categories}
    loss, _ = CategoryMatching("clip", "clip_picture")(outputs, features, 0)
    loss.backward()
    without = {name for name, one in network.named_parameters() if one.grad is None or not one.grad.any()}
    # Batch normalisation takes off what is the same for all nodes, and softmax what is the same for all keys.
    constant = {name for name in without if name.endswith(("mlp.0.bias", "proj.1.bias", "merge.bias", "proj.2.bias"))}
    assert without - constant == {"matching.fmri_encoder.pos_embed"}


def test_a_training_repeats_and_follows_from_its_seed():
    training = data()
    one, again = fitted(training), fitted(training)
    other = fitted(training, recipe=Recipe(**{**vars(RECIPE), "seed": 4}))
    assert one.curves() == again.curves() != other.curves()
    patterns = np.ones((2, N_VOXELS), np.float32)
    np.testing.assert_array_equal(predicted(one, patterns)["clip"], predicted(again, patterns)["clip"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize("of", ["any", "own"])
def test_killed_and_started_again_it_ends_in_the_same_bytes(tmp_path, of):
    training = data(of)
    whole = fitted(training, tmp_path / "whole")
    if not (process := os.fork()):

        class Killing(CategoryMatching):
            def __call__(self, outputs, targets, step):
                if step == 4:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().__call__(outputs, targets, step)

        Killing.__qualname__ = "CategoryMatching"
        try:
            decoder = TrainedDecoder(
                MatchedRegions,
                RECIPE,
                [Killing("clip", "clip_picture")],
                SIZES,
                seconds_between_checkpoints=0.0,
            )
            decoder.fit(training, folder=tmp_path / "parts")
        finally:
            os._exit(1)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) and (tmp_path / "parts" / FILE).exists()
    resumed = fitted(training, tmp_path / "parts")
    assert (tmp_path / "parts" / FILE).read_bytes() == (tmp_path / "whole" / FILE).read_bytes()
    assert resumed.curves() == whole.curves()


def test_other_categories_are_another_training(tmp_path):
    training = data()
    fitted(training, tmp_path)
    moved = Pairs("any", categories=np.roll(training.pairs.categories, 1))
    changed = Training(**{**vars(training), "pairs": moved})
    assert fitted(changed, tmp_path).curves() != fitted(training).curves()


def test_voxels_may_be_read_as_they_are(tmp_path):
    decoder = fitted(data(), standardise=False)
    assert not decoder.network.mean.any() and (decoder.network.scale == 1).all()
    decoder.save_pretrained(tmp_path)
    again, patterns = TrainedDecoder.from_pretrained(tmp_path), np.full((2, N_VOXELS), 3, np.float32)
    np.testing.assert_array_equal(predicted(again, patterns)["tokens"], predicted(decoder, patterns)["tokens"])


def test_categories_of_new_responses_are_found_though_no_pair_was_shown():
    recipe = Recipe(steps=150, batch_size=24, seed=0, optimiser=OptimiserSpec("adam", 1e-3))
    training, random = data(), np.random.default_rng(1)
    decoder = fitted(training, recipe=recipe)
    categories, shown = training.pairs.categories, training.stimulus_rows["subj01"]
    means = np.stack([training.responses["subj01"][categories[shown] == one].mean(axis=0) for one in range(6)])
    new = np.repeat(np.arange(6), 5)
    noise = 0.3 * random.standard_normal((30, N_VOXELS)).astype(np.float32)
    found = predicted(decoder, means[new] + noise)["clip"]
    pictures = training.features["clip"]
    cosines = found @ (pictures / np.linalg.norm(pictures, axis=1, keepdims=True)).T
    # By chance 1 of 6; standard deviation 0.07.
    assert (categories[cosines.argmax(axis=1)] == new).mean() > 0.4


def test_tokens_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"tokens has shape \(7, 16\) but 3 regions make tokens of \(4, 16\)"):
        MatchedRegions(N_VOXELS, {"clip": (WIDTH,), "tokens": (7, WIDTH)}, **SIZES)


def test_a_batch_is_not_cut_into_parts():
    with pytest.raises(InputError, match="cut into 3 parts, but the network looks at all of its samples together"):
        fitted(data(), recipe=Recipe(steps=6, batch_size=12, accumulate=3))

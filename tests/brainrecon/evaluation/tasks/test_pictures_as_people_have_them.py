"""`brainrecon.evaluate` takes pictures in any of the forms that people have, and scores the same from each."""

import numpy as np
import pytest
import torch
from PIL import Image
from stand_in_networks import IDS, N

import brainrecon
from brainrecon.evaluation import Outputs
from stages.ground.lazy_rows import as_rows


def scored(shown, drawn, networks, name="reconstruction", **options):
    return brainrecon.evaluate(shown, {name: drawn}, stimulus_ids=IDS, networks=networks, n_resamples=2000, **options)


def values(scores, name="reconstruction"):
    return scores.conditions[name].values


FORMS = {
    "floats": lambda x: x / 255,
    "half floats": lambda x: torch.from_numpy(x / 255).half(),
    "floats of a decoder's last layer": lambda x: x / 255 + np.where(x == 0, -5e-4, 0),
    "whole numbers": lambda x: x.astype(np.int64),
    "tensor, colours first": lambda x: torch.from_numpy(x).permute(0, 3, 1, 2) / 255,
    "tensor of bytes": torch.from_numpy,
    "tensor in a graph": lambda x: torch.nn.Parameter(torch.from_numpy(x / 255)),
    "PIL": lambda x: [Image.fromarray(picture) for picture in x],
    "PIL in a tuple": lambda x: tuple(Image.fromarray(picture) for picture in x),
    "list of arrays": list,
    "list of tensors, colours first": lambda x: [torch.from_numpy(picture).permute(2, 0, 1) / 255 for picture in x],
    "lazy": as_rows,
    "pair": lambda x: (np.array(IDS), x),
    "pair of lists, in another order": lambda x: [
        list(reversed(IDS)),
        [Image.fromarray(picture) for picture in x[::-1]],
    ],
    "outputs": lambda x: Outputs(IDS, x),
    "one sample": lambda x: x[:, None],
    "the same sample twice": lambda x: np.stack([x, x], axis=1),
    "lists of samples": lambda x: [[Image.fromarray(picture)] * (1 + row % 2) for row, picture in enumerate(x)],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_condition_scores_the_same(shown, networks, form):
    drawn = (255 - shown[::-1] // 2).astype(np.uint8)
    expected, found = values(scored(shown, drawn, networks)), values(scored(shown, FORMS[form](drawn), networks))
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("form", ["floats", "tensor, colours first", "PIL", "lazy", "list of arrays"])
def test_every_form_of_what_was_shown_scores_the_same(shown, networks, form):
    drawn = shown[::-1].copy()
    expected, found = values(scored(shown, drawn, networks)), values(scored(FORMS[form](shown), drawn, networks))
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-6)


def test_samples_are_scored_one_by_one_and_their_scores_averaged(shown, networks):
    first, second = shown[::-1].copy(), np.full_like(shown, 90)
    second[:, 2:] = 20
    together = scored(shown, np.stack([first, second], axis=1), networks)
    assert together.conditions["reconstruction"].n_samples == (2,) * N
    alone = [values(scored(shown, one, networks))["pixcorr"] for one in (first, second)]
    np.testing.assert_allclose(values(together)["pixcorr"], np.mean(alone, axis=0), rtol=0, atol=1e-12)


def test_grey_pictures_are_three_equal_colours(shown, networks):
    grey = shown[..., :1]
    expected = values(scored(shown, np.repeat(grey, 3, axis=-1), networks))
    as_pictures = [Image.fromarray(picture[..., 0], "L") for picture in grey]
    for form in (grey, grey / 255, as_pictures):
        found = values(scored(shown, form, networks))
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-6)


def test_a_condition_has_any_name_and_the_first_is_the_reference(shown, networks):
    other = shown[::-1].copy()
    conditions = {"my decoder, epoch 3": shown, "baseline": other}
    scores = brainrecon.evaluate(shown, conditions, stimulus_ids=IDS, networks=networks, n_resamples=2000)
    assert scores.reference == "my decoder, epoch 3" and list(scores.conditions) == list(conditions)
    assert scores.difference("baseline", "pixcorr").mean > 0
    conditions = {"baseline": other, "reconstruction": shown}
    scores = brainrecon.evaluate(shown, conditions, stimulus_ids=IDS, networks=networks, n_resamples=2000)
    assert scores.reference == "reconstruction"


def test_nothing_given_is_changed(shown, networks):
    drawn = torch.from_numpy(shown / 255)
    before = drawn.clone()
    scored(shown, drawn, networks)
    assert torch.equal(drawn, before)

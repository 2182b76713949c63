"""What a search begins with: the lot of an item, and of nothing else."""

import torch

from stages.generators.generator import Item
from stages.inverters.picture_search_settings import PictureSearchSettings
from stages.inverters.search_starts import first_input, shifts_of


def test_starts():
    one, other = Item("nsd00042"), Item("nsd00043")
    own = PictureSearchSettings()
    first = first_input(own, (2000,), 0, one)
    assert torch.equal(first, first_input(own, (2000,), 0, one)) and abs(float(first.std()) - 1) < 0.1
    others = ((1, one), (0, other), (0, Item("nsd00042", sample=1)))
    for seed, item in others:
        assert not torch.equal(first, first_input(own, (2000,), seed, item))
    shared = PictureSearchSettings(start="shared noise")
    assert torch.equal(first_input(shared, (9,), 0, one), first_input(shared, (9,), 5, other))
    assert not torch.equal(
        first_input(shared, (9,), 0, one),
        first_input(PictureSearchSettings(start="shared noise", start_seed=1), (9,), 0, one),
    )
    assert first_input(PictureSearchSettings(start="zeros"), (9,), 0, one).tolist() == [0.0] * 9


def test_greys_by_lot_are_whole_numbers_less_their_means():
    settings = PictureSearchSettings(varied="pixels", start="greys", bounds="none")
    means = (104.0, 116.5, 122.0)
    start = first_input(settings, (3, 40, 40), 0, Item("a"), means)
    greys = start + torch.tensor(means)[:, None, None]
    assert (
        torch.equal(greys, greys.round()) and greys.min() >= 0 and greys.max() <= 255 and abs(greys.mean() - 127.5) < 5
    )
    assert not torch.equal(start, first_input(settings, (3, 40, 40), 0, Item("b"), means))


def test_noise_has_its_spread():
    settings = PictureSearchSettings(start_spread=0.01)
    assert abs(float(first_input(settings, (4000,), 0, Item("a")).std()) - 0.01) < 0.001


def test_shifts_are_an_items_own_and_reach_either_end():
    settings = PictureSearchSettings(varied="pixels", bounds="none", jitter=2)
    items = [Item("a"), Item("b")]
    together, alone = shifts_of(settings, 0, items), shifts_of(settings, 0, items[1:])
    drawn = [together(step) for step in range(60)]
    assert [pair[1] for pair in drawn] == [alone(step)[0] for step in range(60)]
    assert {length for pair in drawn for shift in pair for length in shift} == {-2, -1, 0, 1, 2}
    assert [pair[0] for pair in drawn] != [pair[1] for pair in drawn]
    assert shifts_of(PictureSearchSettings(), 0, items) is None

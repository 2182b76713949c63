"""Completion around given tokens: they stay, none given is the unconditional picture, and half of a picture tells the rest."""

import copy

import numpy as np
import pytest
import torch

from stages.generators.generator import Item, in_order
from stages.generators.tokens.masked_tokens import MaskedTokenGenerator
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from stages.networks.masked_tokens import MaskedTokens, MaskedTokensConfig
from stages.networks.maskgit_vqgan import MaskGITVQGAN, MaskGITVQGANConfig
from stages.networks.vq_tokenizer import MaskGITTokenizer
from stages.priors.token_learning import masked_loss

SIDE, N_CODES = 6, 5


class Colours:
    """A tokeniser whose codes are grey levels: a picture of codes is made of them, and gives them back."""

    size, side, n_codes, device = SIDE, SIDE, N_CODES, torch.device("cpu")

    def decode(self, codes):
        return (codes / (N_CODES - 1)).reshape(-1, 1, SIDE, SIDE).expand(-1, 3, -1, -1)

    def encode(self, pixels):
        return (pixels[:, 0] * (N_CODES - 1)).round().long().flatten(1)


def codes_of(pictures):
    return np.round(pictures[..., 0].reshape(len(pictures), -1) / 255 * (N_CODES - 1)).astype(int)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def untrained(context=0, **changes):
    torch.manual_seed(0)
    sizes = {"n_places": SIDE**2, "width": 32, "depth": 2, "n_heads": 2, "dropout": 0.0}
    return MaskedTokens(MaskedTokensConfig(N_CODES, 0, context=context, **sizes | changes)).eval()


@pytest.fixture(scope="module")
def generator():
    """A network that has learned pictures whose rows are of one code each."""
    network = untrained().train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    draws = torch.Generator().manual_seed(0)
    for _ in range(250):
        tokens = torch.randint(N_CODES, (32, SIDE, 1), generator=draws).expand(-1, -1, SIDE).flatten(1)
        loss, _ = masked_loss(network, tokens, None, draws, smoothing=0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return MaskedTokenGenerator(network.eval().requires_grad_(False), Colours(), reads=None)


ITEMS = [Item(f"nsd{row}") for row in range(40)]


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(1).integers(N_CODES, size=(len(ITEMS), SIDE, 1)).repeat(SIDE, axis=2).reshape(40, -1)


def drawn(generator, cues=None, items=ITEMS, **options):
    values = {} if cues is None else {"vq_cues": cues.astype(np.float32)}
    return codes_of(np.stack(in_order(generator.draw(values, items, **options))))


def test_all_tokens_given_are_given_back(generator, rows):
    np.testing.assert_array_equal(drawn(generator, rows), rows)


def test_none_given_is_the_unconditional_picture_of_the_seed(generator):
    none = drawn(generator, np.full((40, SIDE**2), -1))
    np.testing.assert_array_equal(none, drawn(generator))
    assert not np.array_equal(none, drawn(generator, seed=1))
    own = generator.completed({}, item_generator(0, "nsd3", 0)).numpy()
    np.testing.assert_array_equal(none[3], own)


def test_half_the_tokens_tell_the_others_and_those_of_another_picture_do_not(generator, rows):
    known = np.random.default_rng(2).random((40, SIDE**2)) < 0.5
    # Every row of a picture has one: what nothing tells is a matter of chance.
    known.reshape(40, SIDE, SIDE)[:, :, 0] |= ~known.reshape(40, SIDE, SIDE).any(axis=2)
    cues = np.where(known, rows, -1)
    found = drawn(generator, cues)
    np.testing.assert_array_equal(found[known], rows[known])
    assert (found[~known] == rows[~known]).mean() > 0.95
    other = drawn(generator, np.roll(cues, 1, axis=0))
    wrong = (other[~known] == rows[~known]).mean()
    assert abs(wrong - 1 / N_CODES) < 0.1
    # Under an experience whose places are shuffled the same cues tell next to nothing.
    shuffled = copy.deepcopy(generator.network)
    shuffled.de_pos_emb.weight.data = shuffled.de_pos_emb.weight[torch.randperm(SIDE**2, generator=seeded(7))]
    wrong = drawn(MaskedTokenGenerator(shuffled, Colours(), reads=None), cues)[~known] == rows[~known]
    assert abs(wrong.mean() - 1 / N_CODES) < 0.1


def test_cues_may_be_soft(generator, rows):
    weights = np.zeros((40, SIDE**2, N_CODES), dtype=np.float32)
    cues = np.full(rows.shape, -1.0, dtype=np.float32)
    cues[:, ::SIDE] = rows[:, ::SIDE]
    hard = drawn(generator, cues)
    np.put_along_axis(weights[:, ::SIDE], rows[:, ::SIDE, None], 1.0, axis=2)
    for given in (weights, np.zeros_like(weights)):
        pictures = np.stack(in_order(generator.draw({"vq_cues": cues, "vq_weights": given}, ITEMS)))
        np.testing.assert_array_equal(codes_of(pictures), hard)
    np.testing.assert_array_equal(hard[:, ::SIDE], rows[:, ::SIDE])


def test_one_alone_is_what_it_is_among_others(generator, rows):
    cues = np.where(np.arange(SIDE**2) % 3 == 0, rows, -1)
    together = drawn(generator, cues, batch_size=7)
    alone = np.concatenate([drawn(generator, cues[row : row + 1], ITEMS[row : row + 1]) for row in range(5)])
    np.testing.assert_array_equal(alone, together[:5])


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("vq_cues", np.full(SIDE**2, N_CODES), "hold 5; expected whole numbers from 0 to 4, or -1"),
        ("vq_cues", np.full(SIDE**2, -2), "hold -2"),
        ("vq_cues", np.full(SIDE**2, 0.5), "hold 0.5"),
        ("vq_cues", np.full(SIDE**2, np.nan), "not finite"),
        ("vq_cues", np.zeros(SIDE), "has shape"),
        ("vq_weights", np.full((SIDE**2, N_CODES), -0.1), "go down to -0.1"),
    ],
)
def test_what_are_no_tokens_is_refused(generator, name, values, said):
    with pytest.raises(InputError) as error:
        list(generator.draw({name: values[None].astype(np.float32)}, ITEMS[:1]))
    assert said in str(error.value)


def test_networks_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match="completes 36 places of 4 codes but the tokeniser makes 36 of 5"):
        MaskedTokenGenerator(
            MaskedTokens(MaskedTokensConfig(4, 0, 36, context=0, width=8, depth=1, n_heads=1)), Colours(), None
        )
    with pytest.raises(InputError, match="has no place for clip_image"):
        MaskedTokenGenerator(untrained(), Colours())
    conditioned = MaskedTokenGenerator(untrained(context=3), Colours())
    assert conditioned.takes == {"clip_image": (3,), "vq_cues": (36,), "vq_weights": (36, 5)}
    with pytest.raises(InputError, match="needs clip_image"):
        list(conditioned.draw({}, ITEMS[:1]))


def test_pictures_that_are_not_finite_are_none():
    from stages.ground.not_finite import NotFinite

    config = MaskGITVQGANConfig(SIDE * 2, 2, (1, 1), 1, groups=1, n_codes=N_CODES, code=2)
    tokenizer = MaskGITVQGAN(config).eval()
    torch.nn.init.constant_(tokenizer.decoder.conv_out.bias, torch.nan)
    spoilt = MaskedTokenGenerator(untrained(), MaskGITTokenizer(tokenizer), reads=None)
    with pytest.raises(NotFinite, match="2 outputs are missing"):
        list(spoilt.draw({}, ITEMS[:2]))

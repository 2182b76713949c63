"""The laws of every decoder. A new one is a line in `MAKERS`."""

import math
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pytest
from small_decoders import TwoHeads

from stages.decoders.decoder import Decoder
from stages.decoders.decoder_files import plain
from stages.decoders.inverse_encoding import InverseEncodingDecoder
from stages.decoders.local.multiscale import MultiscaleDecoder
from stages.decoders.ridge.banded_ridge import BandedRidgeDecoder
from stages.decoders.ridge.kfold_ridge import KFoldRidgeDecoder
from stages.decoders.ridge.plain_ridge import PlainRidge
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.decoders.trained import TrainedDecoder, Training
from stages.decoders.unitwise.unitwise import UnitwiseDecoder
from stages.ground.errors import InputError
from stages.training.recipe import Recipe

N_STIMULI, N_VOXELS, GRID = 60, 24, (3, 4)
GROUPS = {"vdvae": 7, "clip_image": 5}
N_COLUMNS = sum(GROUPS.values())
BANDS = {"V1": np.arange(N_VOXELS) < 10, "rest": np.arange(N_VOXELS) >= 10}


def data(dtype, n_stimuli=N_STIMULI, seed=0):
    """Patterns, and targets that are as good pixels of pictures of 3 x 4 cells."""
    weights = np.random.default_rng(100).normal(size=(N_VOXELS, N_COLUMNS))
    random = np.random.default_rng(seed)
    patterns = random.normal(2, 3, size=(n_stimuli, N_VOXELS))
    targets = (patterns @ weights + 10 * random.normal(size=(n_stimuli, N_COLUMNS)) > 0).astype(dtype)
    return patterns.astype(dtype), targets + 0.1 * random.normal(size=targets.shape).astype(dtype)


class Table:
    """Targets that are given by columns, as from a feature store."""

    def __init__(self, values):
        self.values, self.shape = values, values.shape

    def columns(self, start, stop, out=None):
        values = self.values[:, start:stop].astype(np.float32)
        if out is not None:
            out[...] = values
        return values


def tables(targets, groups):
    ends = np.cumsum(list(groups.values()))
    return {name: Table(targets[:, end - n : end]) for (name, n), end in zip(groups.items(), ends)}


@dataclass(frozen=True)
class Maker:
    """How a decoder is made and fitted.

    Attributes
    ----------
    kind : class
    options : dict
    fewer_stimuli : bool
        Whether it is fitted on fewer stimuli than voxels.
    from_tables : bool
        Whether it reads its targets again.
    knows_places : bool
        Whether a column's place means something.
    by_gradient : bool
        Whether it is trained, from weights that start at random.
    needs : str
        Package without which it is not tried.
    """

    kind: type
    options: dict
    dtype: type = np.float32
    fewer_stimuli: bool = False
    from_tables: bool = False
    knows_places: bool = False
    by_gradient: bool = False
    needs: str | None = None

    def data(self):
        return data(self.dtype, 18 if self.fewer_stimuli else N_STIMULI)

    def fit(self, patterns, targets, groups=None):
        decoder, groups = self.kind(**self.options), groups or GROUPS
        if self.from_tables:
            return decoder.fit_targets(patterns, tables(targets, groups))
        if self.by_gradient:
            values = {name: np.asarray(table.values) for name, table in tables(targets, groups).items()}
            return decoder.fit(Training({"subj01": patterns}, {"subj01": np.arange(len(patterns))}, values))
        if self.knows_places:
            return decoder.fit(patterns, targets.reshape(len(targets), *GRID))
        return decoder.fit(patterns, targets, groups=groups)

    def load(self, folder):
        loaded = self.kind.from_pretrained(folder)
        return loaded.attach(tables(self.data()[1], GROUPS)) if self.from_tables else loaded


ridge = partial(Maker, RidgeDecoder)
banded = partial(Maker, BandedRidgeDecoder, {"bands": BANDS, "n_iter": 5, "alphas": [10.0, 100.0]}, needs="himalaya")
local = partial(Maker, MultiscaleDecoder, knows_places=True)
MAKERS = {
    "ridge, weights": ridge({"keep": "weights"}),
    "ridge, targets": ridge({"keep": "targets"}, fewer_stimuli=True),
    "ridge, factorisation": ridge({"keep": "factorisation"}, from_tables=True),
    "ridge, a penalty per column": ridge({"penalty": "target", "rescale": "none"}, np.float64),
    "ridge, one penalty": ridge({"alphas": 30.0}),
    "banded ridge": banded(),
    "banded ridge, fewer stimuli than voxels": banded(fewer_stimuli=True),
    "ridge through the origin": Maker(PlainRidge, {"alpha": 3.0, "intercept": False, "rescale": "folds"}, np.float64),
    "ridge, a penalty per column by folds": Maker(KFoldRidgeDecoder, {"alphas": (0.1, 10.0)}),
    "a ridge for each unit": Maker(UnitwiseDecoder, {"voxels": 10, "alpha": 5.0}),
    "a ridge for each unit, patterns": Maker(
        UnitwiseDecoder, {"voxels": "all", "keep": "patterns"}, fewer_stimuli=True, from_tables=True
    ),
    "a sparse regression for each unit": Maker(UnitwiseDecoder, {"kind": "ard", "voxels": 9}, np.float64),
    "inverse encoding": Maker(InverseEncodingDecoder, {}),
    "inverse encoding, penalties": Maker(
        InverseEncodingDecoder, {"encoding_penalty": 1.0, "inverse_penalty": 2.0}, np.float64, fewer_stimuli=True
    ),
    "local decoders": local({"sizes": 2, "n_voxels": 10}, np.float64),
    "local decoders, weights by stimuli held out": local(
        {"model": "ridge", "weights": "nnls", "n_folds": 2}, np.float64
    ),
    "a network": Maker(
        TrainedDecoder,
        {"make": TwoHeads, "recipe": Recipe(steps=20, batch_size=10, validation=0.2, validate_every=5, average=0.9)},
        by_gradient=True,
    ),
    "local classifiers": local({"model": "sparse_logistic", "n_voxels": 5, "n_levels": 3}, np.float64),
}


@pytest.fixture(params=MAKERS)
def name(request):
    if needed := MAKERS[request.param].needs:
        pytest.importorskip(needed)
    return request.param


@pytest.fixture
def maker(name):
    return MAKERS[name]


@cache
def fitted(name):
    """A fitted decoder; no law changes it."""
    return MAKERS[name].fit(*MAKERS[name].data())


@pytest.fixture
def decoder(name):
    return fitted(name)


@pytest.fixture
def new(maker):
    return data(maker.dtype, 9, seed=1)[0]


def predicted(decoder, patterns):
    """Predictions by name, put together from blocks that cover each value once and in order."""
    parts = {}
    for name, columns, values in decoder.predict_blocks(patterns):
        assert columns.start == sum(part.shape[1] for part in parts.get(name, ()))
        assert values.shape == (len(patterns), columns.stop - columns.start)
        parts.setdefault(name, []).append(values)
    return {name: np.concatenate(blocks, axis=1) for name, blocks in parts.items()}


def assert_near(found, expected):
    """Equal to 1e-4 of the standard deviation of what is expected."""
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert np.abs(found[name] - values).max() <= 1e-4 * values.std(), name


def test_it_is_a_decoder(decoder):
    assert isinstance(decoder, Decoder)


def test_what_it_gives_is_what_it_predicts(decoder, new):
    found = predicted(decoder, new)
    assert list(found) == list(decoder.gives)
    for name, shape in decoder.gives.items():
        assert found[name].shape == (len(new), math.prod(shape)) and found[name].dtype == new.dtype
        assert np.isfinite(found[name]).all() and found[name].std() > 0


def test_one_pattern_alone_as_in_a_batch(decoder, new):
    together = predicted(decoder, new)
    alone = [predicted(decoder, row[None]) for row in new]
    assert_near({name: np.concatenate([row[name] for row in alone]) for name in together}, together)
    assert_near({name: values[::-1] for name, values in predicted(decoder, new[::-1]).items()}, together)


def test_blocks_that_are_there_are_left_out(decoder, new):
    blocks = list(decoder.predict_blocks(new))
    for start in range(len(blocks) + 1):
        rest = list(decoder.predict_blocks(new, subject="subj01", start=start))
        assert [(name, columns) for name, columns, _ in rest] == [one[:2] for one in blocks[start:]]
        for (*_, values), (*_, expected) in zip(rest, blocks[start:]):
            np.testing.assert_array_equal(values, expected)


def test_saved_and_loaded_it_is_the_same(maker, decoder, new, tmp_path):
    decoder.save_pretrained(tmp_path / "decoder")
    loaded = maker.load(tmp_path / "decoder")
    expected = predicted(decoder, new)
    for name, values in predicted(loaded, new).items():
        # Which kernel multiplies depends on where the weights lie in memory: the last digits may be others.
        near = 8 * np.finfo(values.dtype).eps if np.issubdtype(values.dtype, np.floating) else 0
        np.testing.assert_allclose(values, expected[name], rtol=near, atol=near * np.abs(expected[name]).max())
    if not maker.by_gradient:  # no estimator of scikit-learn's
        assert plain(loaded.get_params()) == plain(decoder.get_params())
    assert loaded.gives == decoder.gives and loaded.notes() == decoder.notes()
    np.testing.assert_equal(loaded.summary(), decoder.summary())
    loaded.save_pretrained(tmp_path / "again")
    assert files(tmp_path / "again") == files(tmp_path / "decoder")
    assert sorted(files(tmp_path / "decoder")) == ["config.json", "model.safetensors"]


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_fit_is_a_function_of_what_it_is_given(maker, decoder, tmp_path):
    patterns, targets = maker.data()
    given = patterns.copy(), targets.copy()
    again = maker.fit(patterns, targets)
    np.testing.assert_array_equal(patterns, given[0])
    np.testing.assert_array_equal(targets, given[1])
    decoder.save_pretrained(tmp_path / "first")
    again.save_pretrained(tmp_path / "second")
    assert files(tmp_path / "first") == files(tmp_path / "second")


def test_the_order_of_columns_and_of_targets_does_not_matter(maker, decoder, new):
    if maker.knows_places:
        pytest.skip("its columns are neighbours")
    if maker.by_gradient:
        pytest.skip("every column starts from random weights of its own")
    patterns, targets = maker.data()
    expected = predicted(decoder, new)
    first, last = np.split(targets, [GROUPS["vdvae"]], axis=1)
    turned = np.hstack([last[:, ::-1], first[:, ::-1]])
    other = maker.fit(patterns, turned, {name: GROUPS[name] for name in reversed(GROUPS)})
    assert list(other.gives) == list(reversed(GROUPS))
    found = predicted(other, new)
    assert_near({name: found[name][:, ::-1] for name in GROUPS}, expected)


def test_what_was_learnt_is_rows_of_plain_numbers(decoder):
    rows = decoder.summary()
    assert rows and len({tuple(row) for row in rows}) == 1
    for row in rows:
        name, *numbers = row.values()
        assert isinstance(name, str) and numbers
        assert all(type(number) in (int, float) for number in numbers)
    assert len({next(iter(row.values())) for row in rows}) == len(rows)
    assert all(note.endswith(".") and "\n" not in note for note in decoder.notes())
    for steps, values in decoder.curves().values():
        assert len(steps) == len(values)


def test_other_voxels_are_refused(decoder, new):
    for width in (N_VOXELS - 1, N_VOXELS + 3):
        with pytest.raises(InputError, match=f"{width} voxels but the decoder was fitted on {N_VOXELS}; load"):
            decoder.predict_blocks(np.resize(new, (4, width)))


@pytest.mark.parametrize("hole", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(decoder, new, hole):
    broken = new.copy()
    broken[3, 5] = broken[4, 7] = hole
    with pytest.raises(
        InputError, match=f"NaN or infinite values in 2 of {N_VOXELS} voxels, the first being number 5; l"
    ):
        decoder.predict_blocks(broken)


def test_what_is_not_fitted_predicts_nothing(maker, new):
    decoder = maker.kind(**maker.options)
    with pytest.raises(ValueError, match="not fitted"):
        decoder.predict_blocks(new)
    with pytest.raises(ValueError, match="not fitted"):
        decoder.gives
    with pytest.raises(InputError, match="brainrecon fit"):
        maker.kind.from_pretrained("nowhere")

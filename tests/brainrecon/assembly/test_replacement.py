"""Which pictures a run draws, and from what: partners, subsets, nearest neighbours."""

import numpy as np
import pytest

from brainrecon.assembly.replacement import nearest_rows, shuffled_partners
from brainrecon.features.store import FeatureStore
from brainrecon.runs.draw import spread
from stages.ground.errors import InputError


@pytest.mark.parametrize("n_stimuli", [2, 3, 10, 101])
def test_nobody_is_their_own_partner_and_all_are_used_once(n_stimuli):
    partners = shuffled_partners(n_stimuli, seed=4)
    assert (partners != np.arange(n_stimuli)).all()
    assert sorted(partners) == list(range(n_stimuli))
    np.testing.assert_array_equal(partners, shuffled_partners(n_stimuli, seed=4))


def test_one_stimulus_has_no_partner():
    with pytest.raises(InputError, match="need 2 test stimuli"):
        shuffled_partners(1, seed=0)


def test_spread_reaches_both_ends_and_keeps_the_order():
    names = [f"s{row}" for row in range(100)]
    chosen = spread(names, 32)
    assert len(chosen) == 32 and chosen[0] == "s0" and chosen[-1] == "s99"
    assert [int(name[1:]) for name in chosen] == sorted(int(name[1:]) for name in chosen)
    assert spread(names, 1000) == names


@pytest.mark.parametrize("block", [5, 64, 1000])
def test_nearest_rows_vs_correlation_written_out(tmp_path, block):
    generator = np.random.default_rng(0)
    train = (generator.normal(size=(40, 130)) * generator.uniform(0.1, 9, 130) + 3).astype(np.float32)
    train[:, 7] = 2.0

    class Rows:
        name, takes, shape, n_targets, preprocessing = "rows", "images", (130,), 130, {}

        def encode(self, items):
            return np.asarray(items)

    table = FeatureStore(tmp_path).encode(Rows(), train, [str(i) for i in range(40)], dataset="d", checkpoint="c")
    predictions = train[[5, 17, 30]] + generator.normal(size=(3, 130)) * train.std(axis=0)
    expected = [np.argmax([np.corrcoef(one, row)[0, 1] for row in train]) for one in predictions]
    assert list(nearest_rows(predictions, table, block)) == expected
    # What a contrast leaves open, a scale and an offset that correlates with no row, does not make one row the nearest of all.
    rows = train - train.mean(axis=1, keepdims=True)
    offset = 100 * generator.normal(size=130)
    offset -= offset.mean()
    offset -= rows.T @ np.linalg.lstsq(rows.T, offset, rcond=None)[0]
    assert list(nearest_rows((0.2 * train + offset).astype(np.float32), table, block)) == list(range(40))

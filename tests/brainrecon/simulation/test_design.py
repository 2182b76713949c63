import numpy as np
import pytest

from brainrecon.simulation import design


def test_every_stimulus_comes_three_times_spread_over_the_trials():
    ordering = design.master_ordering(500, np.random.default_rng(0))
    assert sorted(ordering) == sorted(list(range(1, 501)) * 3)
    sessions = np.arange(1500) // 150
    assert abs(sessions[ordering <= 50].mean() - 4.5) < 1


@pytest.mark.parametrize("trials", [2, 11, 12, 108, 390, 750])
def test_runs_share_the_trials_of_a_session(trials):
    lengths = design.run_lengths(trials)
    assert lengths.sum() == trials and np.ptp(lengths) <= 1
    pattern = design.stimulus_pattern(3, trials, np.random.default_rng(0))
    assert (pattern.sum(2) == lengths).all()
    assert not pattern[..., :3].any() and not pattern[..., -4:].any()


def test_nsd_itself_has_63_trials_in_odd_runs_and_62_in_even_ones_of_75_slots():
    assert design.run_lengths(750).tolist() == [63, 62] * 6
    assert design.stimulus_pattern(1, 750, np.random.default_rng(0)).shape == (1, 12, 75)


def test_presentations_are_counted_by_session():
    counts = design.presentation_counts(np.array([1, 2, 1, 2, 1, 2]), 3)
    assert counts.tolist() == [[2, 0], [1, 1], [0, 2]]


def test_picture_numbers_are_a_permutation_and_another_subject_changes_nobodys():
    def generator_of(subject):
        return np.random.default_rng([7, subject])

    shared, own = design.picture_numbers(3, 10, 20, generator_of)
    assert sorted([*shared, *own.ravel()]) == list(range(70))
    assert sorted(shared) != list(range(10)), "an index that is mistaken for a picture number must show"
    fewer_shared, fewer_own = design.picture_numbers(2, 10, 20, generator_of)
    assert (fewer_shared == shared).all() and (fewer_own == own[:2]).all()


def test_behaviour_agrees_with_the_order_of_trials():
    ordering = np.array([2, 1, 2, 2, 1, 3, 3, 1, 3])
    table = design.behaviour(4, ordering, np.array([71, 72, 73]), 3, np.random.default_rng(0))
    assert table["73KID"].tolist() == [72, 71, 72, 72, 71, 73, 73, 71, 73]
    assert table["10KID"].tolist() == ordering.tolist()
    assert table["SESSION"].tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert table["ISOLD"].tolist() == [0, 0, 1, 1, 1, 0, 1, 1, 1]
    assert table["ISOLDCURRENT"].tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 1]
    np.testing.assert_array_equal(table["MEMORYRECENT"], [np.nan, np.nan, 1, 0, 2, np.nan, 0, 2, 1])
    np.testing.assert_array_equal(table["MEMORYFIRST"], [np.nan, np.nan, 1, 2, 2, np.nan, 0, 5, 2])
    assert table["TIME"].is_monotonic_increasing


def test_button_totals_agree_with_the_button():
    ordering = design.master_ordering(400, np.random.default_rng(1))
    table = design.behaviour(1, ordering, np.arange(400) + 1, 120, np.random.default_rng(2))
    silent = table["BUTTON"].isna()
    assert 0 < silent.mean() < 0.03
    assert (table.loc[silent, ["TOTAL1", "TOTAL2"]] == 0).all(axis=None)
    assert table.loc[silent, ["ISCORRECT", "RT", "CHANGEMIND"]].isna().all(axis=None)
    spoken = table[~silent]
    says_old = spoken["BUTTON"] == 2
    assert ((says_old == (spoken["ISOLD"] == 1)) == (spoken["ISCORRECT"] == 1)).all()
    assert (spoken.loc[says_old, "TOTAL2"] == 1).all() and (spoken.loc[~says_old, "TOTAL1"] == 1).all()
    assert 0.75 < spoken["ISCORRECT"].mean() < 0.95

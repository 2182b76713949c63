"""A linear model for each unit: standardisation, blocks, what is stored, and what it refuses."""

import numpy as np
import pytest
from authors_ridge import fast_l2_lir
from safetensors.numpy import load_file

from brainrecon.assembly.resumable_ridge import fit_by_blocks, predict_by_blocks
from brainrecon.features.table import FeatureTable, arrange
from stages.decoders.unitwise.unitwise import UnitwiseDecoder
from stages.ground.errors import InputError

GROUPS = {"conv": 150, "fc": 45}


def data(n_stimuli=50, n_voxels=40, repeats=1, dtype=np.float64, seed=0):
    """Trials, values of units that neighbours share much of, the stimulus of each trial, and new patterns."""
    random = np.random.default_rng(seed)
    units = np.cumsum(random.normal(size=(n_stimuli, 195)), axis=1) / 5 + random.uniform(-50, 50, 195)
    stimuli = random.permutation(np.repeat(np.arange(n_stimuli), repeats))
    voxels = units[:, random.choice(195, n_voxels)]
    voxels = (voxels - voxels.mean(axis=0)) / voxels.std(axis=0)
    patterns = (voxels[stimuli] + random.normal(size=(len(stimuli), n_voxels))) * random.uniform(1, 9, n_voxels) + 100
    return (*(values.astype(dtype) for values in (patterns, units)), stimuli, patterns[:6].astype(dtype) + 1)


def written_out(patterns, units, stimuli, new, n, statistics, alpha=100.0):
    """feature-decoding's steps, one unit at a time."""
    shown, mean, scale = units[stimuli], patterns.mean(axis=0), patterns.std(axis=0, ddof=1)
    X, fresh, found = (patterns - mean) / scale, (new - mean) / scale, []
    for unit in range(units.shape[1]):
        of = units[:, unit] if statistics == "stimuli" else shown[:, unit]
        y = (shown[:, unit] - of.mean()) / of.std(ddof=1)
        strength = np.abs(np.corrcoef(X.T, y)[-1, :-1])
        own = np.argsort(-strength)[:n]
        with_ones = np.column_stack([X[:, own], np.ones(len(X))])
        weights = np.linalg.solve(with_ones.T @ with_ones + alpha * np.eye(len(own) + 1), with_ones.T @ y)
        found.append(np.column_stack([fresh[:, own], np.ones(len(new))]) @ weights * of.std(ddof=1) + of.mean())
    return np.stack(found, axis=1)


@pytest.mark.parametrize("statistics", ["stimuli", "trials"])
@pytest.mark.parametrize("unequal", [False, True])
@pytest.mark.parametrize("n", [7, 30, 40])
def test_predictions_vs_the_steps_written_out(n, statistics, unequal):
    patterns, units, stimuli, new = data(repeats=3)
    if unequal:
        # Some stimuli are shown once: means over trials and over stimuli differ.
        last = np.sort(np.r_[np.unique(stimuli, return_index=True)[1], np.flatnonzero(stimuli < 12)])
        patterns, stimuli = patterns[np.unique(last)], stimuli[np.unique(last)]
    decoder = UnitwiseDecoder(voxels=n, statistics=statistics).fit(patterns, units, GROUPS, stimuli)
    expected = written_out(patterns, units, stimuli, new, n, statistics)
    assert np.abs(decoder.predict(new) - expected).max() < 1e-4 * expected.std(axis=0).max()


def test_predictions_vs_the_authors_package():
    pytest.importorskip("fastl2lir")
    patterns, units, _, new = data()
    mean, scale = patterns.mean(axis=0), patterns.std(axis=0, ddof=1)
    centre, spread = units.mean(axis=0), units.std(axis=0, ddof=1)
    for n in (11, 40):
        package = fast_l2_lir(selects=n < 40)
        package.fit((patterns - mean) / scale, (units - centre) / spread, alpha=100.0, n_feat=n)
        expected = package.predict((new - mean) / scale) * spread + centre
        found = UnitwiseDecoder(voxels=n).fit(patterns, units, GROUPS).predict(new)
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_the_average_of_predictions_is_the_prediction_of_the_average():
    """Since voxels are standardised by the training trials alone, as GOD and feature-decoding differ in which they take."""
    patterns, units, stimuli, _ = data(repeats=2)
    new = data(seed=3)[0][:35]
    decoder = UnitwiseDecoder(voxels=9).fit(patterns, units, GROUPS, stimuli)
    one, other = decoder.predict(new).mean(axis=0), decoder.predict(new.mean(axis=0, keepdims=True))[0]
    np.testing.assert_allclose(one, other, rtol=1e-6)


# Blocks, files


def tables(folder, units, dtype="float32"):
    """Tables on disk of columns that stand side by side."""
    found, start = {}, 0
    for name, n_columns in GROUPS.items():
        shape = len(units), n_columns
        table = FeatureTable(folder / name, tuple(map(str, range(len(units)))), shape, np.dtype(dtype))
        table.folder.mkdir(parents=True)
        for _ in arrange(units[:, start : start + n_columns].astype(dtype), table):
            pass
        found[name], start = table, start + n_columns
    return found


def fitted(folder, given, progress=lambda *_: None, **options):
    patterns, on_disk, stimuli, new = given
    decoder = UnitwiseDecoder(voxels=9, iterations=3, **options)
    fit_by_blocks(
        decoder,
        patterns,
        on_disk,
        folder / "decoder",
        stimuli=stimuli,
        new_patterns=new,
        new_ids=[f"s{row}" for row in range(len(new))],
        embeddings=folder / "test.safetensors",
        progress=progress,
        seconds_between_notes=0.0,
    )
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def given(tmp_path):
    patterns, units, stimuli, new = data(repeats=2, dtype=np.float32)
    return patterns, tables(tmp_path / "tables", units), stimuli, new


@pytest.fixture
def narrow(monkeypatch):
    """Blocks of 32 columns."""
    monkeypatch.setattr("stages.decoders.ridge.target_blocks.COLUMNS_PER_BLOCK", 32)


@pytest.mark.parametrize("options", [{"keep": "weights"}, {"keep": "patterns"}, {"kind": "ard"}])
def test_interrupted_anywhere_the_files_are_the_same(tmp_path, given, narrow, options):
    steps = []
    whole = fitted(tmp_path / "whole", given, progress=lambda *step: steps.append(step), **options)
    assert len(steps) == 2 + 7
    for after in range(1, len(steps), 2):
        left = iter(range(after))

        def stop(*step, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fitted(tmp_path / str(after), given, progress=stop, **options)
        again = []
        assert (
            fitted(tmp_path / str(after), given, progress=lambda *step, again=again: again.append(step), **options)
            == whole
        )
        assert len(again) < len(steps) or after < 4


@pytest.mark.parametrize("options", [{"keep": "weights"}, {"keep": "patterns"}, {"kind": "ard"}])
def test_blocks_of_any_width_and_either_way_to_store_predict_the_same(tmp_path, given, options, monkeypatch):
    patterns, on_disk, stimuli, new = given
    fitted(tmp_path / "wide", given, **options)
    with monkeypatch.context() as patch:
        patch.setattr("stages.decoders.ridge.target_blocks.COLUMNS_PER_BLOCK", 32)
        fitted(tmp_path / "narrow", given, **options)
    expected = load_file(tmp_path / "wide" / "test.safetensors")
    decoder = UnitwiseDecoder.from_pretrained(tmp_path / "wide" / "decoder").attach(lambda: on_disk)
    assert decoder.needs_targets == (decoder.stored_ == "patterns") == (options.get("keep") == "patterns")
    predict_by_blocks(decoder, new, [f"s{row}" for row in range(len(new))], tmp_path / "again.safetensors")
    for file in (tmp_path / "narrow" / "test.safetensors", tmp_path / "again.safetensors"):
        for name, values in load_file(file).items():
            assert np.abs(values - expected[name]).max() < 2e-5 * np.abs(expected[name]).max()


def test_a_layer_is_never_in_memory(tmp_path, given, monkeypatch, narrow):
    read = []
    runs, columns = FeatureTable.runs, FeatureTable.columns
    monkeypatch.setattr(FeatureTable, "runs", lambda self, a, b: read.append(b - a) or runs(self, a, b))
    monkeypatch.setattr(
        FeatureTable, "columns", lambda self, a, b, out=None: read.append(b - a) or columns(self, a, b, out)
    )
    fitted(tmp_path / "run", given, keep="patterns")
    assert max(read) == 32 and sum(read) == 195


def test_weights_that_take_much_are_not_stored_unless_asked_for(given, monkeypatch):
    monkeypatch.setattr("stages.decoders.unitwise.unit_storage.MODEST_BYTES", 1e4)
    patterns, on_disk, stimuli, new = given
    decoder = UnitwiseDecoder(voxels=9).fit_targets(patterns, on_disk, stimuli)
    assert decoder.stored_ == "patterns" and decoder.sizes_ == {
        "weights": 195 * (9 * 8 + 8),
        "patterns": 100 * 40 * 4 + 800,
    }
    assert "weights 0.0 MB" in decoder.notes()[0] and decoder.predict(new).shape == (6, 195)
    arrays = {name: np.asarray(table) for name, table in on_disk.items()}
    assert UnitwiseDecoder(voxels=9).fit_targets(patterns, arrays, stimuli).stored_ == "weights"
    assert UnitwiseDecoder("ard", voxels=9, iterations=1).fit_targets(patterns, on_disk, stimuli).stored_ == "weights"
    with pytest.raises(InputError, match="keep='weights'"):
        UnitwiseDecoder(keep="patterns").fit_targets(patterns, arrays, stimuli)


# What is given by mistake


def test_fewer_voxels_than_asked_for_are_all_taken_and_it_says_so():
    patterns, units, _, new = data()
    patterns[:, 8] = 5
    few, all_of_them = (UnitwiseDecoder(voxels=voxels).fit(patterns, units) for voxels in (500, "all"))
    np.testing.assert_array_equal(few.predict(new), all_of_them.predict(new))
    assert "Each unit takes all 39 voxels that vary: 500 were asked for." in few.notes()
    assert few.summary() == [{"target": "target", "columns": 195, "voxels": 39, "kept_voxels": 39.0}]
    assert not (few.tensors_["chosen_"] == 8).any() and "500" not in " ".join(all_of_them.notes())


def test_a_unit_that_does_not_vary_is_predicted_as_it_is():
    patterns, units, _, new = data()
    units[:, 5] = 3.25
    np.testing.assert_allclose(UnitwiseDecoder(voxels=9).fit(patterns, units).predict(new)[:, 5], 3.25)


def test_what_cannot_be_fitted_is_refused_in_a_sentence():
    patterns, units, _, _ = data()
    targets = {"conv": units.copy()}
    targets["conv"][4, 7] = np.nan
    with pytest.raises(InputError, match="'conv' holds NaN"):
        UnitwiseDecoder().fit_targets(patterns, targets)
    with pytest.raises(InputError, match="None of 40 voxels varies over 50 trials"):
        UnitwiseDecoder().fit(np.ones_like(patterns), units)
    with pytest.raises(InputError, match="--memory"):
        UnitwiseDecoder(memory=1e6).fit(patterns, units)
    for wrong in (
        {"voxels": 0},
        {"voxels": "most"},
        {"voxels": True},
        {"alpha": 0.0},
        {"kind": "lasso"},
        {"iterations": 0},
    ):
        with pytest.raises(InputError, match=f"{next(iter(wrong))} is .*; expected .*: pass"):
            UnitwiseDecoder(**wrong).fit(patterns, units)


def test_a_decoder_without_its_targets_says_what_to_do(tmp_path, given):
    fitted(tmp_path / "run", given, keep="patterns")
    with pytest.raises(InputError, match="attach the training targets"):
        UnitwiseDecoder.from_pretrained(tmp_path / "run" / "decoder").predict(given[3])


def test_operations_are_those_of_the_cheapest_way():
    """Of 700 voxels 200 are left out: far fewer than of 500 factored."""
    few, many = (UnitwiseDecoder().operations(1200, n, {"conv": 10**6}) / 1e6 for n in (700, 1000))
    assert 5e6 < few < 7e6 and 4e7 < many < 5e7
    assert UnitwiseDecoder("ard").operations(1200, 700, {"conv": 10**6}) > 1e4 * few * 1e6

"""Fitting into files: block by block, interrupted anywhere, the same bytes in the end."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from brainrecon.assembly.resumable_ridge import fit_by_blocks, predict_by_blocks
from brainrecon.features.table import FeatureTable, arrange
from brainrecon.runs.predict import read_embeddings
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from weights.partial_files import is_partial

GROUPS = {"a": 70, "b": 33}


def make_tables(folder, values, dtype="float32"):
    """Tables on disk of columns that stand side by side."""
    tables, start = {}, 0
    for name, n_columns in GROUPS.items():
        table = FeatureTable(
            folder / name, tuple(map(str, range(len(values)))), (len(values), n_columns), np.dtype(dtype)
        )
        table.folder.mkdir(parents=True)
        for _ in arrange(values[:, start : start + n_columns].astype(dtype), table):
            pass
        tables[name], start = table, start + n_columns
    return tables


@pytest.fixture
def data(tmp_path):
    random = np.random.default_rng(0)
    patterns, new = (random.normal(size=(n, 60)).astype(np.float32) for n in (50, 7))
    values = patterns @ random.normal(size=(60, 103)) + 5 * random.normal(size=(50, 103))
    return patterns, make_tables(tmp_path / "tables", values.astype(np.float32)), new, values.astype(np.float32)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 32 columns."""
    monkeypatch.setattr("stages.decoders.ridge.target_blocks.COLUMNS_PER_BLOCK", 32)


def fitted(data, folder, progress=SILENT, **options):
    patterns, tables, new, _ = data
    decoder = RidgeDecoder(alphas=(10.0, 1e3), **options)
    files = dict(
        new_patterns=new, new_ids=[f"s{row}" for row in range(len(new))], embeddings=folder / "test.safetensors"
    )
    fit_by_blocks(decoder, patterns, tables, folder / "decoder", progress=progress, seconds_between_notes=0.0, **files)
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("keep", ["weights", "targets", "factorisation"])
def test_files_vs_fitting_and_predicting_in_memory(tmp_path, data, keep):
    patterns, tables, new, values = data
    files = fitted(data, tmp_path / "run", keep=keep)
    assert sorted(map(str, files)) == ["decoder/config.json", "decoder/model.safetensors", "test.safetensors"]
    expected = RidgeDecoder(alphas=(10.0, 1e3)).fit(patterns, values, groups=GROUPS)
    found, names = read_embeddings(tmp_path / "run" / "test.safetensors")
    assert names == [f"s{row}" for row in range(7)]
    for name, part in expected.split(expected.predict(new)).items():
        np.testing.assert_allclose(found[name], part, rtol=1e-4, atol=1e-3)
    loaded = RidgeDecoder.from_pretrained(tmp_path / "run" / "decoder").attach(tables)
    assert loaded.alpha_ == expected.alpha_
    np.testing.assert_allclose(loaded.predict(new), expected.predict(new), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "options", [{"keep": "weights"}, {"keep": "targets"}, {"keep": "factorisation"}, {"penalty": "target"}]
)
def test_interrupted_anywhere_the_files_are_the_same(tmp_path, data, options):
    whole = fitted(data, tmp_path / "whole", **options)
    steps = []
    fitted(data, tmp_path / "counted", progress=lambda *step: steps.append(step), **options)
    for after in range(1, len(steps) + 1):
        seen = []

        def stop(*step, seen=seen, after=after):
            seen.append(step)
            if len(seen) == after:
                raise KeyboardInterrupt

        folder = tmp_path / f"after {after}"
        with pytest.raises(KeyboardInterrupt):
            fitted(data, folder, progress=stop, **options)
        assert not (folder / "decoder" / "config.json").exists()
        again = []
        assert fitted(data, folder, progress=lambda *step, again=again: again.append(step), **options) == whole
        blocks = [done for label, done, _ in seen if label == "predicting targets"]
        redone = [done for label, done, _ in again if label == "predicting targets"]
        # The block at which it was stopped had not been noted; those before it are not done again.
        assert not set(blocks[:-1]) & set(redone)


def test_what_another_fit_left_behind_is_not_used(tmp_path, data):
    def stop(label, done, total):
        if label == "predicting targets":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(data, tmp_path / "run", progress=stop, rescale="none")
    assert fitted(data, tmp_path / "run") == fitted(data, tmp_path / "whole")
    patterns, tables, new, values = data
    with pytest.raises(KeyboardInterrupt):
        fitted(data, tmp_path / "other", progress=stop)
    changed = (patterns + np.eye(50, 60, dtype=np.float32), tables, new, values)
    assert fitted(changed, tmp_path / "other") == fitted(changed, tmp_path / "other whole")


def test_a_budget_of_memory_changes_no_prediction(tmp_path, data):
    files = fitted(data, tmp_path / "plenty")
    assert fitted(data, tmp_path / "little", memory=1e9).keys() == files.keys()
    for file in files:
        if file.suffix == ".safetensors":
            one, other = (load_file(tmp_path / name / file) for name in ("plenty", "little"))
            for name in one:
                np.testing.assert_allclose(one[name], other[name], rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="--memory"):
        fitted(data, tmp_path / "none", memory=1e6)
    assert not (tmp_path / "none").exists()


def test_predicting_into_a_file_goes_on_where_it_was(tmp_path, data):
    patterns, tables, new, _ = data
    fitted(data, tmp_path / "run", keep="factorisation")
    decoder = RidgeDecoder.from_pretrained(tmp_path / "run" / "decoder").attach(tables)
    names = [f"s{row}" for row in range(7)]
    assert predict_by_blocks(decoder, new, names, tmp_path / "whole.safetensors") == {"a": (7, 70), "b": (7, 33)}
    whole = (tmp_path / "whole.safetensors").read_bytes()
    np.testing.assert_array_equal(
        np.hstack(list(load_file(tmp_path / "whole.safetensors").values())), decoder.predict(new)
    )
    for after in (1, 2, 4):
        seen = []

        def stop(*step, seen=seen, after=after):
            seen.append(step)
            if len(seen) == after:
                raise KeyboardInterrupt

        path, again = tmp_path / f"{after}.safetensors", []
        with pytest.raises(KeyboardInterrupt):
            predict_by_blocks(decoder, new, names, path, progress=stop, seconds_between_notes=0.0)
        assert not path.exists()
        said = lambda *step, again=again: again.append(step)  # noqa: E731
        predict_by_blocks(decoder, new, names, path, progress=said, seconds_between_notes=0.0)
        assert path.read_bytes() == whole
        assert len(again) + after == 5


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
sys.path.insert(0, {folder!r})
from brainrecon.features.table import FeatureTable
from brainrecon.assembly.resumable_ridge import fit_by_blocks
from stages.decoders.ridge import target_blocks
from stages.decoders.ridge.ridge import RidgeDecoder

target_blocks.COLUMNS_PER_BLOCK = 64
data, out = Path({data!r}), Path(sys.argv[1])
patterns, new = np.load(data / "train.npy"), np.load(data / "new.npy")
tables = {{
    "a": FeatureTable(data / "a", tuple(map(str, range(len(patterns)))), (len(patterns), {columns}), np.dtype("float16"))
}}
print("ready", flush=True)
fit_by_blocks(
    RidgeDecoder(alphas=np.logspace(0, 6, 20), keep=sys.argv[2]), patterns, tables, out / "decoder",
    new_patterns=new, new_ids=[str(row) for row in range(len(new))], embeddings=out / "test.safetensors",
    seconds_between_notes=0.05,
)
"""


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["factorisation", "weights"])
def test_killed_ten_times_the_files_are_the_same(tmp_path, keep):
    random, columns = np.random.default_rng(0), 60_000
    patterns = random.normal(size=(1200, 2000)).astype(np.float32)
    np.save(tmp_path / "train.npy", patterns)
    np.save(tmp_path / "new.npy", random.normal(size=(130, 2000)).astype(np.float32))
    table = FeatureTable(tmp_path / "a", tuple(map(str, range(1200))), (1200, columns), np.dtype(np.float16))
    table.folder.mkdir()
    for _ in arrange(random.normal(size=(1200, columns)).astype(np.float16), table):
        pass
    script = tmp_path / "fit.py"
    script.write_text(KILLED.format(folder=os.getcwd(), data=str(tmp_path), columns=columns))

    def begin(out):
        process = subprocess.Popen([sys.executable, script, tmp_path / out, keep], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        return process

    def files(out):
        found = sorted(path for path in (tmp_path / out).rglob("*") if path.is_file() and not is_partial(path))
        return {path.name: path.read_bytes() for path in found}

    process, started = begin("whole"), time.monotonic()
    assert process.wait() == 0
    took = time.monotonic() - started
    kills, went_on = 0, 0
    while kills < 10:
        process = begin("killed")
        time.sleep(random.uniform(0.1, 0.95) * took)
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            # Too late for a kill: from the beginning.
            assert files("killed") == files("whole")
            for path in (tmp_path / "killed").rglob("*.*"):
                path.unlink()
            continue
        kills += 1
        notes = [json.loads(path.read_text()) for path in (tmp_path / "killed").rglob(".test.partial.json")]
        went_on += any(note["state"]["blocks"] for note in notes)
    assert begin("killed").wait() == 0
    assert went_on > 0
    assert files("killed") == files("whole")

"""A drawing that is ended, or cannot draw something: what is done is saved, and the same command does the rest."""

import json
import math
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from brainrecon.cli.main import run_command
from stages.networks.dual_context_unet import DualContextUNet2DConditionModel as UNet

BATCH = 5


@pytest.fixture
def reconstruct(run_folder, features, monkeypatch):
    """Draw the run's 12 pictures, five at a time, with ``before(batch, rows)`` called at the first step of each batch."""
    forward = UNet.forward

    def draw(before=None, change=None):
        batches, last = [], [None]

        def watched(self, rows, timestep, *arguments, **options):
            if last[0] is None or int(timestep) > last[0]:
                batches.append(len(rows))
                if before is not None:
                    before(len(batches), rows)
            last[0] = int(timestep)
            output = forward(self, rows, timestep, *arguments, **options)
            return output if change is None else change(len(batches), output)

        monkeypatch.setattr(UNet, "forward", watched)
        line = ["reconstruct", run_folder, "--features", features, "--samples", "1", "--batch-size", BATCH]
        try:
            return run_command([str(part) for part in line]), batches
        finally:
            monkeypatch.setattr(UNet, "forward", forward)

    return draw


def pictures(folder):
    return {path.name: np.asarray(Image.open(path)).astype(int) for path in sorted(folder.glob("images/*.png"))}


def noted(folder):
    return {json.loads(line)["file"] for line in (folder / "manifest.jsonl").read_text().splitlines()}


def differ(found, expected):
    assert sorted(found) == sorted(expected)
    return max(np.abs(found[name] - expected[name]).max() for name in found)


@pytest.fixture(scope="module")
def whole(fitted, features, tmp_path_factory):
    """The pictures of the run, drawn at once."""
    import shutil

    folder = shutil.copytree(fitted, tmp_path_factory.mktemp("whole") / "run")
    assert run_command(["reconstruct", str(folder), "--features", str(features), "--samples", "1"]) == 0
    return pictures(folder)


@pytest.mark.parametrize("sent, code, word", [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Interrupted")])
def test_a_signal_ends_the_drawing_after_the_batch(reconstruct, run_folder, whole, capsys, sent, code, word):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        found, batches = reconstruct(lambda batch, rows: batch == 2 and signal.raise_signal(sent))
    finally:
        signal.signal(signal.SIGINT, before)
    told = capsys.readouterr().err
    assert found == code and len(batches) == 2 and len(pictures(run_folder)) == 2 * BATCH
    assert noted(run_folder) >= {f"images/{name}" for name in pictures(run_folder)}
    assert "Ending when this batch is done; Ctrl-C, or the same signal again, ends at once." in told
    assert f"{word}" in told.splitlines()[-2] and told.splitlines()[-1].startswith("brainrecon reconstruct")
    assert reconstruct()[0] == 0 and differ(pictures(run_folder), whole) <= 1


def test_a_second_signal_ends_it_at_once(reconstruct, run_folder):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def twice(batch, rows):
        if batch == 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    try:
        assert reconstruct(twice)[0] == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(pictures(run_folder)) == BATCH


def test_what_is_not_finite_is_missing_and_named_and_the_rest_is_drawn(reconstruct, run_folder, whole, capsys):
    def spoil(batch, output):
        if batch == 2:
            output[0][1::BATCH] = math.nan
        return output

    code, _ = reconstruct(change=spoil)
    told = capsys.readouterr().err.splitlines()[-1]
    absent = set(whole) - set(pictures(run_folder))
    assert code == 2 and len(absent) == 1 and told.startswith("1 output is missing, of ")
    (name,) = absent
    assert f"stim-{told.split(', of ')[1].split(' ')[0]}_sample-0.png" == name
    assert not [line for line in noted(run_folder) if name in line and line.startswith("images/")]
    assert reconstruct()[0] == 0 and differ(pictures(run_folder), whole) <= 1


def test_short_of_memory_it_goes_on_with_half_and_the_same_pictures(reconstruct, run_folder, whole, capsys):
    def short(batch, rows):
        if len(rows) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    code, batches = reconstruct(short)
    assert code == 0 and "Memory does not suffice for 5 pictures at a time; going on with 2" in capsys.readouterr().err
    assert batches[0] == 10 and max(batches[1:]) == 4
    assert differ(pictures(run_folder), whole) <= 1


def test_if_half_does_not_fit_one_sentence_says_what_to_type(reconstruct, capsys):
    def short(batch, rows):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    assert reconstruct(short)[0] == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "for 2 pictures at a time, after larger batches" in told and "with --batch-size 1." in told


def test_every_file_of_a_control_has_a_line_although_the_process_was_killed_before_it_wrote_one(run_folder, features):
    line = ["reconstruct", str(run_folder), "--features", str(features), "--samples", "1"]
    line += ["--controls", "oracle_embeddings", "--control-stimuli", "2"]
    assert run_command(line) == 0
    expected, manifest = noted(run_folder), run_folder / "manifest.jsonl"
    assert any(name.startswith("controls/oracle_embeddings/stage_one/") for name in expected)
    manifest.write_text("")
    assert run_command(line) == 0
    assert noted(run_folder) == expected

"""Train a network of several subjects on files that memory does not hold, and tell how much memory it takes.

    python scripts/pretrain_full_size.py [--folder FOLDER] [--steps 20] [--hidden 64] [--threads 1] [--not-ahead] [--json FILE]

Files have the shapes of a pretraining on NSD: by default seven subjects of 27,000 trials and 15,000 voxels, single trials in an
HDF5 file of each, and one table by rows of 73,000 stimuli, 256 tokens of 1,664 values in float16. They are sparse: each hundredth
trial is random, and so are some stimuli; all else is 0, which a file system keeps in no room and reads faster than a disk. Times
of reading are therefore lower bounds, but bytes in memory are not: what is read is as large as if it were real.

The network is MindEye2's at the published shape of tokens, without the network of the prior and with a narrow layer behind the
subjects' own, so that a step takes seconds on one thread; rough tokens are held to the true ones, and those for retrieval are
mixed among the samples of each subject and told apart in the whole batch. What is trained by it predicts nothing.

It prints how much there is in the files, what was read of them (as the system counts calls), the most memory that the process
held while it measured voxels and while it trained, seconds of a step, and the memory of the machine. It fails if the peak is
more than a tenth of the data.
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import h5py
import numpy as np
import torch
from peak_memory import forget_peak, peak_memory

from brainrecon.datasets.hdf5_rows import Hdf5Rows
from brainrecon.features.row_table import RowTable
from stages.decoders.samples import Samples
from stages.decoders.standardised import Voxels
from stages.decoders.trained import TrainedDecoder, Training
from stages.ground.main_memory import main_memory
from stages.networks.mindeye2 import MindEye2Network
from stages.objectives.regression import MeanSquaredError
from stages.objectives.retrieval import MixedThenSoft
from stages.training.recipe import OptimiserSpec, Recipe

ROUGH, RETRIEVAL = "clip_rough", "clip_retrieval"
REPEATS, RANDOM_EVERY = 3, 100
LARGEST_SHARE = 0.1


@dataclass(frozen=True)
class Sizes:
    """What the files hold."""

    subjects: int = 7
    trials: int = 27_000
    voxels: int = 15_000
    stimuli: int = 73_000
    tokens: int = 256
    width: int = 1664

    @property
    def of_betas(self):
        """Bytes of all trials, float32."""
        return 4 * self.subjects * self.trials * self.voxels

    @property
    def of_table(self):
        """Bytes of all tokens, float16."""
        return 2 * self.stimuli * self.tokens * self.width


def make_betas(path, n_trials, n_voxels, seed):
    """Write a sparse file of single trials."""
    random = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        betas = file.create_dataset("betas", (n_trials, n_voxels), np.float32, fill_time="never")
        for row in range(0, n_trials, RANDOM_EVERY):
            betas[row] = random.standard_normal(n_voxels, dtype=np.float32)


def make_table(folder, sizes):
    """Make a sparse table of tokens by rows, as the feature store has them."""
    folder.mkdir(parents=True, exist_ok=True)
    names, shape = tuple(map(str, range(sizes.stimuli))), (sizes.stimuli, sizes.tokens * sizes.width)
    table = RowTable(folder, names, shape, np.dtype(np.float16))
    values = np.lib.format.open_memmap(table.path, "w+", np.float16, shape, version=(1, 0))
    values[:: 20 * RANDOM_EVERY] = np.random.default_rng(0).standard_normal(shape[1]).astype(np.float16)
    values.flush()
    return table


def training_of(folder, sizes):
    """Make the files, and what a decoder learns from: each subject saw stimuli of its own, three times each."""
    responses, rows = {}, {}
    each = -(-sizes.trials // REPEATS)
    for place in range(sizes.subjects):
        name = f"subj{place + 1:02d}"
        make_betas(folder / f"{name}.hdf5", sizes.trials, sizes.voxels, place)
        responses[name] = Hdf5Rows(folder / f"{name}.hdf5", "betas")
        seen = np.repeat(np.arange(each), REPEATS)[: sizes.trials]
        rows[name] = (np.random.default_rng(place).permutation(seen) + place * each) % sizes.stimuli
    tokens = make_table(folder / "table", sizes).stored((sizes.tokens, sizes.width))
    return Training(responses, rows, {ROUGH: tokens, RETRIEVAL: tokens}, "trials apart")


def decoder_of(steps, batch_size, hidden):
    """The decoder; patterns are mixed throughout."""

    def objectives(network):
        return [MixedThenSoft(RETRIEVAL, 1, steps, mixed_share=1.0), MeanSquaredError(ROUGH)]

    recipe = Recipe(steps, batch_size, optimiser=OptimiserSpec("adamw", 1e-4), validate_every=steps)
    arguments = {"hidden": hidden, "prior": "none"}
    return TrainedDecoder(MindEye2Network, recipe, objectives, arguments)


def bytes_read():
    """Bytes that this process asked of files so far, whether they came from a disk or not; 0 if the system does not count."""
    counts = Path("/proc/self/io")
    return int(counts.read_text().split()[1]) if counts.is_file() else 0


def measured(sizes, folder, steps, batch_size, hidden, ahead):
    """Train, and measure: dict of str to number."""
    training, decoder = training_of(folder, sizes), decoder_of(steps, batch_size, hidden)
    found, marks = {"betas": sizes.of_betas, "table": sizes.of_table, "machine": main_memory()}, []
    n_measured, measure = [], Voxels.measure

    def measuring(voxels, responses, rows, **how):
        n_measured.append(len(rows))
        measure(voxels, responses, rows, **how)
        if len(n_measured) == sizes.subjects:
            found["seconds of measuring"] = time.perf_counter() - began
            found["peak of measuring"], found["read in measuring"] = peak_memory("cpu"), bytes_read() - read
            forget_peak("cpu")

    def progress(label, done, total):
        marks.append((time.perf_counter(), bytes_read()))

    began, read = time.perf_counter(), bytes_read()
    forget_peak("cpu")
    with ExitStack() as stack:
        stack.enter_context(patch.object(Voxels, "measure", measuring))
        if not ahead:
            stack.enter_context(patch.object(Samples, "are_read", False))
        decoder.fit(training, progress=progress)
    seconds = np.diff([at for at, _ in marks])
    found["peak of training"] = peak_memory("cpu")
    found["read in training"] = marks[-1][1] - marks[0][1]
    found["seconds of a step"] = float(np.median(seconds))
    found["steps"] = len(seconds)
    found["parameters"] = decoder.summary()[0]["parameters"]
    found["loss"] = decoder.summary()[0]["loss"]
    samples = Samples(training, decoder.recipe, by_subject=True)
    began = time.perf_counter()
    for step in range(5):
        samples.read(step)
    found["seconds of reading a batch"] = (time.perf_counter() - began) / 5
    return found


def told(found, sizes, batch_size, hidden, ahead):
    """Lines for people."""
    data = found["betas"] + found["table"]
    peak = max(found["peak of measuring"], found["peak of training"])
    return [
        f"Data: {sizes.subjects} subjects of {sizes.trials:,} x {sizes.voxels:,} betas in float32 ({_gb(found['betas'])}), and "
        f"{sizes.stimuli:,} x {sizes.tokens} x {sizes.width:,} tokens in float16 ({_gb(found['table'])}): {_gb(data)}.",
        f"Machine: {_gb(found['machine'])} of memory, {torch.get_num_threads()} threads.",
        f"Voxels measured in {found['seconds of measuring']:.0f} s, {_gb(found['read in measuring'])} read, at most "
        f"{_gb(found['peak of measuring'])} of memory.",
        f"Training: {found['parameters'] / 1e6:,.0f} million parameters, {hidden} values shared; {found['steps']} steps of "
        f"{batch_size} samples, {'read ahead' if ahead else 'not read ahead'}, "
        f"{found['seconds of a step']:.2f} s each, {_gb(found['read in training'])} read, at most "
        f"{_gb(found['peak of training'])} of memory. A batch alone is read in {found['seconds of reading a batch']:.3f} s.",
        f"Peak: {_gb(peak)}, {peak / data:.1%} of the data.",
    ]


def _gb(size):
    return f"{size / 1e9:.2f} GB"


def main(arguments=None):
    """Read the command line; returns whether memory stayed below a tenth of the data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where files are made; by default a folder that is removed again")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=42)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--not-ahead", action="store_true", help="read every batch when its step begins")
    parser.add_argument("--json", type=Path)
    for name, value in vars(Sizes()).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    sizes = Sizes(**{name: getattr(given, name) for name in vars(Sizes())})
    with ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        found = measured(sizes, folder, given.steps, given.batch_size, given.hidden, not given.not_ahead)
    print("\n".join(told(found, sizes, given.batch_size, given.hidden, not given.not_ahead)))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    return max(found["peak of measuring"], found["peak of training"]) < LARGEST_SHARE * (
        found["betas"] + found["table"]
    )


if __name__ == "__main__":
    sys.exit(not main())

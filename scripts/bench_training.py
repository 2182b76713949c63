"""Time a training step of MindEye's tokens and prior: this training loop beside the same step as a plain loop.

    python scripts/bench_training.py [--size tiny] [--threads 1] [--steps 20] [--pairs 5] [--json FILE]
    python scripts/bench_training.py --size full --accumulate 32 --steps 1 --pairs 1    # 17 GB of memory
    python scripts/bench_training.py --size full --device cuda --precision bf16

The networks are those of `mindeye2023`, the data random and of the size of NSD. The plain loop has the same network, losses
written plainly and PyTorch's fused AdamW, all in float32, and no checkpoints and curves. Both take the same number of steps in
turn; the first ones count for neither. Parts of a batch, where memory asks for them, are compared among themselves by the
plain loop, and with the whole batch by this one.

What is outside the networks is what remains of this loop's time without forward and backward passes and updates: making batches,
seeding, joining parts, norms, curves. The machine's limit is a square product of matrices, measured in the same run. With one
thread of a CPU times are those of the processor, so that other work on the machine disturbs them less.
"""

import argparse
import gc
import json
import math
import statistics
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from peak_memory import forget_peak, peak_memory
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import with_weights
from brainrecon.assembly.values import Machine
from stages.decoders import fitting
from stages.decoders.trained import TrainedDecoder, Training

# Voxels, shape of the tokens, stimuli to draw batches from.
SIZES = {"tiny": (1000, (65, 64), 128), "full": (15_724, (257, 768), 96)}
N_TIMES = 100


@dataclass(frozen=True)
class Work:
    """A training of MindEye's tokens.

    Attributes
    ----------
    decoder : stages.decoders.trained.TrainedDecoder
        As the method makes it, of few steps.
    training : stages.decoders.trained.Training
        Random, one trial a stimulus.
    """

    decoder: TrainedDecoder
    training: Training

    @property
    def gives(self):
        """Shape of each predicted value."""
        return {name: values.shape[1:] for name, values in self.training.features.items()}

    def network(self):
        """Make the network that is trained, at random; it reads standardised patterns."""
        (responses,) = self.training.responses.values()
        torch.manual_seed(0)
        return self.decoder.make(responses.shape[1], self.gives, **self.decoder.arguments).to(self.decoder.device)


def made(size, steps, device="cpu", precision="no", accumulate=1):
    """Make the work of a size: steps of its first epochs, in which samples are mixed."""
    n_voxels, shape, n_stimuli = SIZES[size]
    kind = system_class("mindeye2023")
    decoder = Chain(kind(with_weights({}, kind, "tiny" if size == "tiny" else None)), Machine(device)).steps[0].decoder
    changed = {"steps": steps, "precision": precision, "accumulate": accumulate}
    decoder.recipe = replace(decoder.recipe, **changed)
    random = np.random.default_rng(0)
    responses = random.standard_normal((n_stimuli, n_voxels), dtype=np.float32)
    tokens = random.standard_normal((n_stimuli, *shape), dtype=np.float32)
    tokens /= np.linalg.norm(tokens[:, :1], axis=-1, keepdims=True)
    rows = np.arange(n_stimuli)
    features = {"clip_rough": tokens, "clip_retrieval": tokens}
    return Work(decoder, Training({"subj01": responses}, {"subj01": rows}, features, "stimuli"))


# The plain loop


def plain_loss(network, patterns, tokens, mix):
    """Contrast of mixed samples, and thirty times the error of the prior, each written out.

    Parameters
    ----------
    network : stages.networks.mindeye.MindEyeTokens
    patterns : tensor of shape (n, n_voxels)
        Standardised and mixed.
    tokens : tensor of shape (n, n_tokens, width)
    mix : tuple of int tensor and float tensor of shape (n,)
        Partners, and what is left of each sample.
    """
    rough, retrieval = network.voxel2clip(patterns)
    predicted, true = functional.normalize(retrieval.flatten(1)), functional.normalize(tokens.flatten(1))
    logits = predicted @ true.T / 0.006
    partners, shares = mix
    rows = torch.arange(len(shares), device=shares.device)
    labels = torch.diag(shares)
    labels[rows, partners] = 1 - shares
    contrast = functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels.T)
    times = torch.randint(0, N_TIMES, (len(tokens),)).to(tokens.device)
    noise = torch.randn(tokens.shape).to(tokens.device)
    dropped = [(torch.rand(len(tokens)) < 0.2).to(tokens.device) for _ in range(2)]
    clean = tokens * math.sqrt(tokens.shape[-1])
    kept = share_kept(times)[:, None, None]
    found = network.net(kept.sqrt() * clean + (1 - kept).sqrt() * noise, times, rough, *dropped)
    return contrast / 2 + 30 * functional.mse_loss(found, clean)


def share_kept(times):
    """Share of the clean values' variance that the cosine process keeps at some times."""
    places = torch.arange(N_TIMES + 1, dtype=torch.float64) / N_TIMES
    curve = torch.cos((places + 0.008) / 1.008 * math.pi / 2) ** 2
    kept = (1 - (1 - curve[1:] / curve[:-1]).clamp(max=0.999)).cumprod(0)
    return kept.float().to(times.device)[times]


def draw_mix(n):
    """Draw partners, and shares of which half are 1."""
    partners, shares = torch.randperm(n), torch.distributions.Beta(0.15, 0.15).sample((n,))
    return partners, torch.where(torch.rand(n) < 0.5, shares, 1.0)


def train_plainly(work, clock, parts=1):
    """Take the steps of a training; seconds of each. Parts are compared among themselves alone."""
    recipe, device = work.decoder.recipe, work.decoder.device
    network = work.network().train()
    vectors = [one for name, one in network.named_parameters() if name.split(".")[-1] == "bias"]
    others = [one for name, one in network.named_parameters() if name.split(".")[-1] != "bias" and one.requires_grad]
    optimiser = torch.optim.AdamW([{"params": others}, {"params": vectors, "weight_decay": 0.0}], lr=3e-4, fused=True)
    (responses,) = work.training.responses.values()
    tokens = work.training.features["clip_rough"]
    mean, scale = (torch.from_numpy(values).to(device) for values in (responses.mean(0), responses.std(0)))
    order, times = np.random.default_rng(0), []
    for _ in range(recipe.steps):
        began = clock()
        rows = order.permutation(len(tokens))[: recipe.batch_size]
        for own in np.array_split(rows, parts):
            patterns = torch.from_numpy(responses[own])
            partners, shares = draw_mix(len(own))
            patterns = patterns * shares[:, None] + patterns[partners] * (1 - shares[:, None])
            mix = partners.to(device), shares.to(device)
            patterns = (patterns.to(device) - mean) / scale
            loss = plain_loss(network, patterns, torch.from_numpy(tokens[own]).to(device), mix) / parts
            loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        times.append(clock() - began)
    return times


# The training loop


def train_here(work, clock):
    """Take the steps of a training by the decoder's own `fit`; seconds of each, and those inside the networks."""
    marks = []

    def progress(label, done, total):
        marks.append((clock(), inside.seconds))

    with watched(clock) as inside:
        TrainedDecoder.fit(work.decoder, work.training, progress=progress)
    steps = [(after[0] - before[0], after[1] - before[1]) for before, after in zip(marks, marks[1:])]
    work.decoder._network = None
    return [whole for whole, _ in steps], [own for _, own in steps]


class Inside:
    """Seconds spent within calls that are wrapped; a call within another counts once."""

    def __init__(self, clock):
        self.seconds, self._clock, self._depth = 0.0, clock, 0

    def wrapped(self, call):
        """Measure whatever a function takes from now on."""

        def timed(*given, **told):
            if self._depth:
                return call(*given, **told)
            self._depth, began = 1, self._clock()
            try:
                return call(*given, **told)
            finally:
                self._depth = 0
                self.seconds += self._clock() - began

        return timed


@contextmanager
def watched(clock):
    """Measure forward and backward passes with their losses, and updates, of trainings within."""
    inside, train = Inside(clock), fitting.train

    def watched_train(learner, *given, **told):
        for name in ("forward", "compared", "compare"):
            setattr(learner, name, inside.wrapped(getattr(learner, name)))
        return train(learner, *given, **told)

    with ExitStack() as stack:
        stack.enter_context(patch.object(fitting, "train", watched_train))
        for owner, name in ((torch.autograd, "backward"), (torch.autograd, "grad"), (torch.optim.AdamW, "step")):
            stack.enter_context(patch.object(owner, name, inside.wrapped(getattr(owner, name))))
        yield inside


# The machine


def clock_of(device, threads):
    """A clock for work on a device: of the processor for one thread, else of the wall, when the device is done."""
    if device == "cpu":
        return time.process_time if threads == 1 else time.perf_counter

    def clock():
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock


def matrix_rate(device, precision, clock, side=None):
    """Operations per second of a square product of matrices, the best of five."""
    side = side or (2048 if device == "cpu" else 8192)
    left = torch.randn(side, side, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    seconds = []
    for _ in range(6):
        began = clock()
        left @ left
        seconds.append(clock() - began)
    return 2 * side**3 / min(seconds[1:])


def operations(work):
    """Floating-point operations of a step's matrix products, forwards and backwards, on a whole batch; nothing is computed."""
    with torch.device("meta"):
        (responses,) = work.training.responses.values()
        network = work.decoder.make(responses.shape[1], work.gives, **work.decoder.arguments)
        n = work.decoder.recipe.batch_size
        patterns, tokens = torch.empty(n, responses.shape[1]), torch.empty(n, *work.gives["clip_rough"])
        with FlopCounterMode(display=False) as counter:
            rough, retrieval = network.voxel2clip(patterns)
            found = network.net(tokens, torch.zeros(n, dtype=torch.long), rough)
            (found.sum() + retrieval.sum()).backward()
    return counter.get_total_flops()


def compare(options):
    """Measure both loops in turn; what was found, as plain data."""
    clock = clock_of(options.device, options.threads)
    skipped = options.warm_up
    work = made(options.size, options.steps + skipped, options.device, options.precision, options.accumulate)
    found = {"rate": matrix_rate(options.device, options.precision, clock), "operations": operations(work)}
    pairs = []
    for _ in range(options.pairs):
        forget_peak(options.device)
        plain = train_plainly(work, clock, options.accumulate)
        plain_memory = peak_memory(options.device)
        gc.collect()
        forget_peak(options.device)
        here, inside = train_here(work, clock)
        memory = peak_memory(options.device)
        gc.collect()
        pairs.append(
            {
                "plain": statistics.median(plain[skipped:]),
                "here": statistics.median(here[skipped:]),
                "outside": 1 - sum(inside[skipped:]) / sum(here[skipped:]),
                "plain memory": plain_memory,
                "memory": memory,
            }
        )
        print(f"  {pairs[-1]['plain']:8.3f} s plain, {pairs[-1]['here']:8.3f} s here", flush=True)
    found["pairs"] = pairs
    found |= {name: statistics.median(pair[name] for pair in pairs) for name in pairs[0]}
    found["times"] = statistics.median(pair["plain"] / pair["here"] for pair in pairs)
    return found


def table(found, batch_size):
    """Lines of what was measured."""
    rows = [
        ("samples per second, plain loop in float32", f"{batch_size / found['plain']:.3g}"),
        ("samples per second, this loop", f"{batch_size / found['here']:.3g}"),
        ("times the plain loop, median of pairs", f"{found['times']:.2f}"),
        ("outside the networks", f"{100 * found['outside']:.1f} %"),
        ("peak memory, plain loop", f"{found['plain memory'] / 1e9:.2f} GB"),
        ("peak memory, this loop", f"{found['memory'] / 1e9:.2f} GB"),
        ("operations of a step", f"{found['operations']:.3g}"),
        ("matrix products of this machine, operations per second", f"{found['rate']:.3g}"),
        ("of which a step reaches", f"{100 * found['operations'] / found['here'] / found['rate']:.0f} %"),
    ]
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]


def parsed(arguments=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=list(SIZES), default="tiny")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    parser.add_argument(
        "--precision", choices=["no", "bf16"], default="no", help="of this loop; the plain one has none"
    )
    parser.add_argument("--accumulate", type=int, default=1, help="parts of a batch (default 1)")
    parser.add_argument("--steps", type=int, default=20, help="of each training that count (default 20)")
    parser.add_argument("--warm-up", type=int, default=1, help="steps before these (default 1)")
    parser.add_argument("--pairs", type=int, default=5, help="trainings of each kind (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    options = parser.parse_args(arguments)
    for name in ("threads", "accumulate", "steps", "pairs"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; expected 1 or more")
    return options


def main(arguments=None):
    """Measure, print, and write what was measured."""
    options = parsed(arguments)
    torch.set_num_threads(options.threads)
    name = torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else "a CPU"
    asked = {one: value for one, value in vars(options).items() if one != "json"}
    print(f"{name}, {options.threads} thread(s), torch {torch.__version__}; {asked}")
    found = asked | {"torch": torch.__version__} | compare(options)
    print("\n".join(table(found, made(options.size, 1).decoder.recipe.batch_size)))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

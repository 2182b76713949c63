"""Time what reconstruction costs: the UNet's milliseconds per row and core, and whole pictures per minute.

    python scripts/bench_reconstruct.py [FOLDER] [--threads 1] [--batch-sizes 1,16,32,64] [--pictures 16]

A picture under guidance is two rows per denoising step. With one thread the time is that of the processor, so that
other work on the machine disturbs it less; with several it is the clock's.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.diffusion.sampler import mixture
from stages.generators.generator import Item
from weights.store import CheckpointError

EMBEDDED = Path(__file__).resolve().parents[1] / "weights" / "tiny" / "generator"


def time_rows(generator, batch_size, threads, repeats=7):
    """Return the least seconds that one row of the UNet took, both contexts weighed."""
    clock = time.process_time if threads == 1 else time.perf_counter
    unet = generator.pipeline.unet
    size, tokens = unet.config.sample_size, sum(unet.context_tokens)
    random = torch.Generator().manual_seed(0)
    sample = torch.randn(batch_size, unet.config.in_channels, size, size, generator=random)
    contexts = torch.randn(batch_size, tokens, generator.takes["clip_image"][1], generator=random)
    weights = mixture([(0.6,) * batch_size, (0.4,) * batch_size], sample.device, sample.dtype)
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats):
            started = clock()
            unet(sample, 500, contexts, cross_attention_kwargs=weights)
            seconds.append(clock() - started)
    return min(seconds[1:]) / batch_size


def time_pictures(generator, n, batch_size):
    """Return the seconds that `n` whole pictures took, from a first picture at strength 0.75 of 50 steps."""
    random = np.random.default_rng(0)
    side = generator.image_size
    values = {
        name: random.standard_normal((n, *generator.takes[name])).astype(np.float32)
        for name in ("clip_image", "clip_text")
    }
    values["first_picture"] = random.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    items = [Item(f"picture-{k}") for k in range(n)]
    started = time.perf_counter()
    for _ in generator.draw(values, items, batch_size=batch_size):
        pass
    return time.perf_counter() - started


def main():
    """Print one line per batch size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=EMBEDDED, help="a generator in diffusers' layout")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    parser.add_argument("--batch-sizes", default="1,16,32,64", help="rows, separated by commas")
    parser.add_argument("--pictures", type=int, default=16, help="whole pictures to draw; 0 draws none")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        generator = DualContextGenerator.from_pretrained(options.folder)
    except CheckpointError as error:
        parser.exit(2, f"{error}\n")

    parameters = sum(parameter.numel() for parameter in generator.pipeline.unet.parameters())
    print(f"{options.folder}: UNet of {parameters / 1e6:.2f} M parameters, {options.threads} thread(s)")
    for batch_size in (int(part) for part in options.batch_sizes.split(",")):
        milliseconds = 1e3 * time_rows(generator, batch_size, options.threads)
        per_core = milliseconds * options.threads
        print(f"  {batch_size:3d} rows: {milliseconds:6.2f} ms a row, {per_core:6.2f} ms a row and core")
    if options.pictures:
        seconds = time_pictures(generator, options.pictures, batch_size=16)
        print(
            f"  {options.pictures} pictures, guided, 37 steps: {seconds:.1f} s, {seconds / options.pictures:.2f} s each"
        )


if __name__ == "__main__":
    main()

"""Whether generators draw on the device what they draw on the CPU in float32, and the same picture in any batch."""

import bench_generate
import numpy as np
import torch

from gpu_parts.check import Row, tf32
from stages.generators.diffusion.acceleration import Acceleration
from stages.generators.generator import in_order

N = 4
# Grey levels. Half precision is promised no single pixel: the mean says whether it is the same picture.
LARGEST, MEAN_HALF = 2, 8


def drawn(generator, values, items, steps, batch_size):
    """Pictures in the order of the items, as whole numbers that can be subtracted."""
    settings = {"num_inference_steps": steps, "strength": bench_generate.STRENGTH, "batch_size": batch_size}
    return np.stack(in_order(generator.draw(values, items, **settings))).astype(int)


def accelerated(generator, device, **settings):
    """Bring a generator to a device under settings of acceleration."""
    if hasattr(generator.pipeline, "image_encoder"):
        generator.pipeline.image_encoder = None
    Acceleration(**settings).apply(generator.pipeline, device)
    return generator


def right_generators(check):
    """Yield grey levels between the device and the CPU, for each generator at tiny size."""
    for kind in bench_generate.GENERATORS:
        try:
            torch.manual_seed(0)
            generator = bench_generate.random_generator(kind, "tiny", torch.device("cpu"), "ddim")
            values, items = bench_generate.random_values(generator, N)
            reference = drawn(generator, values, items, 4, N)
            with tf32(False):
                accelerated(generator, check.device, dtype="float32")
                found = drawn(generator, values, items, 4, N)
            yield Row(f"{kind}, float32, largest", np.abs(found - reference).max(), "grey levels", LARGEST)
            accelerated(generator, check.device, dtype=check.half)
            found = drawn(generator, values, items, 4, N)
            yield Row(f"{kind}, {check.half}, mean", np.abs(found - reference).mean(), "grey levels", MEAN_HALF)
        except Exception as error:
            # One generator that fails says nothing about the next one.
            yield Row.of_failure(kind, error)


def same_at_any_batch(check):
    """Yield grey levels between pictures drawn alone and the same ones drawn together, in float32 and half precision."""
    n, steps = check.chosen((16, 8), (4, 4))
    torch.manual_seed(0)
    generator = bench_generate.random_generator("versatile", check.size, check.device, "ddim")
    values, items = bench_generate.random_values(generator, n)
    # Only float32 without TF32 is promised one grey level.
    for dtype, reduced, allowed in (("float32", False, 1), ("float32", True, None), (check.half, False, None)):
        if reduced and check.device.type != "cuda":
            continue
        with tf32(reduced):
            accelerated(generator, check.device, dtype=dtype)
            alone, together = (drawn(generator, values, items, steps, batch) for batch in (1, n))
        apart, name = np.abs(alone - together), f"{'TF32' if reduced else dtype}, batch 1 and {n}"
        yield Row(f"{name}, largest", apart.max(), "grey levels", allowed)
        yield Row(f"{name}, share of values that differ", (apart > 0).mean(), "")

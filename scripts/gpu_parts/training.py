"""A training step of MindEye's tokens at its published size, beside the same step written plainly in float32."""

import statistics

import bench_training

from gpu_parts.check import Row


def training(check):
    """Yield seconds of a step in float32 and in bfloat16."""
    steps, warm = check.chosen((8, 3), (3, 1))
    device, size = str(check.device), check.size
    clock = bench_training.clock_of(device, threads=2)
    work = bench_training.made(size, steps + warm, device)
    operations, batch = bench_training.operations(work), work.decoder.recipe.batch_size
    plain = statistics.median(bench_training.train_plainly(work, clock)[warm:])
    yield Row(f"batch {batch}, plain loop, float32", plain, "s a step", operations=operations)
    for precision, rate in (("no", "float32"), ("bf16", "bfloat16")):
        work = bench_training.made(size, steps + warm, device, precision)
        whole, inside = bench_training.train_here(work, clock)
        seconds, outside = statistics.median(whole[warm:]), 1 - sum(inside[warm:]) / sum(whole[warm:])
        told = {
            "plain": plain,
            "operations": operations,
            "rate": rate,
            "note": f"{100 * outside:.0f} % outside the networks",
        }
        yield Row(f"batch {batch}, this loop, {rate}", seconds, "s a step", **told)

"""The device's own limit: a square product of matrices, in every precision."""

import torch

from gpu_parts.check import Row, tf32


def matrix_rate(check):
    """Yield operations per second by precision, and keep them for the other parts."""
    side = check.chosen(8192, 768)
    precisions = ["float32", "bfloat16"]
    if check.device.type == "cuda":
        precisions = ["float64", "float32", "tf32", "bfloat16", "float16"]
    for name in precisions:
        dtype = torch.float32 if name == "tf32" else getattr(torch, name)
        left = torch.randn(side, side, device=check.device).to(dtype)
        with tf32(name == "tf32"):
            seconds = check.medians({name: lambda left=left: left @ left}, repeats=5)[name]
        check.rates[name] = 2 * side**3 / seconds
        yield Row(f"{name}, {side} x {side}", check.rates[name] / 1e12, "10^12 operations/s")

"""Brain-Diffuser's stage two at its published size with random weights: time, settings, and whether anything waits."""

import dataclasses
from collections import Counter

import bench_generate
import torch
from torch.utils.flop_counter import FlopCounterMode

from gpu_parts.check import Row, apart
from gpu_parts.right_generators import accelerated
from gpu_parts.waits import Waits
from stages.generators.diffusion.acceleration import join_projections
from stages.generators.diffusion.compilation import compiled
from stages.generators.diffusion.latent_diffusion import Row as Picture
from stages.generators.diffusion.sampler import denoise, network_arguments

BATCHES = (1, 8, 16, 32, 64)


def made(check, n):
    """A generator of random weights in float32 on the device, and what n pictures are drawn from."""
    torch.manual_seed(0)
    generator = bench_generate.random_generator("versatile", check.size, check.device, "ddim")
    return generator, *bench_generate.random_values(generator, n)


def draw(generator, values, items, steps, batch_size):
    """Draw and throw away."""
    settings = {"num_inference_steps": steps, "strength": bench_generate.STRENGTH, "batch_size": batch_size}
    for _ in generator.draw(values, items, **settings):
        pass


def operations_of_a_picture(generator, values, items, steps):
    """Operations of one picture's matrix products at a number of steps, counted over a few."""
    counted = []
    for few in (2, 4):
        with FlopCounterMode(display=False) as counter:
            draw(generator, *bench_generate.part(values, items, 1), few, 1)
        counted.append(counter.get_total_flops())
    # Of 2 steps one is done, of 4 there are 3.
    each = (counted[1] - counted[0]) / 2
    return counted[0] - each + int(bench_generate.STRENGTH * steps) * each


def prepared(generator, values, items):
    """The complete sampling of one batch."""
    rows = [
        Picture(
            item.stimulus_id,
            0,
            {name: None for name in generator.takes} | {name: rows[k] for name, rows in values.items()},
            generator.default_weights,
            bench_generate.STRENGTH,
        )
        for k, item in enumerate(items)
    ]
    return generator.prepared(rows, 0, 4, generator.default_guidance_scale)


def drawing(check):
    """Yield seconds of a picture: one at a time in float32, and in half precision at growing batches."""
    largest = check.chosen(BATCHES[-1], 8)
    steps = check.chosen(50, 8)
    generator, values, items = made(check, largest)
    operations = operations_of_a_picture(generator, values, items, steps)
    one = bench_generate.part(values, items, 1)
    draw(generator, *one, 4, 1)
    plain = check.seconds(lambda: draw(generator, *one, steps, 1))
    name = f"{generator.image_size} x {generator.image_size}, {steps} steps"
    yield Row(f"{name}, plain: alone, float32", plain, "s", operations=operations, note="as torch is by default")
    accelerated(generator, check.device, dtype=check.half)
    for batch in (n for n in BATCHES if n <= largest):
        if check.left() < 1.5 * plain * batch:
            yield Row(f"{name}, batch {batch}: skipped, no time left")
            continue
        some = bench_generate.part(values, items, batch)
        draw(generator, *some, 4, batch)
        seconds = check.seconds(lambda some=some, batch=batch: draw(generator, *some, steps, batch)) / batch
        told = {"plain": plain, "operations": operations, "rate": check.half}
        yield Row(f"{name}, batch {batch}, {check.half}", seconds, "s a picture", **told)
    decode = generator.pipeline.vae
    latents = torch.randn(1, 4, *[generator.image_size // 8] * 2, device=check.device, dtype=decode.dtype)
    with torch.inference_mode():
        seconds = check.medians({"": lambda: decode.decode(latents)})[""]
    yield Row(f"autoencoder alone, {check.half}", seconds, "s a picture")


def settings(check):
    """Yield seconds of one evaluation of the UNet under each setting of acceleration, half precision, and what it changes."""
    batch = check.chosen(16, 2)
    generator, values, items = made(check, batch)
    accelerated(generator, check.device, dtype=check.half, channels_last=False, joined_projections=False)
    unet = generator.pipeline.unet
    sampling = prepared(generator, values, items).of_fixed_shape(batch)
    tokens, arguments = network_arguments(sampling)
    rows = torch.cat([sampling.latents, sampling.latents]).to(sampling.dtype)
    timestep = sampling.timesteps[0].to(check.device)

    @torch.inference_mode()
    def evaluate():
        # Graphs of CUDA write over what they gave before.
        return unet(rows, timestep, tokens, **arguments, return_dict=False)[0].clone()

    reference = evaluate().float().cpu()
    plain = check.medians({"": evaluate})[""]
    yield Row(f"UNet, batch {batch}, {check.half}, no setting", plain, "s an evaluation")
    # A compiler's own time is not what a CPU is asked for here.
    backend = {} if check.device.type == "cuda" else {"backend": "eager"}

    def plainly():
        unet._compiled_call_impl = None
        for part in unet.modules():
            part._compiled_call_impl = None

    # With the seconds that must be left to begin: compiling the whole network takes minutes.
    changes = {
        "channels last": (5, lambda: torch.nn.Module.to(unet, memory_format=torch.channels_last)),
        "and joined projections": (5, lambda: join_projections(unet)),
        "and compiled blocks": (60, lambda: compiled(unet, **backend)),
    }
    if check.device.type == "cuda":
        graphs = {"mode": "reduce-overhead"}
        changes["and compiled whole"] = 150, lambda: (plainly(), compiled(unet, whole=True))
        changes["and graphs of CUDA (no setting)"] = 150, lambda: (plainly(), compiled(unet, whole=True, **graphs))
    for name, (needed, change) in changes.items():
        if check.left() < needed:
            yield Row(f"UNet, {name}: skipped, no time left")
            continue
        change()
        compiling = check.seconds(evaluate)
        seconds = check.medians({"": evaluate})[""]
        changed = apart(evaluate().float().cpu(), reference)
        note = f"first call {compiling:.1f} s; changes {changed:.1e} of the spread"
        yield Row(f"UNet, {name}", seconds, "s an evaluation", plain=plain, note=note)


def waiting(check):
    """Yield how often the denoising loop waits for the device: by torch's operations, and on CUDA by the driver's calls."""
    generator, values, items = made(check, 2)
    accelerated(generator, check.device, dtype=check.half)
    pipeline, device = generator.pipeline, check.device
    sampling = prepared(generator, values, items)
    if device.type != "cuda":
        # Without an accelerator: on tensors that have no values.
        device, sampling = torch.device("meta"), _on_meta(sampling)
        pipeline.unet.to(device)
    with Waits(device) as waits:
        denoise(pipeline.unet, pipeline.scheduler, sampling)
    found = ", ".join(f"{n} {name}" for name, n in waits.found.items())
    yield Row(f"operations that wait, on {device.type}", sum(waits.found.values()), "a loop", 0, note=found)
    if device.type != "cuda":
        return
    from torch.profiler import ProfilerActivity, profile

    sampling = prepared(generator, values, items)
    check.finish()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        denoise(pipeline.unet, pipeline.scheduler, sampling)
    calls = Counter({event.key: event.count for event in seen.key_averages()})
    asked = ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaMemcpy", "aten::item", "aten::nonzero")
    for name in (*asked, "aten::_local_scalar_dense", "cudaMemcpyAsync", "cudaLaunchKernel"):
        # The solver asks numbers of its tables on the CPU, and the timesteps are copied once, unawaited.
        allowed = 0 if name in asked[:3] else None
        yield Row(f"calls of {name}", calls[name], "a loop", allowed)
    yield Row("evaluations of the network", len(sampling.timesteps), "a loop")


def _on_meta(sampling):
    def there(value):
        if isinstance(value, torch.Tensor):
            return value.to("meta")
        if isinstance(value, (tuple, list)):
            return type(value)(there(each) for each in value)
        if dataclasses.is_dataclass(value):
            names = ("tokens", "nothing", "latents", "contexts")
            return dataclasses.replace(
                value, **{name: there(getattr(value, name)) for name in names if hasattr(value, name)}
            )
        return value

    return dataclasses.replace(there(sampling), device=torch.device("meta"))

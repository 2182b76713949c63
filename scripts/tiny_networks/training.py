"""The training loop that every embedded network shares.

A run is a function of its arguments alone: batches and noise are looked up by step number, so that a
training that was stopped and started again ends with the weights of one that was left in peace (to the
bit, in float32 on one thread).
"""

import contextlib
import copy
import json
import math
import shutil
import time
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn.attention import SDPBackend, sdpa_kernel

from tiny_networks.muon import Muon
from weights.whole_files import whole_file, write_text

STATE_FILE = "state.safetensors"
RECORD_FILE = "record.json"
LARGEST_ADAMW_RATE = 3e-3  # Muon bears more than biases and normalisations do.


def fit(
    name,
    model,
    loss,
    batches,
    *,
    workspace,
    steps,
    learning_rate=2e-4,
    weight_decay=0.01,
    warmup=200,
    ema_decay=0.999,
    autocast=True,
    device=None,
    save_seconds=300,
    log_every=100,
    clip_norm=1.0,
    threads=None,
    channels_last=True,
    muon=False,
    compiled=False,
):
    """Train a network with AdamW, or Muon beside it, and return the moving average of its weights.

    The learning rate climbs linearly over ``warmup`` steps and falls along a half cosine to zero. What was
    reached is kept in ``workspace/<name>/`` and continued from there; a run that already took ``steps``
    steps returns at once.

    Parameters
    ----------
    name : str
        Name of the folder below ``workspace``.
    model : torch.nn.Module
        Trained in place; its initial weights matter only where no state was kept.
    loss : callable
        ``loss(model, batch, generator) -> (scalar tensor, dict of str to float)``. Whatever it draws must
        come from ``generator`` (on the CPU, seeded by the step), or the run cannot be repeated.
    batches : callable
        ``batches(step) -> batch``, the same for the same step: a tensor, or a tuple, list or dict of them.
    workspace : path-like
        Folder of all unfinished networks.
    steps : int
        Length of the whole training, kept steps included.
    learning_rate, weight_decay : float
        Of AdamW; only weights of two or more dimensions decay.
    warmup : int
        Steps until the full learning rate.
    ema_decay : float
        Of the moving average, which starts faster: min(ema_decay, (1 + step) / (10 + step)).
    autocast : bool
        Compute in bfloat16 where torch considers that safe. Weights and moments stay float32.
    device : str or torch.device, optional
        CUDA when there is one, the CPU otherwise.
    save_seconds : float
        Time between two saves; there is always one at the end.
    log_every : int
        Steps between two printed lines.
    clip_norm : float or None
        Largest norm of the gradient.
    threads : int, optional
        Threads of torch; left alone when None.
    channels_last : bool
        Memory layout of convolutions. Faster, except on the CPU between group normalisations, whose backward
        pass is slow in that layout.
    muon : bool
        Leave the weights of two or more dimensions to Muon, at the same learning rate, and the others to AdamW
        (at ``LARGEST_ADAMW_RATE`` at most).
    compiled : bool
        Let torch compile the network first, where there is a C++ compiler. That takes minutes and shortens a step
        of small convolutions by about a quarter; results differ in the last bits.

    Returns
    -------
    torch.nn.Module
        A copy of ``model`` in evaluation mode that carries the averaged weights, on ``device``.

    Raises
    ------
    FloatingPointError
        The loss, or the gradient twenty times running, was not finite.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    folder = Path(workspace) / name
    folder.mkdir(parents=True, exist_ok=True)

    layout = torch.channels_last if channels_last else torch.contiguous_format
    model.to(device=device, memory_format=layout).train()
    average = copy.deepcopy(model).eval().requires_grad_(False)
    optimisers = _optimisers(model, learning_rate, weight_decay, muon)
    done = _Progress()
    if (folder / STATE_FILE).exists():
        done = _load(folder / STATE_FILE, model, average, optimisers)
        print(f"{name}: continues after step {done.step:,} of {steps:,}", flush=True)

    called = torch.compile(model) if compiled and (device.type == "cuda" or shutil.which("g++")) else model
    saved = logged = time.monotonic()
    logged_step = done.step
    while done.step < steps:
        started = time.monotonic()
        batch = _to_device(batches(done.step), device)
        rate = learning_rate * _schedule(done.step, steps, warmup)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = min(rate, group["largest_rate"])
        generator = torch.Generator().manual_seed(done.step)
        with _attention(device), torch.autocast(device.type, dtype=torch.bfloat16, enabled=autocast):
            value, logs = loss(called, batch, generator)
        if not torch.isfinite(value):
            raise FloatingPointError(f"{name}: the loss is {value.item()} at step {done.step:,}.")
        model.zero_grad(set_to_none=True)
        value.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), math.inf if clip_norm is None else clip_norm)
        if torch.isfinite(norm):
            for optimiser in optimisers:
                optimiser.step()
            done.skipped_running = 0
        else:
            done.skip(name)
        _follow(average, model, min(ema_decay, (1 + done.step) / (10 + done.step)))
        done.step += 1
        done.pictures += _length(batch)
        now = time.monotonic()
        done.seconds += now - started
        if done.step % log_every == 0 or done.step == steps:
            pace = (now - logged) / max(done.step - logged_step, 1)
            print(_line(name, done, steps, rate, norm, value, logs, pace), flush=True)
            logged, logged_step = now, done.step
        if now - saved >= save_seconds or done.step == steps:
            _save(folder, name, model, average, optimisers, done, steps)
            saved = time.monotonic()
    return average


def record(workspace, name):
    """What a training took: a dict with ``steps``, ``pictures``, ``seconds``, ``parameters``, ``device``."""
    return json.loads((Path(workspace) / name / RECORD_FILE).read_text())


def averaged_weights(workspace, name):
    """State dict of the averaged network, as the training last kept it; the training may still be running."""
    prefix = "average."
    with safe_open(Path(workspace) / name / STATE_FILE, framework="pt", device="cpu") as file:
        return {key.removeprefix(prefix): file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}


def _attention(device):
    """Attention written out on the CPU: the fused one's backward pass takes half of a step at these lengths."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else contextlib.nullcontext()


class _Progress:
    """How far a training has come."""

    def __init__(self, step=0, pictures=0, seconds=0.0, skipped=0, skipped_running=0):
        self.step = step
        self.pictures = pictures
        self.seconds = seconds
        self.skipped = skipped
        self.skipped_running = skipped_running

    def skip(self, name):
        """Count an update that was left out because its gradient overflowed."""
        self.skipped += 1
        self.skipped_running += 1
        if self.skipped_running >= 20:
            raise FloatingPointError(f"{name}: twenty gradients running were not finite (step {self.step:,}).")


def _optimisers(model, learning_rate, weight_decay, muon):
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim >= 2]
    others = [parameter for parameter in trained if parameter.ndim < 2]
    largest = LARGEST_ADAMW_RATE if muon else math.inf
    groups = [{"params": others, "weight_decay": 0.0, "largest_rate": largest}]
    if not muon:
        groups.insert(0, {"params": matrices, "weight_decay": weight_decay, "largest_rate": largest})
    groups = [group for group in groups if group["params"]]
    # The rate is set before every step.
    optimisers = [torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.99), fused=True)] if groups else []
    if muon and matrices:
        groups = [{"params": matrices, "largest_rate": math.inf}]
        optimisers.append(Muon(groups, lr=learning_rate, weight_decay=weight_decay))
    return optimisers


def _schedule(step, steps, warmup):
    climb = min(1.0, (step + 1) / max(warmup, 1))
    return climb * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))


@torch.no_grad()
def _follow(average, model, decay):
    for kept, current in zip(average.parameters(), model.parameters()):
        kept.lerp_(current, 1 - decay)
    for kept, current in zip(average.buffers(), model.buffers()):
        kept.copy_(current)


def _to_device(batch, device):
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {key: _to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        return type(batch)(_to_device(value, device) for value in batch)
    return batch


def _length(batch):
    if isinstance(batch, dict):
        batch = tuple(batch.values())
    return _length(batch[0]) if isinstance(batch, (tuple, list)) else len(batch)


def _line(name, done, steps, rate, norm, value, logs, pace):
    terms = "".join(f"  {key} {float(number):.4f}" for key, number in logs.items())
    left = pace * (steps - done.step) / 60
    return (
        f"{name}: {done.step:,}/{steps:,}  loss {value.item():.4f}{terms}  rate {rate:.2e}  "
        f"norm {norm.item():.2f}  {1000 * pace:.0f} ms/step  {left:.1f} min left"
    )


def _save(folder, name, model, average, optimisers, done, steps):
    # One file, progress included, so that weights and step number cannot fall apart.
    tensors = {f"model.{key}": value for key, value in model.state_dict().items()}
    tensors |= {f"average.{key}": value for key, value in average.state_dict().items()}
    for key, parameter in model.named_parameters():
        for optimiser in optimisers:
            for moment, value in optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{moment}.{key}"] = value
    # Cloned, because tied weights share memory and safetensors stores no tensor twice.
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    with whole_file(folder / STATE_FILE) as partial:
        save_file(tensors, partial, metadata={"progress": json.dumps(vars(done))})

    parameters = sum(parameter.numel() for parameter in model.parameters())
    device = next(model.parameters()).device
    summary = {
        "name": name,
        "steps": done.step,
        "planned_steps": steps,
        "pictures": done.pictures,
        "seconds": round(done.seconds, 1),
        "skipped_updates": done.skipped,
        "parameters": parameters,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }
    write_text(folder / RECORD_FILE, json.dumps(summary, indent=2) + "\n")


def _load(path, model, average, optimisers):
    with safe_open(path, framework="pt", device="cpu") as file:
        progress = _Progress(**json.loads(file.metadata()["progress"]))
        tensors = {key: file.get_tensor(key) for key in file.keys()}

    def part(prefix):
        return {key.removeprefix(prefix): tensors[key] for key in tensors if key.startswith(prefix)}

    model.load_state_dict(part("model."))
    average.load_state_dict(part("average."))
    names = {parameter: name for name, parameter in model.named_parameters()}
    for optimiser in optimisers:
        moments = ("momentum",) if isinstance(optimiser, Muon) else ("step", "exp_avg", "exp_avg_sq")
        for parameter in (each for group in optimiser.param_groups for each in group["params"]):
            kept = {moment: tensors.get(f"optimiser.{moment}.{names[parameter]}") for moment in moments}
            if any(value is None for value in kept.values()):
                continue
            # In the memory layout of the weight; the step counter is a float32 scalar beside it.
            like = parameter.detach()
            optimiser.state[parameter] = {
                moment: torch.empty_like(like).copy_(value) if value.ndim else value.to(like.device)
                for moment, value in kept.items()
            }
    return progress

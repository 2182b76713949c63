"""How every embedded network is trained: the loop of `stages.training`, in a folder of the workspace, told line by line."""

import contextlib
import json
import shutil
import time
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from stages.training.loop import train
from stages.training.recipe import OptimiserSpec, Recipe, Schedule
from stages.training.sharing import n_samples
from stages.training.state import read_part
from weights.whole_files import write_text

RECORD_FILE = "record.json"


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
    """Train a network with AdamW, or Muon beside it, and return it with the moving average of its weights.

    The learning rate climbs linearly over ``warmup`` steps and falls along a half cosine to zero. What was
    reached is kept in ``workspace/<name>/`` and continued from there; a run that already took ``steps``
    steps returns at once. A run of other settings begins anew.

    Parameters
    ----------
    name : str
        Name of the folder below ``workspace``.
    model : torch.nn.Module
        Trained in place; its initial weights matter only if no state was kept.
    loss : callable
        ``loss(model, batch, generator) -> (scalar tensor, dict of str to float)``. Whatever it draws should
        come from ``generator`` (on the CPU, seeded by the step), so that it is the same on every device.
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
        Of the moving average, which starts faster (`stages.training.recipe.Recipe`).
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
        Leave the weights of two or more dimensions to Muon, at the same learning rate, and the others to AdamW.
    compiled : bool
        Let torch compile the network first, if there is a C++ compiler. That takes minutes and shortens a step
        of small convolutions by about a quarter; results differ in the last bits.

    Returns
    -------
    torch.nn.Module
        ``model`` in evaluation mode, with the averaged weights, on ``device``.

    Raises
    ------
    FloatingPointError
        The loss, or the gradient twenty times running, was not finite.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model.to(device=device, memory_format=layout)
    recipe = Recipe(
        steps=steps,
        batch_size=n_samples(batches(0)),
        optimiser=OptimiserSpec(
            "muon" if muon else "adamw",
            learning_rate,
            weight_decay=weight_decay,
            undecayed="vectors",
            betas=(0.9, 0.99),
            momentum=0.95,
        ),
        schedule=Schedule("cosine", warmup=warmup),
        clip=clip_norm,
        average=ema_decay,
        precision="bf16" if autocast else "no",
        validate_every=log_every,
    )
    learner = _Learner(model, loss, compiled and (device.type == "cuda" or shutil.which("g++") is not None))
    train(
        learner,
        lambda step: (step, batches(step)),
        recipe,
        Path(workspace) / name,
        progress=_Report(name, Path(workspace) / name, learner, recipe, save_seconds),
        seconds_between_checkpoints=save_seconds,
    )
    return model


def record(workspace, name):
    """What a training took: a dict with ``steps``, ``pictures``, ``seconds``, ``parameters``, ``device``."""
    return json.loads((Path(workspace) / name / RECORD_FILE).read_text())


def averaged_weights(workspace, name):
    """State dict of the averaged network, as the training last kept it; the training may still be running."""
    return read_part(Path(workspace) / name, "average.model")


class _Learner(torch.nn.Module):
    """A network with a loss of its own, which draws from a generator of the step's."""

    def __init__(self, model, loss, compiled):
        super().__init__()
        self.model = model
        # Not modules of this one: they share the network's weights.
        self._called = (torch.compile(model) if compiled else model,)
        self._loss = loss
        self.last = {}

    def forward(self, batch):
        step, batch = batch
        device = next(self.model.parameters()).device
        # Attention written out on the CPU: the fused one's backward pass takes half of a step at these lengths.
        attention = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else contextlib.nullcontext()
        with attention:
            value, logs = self._loss(self._called[0], batch, torch.Generator().manual_seed(step))
        self.last = {"loss": value.detach(), **logs}
        return value, logs


class _Report:
    """Prints a line every so many steps, and keeps the record of what the training took."""

    def __init__(self, name, folder, learner, recipe, save_seconds):
        self.name, self.path, self.learner, self.recipe = name, folder / RECORD_FILE, learner, recipe
        self.save_seconds, self.started = save_seconds, None

    def __call__(self, label, done, total):
        now = time.monotonic()
        if self.started is None:
            self.begin(done, total, now)
            return
        if done % self.recipe.validate_every == 0 or done == total:
            self.tell(done, total, (now - self.logged) / max(done - self.logged_step, 1))
            self.logged, self.logged_step = now, done
        if now - self.saved >= self.save_seconds or done == total:
            self.write(done, self.earlier + now - self.started)
            self.saved = now

    def begin(self, done, total, now):
        """Note where the training goes on, and how long it took until there."""
        self.earlier = 0.0
        if done:
            print(f"{self.name}: continues after step {done:,} of {total:,}", flush=True)
            self.earlier = json.loads(self.path.read_text())["seconds"] if self.path.exists() else 0.0
        self.started = self.logged = self.saved = now
        self.logged_step = done

    def tell(self, done, total, pace):
        """Print a line; `pace` is seconds a step."""
        terms = "".join(f"  {key} {float(number):.4f}" for key, number in self.learner.last.items())
        left = pace * (total - done) / 60
        print(f"{self.name}: {done:,}/{total:,}{terms}  {1000 * pace:.0f} ms/step  {left:.1f} min left", flush=True)

    def write(self, done, seconds):
        """Write the record."""
        model = self.learner.model
        device = next(model.parameters()).device
        summary = {
            "name": self.name,
            "steps": done,
            "planned_steps": self.recipe.steps,
            "pictures": done * self.recipe.batch_size,
            "seconds": round(seconds, 1),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
        }
        write_text(self.path, json.dumps(summary, indent=2) + "\n")

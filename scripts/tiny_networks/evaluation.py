"""The embedded evaluation network: a classifier of the drawn world, trained apart from all other networks.

It will judge generated pictures, which are softer, noisier and a little off in place and colour. The pictures
it learns from are disturbed in the same ways, so that such flaws cost little and a wrong content costs much.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from brainrecon.simulation.world.pictures import BACKGROUNDS, COLOURS, LABELS
from stages.networks.evaluation_network import HEADS, EvaluationNetwork
from tiny_networks.pool import load_pool
from tiny_networks.training import fit, record

NAME = "evaluation"
STEPS = 1200
BATCH_SIZE = 128
NO_DIGIT = "none"
NAMES = {
    "category": list(LABELS),
    "colour": list(COLOURS),
    "background": list(BACKGROUNDS),
    "digit": [str(digit) for digit in range(10)] + [NO_DIGIT],
}
# Most pictures show no digit, so this head's mean is made of easy cases.
HEAD_WEIGHTS = {"category": 1.0, "colour": 1.0, "background": 1.0, "digit": 3.0}
SMOOTHING = 0.05


def targets(labels):
    """Labels of a pool as rows of class numbers.

    Parameters
    ----------
    labels : dict of str to list
        As in `Pool.labels`.

    Returns
    -------
    array of shape (n_pictures, 4), int64
        One column per head, in the order of ``HEADS``.
    """
    columns = []
    for head in HEADS:
        number = {name: k for k, name in enumerate(NAMES[head])}
        values = [NO_DIGIT if head == "digit" and value == -1 else str(value) for value in labels[head]]
        columns.append([number[value] for value in values])
    return np.asarray(columns, np.int64).T


def disturb(images, generator):
    """Shift, stretch, blur, tint and roughen pictures.

    Parameters
    ----------
    images : tensor of shape (n, 3, height, width), float32
        Values in 0..1.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    tensor like `images`
    """
    n, device = len(images), images.device

    def uniform(low, high, *shape):
        return (torch.rand(n, *shape, generator=generator) * (high - low) + low).to(device)

    warp = torch.zeros(n, 2, 3, device=device)
    warp[:, 0, 0], warp[:, 1, 1] = uniform(0.9, 1.1), uniform(0.9, 1.1)
    warp[:, :, 2] = uniform(-0.1, 0.1, 2)
    grid = functional.affine_grid(warp, images.shape, align_corners=False)
    images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)

    soft = functional.avg_pool2d(functional.pad(images, (3, 3, 3, 3), mode="replicate"), 4, stride=1)
    soft = functional.avg_pool2d(soft, 4, stride=1)
    amount = uniform(-0.6, 1, 1, 1, 1).clamp(min=0)
    images = images * (1 - amount) + soft * amount

    middle = images.mean((1, 2, 3), keepdim=True)
    images = (images - middle) * uniform(0.75, 1.2, 1, 1, 1) + middle
    images = images * uniform(0.92, 1.08, 3, 1, 1) + uniform(-0.06, 0.06, 1, 1, 1)
    noise = torch.randn(images.shape, generator=generator).to(device)
    return (images + noise * uniform(-0.04, 0.08, 1, 1, 1).clamp(min=0)).clamp(0, 1)


def loss(model, batch, generator):
    """Weighted sum of the four heads' cross entropies on disturbed pictures."""
    images, classes = batch
    with torch.autocast(images.device.type, enabled=False):
        disturbed = disturb(images.permute(0, 3, 1, 2).float() / 255, generator)
    judged = model(disturbed.contiguous(memory_format=torch.channels_last))
    total, logs = 0.0, {}
    for column, head in enumerate(HEADS):
        logits = judged[head].float()
        total = total + HEAD_WEIGHTS[head] * functional.cross_entropy(
            logits, classes[:, column], label_smoothing=SMOOTHING
        )
        logs[head] = (logits.argmax(1) == classes[:, column]).float().mean().item()
    return total, logs


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/evaluation``, continuing what is there, and return the averaged network."""
    pool = load_pool(workspace)
    classes = targets(pool.labels)

    def batches(step):
        chosen = pool.batch_indices(step, BATCH_SIZE)
        return torch.from_numpy(pool.images[chosen]), torch.from_numpy(classes[chosen])

    torch.manual_seed(0)  # The initial weights; torch's constructors take no generator.
    return fit(
        NAME,
        EvaluationNetwork(NAMES),
        loss,
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=3e-3,
        weight_decay=0.02,
        warmup=100,
        ema_decay=0.99,
        save_seconds=60,
        device=device,
        threads=threads,
    )


def export(workspace, folder):
    """Write the checkpoint ``folder``: config.json, model.safetensors (float16) and card.md."""
    taken = record(workspace, NAME)
    # Training that took all its steps returns what it kept.
    network = train(workspace, steps=taken["planned_steps"], device="cpu")
    network.save_pretrained(folder)
    held_out = load_pool(workspace, held_out=True)
    reached = figures(folder, held_out.images, held_out.labels)
    Path(folder, "card.md").write_text(_card(taken, reached), encoding="utf-8")
    return reached


def figures(folder, images=None, labels=None, n=1000):
    """Held-out figures of an exported network.

    Parameters
    ----------
    folder : path
        Of the checkpoint.
    images : array of shape (n, 64, 64, 3), uint8, optional
        Held-out pictures; drawn when None.
    labels : dict of str to list, optional
        What they show, as in `Pool.labels`.
    n : int
        How many to draw.

    Returns
    -------
    figures : dict of str to float
        Share of pictures that each head names rightly, for the digit among digits; and the same for pictures
        disturbed as in training (``..._disturbed``).
    """
    if images is None:
        from brainrecon.simulation.world.pictures import draw_pictures
        from tiny_networks.pool import HELD_OUT_SEED

        drawn = draw_pictures(HELD_OUT_SEED, range(n))
        images = np.stack([picture.image for picture in drawn])
        labels = {head: [getattr(picture, head) for picture in drawn] for head in HEADS}
    network = EvaluationNetwork.from_pretrained(folder)
    images, classes = np.array(images), targets(labels)
    disturbed = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    disturbed = disturb(disturbed, torch.Generator().manual_seed(0)).permute(0, 2, 3, 1)
    reached = {}
    for suffix, shown in (("", images), ("_disturbed", (disturbed * 255).round().to(torch.uint8))):
        named = network.classify(shown)
        for column, head in enumerate(HEADS):
            right = np.asarray(named[head]) == np.asarray(NAMES[head])[classes[:, column]]
            if head == "digit":
                right = right[classes[:, column] < NAMES["digit"].index(NO_DIGIT)]
            reached[head + suffix] = float(right.mean())
    return reached


def _card(taken, reached):
    rows = "\n".join(
        f"| {head} | {100 * reached[head]:.1f} % | {100 * reached[f'{head}_disturbed']:.1f} % |" for head in HEADS
    )
    minutes = taken["seconds"] / 60
    return f"""# Evaluation network of the embedded default

Judges pictures of the drawn world: names the main thing, its colour, the background and the digit, and
gives the features by which the embedded protocol compares a reconstruction with what was shown. No other
embedded network was trained with it or on its features.

- **Architecture**: convolutional, residual, {taken["parameters"]:,} parameters
  (`stages/networks/evaluation_network.py`); 64 x 64 pictures; stored in float16, computed in float32.
- **Trained on**: the drawn world (`brainrecon/simulation/world/pictures.py`, seed 1), nothing else. The
  handwritten digits in it are those that scikit-learn ships. Pictures were shifted, stretched, blurred,
  tinted and roughened.
- **Training**: `scripts/train_tiny.py --only {NAME}`; {taken["steps"]:,} steps,
  {taken["pictures"]:,} pictures, {minutes:.1f} minutes on {taken["device"]} ({taken["threads"]} threads).
- **Licence**: that of this repository.

Named rightly among held-out pictures (seed 2), as drawn and disturbed as in training; the digit among digits:

| head | as drawn | disturbed |
|---|---|---|
{rows}

The handwritten specimens of the held-out pictures also occur, written differently, in training; so the digit
figure says little about other hands. It knows nothing of photographs.
"""

"""The embedded VGG19: the published layers, narrow, as a classifier of the drawn world.

The published network learned to tell a thousand kinds of things apart, for which it had to keep a good deal of what a picture
looks like. The drawn world has few kinds. So that the last layers keep the layout here, too, a linear map from `relu7` has to
tell a picture of 8 x 8 while the network learns; it is thrown away afterwards. Pictures come blue first, as there.
"""

from pathlib import Path

import numpy as np
import torch
from scipy.io import savemat
from torch import nn
from torch.nn import functional

from stages.checkpoints.pretrained import save_network
from stages.inverters.feature_scaling import spread_of
from stages.inverters.feature_spreads import SPREADS_FILE
from stages.networks.vgg19 import VGG19, VGG19Config, load_vgg19
from stages.networks.vgg19_names import LAYERS
from stages.targets.vgg19_layers import prepared
from tiny_networks import evaluation
from tiny_networks.pool import load_pool
from tiny_networks.training import averaged_weights, fit, record

NAME = "vgg19"
STEPS = 1100
BATCH_SIZE = 64
CONFIG = VGG19Config(picture=64, channels=(12, 24, 32, 48, 64), hidden=128, classes=70)
HEADS = {head: evaluation.NAMES[head] for head in ("category", "colour", "background", "digit")}
HEADS["place"] = [
    *("top left", "top", "top right", "left", "middle", "right"),
    *("bottom left", "bottom", "bottom right"),
]
WEIGHTS = {"category": 1.0, "colour": 1.0, "background": 1.0, "digit": 3.0, "place": 0.5}
DROPOUT = 0.1
LAYOUT, LAYOUT_WEIGHT = 8, 8.0  # side of the small pictures, whose values lie around 0 with a spread of about 1
READ = tuple(layer for layer in LAYERS if layer.startswith(("conv", "fc")))


class Learning(nn.Module):
    """The network, and what tells the small picture from `relu7`."""

    def __init__(self):
        super().__init__()
        self.network = initial()
        self.layout = nn.Linear(CONFIG.hidden, 3 * LAYOUT**2)

    def forward(self, pictures):
        """Logits (n, classes) and small pictures (n, 3, LAYOUT, LAYOUT) of what `prepared` gives."""
        found = self.network(pictures, ("relu7", "fc8"))
        return found["fc8"], self.layout(found["relu7"]).unflatten(1, (3, LAYOUT, LAYOUT))


def initial():
    """A network whose layers all vary as much as its first: He's initial values, the first for greys of 0 to 255."""
    network = VGG19(CONFIG)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Dropout):
            module.p = DROPOUT
    with torch.no_grad():
        network.features[0].weight /= 64
        network.classifier[-1].weight /= 4
    return network


def targets(labels):
    """Labels of a pool as rows of class numbers, one column per head: array (n_pictures, 5), int64."""
    places = [HEADS["place"].index(place) for place in labels["place"]]
    return np.column_stack([evaluation.targets(labels), np.array(places, np.int64)])


def loss(model, batch, generator):
    """Weighted sum of the heads' cross entropies, half of the pictures disturbed, and the small pictures' squared error."""
    images, classes = batch
    with torch.autocast(images.device.type, enabled=False):
        greys = images.permute(0, 3, 1, 2).float() / 255
        greys = torch.cat([greys[::2], evaluation.disturb(greys[1::2], generator)]) * 255
        classes = torch.cat([classes[::2], classes[1::2]])
        shown = prepared(greys.permute(0, 2, 3, 1))
        small = functional.adaptive_avg_pool2d(shown, LAYOUT) / 64
    logits, told = model(shown.contiguous(memory_format=torch.channels_last))
    layout = (told.float() - small).square().mean()
    total, logs = LAYOUT_WEIGHT * layout, {"layout": layout.item()}
    for column, (head, named) in enumerate(by_head(logits.float()).items()):
        entropy = functional.cross_entropy(named, classes[:, column], label_smoothing=evaluation.SMOOTHING)
        total = total + WEIGHTS[head] * entropy
        logs[head] = (named.argmax(1) == classes[:, column]).float().mean().item()
    return total, logs


def by_head(logits):
    """Logits (n, classes) of fc8 as a dict of those of each head."""
    return dict(zip(HEADS, logits.split([len(names) for names in HEADS.values()], dim=1), strict=True))


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/vgg19``, continuing what is there, and return the averaged network."""
    pool = load_pool(workspace)
    classes = targets(pool.labels)

    def batches(step):
        chosen = pool.batch_indices(step, BATCH_SIZE)
        return torch.from_numpy(pool.images[chosen]), torch.from_numpy(classes[chosen])

    torch.manual_seed(0)  # The initial weights; torch's constructors take no generator.
    return fit(
        NAME,
        Learning(),
        loss,
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=4e-3,
        warmup=60,
        ema_decay=0.99,
        save_seconds=60,
        device=device,
        threads=threads,
        muon=True,
    )


def reached(workspace):
    """Load the averaged network as the training last kept it, without what told the small pictures."""
    model = Learning()
    model.load_state_dict(averaged_weights(workspace, NAME))
    return model.network.eval().requires_grad_(False)


def export(workspace, folder):
    """Write the checkpoint ``folder``: model.safetensors (float16), the spreads of layers and card.md."""
    folder = Path(folder)
    save_network(reached(workspace), folder, {}, dtype=torch.float16)
    (folder / "config.json").unlink()  # Sizes are read from the tensors, as for the published file.
    pool = load_pool(workspace)
    write_spreads(load_vgg19(folder), np.array(pool.images[:1000]), folder / SPREADS_FILE)
    found = figures(folder, load_pool(workspace, held_out=True))
    (folder / "card.md").write_text(_card(record(workspace, NAME), len(pool), found), encoding="utf-8")
    return found


@torch.inference_mode()
def write_spreads(network, images, path):
    """Write the mean spread of each layer over pictures, as the published file has it for a search.

    Parameters
    ----------
    network : VGG19
    images : uint8 array of shape (n, 64, 64, 3)
    path : path
        Of the MATLAB file: for every layer an array (1, 1), a picture's spread as `feature_scaling.spread_of` has it, averaged
        over pictures.
    """
    found = {layer: [] for layer in READ}
    for start in range(0, len(images), 100):
        values = network(prepared(torch.from_numpy(images[start : start + 100])), READ)
        for layer, rows in values.items():
            found[layer] += [spread_of(row) for row in rows.numpy()]
    # MATLAB's files begin with the time at which they were written, unless told.
    savemat(path, {layer: np.full((1, 1), np.mean(spreads)) for layer, spreads in found.items()})
    with open(path, "r+b") as file:
        file.write(b"MATLAB 5.0 MAT-file, spreads of the layers of tiny-vgg19".ljust(116))


@torch.inference_mode()
def figures(folder, pool):
    """Share of held-out pictures that each head names rightly: dict of str to float.

    Of the category among scenes, of the digit among digits: patterns and digits are categories of their own, seen at a glance.
    """
    network, classes, named = load_vgg19(folder), targets(pool.labels), []
    for start in range(0, len(pool), 100):
        found = network(prepared(torch.from_numpy(np.array(pool.images[start : start + 100]))), ("fc8",))["fc8"]
        named.append(np.stack([logits.argmax(1).numpy() for logits in by_head(found).values()], axis=1))
    right = np.concatenate(named) == classes
    kinds = np.array(pool.labels["kind"])
    among = {"category": kinds == "scene", "digit": kinds == "digit"}
    return {head: float(right[among.get(head, slice(None)), column].mean()) for column, head in enumerate(HEADS)}


def _card(training, n_pictures, found):
    learned = f"{n_pictures:,} pictures ({training['steps']:,} steps of {BATCH_SIZE}): drawn scenes, handwritten digits, patterns"
    of = {"category": " of a scene", "digit": " of a digit"}
    lines = "\n".join(
        f"| held out, {head}{of.get(head, '')} named rightly | {100 * share:.1f} % |" for head, share in found.items()
    )
    parameters = sum(value.numel() for value in VGG19(CONFIG).parameters())
    return f"""# tiny-vgg19

VGG19 (Simonyan & Zisserman 2015) with its nineteen layers and few channels, for the 64 x 64 pictures of brainrecon's simulated
world.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only vgg19`, from nothing |
| learned from | {learned} |
| time | {training["seconds"] / 60:.0f} minutes on {training["device"]}, {training["threads"]} thread(s) |
| sizes | channels {", ".join(map(str, CONFIG.channels))}; {CONFIG.hidden} values of fc6 and fc7, {CONFIG.classes} of fc8 |
| parameters | {parameters:,}, stored as float16, computed in float32 |
{lines}
| licence | MIT, as the repository |

It takes pictures as Caffe's network does: greys of 0 to 255, blue first, less the means of ImageNet. fc8 holds five classifiers
one after the other: {", ".join(HEADS)}. While it learned, a linear map had to tell the picture at {LAYOUT} x {LAYOUT} pixels
from relu7, so that the layer keeps the layout. It tells backgrounds, colours and digits, and few of the things in a scene: its
training was short. `{SPREADS_FILE}`
has the published name, and holds the mean spread of each layer over 1,000 pictures that it learned from.
"""

"""The embedded generator that pictures are searched in: it inverts `relu7` of the embedded VGG19.

Dosovitskiy and Brox (2016) trained theirs on squared errors of pictures and of features, against an adversary. At 64 pixels the
first two are enough: squared error of greys and of the differences between neighbours, and how far `relu7` and two earlier
layers of the drawn picture are from those of the true one.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from brainrecon.methods.takagi2023_gan import Takagi2023GAN, Takagi2023GANSettings
from stages.checkpoints.pretrained import save_network
from stages.generators.generator import Item, in_order
from stages.inverters.picture_search_settings import PictureSearchSettings
from stages.inverters.searched_pictures import BOUNDS_FILE, PictureSearch
from stages.networks.deepsim_generator import SLOPE, DeepSimConfig, DeepSimGenerator
from stages.networks.vgg19 import MEANS, load_vgg19
from stages.targets.vgg19_layers import VGG19Layer, prepared
from tiny_networks.generator_figures import TINY, first_scenes, scores
from tiny_networks.pool import load_pool
from tiny_networks.training import averaged_weights, fit, record

NAME = "deepsim"
STEPS = 1000
BATCH_SIZE = 48
CONFIG = DeepSimConfig(inputs=128, bottom=1, widths=(128, 112, 112, 96, 96, 64, 64, 48, 32))
GREY = 64.0  # spread of greys, in which the error of pictures is measured
EDGES = 0.25  # weight of absolute differences between neighbours
LAYERS = {
    "relu7": 0.1,
    "conv3_4": 0.1,
    "conv2_2": 0.1,
}  # weights of squared distances, as shares of the true layer's square
LOOKED_AT = 16  # pictures of a batch whose features are compared: a pass through VGG19 costs more than drawing
DISTURBANCE = 0.1  # spread of what is added to the input, as a share of the input's


class Learning(nn.Module):
    """The generator on inputs and greys of a spread of about 1.

    Parameters
    ----------
    size : float
        Root mean square of the layer that is inverted.
    """

    def __init__(self, size=1.0):
        super().__init__()
        self.generator = initial()
        self.register_buffer("size", torch.tensor(float(size)))

    def forward(self, values):
        """Pictures as `stages.networks.deepsim_generator` has them."""
        return GREY * self.generator(values / self.size)

    def folded(self):
        """The generator alone, which takes and gives what this network does."""
        with torch.no_grad():
            self.generator.defc7.weight /= self.size
            self.generator.deconv0.weight *= GREY
            self.generator.deconv0.bias *= GREY
        return self.generator.eval().requires_grad_(False)


def initial():
    """A generator through which values of a spread of 1 neither vanish nor grow."""
    generator = DeepSimGenerator(CONFIG)
    for module in generator.modules():
        if isinstance(module, nn.ConvTranspose2d):
            inputs = module.in_channels * (module.kernel_size[0] / module.stride[0]) ** 2
        elif isinstance(module, nn.Linear):
            inputs = module.in_features
        else:
            continue
        nn.init.normal_(module.weight, std=(2 / (1 + SLOPE**2) / inputs) ** 0.5)
        nn.init.zeros_(module.bias)
    return generator


def loss_with(network):
    """The loss, given the VGG19 whose layer is inverted."""

    def loss(model, images, generator):
        shown = prepared(images)
        with torch.no_grad():
            true = network(shown.contiguous(memory_format=torch.channels_last), tuple(LAYERS)[::-1])
        values = true["relu7"].float()
        noise = torch.randn(values.shape, generator=generator).to(values.device)
        drawn = model(values + DISTURBANCE * values.std() * noise).float()
        error = (drawn - shown) / GREY
        squared = error.square().mean()
        total = squared + EDGES * (error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean())
        logs = {"greys": squared.item()}
        seen = network(drawn[:LOOKED_AT].contiguous(memory_format=torch.channels_last), tuple(LAYERS)[::-1])
        for layer, weight in LAYERS.items():
            wanted = true[layer][:LOOKED_AT].float()
            share = (seen[layer].float() - wanted).square().sum() / wanted.square().sum()
            total = total + weight * share
            logs[layer] = share.item()
        return total, logs

    return loss


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/deepsim``, continuing what is there, and return the averaged network.

    The layer that it inverts is that of ``weights/tiny/vgg19``.
    """
    pool = load_pool(workspace)
    network = load_vgg19(TINY / "vgg19", "relu7", device or ("cuda" if torch.cuda.is_available() else "cpu"))
    network.to(memory_format=torch.channels_last)

    def batches(step):
        return torch.from_numpy(pool.images[pool.batch_indices(step, BATCH_SIZE)])

    torch.manual_seed(0)  # The initial weights; torch's constructors take no generator.
    return fit(
        NAME,
        Learning(np.sqrt(np.square(inputs(network, np.array(pool.images[:500]))).mean())),
        loss_with(network),
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=5e-3,
        warmup=60,
        ema_decay=0.99,
        save_seconds=60,
        device=device,
        threads=threads,
        muon=True,
    )


def inputs(network, images):
    """What the generator draws uint8 pictures (n, 64, 64, 3) from: float32 (n, inputs)."""
    return VGG19Layer(network, "relu7").encode(images, batch_size=50)


def reached(workspace):
    """Load the averaged network as the training last kept it."""
    model = Learning()
    model.load_state_dict(averaged_weights(workspace, NAME))
    return model.folded()


def export(workspace, folder):
    """Write the checkpoint ``folder``: model.safetensors (float16), the bounds of its inputs and card.md."""
    folder = Path(folder)
    save_network(reached(workspace), folder, {}, dtype=torch.float16)
    (folder / "config.json").unlink()  # Sizes are read from the tensors, as for the published file.
    pool = load_pool(workspace)
    values = inputs(load_vgg19(TINY / "vgg19", "relu7"), np.array(pool.images[:2000]))
    write_bounds(values, folder / BOUNDS_FILE)
    found = figures(folder, load_pool(workspace, held_out=True))
    (folder / "card.md").write_text(_card(record(workspace, NAME), len(pool), found), encoding="utf-8")
    return found


def write_bounds(values, path):
    """Write the mean of each input (n, inputs) and three standard deviations, as whole numbers, as published."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bounds = np.rint(values.mean(axis=0) + 3 * values.std(axis=0)).astype(int)
    path.write_text(" ".join(map(str, bounds)) + "\n", encoding="utf-8")


def figures(folder, pool, n=100, searched=20, network_folder=TINY / "vgg19"):
    """Held-out figures of an exported generator.

    Parameters
    ----------
    folder : path
    pool : tiny_networks.pool.Pool
        Held-out pictures, of which the first `n` drawn scenes are looked at, and the first `searched` searched for.
    n, searched : int
    network_folder : path
        Of the VGG19 whose layer it inverts.

    Returns
    -------
    figures : dict of str to float
        What `tiny_networks.generator_figures.scores` says of pictures drawn from the layer of the true ones, ``drawn_…``, and
        of those that are found by their true layers as `takagi2023-gan` searches for them, ``searched_…``.
    """
    shown = np.array(pool.images[first_scenes(pool, n)])
    found = {f"drawn_{name}": value for name, value in scores(shown, drawn(folder, shown, network_folder)).items()}
    shown = shown[:searched]
    pictures = found_by_search(folder, shown, network_folder)
    return found | {f"searched_{name}": value for name, value in scores(shown, pictures).items()}


@torch.inference_mode()
def drawn(folder, images, network_folder=TINY / "vgg19"):
    """Pictures drawn from the layer of whole uint8 pictures (n, 64, 64, 3), the same shape."""
    values = inputs(load_vgg19(network_folder, "relu7"), images)
    greys = DeepSimGenerator.from_pretrained(folder)(torch.from_numpy(values)).permute(0, 2, 3, 1)
    return (greys + greys.new_tensor(MEANS)).flip(3).clamp(0, 255).round().to(torch.uint8).numpy()


def found_by_search(folder, images, network_folder=TINY / "vgg19", layers=None, settings=None):
    """Pictures found by layers of whole uint8 pictures (n, 64, 64, 3), the same shape; by default as `takagi2023-gan` does."""
    layers = layers or Takagi2023GANSettings().layers
    settings = settings or PictureSearchSettings(**Takagi2023GAN.tiny["search"])
    searching = PictureSearch.from_pretrained(network_folder, folder, layers, settings=settings)
    values = {}
    for layer in layers:
        target = VGG19Layer(searching.looks[0].network, layer)
        values[target.name] = target.encode(images, batch_size=50).reshape(-1, *target.shape)
    items = [Item(f"picture-{row}") for row in range(len(images))]
    return np.stack(in_order(searching.draw(values, items)))


def _card(training, n_pictures, found):
    steps = f"{training['steps']:,} of {training['planned_steps']:,} planned steps of {BATCH_SIZE}"
    learned = f"{n_pictures:,} pictures ({steps}): drawn scenes, handwritten digits, patterns"
    lines = "\n".join(f"| held out, {name.replace('_', ' ')} | {value:.3f} |" for name, value in found.items())
    parameters = sum(value.numel() for value in DeepSimGenerator(CONFIG).parameters())
    return f"""# tiny-deepsim

Dosovitskiy and Brox' generator (2016) at small size, for the 64 x 64 pictures of brainrecon's simulated world. It draws from
relu7 of tiny-vgg19, and is what `takagi2023-gan` searches for pictures in.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only deepsim`, from nothing |
| learned from | {learned} |
| time | {training["seconds"] / 60:.0f} minutes on {training["device"]}, {training["threads"]} thread(s) |
| sizes | {CONFIG.inputs} values; channels {", ".join(map(str, CONFIG.widths))} |
| parameters | {parameters:,}, stored as float16, computed in float32 |
{lines}
| licence | MIT, as the repository |

It learned from errors of greys, of differences between neighbours and of three layers of tiny-vgg19, not from an adversary: what
relu7 does not tell it draws soft. `{BOUNDS_FILE}` holds the mean and three standard deviations of each value over 2,000 pictures
that it learned from.

The held-out figures are for drawn scenes: drawn from their true relu7, and searched for by eight true layers with the settings of
`takagi2023-gan`'s twin. Names (category, colour, background) count as right if the evaluation network says of the drawn
picture what it says of the shown one.
"""

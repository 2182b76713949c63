"""The embedded T2I-adapter of colours, which is trained together with the embedded control net (`control`)."""

from pathlib import Path

from tiny_networks import control, control_figures
from tiny_networks.training import record
from weights import store
from weights.whole_files import write_text

ABOUT = """A light T2I-adapter (Mou and others, 2023) of tiny-stable-diffusion, in diffusers' layout. It reads mean colours of
8 x 8 places, enlarged without interpolation. The features of its last level, which fit no level of the UNet, are not used."""


def train(workspace, *, steps=None, device=None, threads=None):
    """Train the control net, which trains this one beside it."""
    return control.train(workspace, steps=steps, device=device, threads=threads)


def export(workspace, folder):
    """Write the adapter in diffusers' layout, in float16, with its card; as `control.export`."""
    folder, nets = Path(folder), control.reached(workspace)
    nets.adapter.half().save_pretrained(folder)
    nets.branch.half().save_pretrained(Path(workspace) / control.NAME / "branch")
    held_out = figures(workspace, folder)
    parameters = sum(each.numel() for each in nets.adapter.parameters())
    training = record(workspace, control.NAME)
    write_text(folder / "card.md", control.card("tiny-colour-adapter", ABOUT, training, parameters, held_out))
    return held_out


def figures(workspace, folder):
    """Held-out figures of an exported adapter; see `control_figures.figures`."""
    branch = Path(workspace) / control.NAME / "branch"
    branch = branch if branch.is_dir() else store.path("tiny-control")
    return control_figures.figures(workspace, branch, folder, ("colour_map",))

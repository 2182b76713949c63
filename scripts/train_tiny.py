"""Train the embedded networks from nothing, write them to weights/tiny, or measure those that are there.

    python scripts/train_tiny.py                     train what is not yet trained, then export all
    python scripts/train_tiny.py --only clip         one of them
    python scripts/train_tiny.py --export            only write what the workspace holds
    python scripts/train_tiny.py --check             held-out figures of weights/tiny, as a table
    python scripts/train_tiny.py --quick             the whole way in minutes, to see it run; weights/ stays as it is

A training that was stopped continues where it was. Two hours on two cores, minutes on a GPU.
"""

import argparse
import filecmp
import importlib
import shutil
import sys
import tempfile
from pathlib import Path

from weights import store

WEIGHTS = Path(store.__file__).parent / "tiny"
# In the order of training: the generator learns from what the autoencoder and CLIP make of the pictures; IC-GAN takes
# its instance features from the CLIP of weights/tiny, Stable Diffusion and SDXL unCLIP begin as the generator there, deepsim
# inverts a layer of the VGG19 there, the text flow learns Optimus' latents under that generator, the bridge leads from the CLIP
# to the captioner there, the label-to-image model learns the VQ autoencoder's latents and MaskGIT its tokens in
# weights/tiny, the control net and the adapter, which are trained together, steer that Stable Diffusion, and the IP-Adapter leads
# it by the CLIP there.
NETWORKS = (
    "evaluation",
    "vdvae",
    "autoencoder",
    "clip",
    "generator",
    "icgan",
    "captioner",
    "stable-diffusion",
    "faces",
    "vgg19",
    "deepsim",
    "optimus",
    "text-flow",
    "gpt2",
    "caption-bridge",
    "unclip-xl",
    "sdxl",
    "vq-autoencoder",
    "label2img",
    "maskgit",
    "control",
    "colour-adapter",
    "ip-adapter-plus",
)
# Autoencoders are exported with what learned their latents: the one is worthless under the other's earlier weights.
EXPORTED = tuple(name for name in NETWORKS if name not in ("autoencoder", "vq-autoencoder"))
QUICK = {"evaluation": 40, "vdvae": 15, "autoencoder": 60, "clip": 25, "generator": 40, "icgan": 20, "captioner": 30}
QUICK |= {"stable-diffusion": 10, "faces": 20, "vgg19": 10, "deepsim": 10, "optimus": 20, "text-flow": 20, "gpt2": 20}
QUICK |= {"caption-bridge": 3}
QUICK |= {"unclip-xl": 10, "vq-autoencoder": 20, "label2img": 10, "maskgit": 10, "control": 10, "colour-adapter": 10}
QUICK |= {"ip-adapter-plus": 10}
QUICK_PICTURES, QUICK_HELD_OUT = 1000, 600


def main(arguments=None):
    """Run the command; returns the exit code."""
    options = parse(arguments)
    names = [name for name in NETWORKS if name in (options.only or NETWORKS)]
    if options.check:
        try:
            check(names)
        except store.CheckpointError as error:
            print(error, file=sys.stderr)
            return 2
        return 0
    workspace = options.workspace / "quick" if options.quick else options.workspace
    if options.quick:
        load_pool = recipe("pool").load_pool
        load_pool(workspace, pictures=QUICK_PICTURES)
        load_pool(workspace, held_out=True, pictures=QUICK_HELD_OUT)
    steps = (QUICK if options.quick else {}) | dict(options.steps)
    if not options.export:
        for name in names:
            recipe(name).train(workspace, steps=steps.get(name), device=options.device, threads=options.threads)
    for name in names:
        if name in EXPORTED:
            export(name, workspace, workspace / "weights" if options.quick else WEIGHTS)
    return 0


def recipe(name):
    """Import one of tiny_networks' modules; late, because they bring torch and more."""
    return importlib.import_module(f"tiny_networks.{name.replace('-', '_')}")


def parse(arguments):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog=f"Networks: {', '.join(NETWORKS)}.")
    parser.add_argument("--only", action="append", choices=NETWORKS, metavar="NAME", help="this network; repeatable")
    parser.add_argument("--workspace", type=Path, default=Path("tiny-workspace"), help="default: ./tiny-workspace")
    parser.add_argument("--steps", action="append", type=_steps, default=[], metavar="NAME=N", help="length of one")
    parser.add_argument("--threads", type=int, help="threads of torch; its own choice by default")
    parser.add_argument("--device", help="CUDA when there is one, the CPU otherwise")
    task = parser.add_mutually_exclusive_group()
    task.add_argument("--quick", action="store_true", help="few pictures, few steps, written to the workspace")
    task.add_argument("--export", action="store_true", help="train nothing, write what was reached")
    task.add_argument("--check", action="store_true", help="print the held-out figures of weights/tiny")
    return parser.parse_args(arguments)


def _steps(text):
    name, _, number = text.partition("=")
    if name not in NETWORKS or not number.isdecimal() or int(number) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=N with one of {', '.join(NETWORKS)} and a number")
    return name, int(number)


def export(name, workspace, root):
    """Write one network below ``root`` and, where that is weights/tiny, its entry of the manifest."""
    folder = root / name
    figures = recipe(name).export(workspace, folder)
    if root == WEIGHTS:
        store.record(f"tiny-{name}", folder)
    print_table({name: figures})
    learned_from = workspace / "generator" / "encoders" / "clip" / "open_clip_model.safetensors"
    if name in ("clip", "generator") and learned_from.exists():
        written = root / "clip" / learned_from.name
        if written.exists() and not filecmp.cmp(learned_from, written, shallow=False):
            print(
                f"The generator learned from another CLIP than {written.parent}; remove {workspace / 'generator'} "
                "and train it anew.",
                file=sys.stderr,
            )


def check(names):
    """Print the held-out figures of the networks in weights/tiny."""

    def folder(name):
        return store.path(f"tiny-{name}")

    with tempfile.TemporaryDirectory() as temporary:
        workspace = Path(temporary)
        pictures = recipe("pool").load_pool(workspace, held_out=True)
        # The generator is judged with its own encoders, which stand in the place of freshly trained ones.
        encoders = workspace / "generator" / "encoders"
        for part in ("clip", "generator/vae"):
            if (WEIGHTS / part).is_dir():
                shutil.copytree(WEIGHTS / part, encoders / Path(part).name)
        measure = {
            "evaluation": lambda: recipe("evaluation").figures(folder("evaluation"), pictures.images, pictures.labels),
            "vdvae": lambda: recipe("vdvae").figures(folder("vdvae"), pictures.images[:500]),
            "autoencoder": lambda: recipe("autoencoder").figures(folder("generator") / "vae", pictures),
            "clip": lambda: recipe("clip").figures(folder("clip"), pictures),
            "generator": lambda: recipe("generator").figures(workspace, folder("generator")),
            "icgan": lambda: recipe("icgan").figures(folder("icgan"), pictures),
            "captioner": lambda: recipe("captioner").figures(folder("captioner"), pictures),
            "stable-diffusion": lambda: recipe("stable-diffusion").figures(workspace, folder("stable-diffusion")),
            "faces": lambda: recipe("faces").figures(folder("faces"), pictures),
            "vgg19": lambda: recipe("vgg19").figures(folder("vgg19"), pictures),
            "deepsim": lambda: recipe("deepsim").figures(folder("deepsim"), pictures),
            "optimus": lambda: recipe("optimus").figures(folder("optimus"), pictures),
            "text-flow": lambda: recipe("text-flow").figures(workspace, folder("text-flow")),
            "gpt2": lambda: recipe("gpt2").figures(folder("gpt2"), pictures),
            "caption-bridge": lambda: recipe("caption-bridge").figures(folder("caption-bridge"), pictures),
            "unclip-xl": lambda: recipe("unclip-xl").figures(workspace, folder("unclip-xl")),
            "sdxl": lambda: recipe("sdxl").figures(workspace, folder("sdxl")),
            "vq-autoencoder": lambda: recipe("vq-autoencoder").figures(folder("label2img") / "vae", pictures),
            "label2img": lambda: recipe("label2img").figures(folder("label2img")),
            "maskgit": lambda: recipe("maskgit").figures(folder("maskgit"), pictures),
            "control": lambda: recipe("control").figures(workspace, folder("control")),
            "colour-adapter": lambda: recipe("colour-adapter").figures(workspace, folder("colour-adapter")),
            "ip-adapter-plus": lambda: recipe("ip-adapter-plus").figures(workspace, folder("ip-adapter-plus")),
        }
        for name in names:
            print_table({name: measure[name]()})


def print_table(figures):
    """Print one line per figure: network, figure, value."""
    for name, values in figures.items():
        for figure, value in values.items():
            print(f"{name:16} {figure.replace('_', ' '):40} {value:8.3f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""Decode all of VGG19 at its full size, 14.9 million units of 19 layers, with random weights from one made-up region.

    python scripts/decode_full_size.py FOLDER [--pictures 1200] [--voxels 700] [--chosen 500] [--threads 1]

1,200 pictures are encoded in one pass of the network into a feature store in FOLDER (36 GB, in 16 bits), each unit is fitted on
the 500 voxels that correlate with it most, and 50 new patterns are predicted on the way. What it will take is said before it
starts. Killed, the same command goes on where it was. FOLDER/log.json has time, peak memory and bytes of what was done in this
process; delete FOLDER afterwards.
"""

import argparse
import json
import os
import shutil
import time
from pathlib import Path

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("folder", type=Path)
arguments.add_argument("--pictures", type=int, default=1200)
arguments.add_argument("--new", type=int, default=50, help="patterns to predict")
arguments.add_argument("--voxels", type=int, default=700, help="of the region")
arguments.add_argument("--chosen", type=int, default=500, help="voxels of each unit")
arguments.add_argument("--threads", type=int, default=1)
arguments.add_argument("--memory", type=float, default=2.0, help="GB that a fit may plan with")
arguments.add_argument("--small", action="store_true", help="a small network, to try the script")
if __name__ == "__main__":
    options = arguments.parse_args()
    # Before anything starts threads of its own.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)

import numpy as np
import torch
from peak_memory import forget_peak, peak_memory
from PIL import Image

from brainrecon.features.store import BATCH_SIZE, FeatureStore
from stages.networks.vgg19 import VGG19, VGG19Config
from stages.networks.vgg19_names import LAYERS
from stages.targets.vgg19_layers import VGG19Layer, prepared

DECODED = tuple(layer for layer in LAYERS if layer.startswith(("conv", "fc")))
SMALL = VGG19Config(picture=32, channels=(3, 4, 5, 6, 6), hidden=8, classes=7)


class MadeUpPictures:
    """Blurred colours under finer ones, each picture made anew from its number when it is read."""

    def __init__(self, numbers, side):
        self.numbers, self.side = numbers, side

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, rows):
        return np.stack([self._one(number) for number in self.numbers[rows]])

    def _one(self, number):
        random = np.random.default_rng(number)
        grids = (random.integers(0, 256, (cells, cells, 3), dtype=np.uint8) for cells in (5, 32))
        coarse, fine = (
            np.asarray(Image.fromarray(grid).resize((self.side,) * 2, Image.Resampling.BICUBIC)) for grid in grids
        )
        return (0.7 * coarse + 0.3 * fine).astype(np.uint8)


class OnePass:
    """A network whose layers are all read in one pass: what it made of the last pictures is kept, in 16 bits."""

    def __init__(self, network):
        self._network, self._of, self._found = network, None, {}

    @torch.inference_mode()
    def __call__(self, pictures, layer):
        if (seen := pictures.tobytes()) != self._of:
            self.forget()
            found = {name: [] for name in DECODED}
            for start in range(0, len(pictures), 4):
                part = prepared(torch.from_numpy(pictures[start : start + 4]))
                for name, values in self._network(part, DECODED).items():
                    found[name].append(values.flatten(1).numpy().astype(np.float16))
            self._of, self._found = seen, {name: np.concatenate(found.pop(name)) for name in DECODED}
        return self._found[layer]

    def forget(self):
        """Let go of the last pictures."""
        self._of, self._found = None, {}


class Layer(VGG19Layer):
    """A layer that is read in the pass of all layers."""

    def __init__(self, network, layer, one_pass):
        super().__init__(network, layer)
        self._one_pass = one_pass

    def encode(self, items, batch_size=None):
        return self._one_pass(items, self.layer)


def random_network(config):
    """The network with random weights, every layer of which tells pictures apart."""
    network, random = VGG19(config), torch.Generator().manual_seed(7)
    for module in network.modules():
        if hasattr(module, "weight"):
            module.weight.data.normal_(0, (2 / module.weight[0].numel()) ** 0.5, generator=random)
            module.bias.data.zero_()
    return network.eval().requires_grad_(False)


def responses(pictures, n_voxels):
    """Responses (n, n_voxels) to the colours of a picture's places, and noise; float32."""
    random = np.random.default_rng(3)
    places = [
        pictures[start : start + 64][:, ::28, ::28].reshape(-1, 3 * (-(-pictures.side // 28)) ** 2)
        for start in range(0, len(pictures), 64)
    ]
    places = np.concatenate(places).astype(np.float32) / 255 - 0.5
    signal = places @ random.normal(size=(places.shape[1], n_voxels)) * 0.3
    noise = np.random.default_rng([4, int(pictures.numbers[0])]).normal(size=signal.shape)
    return (signal + noise).astype(np.float32)


def say(text):
    """Print a line with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def gigabytes(folder):
    """Bytes on disk below a folder, in GB."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) / 1e9


def main(options):
    """Encode, fit and predict, and write down what it took."""
    torch.set_num_threads(options.threads)
    config = SMALL if options.small else VGG19Config()
    options.folder.mkdir(parents=True, exist_ok=True)
    network = random_network(config)
    one_pass = OnePass(network)
    layers = {name: Layer(network, name, one_pass) for name in DECODED}
    sizes = {name: layer.n_targets for name, layer in layers.items()}
    n_units = sum(sizes.values())
    needed = {
        "features": 2 * options.pictures * n_units,
        "features while the largest is arranged": 2 * options.pictures * max(sizes.values()),
        "predictions": 4 * options.new * n_units,
        "decoder": 28 * n_units,
    }
    free = shutil.disk_usage(options.folder).free
    present = gigabytes(options.folder)
    say(f"{len(sizes)} layers, {n_units:,} units of {options.pictures:,} pictures; {options.threads} thread(s).")
    say("Disk: " + ", ".join(f"{what} {size / 1e9:.1f} GB" for what, size in needed.items()))
    say(f"{free / 1e9:.0f} GB are free, {present:.1f} GB there already.")
    if sum(needed.values()) / 1e9 - present > free / 1e9:
        raise SystemExit("That is more than is free; name a folder on another disk.")
    pictures = MadeUpPictures(np.arange(options.pictures), config.picture)
    new = MadeUpPictures(10**6 + np.arange(options.new), config.picture)
    measured = {"units": n_units, "threads": options.threads}
    forget_peak("cpu")
    start = time.perf_counter()
    tables = encoded(options, layers, pictures, one_pass)
    measured["encoding, s"] = round(time.perf_counter() - start, 1)
    measured["peak memory of encoding, GB"] = round(peak_memory("cpu") / 1e9, 2)
    del network, one_pass, layers
    forget_peak("cpu")
    start = time.perf_counter()
    fitted(options, tables, responses(pictures, options.voxels), responses(new, options.voxels), measured)
    measured["fitting and predicting, s"] = round(time.perf_counter() - start, 1)
    measured["peak memory of fitting, GB"] = round(peak_memory("cpu") / 1e9, 2)
    for name in ("features", "decoder"):
        measured[f"{name}, GB"] = round(gigabytes(options.folder / name), 2)
    say(json.dumps(measured))
    (options.folder / "log.json").write_text(json.dumps(measured, indent=1) + "\n")


def encoded(options, layers, pictures, one_pass):
    """Tables of all layers, block of pictures after block of pictures, all layers of each in one pass."""
    store = FeatureStore(options.folder / "features")
    names = [f"picture {number}" for number in pictures.numbers]
    told = dict(dataset=f"made up, {pictures.side}", checkpoint="random 7", dtype="float16")
    start = time.perf_counter()
    for row in range(0, len(names), BATCH_SIZE):
        rows = (row, min(row + BATCH_SIZE, len(names)))
        for layer in layers.values():
            store.encode(layer, pictures, names, rows=rows, **told)
        say(f"encoded {rows[1]:,} of {len(names):,} pictures, {time.perf_counter() - start:.0f} s")
    one_pass.forget()
    tables = {}
    for name, layer in layers.items():
        tables[name] = store.encode(layer, pictures, names, **told)
        say(f"arranged {name}, {time.perf_counter() - start:.0f} s")
    return tables


def fitted(options, tables, X, new, measured):
    """Fit all units, and predict new patterns on the way."""
    # Late: what is above may have taken hours.
    from brainrecon.assembly.resumable_ridge import fit_by_blocks
    from brainrecon.assembly.unit_decoding import UnitDecoderSettings
    from brainrecon.assembly.values import Machine

    settings = UnitDecoderSettings(voxels=options.chosen, keep="patterns", features="float16")
    decoder = settings.decoder(Machine(memory=options.memory * 1e9))
    first = {}

    def progress(label, done, total):
        now = time.perf_counter()
        begun, before, told = first.setdefault(label, [now, done, now])
        if now - told > 60 or done == total:
            first[label][2] = now
            rate = (now - begun) / max(done - before, 1)
            say(f"{label}: {done:,} of {total:,}; {1e6 * rate:.0f} us each, {(total - done) * rate / 60:.0f} min left")
            measured["us a unit"] = round(1e6 * rate, 1)

    fit_by_blocks(
        decoder,
        X,
        tables,
        options.folder / "decoder",
        new_patterns=new,
        new_ids=[f"new {number}" for number in range(len(new))],
        embeddings=options.folder / "decoder" / "predictions.safetensors",
        progress=progress,
    )
    say(" ".join(decoder.notes()))


if __name__ == "__main__":
    main(options)

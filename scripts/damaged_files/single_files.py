"""Files that are read one by one: weights, checkpoints of a training, plans, protocols, patterns and pictures of one's own."""

import hashlib
import json
import shutil
import warnings

import numpy as np
import tensorflow_files
import torch
from caffe_files import written
from PIL import Image
from safetensors.torch import save_file
from small_decoders import TwoHeads

from brainrecon.datasets.captions import checked_captions
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.runs.array_files import write_arrays
from brainrecon.runs.config import RunConfig
from brainrecon.runs.pattern_files import read_patterns
from brainrecon.runs.pictures_elsewhere import pictures_elsewhere, read_row_ids
from brainrecon.studies.plan import Plan
from damaged_files.places import PROTOCOLS
from stages.decoders.released import Released
from stages.decoders.trained import TrainedDecoder
from stages.ground.reading.json_files import read_json
from stages.training.recipe import Recipe
from stages.training.state import FILE as CHECKPOINT
from stages.training.state import read_checkpoint, write_checkpoint
from weights.conversion import read_tensors
from weights.manifest import read_manifest
from weights.records import RECORD, Content, Record, read_record, write_record

IDS = [f"s{number}" for number in range(4)]
GIVES = {"clip_image": (3, 4), "vdvae": (5,)}


def single_files(folder):
    """Write a file of each kind below a folder: (kind, path, ``read(path of a copy)``) of each.

    Reading gives a dict of what came out, by its name.
    """
    found = []
    for kind, files, read in _KINDS:
        own = folder / kind.replace(", ", "-").replace(" ", "-")
        own.mkdir(parents=True)
        for name, write in files.items():
            write(own / name)
            found.append((kind, own / name, read))
    return found


def digests(values):
    """A hash of each value by its name."""
    return {name: _digest(value) for name, value in values.items()}


def _digest(value):
    if torch.is_tensor(value):
        value = value.contiguous().numpy()
    if isinstance(value, np.ndarray):
        return hashlib.sha256(
            f"{value.shape} {value.dtype}".encode() + np.ascontiguousarray(value).tobytes()
        ).hexdigest()
    return hashlib.sha256(repr(value).encode()).hexdigest()


# Weights


def _tensors():
    random = torch.Generator().manual_seed(0)
    return {"linear.weight": torch.randn(20, 30, generator=random), "linear.bias": torch.randn(20, generator=random)}


def _torchscript(path):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Sequential(torch.nn.Linear(9, 7))), path)


def _caffemodel(path):
    random = np.random.default_rng(0)
    arrays = {"fc8": [random.standard_normal((5, 300), dtype=np.float32), random.standard_normal(5, dtype=np.float32)]}
    path.write_bytes(written(arrays, old=True))


def _tensorflow(path):
    path.write_bytes(tensorflow_files.written({name: value.numpy() for name, value in _tensors().items()}))


def _record(path):
    content = Content(7, "0" * 64)
    write_record(
        Record("hub:somebody/model@main", "1" * 40, {"a.bin": content}, {"model.safetensors": content}), path.parent
    )


def _manifest(path):
    path.write_text(
        '[[checkpoint]]\nname = "mine"\nrole = "text"\norigin = "https://example.org/mine/"\nfolder = "mine"\nlicence = "MIT"\n'
        'needed_by = ["mindeye2023"]\n[[checkpoint.files]]\npath = "model.safetensors"\nsize = 7\n',
        encoding="utf-8",
    )


# A training


def _learner():
    network = torch.nn.Linear(6, 4)
    optimiser = torch.optim.Adam(network.parameters())
    return network, optimiser


def _checkpoint(path):
    torch.manual_seed(0)
    network, optimiser = _learner()
    network(torch.ones(2, 6)).sum().backward()
    optimiser.step()
    write_checkpoint(path.parent, {"learner": (network, [optimiser])}, {"average": None}, {"identity": "a", "step": 1})


def _read_checkpoint(path):
    network, optimiser = _learner()
    state = read_checkpoint(path.parent, {"learner": (network, [optimiser])}, ["average"], "a")
    if state is None:
        return {"training": "begins anew"}
    return {"state": json.dumps(state[0], sort_keys=True), **network.state_dict()}


def _decoder(path):
    torch.manual_seed(1)
    network = TwoHeads(9, GIVES, width=8)
    source = path.parent / "source"
    source.mkdir(exist_ok=True)
    save_file(network.state_dict(), source / "model.safetensors")
    first = next(name for name, value in network.state_dict().items() if value.shape[-1:] == (9,))
    made = TrainedDecoder(TwoHeads, Recipe(steps=3, batch_size=4), arguments={"width": 8})
    made.take(source, "small", Released(first), 9, GIVES).save_pretrained(path.parent)
    shutil.rmtree(source)


def _read_decoder(path):
    decoder = TrainedDecoder.from_pretrained(path.parent)
    patterns = np.random.default_rng(0).standard_normal((3, 9)).astype(np.float32)
    return {name: values for name, _, values in decoder.predict_blocks(patterns)}


# What people write


def _config(path):
    RunConfig.from_dict({"method": "ridge-to-pixels", "data": {"source": "nsd:/somewhere", "subject": "subj01"}}).write(
        path
    )


def _plan(path):
    methods = {"mean-image": {"method": "mean-image"}}
    Plan("arrays:/somewhere", methods, ("subj01", "subj02"), ("V1",)).write(path.parent)


def _patterns(path):
    values = np.random.default_rng(0).standard_normal((4, 12)).astype(np.float32)
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        write_arrays(path, {"patterns": values}, IDS)


def _read_patterns(path):
    found = read_patterns(path)
    return {"patterns": found.values, "ids": found.stimulus_ids}


def _pictures():
    return np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)


def _stack(path):
    np.save(path, _pictures()) if path.suffix == ".npy" else torch.save(torch.from_numpy(_pictures()), path)


def _read_pictures(path):
    found = pictures_elsewhere(path if path.suffix != ".png" else path.parent, IDS)
    return {"pictures": np.asarray(found.pictures[:]), "ids": found.ids}


def _captions(path):
    path.write_text(json.dumps({name: [f"a thing, {name}"] for name in IDS}), encoding="utf-8")


def _protocol(path):
    shutil.copyfile(PROTOCOLS / "brainrecon-1.toml", path)


_KINDS = [
    (
        "weights, pickle",
        {
            "zip.pth": lambda path: torch.save(_tensors(), path),
            "old.pth": lambda path: torch.save(_tensors(), path, _use_new_zipfile_serialization=False),
        },
        read_tensors,
    ),
    ("weights, TorchScript", {"traced.pt": _torchscript}, read_tensors),
    ("weights, Caffe", {"net.caffemodel": _caffemodel}, read_tensors),
    ("weights, TensorFlow 1", {"net.ckpt": _tensorflow}, read_tensors),
    ("weights, safetensors", {"model.safetensors": lambda path: save_file(_tensors(), path)}, read_tensors),
    ("weights, record of a pull", {RECORD: _record}, lambda path: {"record": read_record(path.parent)}),
    ("weights, manifest", {"manifest.toml": _manifest}, lambda path: {"manifest": read_manifest(path)}),
    ("training, checkpoint", {CHECKPOINT: _checkpoint}, _read_checkpoint),
    ("training, decoder", {"config.json": _decoder, "model.safetensors": lambda path: None}, _read_decoder),
    ("own, config.toml", {"mine.toml": _config}, lambda path: {"configuration": RunConfig.read(path).to_dict()}),
    ("own, benchmark.toml", {"benchmark.toml": _plan}, lambda path: {"plan": Plan.read(path.parent)}),
    ("own, protocol", {"protocol.toml": _protocol}, lambda path: {"protocol": load_protocol(path).content}),
    (
        "own, captions",
        {"captions.json": _captions},
        lambda path: {"captions": checked_captions(read_json(path, dict, "mend it"), IDS, path)},
    ),
    (
        "own, patterns",
        dict.fromkeys(("new.npy", "new.npz", "new.csv", "new.safetensors"), _patterns),
        _read_patterns,
    ),
    ("own, rows of pictures", dict.fromkeys(("recons.npy", "recons.pt"), _stack), _read_pictures),
    (
        "own, pictures",
        {f"{name}.png": lambda path: Image.fromarray(_pictures()[0]).save(path) for name in IDS[:2]},
        _read_pictures,
    ),
    (
        "own, ids of rows",
        {"rows.txt": lambda path: path.write_text("\n".join(IDS))},
        lambda path: {"ids": read_row_ids(path)},
    ),
]

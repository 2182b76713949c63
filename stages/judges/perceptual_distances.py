"""Distances between two pictures that were fitted to what people find alike.

Both are computed by their authors' packages, which are optional (`pip install 'brainrecon[perceptual]'`), from weights
in a local folder. The packages would fetch absent weights; here that is refused before they are asked.
"""

import io
import pickle
import warnings
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from stages.ground.errors import InputError
from weights.contents import why_no_tensors
from weights.manifest import CheckpointError
from weights.suggestions import did_you_mean

# torchvision's AlexNet, as torchvision itself names the file.
TRUNK_FILE = "alexnet-owt-7be5be79.pth"
# torchvision's convolutions, and the names under which lpips holds them.
_TRUNK_LAYERS = {
    "features.0": "slice1.0",
    "features.3": "slice2.3",
    "features.6": "slice3.6",
    "features.8": "slice4.8",
    "features.10": "slice5.10",
}
# Below it, AlexNet's last pooling has nothing left.
_LPIPS_SMALLEST = 31

DREAMSIM_SIZE = 224
_DINO_FILE = "checkpoints/dino_vitbase16_pretrain.pth"
# What the folder of each variant holds: files, then the folder of the low-rank adapter.
DREAMSIM_VARIANTS = {
    "ensemble": (
        "dino_vitb16_pretrain.pth",
        _DINO_FILE,
        "clip_vitb16_pretrain.pth.tar",
        "open_clip_vitb16_pretrain.pth.tar",
        "ensemble_lora",
    ),
    "dino_vitb16": ("dino_vitb16_pretrain.pth", _DINO_FILE, "dino_vitb16_single_lora"),
    "clip_vitb32": ("clip_vitb32_pretrain.pth.tar", "clip_vitb32_single_lora"),
    "open_clip_vitb32": ("open_clip_vitb32_pretrain.pth.tar", "open_clip_vitb32_single_lora"),
}


class LPIPSDistance:
    """LPIPS version 0.1 on AlexNet (Zhang et al., 2018, CVPR).

    The activations after each of AlexNet's five convolutions are scaled to unit length over channels; their squared
    differences are weighed per channel, averaged over places and added up over layers. The channel weights come with
    the lpips package; AlexNet's own are read from the folder.

    Parameters
    ----------
    network : lpips.LPIPS
        In evaluation mode.
    """

    def __init__(self, network):
        self.network = network

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load a folder that holds torchvision's ``alexnet-owt-7be5be79.pth``.

        Parameters
        ----------
        folder : path
        device : str or torch.device
            Computed in float64, so that scores depend neither on device nor on batch; in float32 on "mps", which has
            no other.

        Returns
        -------
        LPIPSDistance

        Raises
        ------
        InputError
            The lpips package is not installed.
        CheckpointError
            The file is absent, damaged or not AlexNet's.
        """
        lpips = _package("LPIPS is", "lpips")
        path = Path(folder) / TRUNK_FILE
        if not path.is_file():
            raise CheckpointError(
                f"{path} is absent and nothing is downloaded here; fetch it from download.pytorch.org/models."
            )
        # The trunk is drawn at random instead of fetched, without disturbing the caller's generator; lpips builds it
        # with an argument of which torchvision warns.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
        with _telling_damage(path, "torchvision's AlexNet"):
            stored = torch.load(path, map_location="cpu", weights_only=True)
            state = {
                f"{ours}.{kind}": stored[f"{theirs}.{kind}"]
                for theirs, ours in _TRUNK_LAYERS.items()
                for kind in ("weight", "bias")
            }
            network.net.load_state_dict(state)
        dtype = torch.float32 if torch.device(device).type == "mps" else torch.float64
        return cls(network.to(device, dtype).eval().requires_grad_(False))

    @torch.no_grad()
    def distance(self, reference, predicted, batch_size=64):
        """Distance of each picture from its reference.

        Parameters
        ----------
        reference, predicted : arrays or tensors of one shape
            uint8 of shape (n, height, width, 3), or floating point of shape (n, 3, height, width) in 0..1. At least
            31 pixels a side; not resized, and LPIPS was fitted on patches of 64.
        batch_size : int
            Pairs at a time.

        Returns
        -------
        distances : array of shape (n,), float64, 0 or more
            0 for equal pictures.

        Raises
        ------
        InputError
            Shapes differ or do not suit, or values are not finite or outside 0..1.
        """
        height, width = _size_of_pairs(reference, predicted)
        if min(height, width) < _LPIPS_SMALLEST:
            raise InputError(
                f"Pictures are {height} x {width} and LPIPS takes at least {_LPIPS_SMALLEST} pixels a side; enlarge them."
            )
        like = self.network.lin0.model[-1].weight
        return _by_batches(
            lambda one, other: self.network(one * 2 - 1, other * 2 - 1).flatten(),
            reference,
            predicted,
            batch_size,
            like,
        )


class DreamSimDistance:
    """DreamSim (Fu, Tamir, Sundaram et al., 2023, NeurIPS): one minus the cosine of two fine-tuned embeddings.

    The embedding joins those of the vision transformers of DINO, CLIP and OpenCLIP (the ensemble, which is what is
    published as DreamSim), or is that of one of them.

    dreamsim 0.2.1 loads DINO by running code from a repository that it downloads. Here the same architecture, which the
    package also contains, is given DINO's published weights instead. The way from a folder to a distance has been
    run with random weights of the published layout, not yet with the published files.

    Parameters
    ----------
    model : dreamsim.PerceptualModel, or a peft model around it
        In evaluation mode.
    device : str or torch.device
        Where it is.
    """

    def __init__(self, model, device="cpu"):
        self.model, self.device = model, torch.device(device)

    @classmethod
    def from_pretrained(cls, folder, variant="ensemble", device="cpu"):
        """Load a folder with the contents of a released checkpoint.

        Parameters
        ----------
        folder : path
            The unpacked ``dreamsim_<variant>_checkpoint.zip`` of release v0.2.0. The variants with DINO also need
            ``checkpoints/dino_vitbase16_pretrain.pth``, DINO's own weights, where torch's hub would put them.
        variant : {"ensemble", "dino_vitb16", "clip_vitb32", "open_clip_vitb32"}
        device : str or torch.device

        Returns
        -------
        DreamSimDistance

        Raises
        ------
        InputError
            There is no such variant, or the dreamsim package is not installed.
        CheckpointError
            Something is absent or damaged.
        """
        if variant not in DREAMSIM_VARIANTS:
            meant = did_you_mean(variant, DREAMSIM_VARIANTS)
            raise InputError(
                f"There is no DreamSim variant {variant!r}; choose one of {', '.join(DREAMSIM_VARIANTS)}{meant}."
            )
        dreamsim = _package("DreamSim is", "dreamsim")
        folder = Path(folder)
        *files, adapter = DREAMSIM_VARIANTS[variant]
        absent = [name for name in (*files, f"{adapter}/adapter_config.json") if not (folder / name).is_file()]
        adapter_weights = [f"{adapter}/adapter_model.safetensors", f"{adapter}/adapter_model.bin"]
        if not any((folder / name).is_file() for name in adapter_weights):
            absent.append(adapter_weights[0])
        if absent:
            raise CheckpointError(
                f"DreamSim's {variant} lacks {', '.join(absent)} in {folder} and nothing is downloaded here; unpack "
                f"dreamsim_{variant}_checkpoint.zip of its release v0.2.0 there"
                + (f", and put DINO's weights at {_DINO_FILE}." if _DINO_FILE in absent else ".")
            )
        with (
            _telling_damage(folder, f"DreamSim's {variant}"),
            torch.random.fork_rng(devices=[]),
            _local_hub(folder),
            redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            # peft only warns when a part of the adapter is not in its file.
            warnings.filterwarnings("error", message=".*missing adapter keys.*")
            model, _ = dreamsim.dreamsim(
                pretrained=True, device=str(device), cache_dir=str(folder), dreamsim_type=variant
            )
        return cls(model.eval(), device)

    @torch.no_grad()
    def distance(self, reference, predicted, batch_size=16):
        """Distance of each picture from its reference.

        Parameters
        ----------
        reference, predicted : arrays or tensors of one shape
            uint8 of shape (n, 224, 224, 3), or floating point of shape (n, 3, 224, 224) in 0..1. What is published
            resizes 8-bit pictures to that with Pillow, bicubic.
        batch_size : int
            Pairs at a time.

        Returns
        -------
        distances : array of shape (n,), float64, in 0..2
            0 for equal pictures.

        Raises
        ------
        InputError
            Shapes differ or do not suit, or values are not finite or outside 0..1.
        """
        height, width = _size_of_pairs(reference, predicted)
        if (height, width) != (DREAMSIM_SIZE, DREAMSIM_SIZE):
            raise InputError(
                f"Pictures are {height} x {width} and DreamSim takes {DREAMSIM_SIZE} x {DREAMSIM_SIZE}; resize them."
            )

        def apart(one, other):
            # The embeddings are the package's, in float32; a small distance would drown in the rounding of the cosine.
            cosine = functional.cosine_similarity(
                self.model.embed(one).cpu().double(), self.model.embed(other).cpu().double(), dim=-1
            )
            return (1 - cosine).clamp(0, 2)

        return _by_batches(apart, reference, predicted, batch_size, torch.empty(0, device=self.device))


def _size_of_pairs(reference, predicted):
    """Height and width of pictures that can be compared."""
    for images in (reference, predicted):
        if not hasattr(images, "dtype"):
            raise InputError(f"Pictures are a {type(images).__name__}; give an array or a tensor.")
        kind = str(images.dtype).removeprefix("torch.")
        shape = tuple(images.shape)
        colours_last = kind == "uint8" and len(shape) == 4 and shape[3] == 3
        colours_first = kind.startswith(("float", "bfloat")) and len(shape) == 4 and shape[1] == 3
        if not colours_last and not colours_first:
            raise InputError(
                f"Pictures are {kind} of shape {shape}; give uint8 of shape (n, height, width, 3), or floating point "
                "of shape (n, 3, height, width) in 0..1."
            )
    sizes = [_height_and_width(images) for images in (reference, predicted)]
    if len(reference) != len(predicted) or sizes[0] != sizes[1]:
        (h0, w0), (h1, w1) = sizes
        raise InputError(
            f"There are {len(reference)} references of {h0} x {w0} and {len(predicted)} predictions of {h1} x {w1}; "
            "give one prediction for each reference, of the same size."
        )
    return sizes[0]


def _height_and_width(images):
    """(height, width) of pictures in either layout."""
    return tuple(images.shape[1:3] if str(images.dtype).endswith("uint8") else images.shape[2:])


def _by_batches(apart, reference, predicted, batch_size, like):
    """`apart` of matching pictures, `batch_size` pairs at a time: float64 (n,)."""
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; compare at least 1 pair at a time.")
    distances = np.empty(len(reference))
    for start in range(0, len(reference), batch_size):
        rows = slice(start, start + batch_size)
        one, other = (_floats(images[rows], like, start) for images in (reference, predicted))
        distances[rows] = apart(one, other).cpu().double().numpy()
    return distances


def _floats(images, like, first):
    """Pictures in either layout as (n, 3, height, width) in 0..1, of the type and place of `like`."""
    # Memory-mapped arrays cannot be shared with a tensor, so they are copied.
    images = images.detach() if isinstance(images, torch.Tensor) else torch.from_numpy(np.array(images))
    if images.dtype == torch.uint8:
        return images.to(like).permute(0, 3, 1, 2) / 255
    images = images.to(like)
    bad = ~((images >= 0) & (images <= 1)).flatten(1).all(1)  # comparisons with NaN are False
    if bad.any():
        k = int(bad.nonzero()[0])
        raise InputError(
            f"Picture {first + k} has values from {images[k].min():.4g} to {images[k].max():.4g}; expected finite values "
            "in 0..1. Divide 8-bit values by 255, or give uint8."
        )
    return images


def _package(what, name):
    """An optional package."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != name:
            raise
        raise InputError(
            f"{what} computed by the package {name}, which is not installed here; "
            "install it with `pip install 'brainrecon[perceptual]'`."
        ) from None


@contextmanager
def _telling_damage(path, network):
    """Turn what reading unsuitable weights raises into one sentence."""
    try:
        yield
    except (
        pickle.PickleError,
        OSError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
        UserWarning,
    ) as error:
        told = why_no_tensors(path, error)
        raise CheckpointError(f"{path} does not hold {network} ({told}); fetch the checkpoint again.") from error


@contextmanager
def _local_hub(folder):
    """Let torch's hub answer from the folder: DINO's transformer, and nothing else."""

    def load(repository, name, *_, **__):
        if not repository.startswith("facebookresearch/dino") or name != "dino_vitb16":
            raise RuntimeError(f"{name} of {repository} would be downloaded")
        network = import_module("dreamsim.feature_extraction.vision_transformer").vit_base(patch_size=16)
        network.load_state_dict(torch.load(folder / _DINO_FILE, map_location="cpu", weights_only=True))
        return network

    def refuse(url, *_, **__):
        raise RuntimeError(f"{url} would be downloaded")

    answers = {"load": load, "set_dir": lambda _: None, "download_url_to_file": refuse}
    kept = {name: getattr(torch.hub, name) for name in answers}
    try:
        for name, answer in answers.items():
            setattr(torch.hub, name, answer)
        yield
    finally:
        for name, original in kept.items():
            setattr(torch.hub, name, original)

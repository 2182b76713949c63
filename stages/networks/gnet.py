"""GNet: a network of pictures that was trained on responses of eight subjects of NSD, and reads each voxel from its maps.

MindEye2 (Scotti et al. 2024) scores a reconstruction by the response that GNet says it would evoke. The network is that of
St-Yves and others (2023): convolutions whose maps all subjects share, and for each voxel one field in them and a weight for each
channel.

Names of parameters are those of the published file, whose ``best_params`` are kept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn import functional

from stages.checkpoints.outlines import outlining
from stages.checkpoints.pretrained import WEIGHTS_FILE
from stages.checkpoints.published_weights import put_weights
from stages.ground.checks import uint8_pictures
from stages.ground.errors import InputError
from weights.contents import why_no_tensors
from weights.manifest import CheckpointError
from weights.suggestions import did_you_mean

SIDE = 227
"""Of the pictures that it sees, in pixels."""
NETWORK, READOUTS = "enc.", "fwrfs."
# One product of a block holds about so many values.
_VALUES_AT_A_TIME = 1 << 25


class _Block(nn.Module):
    """Batch normalisation, convolution, rectifier. Training dropped channels out between the first two."""

    def __init__(self, given, gives):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(given)
        self.conv1 = nn.Conv2d(given, gives, 3, padding=1)

    def forward(self, maps):
        return functional.relu(self.conv1(self.bn1(maps)))


class _First(nn.Module):
    """The first two convolutions, AlexNet's."""

    def __init__(self, first, second):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, first, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2))
        self.conv2 = nn.Sequential(nn.Conv2d(first, second, 5, padding=2), nn.ReLU())

    def forward(self, pictures):
        return self.conv2(self.conv1(pictures))


class _Trunk(nn.Module):
    """The convolutions whose maps voxels are read from."""

    def __init__(self, second, third, width, kept):
        super().__init__()
        self.bn1, self.conv3 = nn.BatchNorm2d(second), nn.Conv2d(second, third, 3)
        self.pool1 = nn.MaxPool2d(3, 2, padding=1)
        self.kept = kept
        self.conv4a, self.conv4b = _Block(third, width), _Block(width, width)
        self.conv5a, self.conv5b = _Block(width, width), _Block(width, width)
        self.conv6a, self.conv6b = _Block(width, width), _Block(width, kept)

    def forward(self, maps):
        third = functional.relu(self.conv3(self.bn1(maps)))
        four_a = self.conv4a(third)
        four_b = self.conv4b(four_a)
        five_a = self.conv5a(self.pool1(four_b))
        five_b = self.conv5b(five_a)
        six_a = self.conv6a(five_b)
        fine = [third, four_a[:, : self.kept], four_b[:, : self.kept]]
        coarse = [*(maps[:, : self.kept] for maps in (five_a, five_b, six_a)), self.conv6b(six_a)]
        return torch.cat(fine, dim=1), torch.cat(coarse, dim=1)


class GNet(nn.Module):
    """Pictures to the two sets of maps that voxels are read from.

    >>> network = GNet(first=4, second=6, third=4, width=5, kept=2).eval()
    >>> [tuple(maps.shape) for maps in network(torch.zeros(1, 3, 227, 227))]
    [(1, 8, 25, 25), (1, 8, 13, 13)]

    Parameters
    ----------
    first, second, third, width, kept : int
        Channels of the convolutions, by default the published ones: of the first three, of the six behind them, and of these the
        ones that are read.
    mean : tensor that is subtracted from pictures of 0 to 1, optional
        Zeros by default, one for each channel.
    """

    def __init__(self, first=64, second=192, third=128, width=256, kept=64, mean=None):
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(3, 1, 1) if mean is None else mean, requires_grad=False)
        self.pre = _First(first, second)
        self.enc = _Trunk(second, third, width, kept)

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load the network that subjects share, in float32; its channels are those of the tensors.

        Parameters
        ----------
        folder : path
            Holds ``model.safetensors``: ``best_params`` of ``gnet_multisubject.pt``, converted.
        device : str or torch.device

        Raises
        ------
        CheckpointError
            The file is absent or damaged, or a tensor missing, unexpected or misshapen.
        """
        stored = _tensors(folder, NETWORK)
        sizes = {
            "first": "pre.conv1.0.weight",
            "second": "pre.conv2.0.weight",
            "third": "enc.conv3.weight",
            "width": "enc.conv4a.conv1.weight",
            "kept": "enc.conv6b.conv1.weight",
        }
        if absent := [name for name in (*sizes.values(), "mu") if name not in stored]:
            raise CheckpointError(
                f"{folder}/{WEIGHTS_FILE} has no {NETWORK}{absent[0]}, so it holds no GNet; give the folder of "
                "gnet_multisubject.pt."
            )
        with torch.device("meta"):
            mean = torch.empty(stored["mu"].shape)
            network = cls(**{size: len(stored[name]) for size, name in sizes.items()}, mean=mean)
        if outlining():
            return network.eval().requires_grad_(False)
        return put_weights(network, stored, "GNet", folder).to(device)

    def forward(self, pictures):
        """Maps (n, 256, 25, 25) and (n, 256, 13, 13) of pictures (n, 3, 227, 227) of 0 to 1."""
        return self.enc(self.pre(pictures - self.mu))

    @torch.inference_mode()
    def embed(self, images, batch_size=32):
        """Maps of pictures, one after the other in a row.

        Parameters
        ----------
        images : array of shape (n, height, width, 3), uint8
            Squeezed into 227 pixels by Pillow's Lanczos filter.
        batch_size : int
            Changes the result by float rounding only.

        Returns
        -------
        maps : array of shape (n, 160000 + 43264), float32
        """
        images, found = uint8_pictures(images, "GNet"), []
        for start in range(0, len(images), batch_size):
            how = Image.Resampling.LANCZOS
            part = [
                np.array(Image.fromarray(one).resize((SIDE, SIDE), how)) for one in images[start : start + batch_size]
            ]
            pictures = torch.from_numpy(np.stack(part)).to(self.mu.device).permute(0, 3, 1, 2) / 255
            found.append(torch.cat([maps.flatten(1) for maps in self(pictures)], dim=1).cpu().numpy())
        return np.concatenate(found) if found else np.empty((0, 0), dtype=np.float32)


class GNetReadout:
    """The response of one subject's voxels to pictures, from GNet's maps.

    >>> readout = GNetReadout(torch.zeros(5, 3, 3), torch.zeros(5, 2, 2), torch.ones(5, 4), torch.zeros(5))
    >>> readout.predict(np.ones((2, 2 * 9 + 2 * 4), dtype=np.float32)).shape
    (2, 5)

    With g(x) = log(1 + abs(x)) tanh(x), two sets of maps M, weights over places that are the softmax of a field rf for each, and
    the channels of both sets side by side, a voxel's response is

        sum over channels of w · g(sum over places of softmax(rf) · g(M)) + b

    Parameters
    ----------
    rf0, rf1 : tensors of shape (n_voxels, side, side)
        Of the 25 x 25 and of the 13 x 13 maps.
    w : tensor of shape (n_voxels, n_channels)
        Of both sets, 512.
    b : tensor of shape (n_voxels,)
    """

    def __init__(self, rf0, rf1, w, b):
        self.places = [torch.softmax(field.flatten(1).float(), dim=1) for field in (rf0, rf1)]
        self.w, self.b = w.float(), b.float()

    @classmethod
    def from_pretrained(cls, folder, subject, device="cpu"):
        """Load the readout of one subject.

        Parameters
        ----------
        folder : path
            Of `GNet.from_pretrained`.
        subject : int
            Number of the subject in NSD, 1 to 8.
        device : str or torch.device

        Raises
        ------
        CheckpointError
            The file is absent or damaged, or a tensor missing or misshapen.
        InputError
            It has no such subject.
        """
        stored = _tensors(folder, f"{READOUTS}{subject}.")
        if not stored:
            there = [str(one) for one in subjects_of(folder)]
            raise InputError(
                f"{folder}/{WEIGHTS_FILE} has no readout of subject {subject}; expected one of {', '.join(there) or 'none'}"
                f"{did_you_mean(str(subject), there)}. Score a subject of NSD."
            )
        shapes = {name: tuple(value.shape) for name, value in stored.items()}
        n, fits = len(stored.get("b", ())), set(shapes) == {"rf0", "rf1", "w", "b"}
        fits = fits and all(shape[0] == n for shape in shapes.values()) and len(shapes["w"]) == 2
        if not fits or any(len(shapes[name]) != 3 for name in ("rf0", "rf1")):
            raise CheckpointError(
                f"{folder}/{WEIGHTS_FILE} has {shapes} of subject {subject}, but rf0, rf1 (n, side, side), w (n, channels) and b "
                "(n,) were expected; give the folder of gnet_multisubject.pt."
            )
        return cls(**{name: value.to(device) for name, value in stored.items()})

    @property
    def n_voxels(self):
        """Voxels that it predicts: those of nsdgeneral."""
        return len(self.b)

    @torch.inference_mode()
    def predict(self, maps):
        """Responses to pictures.

        Parameters
        ----------
        maps : array of shape (n, n_values)
            Of `GNet.embed`.

        Returns
        -------
        patterns : array of shape (n, n_voxels), float32
            In the units of the responses that GNet learned: z-scored, voxel by voxel.

        Raises
        ------
        InputError
            Rows of another length.
        """
        maps, n_places = np.asarray(maps, dtype=np.float32), [places.shape[1] for places in self.places]
        channels = maps.shape[1] // sum(n_places)
        if 2 * channels != self.w.shape[1] or channels * sum(n_places) != maps.shape[1]:
            raise InputError(
                f"There are {maps.shape[1]:,} values of each picture, but the readout reads {self.w.shape[1] // 2} channels at "
                f"{n_places[0]} and at {n_places[1]} places; give what GNet.embed makes of pictures."
            )
        patterns = np.empty((len(maps), self.n_voxels), dtype=np.float32)
        for row, one in enumerate(torch.from_numpy(maps)):
            both = one.to(self.b.device).split([channels * n for n in n_places])
            both = [_bent(part.view(channels, -1)) for part in both]
            for start in range(0, self.n_voxels, step := max(1, _VALUES_AT_A_TIME // (2 * channels))):
                voxels = slice(start, start + step)
                pooled = torch.cat([places[voxels] @ part.T for places, part in zip(self.places, both)], dim=1)
                found = (_bent(pooled) * self.w[voxels]).sum(dim=1) + self.b[voxels]
                patterns[row, voxels] = found.cpu().numpy()
        return patterns


def subjects_of(folder):
    """Numbers of the subjects that a file has readouts of, sorted."""
    path = Path(folder) / WEIGHTS_FILE
    with _opened(path) as file:
        names = (name.removeprefix(READOUTS).split(".")[0] for name in file.keys() if name.startswith(READOUTS))
        return sorted({int(name) for name in names if name.isdecimal()})


def _bent(values):
    return torch.log1p(values.abs()) * torch.tanh(values)


def _tensors(folder, prefix):
    """Tensors of a file whose names begin so, without it; of several hundred megabytes one subject needs a tenth."""
    path = Path(folder) / WEIGHTS_FILE
    with _opened(path) as file:
        names = [name for name in file.keys() if name.startswith(prefix)]
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}


def _opened(path):
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} is absent; put gnet_multisubject.pt there with `brainrecon weights pull`."
        ) from None
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged ({why_no_tensors(path, error)}); fetch it again.") from None

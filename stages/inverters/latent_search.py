r"""The noise and the dense vector that make IC-GAN draw a given picture: found by optimisation, picture by picture.

Ozcelik and others (2022) regress fMRI patterns onto such vectors. They published the vectors of one dataset and not how
they were found, so the procedure here is this package's own. For a picture :math:`x` with instance features :math:`h`,
generator :math:`G` and features :math:`f` it lowers

.. math:: |G(z, h, d) - x|^2 + w_f (1 - f(G(z, h, d)) \cdot h) + w_p (|z|^2 + |d - d_0|^2 / s^2)

by Adam, first over the noise :math:`z` alone, where the dense vector is what the generator's linear layer makes of it, and
then over noise and dense vector :math:`d`, which starts from there (:math:`d_0`). Squares are means over values; :math:`s` is
the spread of dense vectors under standard normal noise, which also is the unit of the steps. The last term keeps latents
near what the generator was trained on, and equal pictures near equal latents, as a linear decoder needs it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from stages.ground.errors import InputError
from stages.ground.item_seeds import named_numpy_generator
from stages.ground.progress import SILENT
from stages.inverters.adam_descent import minimise
from stages.networks.icgan import to_pictures
from stages.targets.instance_features import square_pictures
from weights.whole_files import whole_file, write_text

LATENTS = ("noise", "dense")


@dataclass(frozen=True)
class InversionSettings:
    """How latents are found.

    Attributes
    ----------
    noise_steps, dense_steps : int
        Steps over the noise alone, and over both.
    learning_rate : float
        At the beginning of either, in standard deviations of the latents under standard normal noise; it falls along half a
        cosine.
    feature_weight, prior_weight : float
        :math:`w_f` and :math:`w_p` of the loss.
    start : float
        Standard deviation of the noise that the search starts from; 0 starts every picture from the same point.
    seed : int
        Of that noise, together with the picture.
    batch_size : int
        Pictures at a time. At 1 a picture's latents do not depend on other pictures, to the byte. More pictures fill a GPU;
        their latents then depend on each other: matrix kernels round otherwise with other rows beside them, and the steps
        enlarge that. On a CPU a network of published width gains nothing from a batch.
    """

    noise_steps: int = 100
    dense_steps: int = 200
    learning_rate: float = 0.2
    feature_weight: float = 0.1
    prior_weight: float = 0.001
    start: float = 0.0
    seed: int = 0
    batch_size: int = 1

    def __post_init__(self):
        least = {
            "noise_steps": 0,
            "dense_steps": 0,
            "feature_weight": 0,
            "prior_weight": 0,
            "start": 0,
            "batch_size": 1,
        }
        for name, smallest in least.items():
            if not smallest <= getattr(self, name) < np.inf:
                raise InputError(f"inversion.{name} is {getattr(self, name)}; expected {smallest} or more.")
        if not 0 < self.learning_rate < np.inf:
            raise InputError(f"inversion.learning_rate is {self.learning_rate}; expected a positive number.")


class Inversion:
    """Latents of pictures under one generator, kept on disk picture by picture.

    Optimising a picture takes thousands of times as long as encoding it, and gives two targets at once. So each picture has
    a file of its own, whole or not there, named by its pixels, in a folder named by all else that its latents depend on.
    The tables of both targets read from there; an interruption costs one batch; a picture that stands in two datasets or
    two subjects is optimised once. What the files take is what the two tables take.

    Parameters
    ----------
    network : stages.networks.icgan.ICGAN
        As `from_pretrained` gives it: in evaluation mode, without gradients.
    instance : stages.targets.instance_features.InstanceFeatures
        Its features are the generator's condition.
    settings : InversionSettings, optional
    checkpoints : str
        What identifies both networks' weights.

    Raises
    ------
    InputError
        The instance features are of another length than the generator reads.
    """

    def __init__(self, network, instance, settings=None, checkpoints=""):
        if instance.n_targets != network.config.instance_features:
            raise InputError(
                f"Instance features have {instance.n_targets:,} values but the generator reads "
                f"{network.config.instance_features:,}; name checkpoints that belong together."
            )
        self.network, self.instance = network, instance
        self.settings, self.checkpoints = settings or InversionSettings(), checkpoints
        self.folder = None

    @property
    def sizes(self):
        """Values of each latent, dict of str to int."""
        return {"noise": self.network.config.n_noise, "dense": self.network.config.n_dense}

    @property
    def identity(self):
        """All that latents depend on beside the picture, as plain data."""
        return {
            "checkpoints": self.checkpoints,
            "image_size": self.network.config.image_size,
            "instance": self.instance.preprocessing,
            "settings": asdict(self.settings),
        }

    def keep_in(self, folder):
        """Keep files below `folder`, in one whose name tells the identity."""
        identity = json.dumps(self.identity, sort_keys=True)
        self.folder = Path(folder) / hashlib.sha256(identity.encode()).hexdigest()[:16]
        write_text(self.folder / "config.json", json.dumps(self.identity, indent=1, sort_keys=True) + "\n")

    def prepare(self, images, progress=SILENT):
        """Find the latents of all pictures that have no file yet.

        Parameters
        ----------
        images : array-like of shape (n, height, width, 3), uint8
            Read batch by batch.
        progress : callable, optional
            Called with (label, done, total).
        """
        size, pending = self.settings.batch_size, {}
        progress("inverting pictures", 0, len(images))
        for row in range(len(images)):
            picture = square_pictures(np.asarray(images[row : row + 1]), self.network.config.image_size)[0]
            if self._read(key := _key(picture)) is None:
                pending[key] = picture
            if len(pending) == size or (pending and row == len(images) - 1):
                self._optimise_and_write(pending)
                pending = {}
            if not pending or row == len(images) - 1:
                progress("inverting pictures", row + 1, len(images))

    def latents(self, images):
        """Latents of pictures, found or read.

        Parameters
        ----------
        images : array of shape (n, height, width, 3), uint8
            Any size; their centre square is resized.

        Returns
        -------
        latents : dict of str to array
            "noise" (n, n_noise) and "dense" (n, n_dense), float32.
        """
        pictures = square_pictures(images, self.network.config.image_size)
        keys = [_key(picture) for picture in pictures]
        known = {key: self._read(key) for key in dict.fromkeys(keys)}
        missing = {key: picture for key, picture in zip(keys, pictures) if known[key] is None}
        names, size = list(missing), self.settings.batch_size
        for start in range(0, len(names), size):
            known |= self._optimise_and_write({key: missing[key] for key in names[start : start + size]})
        rows = {name: [known[key][name] for key in keys] for name in LATENTS}
        return {
            name: np.stack(rows[name]) if keys else np.empty((0, width), np.float32)
            for name, width in self.sizes.items()
        }

    def optimise(self, pictures):
        """Latents of one batch, whatever is on disk.

        Parameters
        ----------
        pictures : array of shape (n, image_size, image_size, 3), uint8
            In memory at a time.

        Returns
        -------
        latents : dict of str to array
        """
        settings, device = self.settings, self.network.device
        noise = np.stack([self._start(picture) for picture in pictures])
        shown = to_pictures(torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2))
        instance = self._instance_of(shown)
        noise = torch.from_numpy(noise).to(device).requires_grad_()
        self._descend([noise], settings.noise_steps, lambda: self._loss(shown, instance, noise))
        with torch.no_grad():
            start, spread = self.network.dense(noise), self.network.dense_spread()
        offset = torch.zeros_like(start, requires_grad=True)

        def loss():
            drift = settings.prior_weight * offset.square().mean(dim=1)
            return self._loss(shown, instance, noise, start + spread * offset) + drift

        self._descend([noise, offset], settings.dense_steps, loss)
        found = {"noise": noise.detach(), "dense": start + spread * offset.detach()}
        return {name: values.cpu().numpy() for name, values in found.items()}

    def _loss(self, shown, instance, noise, dense=None):
        drawn = self.network(noise, instance, dense)
        loss = (drawn - shown).square().mean(dim=(1, 2, 3)) + self.settings.prior_weight * noise.square().mean(dim=1)
        if self.settings.feature_weight:
            loss = loss + self.settings.feature_weight * (1 - (self._instance_of(drawn) * instance).sum(dim=1))
        return loss

    def _instance_of(self, pictures):
        size = self.instance.size
        if pictures.shape[-1] != size:
            pictures = torch.nn.functional.interpolate(pictures, size=size, mode="bicubic", antialias=True)
        return self.instance.features(pictures)

    def _descend(self, latents, steps, loss):
        def along_half_a_cosine(optimiser):
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)

        minimise(loss, latents, steps, self.settings.learning_rate, schedule=along_half_a_cosine)

    def _start(self, picture):
        generator = named_numpy_generator(f"{self.settings.seed}/".encode() + picture.tobytes())
        return (self.settings.start * generator.standard_normal(self.sizes["noise"])).astype(np.float32)

    def _optimise_and_write(self, pictures):
        """Latents by key of at most a batch of pictures by key."""
        latents = self.optimise(np.stack(list(pictures.values())))
        found = {key: {name: latents[name][row] for name in LATENTS} for row, key in enumerate(pictures)}
        if self.folder is not None:
            for key, values in found.items():
                with whole_file(self._path(key)) as partial:
                    save_file(values, partial)
        return found

    def _read(self, key):
        """The latents of a file; None if there is none, or one that is damaged and will be written anew."""
        if self.folder is None:
            return None
        try:
            known = load_file(self._path(key))
        except (FileNotFoundError, SafetensorError):
            return None
        return known if {name: known[name].size for name in LATENTS if name in known} == self.sizes else None

    def _path(self, key):
        return self.folder / f"{key}.safetensors"


def _key(picture):
    """Name of a picture by its pixels; their shape is part of the identity."""
    return hashlib.sha256(picture.tobytes()).hexdigest()

"""Pictures from decoded layers of VGG19: searched for among those that a generator draws.

What Shen and others (2019) call the deep image reconstruction of natural pictures: see `stages.inverters.picture_search` for
the search, `stages.networks.vgg19` and `stages.networks.deepsim_generator` for the networks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from stages.generators.generator import drawn_in_batches, rows_of, together
from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.ground.reading.matlab_files import read_mat
from stages.inverters.feature_scaling import layer_weights, scaled
from stages.inverters.picture_search import displayed, first_input, search
from stages.inverters.picture_search_settings import PictureSearchSettings
from stages.networks.deepsim_bounds import bounds_file, read_bounds
from stages.networks.deepsim_generator import DeepSimGenerator
from stages.networks.vgg19 import MEANS, load_vgg19
from stages.networks.vgg19_names import LAYERS
from stages.targets.vgg19_layers import CHANNELS
from weights.manifest import CheckpointError

SPREADS_FILE = "estimated_cnn_feat_std_VGG_ILSVRC_19_layers_ImgSize_224x224_chwise_dof1.mat"


class PictureSearch:
    """Draw pictures that have the given features.

    >>> from stages.generators.generator import Item, in_order
    >>> from stages.networks.deepsim_generator import DeepSimConfig
    >>> from stages.networks.vgg19 import VGG19, VGG19Config
    >>> network = VGG19(VGG19Config(picture=32, channels=(2, 3, 4, 5, 6), hidden=8, classes=7)).eval().requires_grad_(False)
    >>> generator = DeepSimGenerator(DeepSimConfig(inputs=5, bottom=1, widths=(4, 4, 6, 4, 4, 3, 3, 2, 2)))
    >>> settings = PictureSearchSettings(steps=3, bounds="none", scaling="none")
    >>> searching = PictureSearch(network, generator.requires_grad_(False), ("conv1_2", "fc8"), settings)
    >>> searching.takes
    {'vgg19_conv1_2': (2, 32, 32), 'vgg19_fc8': (7,)}
    >>> values = {name: np.ones((1, *shape), dtype=np.float32) for name, shape in searching.takes.items()}
    >>> pictures = in_order(searching.draw(values, [Item("nsd00042")]))
    >>> pictures[0].shape, pictures[0].dtype
    ((32, 32, 3), dtype('uint8'))

    Parameters
    ----------
    network : stages.networks.vgg19.VGG19
        In evaluation mode, without gradients of its own.
    generator : stages.networks.deepsim_generator.DeepSimGenerator
        Likewise. Of its pictures the middle is looked at, and shown.
    layers : sequence of str
        Of the network.
    settings : PictureSearchSettings, optional
    spreads : mapping of str to float, optional
        Usual spread of each layer, averaged over channels, by which features are scaled.
    bounds : float32 tensor of shape (n_values,), optional
        Largest inputs of the generator.
    channels : {"BGR", "RGB"}
        Which colour comes first in what the features were computed from; see `stages.targets.vgg19_layers.VGG19Layer`.

    Attributes
    ----------
    takes, optional, gives, draws_by_lot
        See `stages.generators.generator.Generator`.
    image_size : int
        Pixels on a side of what is drawn: the network's.

    Raises
    ------
    InputError
        There is no such layer, or none; the generator's pictures are smaller than the network's; or the settings ask for
        spreads or bounds that are not given.
    """

    optional = frozenset()
    gives = "picture"

    def __init__(self, network, generator, layers, settings=None, spreads=None, bounds=None, channels="BGR"):
        self.network, self.generator, self.layers = network, generator, tuple(layers)
        self.settings = settings or PictureSearchSettings()
        self.channels, self.image_size = check("channels", channels, OneOf(*CHANNELS)), network.config.picture
        for layer in self.layers:
            check("layer", layer, OneOf(*LAYERS))
        if not self.layers or generator.config.picture < self.image_size:
            raise InputError(
                f"{len(self.layers)} layers are given, and the generator draws {generator.config.picture} pixels where the "
                f"network reads {self.image_size}; expected a layer or more, and a generator of pictures at least as large."
            )
        self._spreads = self._needed("spreads", spreads, self.settings.scaling != "none", set(self.layers))
        self._bounds = self._needed("bounds", bounds, self.settings.bounds != "none")
        self.takes = {f"vgg19_{layer}": network.config.shape(layer) for layer in self.layers}

    @staticmethod
    def _needed(name, value, is_needed, entries=frozenset()):
        if not is_needed:
            return None
        if value is None or (missing := entries - set(value)):
            lacking = "not given" if value is None else f"given without {', '.join(sorted(missing))}"
            setting = {"spreads": "scaling", "bounds": "bounds"}[name]
            raise InputError(
                f"The {name} are {lacking}; expected them for every layer, or the setting {setting}='none'."
            )
        return value

    @classmethod
    def from_pretrained(cls, network_folder, generator_folder, layers, device="cpu", settings=None, channels="BGR"):
        """Load both networks, and what the settings ask for; nothing is looked for elsewhere.

        Parameters
        ----------
        network_folder : path
            As `stages.networks.vgg19.load_vgg19` reads it, with the spreads of its layers in KamitaniLab's ``estimated_...mat``.
        generator_folder : path
            As `DeepSimGenerator.from_pretrained` reads it, with the bounds in ``act_range/3x``.
        layers : sequence of str
        device : str or torch.device
        settings, channels
            As of the class.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or does not fit.
        InputError
            As of the class.
        """
        settings = settings or PictureSearchSettings()
        last = max(layers, key=LAYERS.index) if set(layers) <= set(LAYERS) and layers else LAYERS[-1]
        network = load_vgg19(network_folder, last, device)
        generator = DeepSimGenerator.from_pretrained(generator_folder, device)
        spreads = None if settings.scaling == "none" else read_spreads(Path(network_folder) / SPREADS_FILE, layers)
        bounds = None
        if settings.bounds != "none":
            bounds = read_bounds(bounds_file(generator_folder), generator.config.shape).to(generator.device)
        return cls(network, generator, layers, settings, spreads, bounds, channels)

    @property
    def draws_by_lot(self):
        """Whether each stimulus and sample has a start of its own."""
        return self.settings.start == "noise"

    def draw(self, values, items, *, seed=0, batch_size=16, progress=SILENT):
        """Draw one picture per item; see `stages.generators.generator`.

        Parameters
        ----------
        values : mapping of str to rows
            Features of each layer, ``vgg19_`` and its name.
        items : sequence of objects with `stimulus_id` and `sample`
        seed : int
            Of the starts, with an item's stimulus and sample.
        batch_size : int
            Pictures that are given together. They are searched for one at a time: the steps would enlarge what other rows do to
            the rounding of one.
        progress : callable, optional
            Called as ``progress("pictures", done, total)`` after each batch, and as ``progress("searching", done, total)``
            after each step.

        Yields
        ------
        position : int
            Into `items`.
        picture : uint8 array of shape (image_size, image_size, 3)

        Raises
        ------
        InputError
            A value does not fit; raised before anything is drawn.
        NotFinite
            Pictures are NaN or infinite; raised after all others have been yielded.
        """
        items = list(items)
        check("batch_size", batch_size, Number(1, whole=True, example=16))
        rows, done = rows_of(self, values, items), [0]

        def stepped():
            done[0] += 1
            progress("searching", done[0], self.settings.steps * len(items))

        def picture(position):
            own = {layer: rows[f"vgg19_{layer}"][position] for layer in self.layers}
            start = first_input(self.settings, self.generator.config.inputs, seed, items[position])
            return self._shown(self.search(own, start, stepped)[0])

        batches = together(items, batch_size, lambda _: None)
        return drawn_in_batches(batches, lambda positions: list(map(picture, positions)), items, progress=progress)

    def search(self, features, start, stepped=lambda: None):
        """Search for one picture.

        Parameters
        ----------
        features : mapping of str to array
            By layer, as decoded.
        start : float32 tensor of shape (n_values,)
        stepped : callable, optional
            Called after each step.

        Returns
        -------
        picture : float32 tensor of shape (3, image_size, image_size)
            As the network takes it.
        losses : list of float
        """
        spreads = self._spreads or dict.fromkeys(features, 1.0)
        wanted = {name: scaled(values, spreads[name], self.settings.scaling) for name, values in features.items()}
        picture, losses = search(
            self._drawn,
            lambda pictures: self.network(pictures, tuple(wanted)),
            {name: torch.from_numpy(values)[None].to(self.generator.device) for name, values in wanted.items()},
            layer_weights(wanted),
            start[None].to(self.generator.device),
            self.settings,
            self._bounds,
            stepped,
        )
        return picture[0], losses

    def _drawn(self, latent):
        pictures = self.generator(latent)
        margin, size = (pictures.shape[-1] - self.image_size) // 2, self.image_size
        return pictures[:, :, margin : margin + size, margin : margin + size]

    def _shown(self, picture):
        """uint8 (image_size, image_size, 3), red first; None for what is not finite."""
        greys = picture.permute(1, 2, 0).double().cpu().numpy() + MEANS
        if not np.isfinite(greys).all():
            return None
        shown = displayed(greys, self.settings.clip, self.settings.greys == "rounded")
        return shown if self.channels == "RGB" else np.ascontiguousarray(shown[..., ::-1])


def read_spreads(path, layers):
    """Read the usual spread of layers, averaged over channels, from KamitaniLab's file.

    >>> from scipy.io import savemat
    >>> savemat("spreads.mat", {"conv1_1": np.float32([1, 3]).reshape(2, 1, 1), "fc8": np.float32([[2]])})
    >>> read_spreads("spreads.mat", ("conv1_1", "fc8"))
    {'conv1_1': 2.0, 'fc8': 2.0}

    Parameters
    ----------
    path : path
        A MATLAB file with an array for each layer.
    layers : sequence of str

    Raises
    ------
    CheckpointError
        The file is absent or damaged, or has no spread above 0 of a layer.
    """
    try:
        stored = read_mat(path, "fetch the checkpoint again")
    except InputError as error:
        raise CheckpointError(str(error)) from None
    found = {}
    for layer in layers:
        value = float(np.mean(stored[layer])) if layer in stored else float("nan")
        if not 0 < value < float("inf"):
            raise CheckpointError(
                f"{path} has the spread {value} of {layer}; expected a number above 0: decode layers that it has, such as "
                f"{', '.join(sorted(stored)[:3])}, or search with scaling='none'."
            )
        found[layer] = value
    return found

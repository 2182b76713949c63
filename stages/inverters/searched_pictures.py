"""Pictures from decoded features: searched for among those that a generator draws, or pixel by pixel.

What Shen and others (2019) call deep image reconstruction: see `stages.inverters.picture_search` for the search,
`stages.inverters.picture_search_presets` for its published forms, `stages.networks.vgg19` and
`stages.networks.deepsim_generator` for the networks of them.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from stages.generators.generator import drawn_in_batches, rows_of, together
from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.ground.progress import SILENT, remark
from stages.inverters.feature_scaling import ABOUT_THE_TRAINING_MEAN, layer_weights, scaled
from stages.inverters.feature_spreads import read_spreads, spreads_file
from stages.inverters.looks import Look
from stages.inverters.picture_search import search
from stages.inverters.picture_search_settings import PictureSearchSettings
from stages.inverters.picture_space import PictureSpace, resized
from stages.inverters.search_starts import first_input, shifts_of
from stages.networks.deepsim_generator import DeepSimGenerator, read_bounds
from stages.networks.vgg19 import MEANS, load_vgg19
from stages.networks.vgg19_names import LAYERS
from stages.targets.vgg19_layers import prefix_of

BOUNDS_FILE = "act_range/3x/fc7.txt"
_STEPS_BETWEEN_LOSSES = 10


class PictureSearch:
    """Draw pictures that have the given features.

    >>> from stages.generators.generator import Item, in_order
    >>> from stages.networks.deepsim_generator import DeepSimConfig
    >>> from stages.networks.vgg19 import VGG19, VGG19Config
    >>> network = VGG19(VGG19Config(picture=32, channels=(2, 3, 4, 5, 6), hidden=8, classes=7)).eval().requires_grad_(False)
    >>> generator = DeepSimGenerator(DeepSimConfig(inputs=5, bottom=1, widths=(4, 4, 6, 4, 4, 3, 3, 2, 2)))
    >>> settings = PictureSearchSettings(steps=3, bounds="none", scaling="none")
    >>> looks = [Look(network, ("conv1_2", "fc8"), prefix="vgg19_")]
    >>> searching = PictureSearch(looks, generator.requires_grad_(False), settings)
    >>> searching.takes
    {'vgg19_conv1_2': (2, 32, 32), 'vgg19_fc8': (7,)}
    >>> values = {name: np.ones((1, *shape), dtype=np.float32) for name, shape in searching.takes.items()}
    >>> pictures = in_order(searching.draw(values, [Item("nsd00042")]))
    >>> pictures[0].shape, pictures[0].dtype
    ((32, 32, 3), dtype('uint8'))

    Parameters
    ----------
    looks : sequence of stages.inverters.looks.Look
        Networks that pictures are looked at with, all at once, and their layers. None with the optimiser "none".
    generator : module, optional
        ``generator(latent) -> float pictures (n, 3, height, width)``, without gradients of its own. None if pixels are varied.
    settings : PictureSearchSettings, optional
    spreads : mapping of str to float or array, optional
        Usual spread of the features of each value, one number or one a channel, by which they are scaled.
    means : mapping of str to array, optional
        Mean of each value's training features, for the scalings that centre on it.
    bounds : float32 tensor of the shape of a latent, optional
        Largest inputs of the generator, for the bounds "activation range".
    channels : {"BGR", "RGB"}
        Which colour comes first in what the search has; see `stages.targets.vgg19_layers.VGG19Layer`.
    mean_greys : sequence of three float
        What these pictures, and the generator's, are less by, in the order of their channels.
    latent : str, optional
        Name of the value that the generator draws from, for the start "decoded".
    latent_shape : tuple of int, optional
        Of one latent; by default the generator's ``config.shape``, or its ``config.inputs``.
    image_size : int, optional
        Pixels on a side of what is drawn; by default what the first network takes, or the generator draws.
    device : str or torch.device, optional
        Where pictures are searched for; by default that of the generator, or of the first network that has parameters. What
        has them tells the precision, too: in float64 pictures that are searched for together are those that are alone.

    Attributes
    ----------
    takes, optional, gives, draws_by_lot
        See `stages.generators.generator.Generator`.
    image_size : int

    Raises
    ------
    InputError
        The settings ask for something that is not given: a generator, spreads, means or bounds; or two values have one name.
    """

    optional = frozenset()
    gives = "picture"

    def __init__(
        self,
        looks,
        generator=None,
        settings=None,
        spreads=None,
        means=None,
        bounds=None,
        channels="BGR",
        mean_greys=MEANS,
        latent=None,
        latent_shape=None,
        image_size=None,
        device=None,
    ):
        self.looks, self.generator, self.settings = tuple(looks), generator, settings or PictureSearchSettings()
        self._device = device
        self._check_parts()
        self.image_size = image_size or (self.looks[0].size if self.looks else generator.config.picture)
        self.space, pixels = PictureSpace(self.image_size, mean_greys, channels), (3, self.image_size, self.image_size)
        self._shape = pixels if self.settings.varied == "pixels" else tuple(latent_shape or _shape_of(generator))
        self.takes = {name: shape for look in self.looks for name, shape in look.takes.items()}
        self._layers = {name: layer for look in self.looks for name, layer in look.own_names.items()}
        self._latent = None
        if self.settings.start == "decoded":
            self._latent = self._needed("latent", latent, "start")
            self.takes |= {latent: self._shape}
        if len(self.takes) < sum(len(look.layers) for look in self.looks) + (self._latent is not None):
            raise InputError(
                f"Two values are called the same, among {', '.join(self.takes)}; expected one name each: give looks prefixes."
            )
        is_scaled = self.settings.scaling != "none"
        self._spreads = self._needed("spreads", spreads, "scaling", is_scaled, self.takes)
        centred = self.settings.scaling in ABOUT_THE_TRAINING_MEAN
        self._means = self._needed("means", means, "scaling", centred, self.takes)
        self._range = self._needed("bounds", bounds, "bounds", self.settings.bounds == "activation range")

    def _check_parts(self):
        settings = self.settings
        if (settings.varied == "latent") != (self.generator is not None):
            raise InputError(
                f"search.varied is {settings.varied!r} and the generator is {type(self.generator).__name__}; expected a "
                "generator if its latents are varied, and only then: pass one, or varied='pixels'."
            )
        if bool(self.looks) == (settings.optimiser == "none"):
            raise InputError(
                f"search.optimiser is {settings.optimiser!r} and {len(self.looks)} networks look at pictures; expected one or "
                "more, and none with the optimiser 'none': pass looks=[Look(network, layers)], or optimiser='none'."
            )

    @staticmethod
    def _needed(name, value, setting, is_needed=True, entries=()):
        if not is_needed:
            return None
        if value is None or (missing := set(entries) - set(value)):
            lacking = "not given" if value is None else f"given without {', '.join(sorted(missing))}"
            other = {"start": "noise"}.get(setting, "none")
            raise InputError(
                f"The {name} are {lacking}; expected them of every value, or the setting {setting}={other!r}."
            )
        return value

    @classmethod
    def from_pretrained(
        cls,
        network_folder,
        generator_folder,
        layers,
        device="cpu",
        settings=None,
        channels="BGR",
        variant="original",
        means=None,
    ):
        """Load VGG19 and its generator, and what the settings ask for; nothing is looked for elsewhere.

        Parameters
        ----------
        network_folder : path
            As `stages.networks.vgg19.load_vgg19` reads it, with the spreads of its layers in KamitaniLab's ``estimated_...mat``.
        generator_folder : path, optional
            As `DeepSimGenerator.from_pretrained` reads it, with the bounds in ``act_range/3x/fc7.txt``. None if pixels are
            varied.
        layers : sequence of str
        device : str or torch.device
        settings, channels, means
            As of the class.
        variant : {"original", "leaky"}
            Of VGG19; each has its file of spreads.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or does not fit.
        InputError
            As of the class.
        """
        settings = settings or PictureSearchSettings()
        last = max(layers, key=LAYERS.index) if set(layers) <= set(LAYERS) and layers else LAYERS[-1]
        network = load_vgg19(network_folder, last, device, variant)
        prefix = prefix_of(network.config)
        look, generator, spreads, bounds = Look(network, layers, prefix=prefix), None, None, None
        if settings.varied == "latent":
            generator = DeepSimGenerator.from_pretrained(generator_folder, device)
        if settings.scaling != "none":
            found = read_spreads(spreads_file(network_folder, variant), layers)
            spreads = {prefix + layer: spread for layer, spread in found.items()}
        if settings.bounds == "activation range":
            bounds = read_bounds(Path(generator_folder) / BOUNDS_FILE, math.prod(_shape_of(generator)))
        return cls([look], generator, settings, spreads, means, bounds, channels)

    @property
    def draws_by_lot(self):
        """Whether each stimulus and sample has a start of its own, or its own shifts."""
        return self.settings.start in ("noise", "greys") or bool(self.settings.jitter)

    @property
    def _weight(self):
        """A tensor of the device and the precision of the search."""
        parts = (self.generator, *(look.network for look in self.looks))
        parameters = (one for part in parts for one in getattr(part, "parameters", lambda: ())())
        return next(parameters, torch.zeros(())).detach().to(self._device)

    def draw(self, values, items, *, seed=0, batch_size=16, progress=SILENT):
        """Draw one picture per item; see `stages.generators.generator`.

        Parameters
        ----------
        values : mapping of str to rows
            Features of each layer, by the prefix of their network and their own name.
        items : sequence of objects with `stimulus_id` and `sample`
        seed : int
            Of the starts and shifts, with an item's stimulus and sample.
        batch_size : int
            Pictures that are given together. They are searched for as many at a time as the settings say.
        progress : callable, optional
            Called as ``progress("pictures", done, total)`` after each batch, and as ``progress("searching", done, total)``
            after each step. Who shows remarks is told the loss every ten steps.

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
        rows, done = rows_of(self, values, items), 0
        steps = 0 if self.settings.optimiser == "none" else self.settings.steps
        total = steps * len(items)

        def searched(positions):
            nonlocal done
            calls, began, each = 0, done, 1 if self.settings.optimiser == "L-BFGS-B" else len(positions)

            def stepped(loss):
                nonlocal calls
                calls += 1
                if calls % _STEPS_BETWEEN_LOSSES == 0:
                    # Asked for rarely: a GPU would be waited for each time.
                    remark(progress, "searching", f"loss {float(torch.as_tensor(loss).mean()):.4g}")
                progress("searching", began + calls * each, total)

            own = {name: np.stack([values[position] for position in positions]) for name, values in rows.items()}
            pictures, _ = self.search(own, [items[position] for position in positions], seed, stepped)
            done = began + steps * len(positions)
            if began + calls * each < done:
                # Found early.
                progress("searching", done, total)
            return [self._shown(picture) for picture in pictures]

        def drawn(positions):
            size = self.settings.at_a_time
            parts = [positions[first : first + size] for first in range(0, len(positions), size)]
            return [picture for part in parts for picture in searched(part)]

        return drawn_in_batches(together(items, batch_size, lambda _: None), drawn, items, progress=progress)

    def search(self, features, items, seed=0, stepped=lambda loss: None):
        """Search for the pictures of a few items, together.

        Parameters
        ----------
        features : mapping of str to array of shape (n, ...)
            By the names of `takes`, as decoded.
        items : sequence of objects with `stimulus_id` and `sample`
            Their starts and shifts.
        seed : int
        stepped : callable, optional
            Called after each step with the losses.

        Returns
        -------
        pictures : float tensor of shape (n, 3, height, width)
            As the search has them, in the precision of the networks; the middle of them is shown.
        losses : list of list of float
            Of each item.
        """
        scaled_rows = {name: [self._scaled(name, row) for row in rows] for name, rows in features.items()}
        weight = self._weight
        wanted = {
            name: torch.from_numpy(np.stack(rows)).to(weight)
            for name, rows in scaled_rows.items()
            if name != self._latent
        }
        if self._latent is not None:
            start = torch.from_numpy(np.stack(scaled_rows[self._latent]))
        else:
            start = torch.stack(
                [first_input(self.settings, self._shape, seed, item, self.space.mean_greys) for item in items]
            )
        shares = [self._shares({name: scaled_rows[name][row] for name in wanted}) for row in range(len(items))]
        return search(
            self._drawn,
            self._looked_at,
            wanted,
            {name: torch.tensor([share[name] for share in shares]).to(weight) for name in wanted},
            start.to(weight),
            self.settings,
            self._bounds(weight),
            shifts_of(self.settings, seed, items),
            self._layers,
            stepped,
        )

    def _scaled(self, name, values):
        if self._spreads is None:
            return np.asarray(values, dtype=np.float32)
        mean = None if self._means is None else self._means[name]
        return scaled(values, self._spreads[name], self.settings.scaling, mean)

    def _shares(self, wanted):
        return (
            layer_weights(wanted) if self.settings.layers_count == "by size" else dict.fromkeys(wanted, 1 / len(wanted))
        )

    def _bounds(self, weight):
        """Lowest and highest values of what is varied; None where there is none."""
        kind, zero = self.settings.bounds, weight.new_zeros(())
        if kind == "none":
            return None
        if kind == "greys":
            return self.space.black_and_white(weight)
        if kind == "above 0":
            return zero, None
        return zero, zero + self.settings.highest if kind == "highest" else self._range.to(weight)

    def _drawn(self, x):
        return x if self.settings.varied == "pixels" else self.generator(x)

    def _looked_at(self, pictures):
        """Features of pictures by the names of values."""
        fitted, greys, found = self.space.fitted(pictures, self.settings.fitted), None, {}
        for look in self.looks:
            seen = fitted
            if look.prepare is not None:
                seen = greys = self.space.greys(fitted) if greys is None else greys
            found |= look(resized(seen, look.size))
        return found

    def _shown(self, picture):
        """uint8 (image_size, image_size, 3), red first; None for what is not finite."""
        settings = self.settings
        return self.space.shown(picture, settings.clip, settings.clipped, settings.greys == "rounded")


def _shape_of(generator):
    shape = getattr(generator.config, "shape", None)
    return (generator.config.inputs,) if shape is None else shape

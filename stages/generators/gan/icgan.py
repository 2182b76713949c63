"""IC-GAN as a generator: instance features, noise and dense vector to pictures, without anything drawn by lot."""

import numpy as np
import torch

from stages.generators.generator import drawn_in_batches, rows_of, together
from stages.ground.errors import InputError
from stages.ground.not_finite import finite_rows
from stages.ground.progress import SILENT
from stages.networks.icgan import ICGAN, to_bytes


class ICGANGenerator:
    """Draw pictures with an IC-GAN.

    >>> import numpy as np
    >>> from stages.generators.generator import Item, in_order
    >>> from weights import store
    >>> generator = ICGANGenerator.from_pretrained(store.path("tiny-icgan"))
    >>> values = {name: np.zeros((1, *shape), dtype=np.float32) for name, shape in generator.takes.items()}
    >>> pictures = in_order(generator.draw(values, [Item("nsd00042")]))
    >>> pictures[0].shape, pictures[0].dtype
    ((64, 64, 3), dtype('uint8'))

    Parameters
    ----------
    network : stages.networks.icgan.ICGAN
        As its `from_pretrained` gives it.

    Attributes
    ----------
    takes, optional, gives, draws_by_lot
        See `stages.generators.generator.Generator`.
    image_size : int
        Pixels on a side of what is drawn.
    """

    optional = frozenset({"dense"})
    gives = "picture"
    draws_by_lot = False

    def __init__(self, network):
        self.network, self.image_size = network, network.config.image_size

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load a folder with config.json and the weights; CheckpointError if they do not fit."""
        return cls(ICGAN.from_pretrained(folder, device))

    @property
    def takes(self):
        """Shape of each value; names and lengths are the checkpoint's."""
        config = self.network.config
        return {"instance": (config.instance_features,), "noise": (config.n_noise,), "dense": (config.n_dense,)}

    def draw(self, values, items, *, seed=0, batch_size=16, progress=SILENT):
        """Draw one picture per item; see `stages.generators.generator`.

        Parameters
        ----------
        values : mapping of str to rows
            ``instance`` and ``noise``; without ``dense`` the network's linear layer makes it from the noise.
        items : sequence of objects with `stimulus_id` and `sample`
        seed : int
            Has no part in the picture.
        batch_size : int
        progress : callable, optional
            Called as ``progress("pictures", done, total)`` after each batch.

        Yields
        ------
        position : int
            Into `items`; not in order.
        picture : uint8 array of shape (image_size, image_size, 3)

        Raises
        ------
        InputError
            A value does not fit; raised before anything is drawn.
        NotFinite
            Pictures are NaN or infinite; raised after all others have been yielded.
        """
        items = list(items)
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be 1 or more.")
        rows = rows_of(self, values, items)
        batches = list(together(range(len(items)), batch_size, lambda row: rows["dense"][row] is None))

        def pictures(positions):
            batch = {name: [values[position] for position in positions] for name, values in rows.items()}
            return self._pictures({name: values for name, values in batch.items() if values[0] is not None})

        return drawn_in_batches(batches, pictures, items, progress=progress)

    @torch.inference_mode()
    def _pictures(self, batch):
        """Draw uint8 pictures (image_size, image_size, 3) from lists of rows by name: a list, None for what is not finite."""
        tensors = {
            name: torch.from_numpy(np.stack(values).astype(np.float32)).to(self.network.device)
            for name, values in batch.items()
        }
        drawn = self.network(tensors["noise"], tensors["instance"], tensors.get("dense"))
        pictures = to_bytes(drawn).cpu().numpy()
        return [picture if is_finite else None for picture, is_finite in zip(pictures, finite_rows(drawn))]

"""IC-GAN as a generator: instance features, noise and dense vector to pictures, without anything drawn by lot."""

import numpy as np
import torch

from stages.generators.generator import rows_of, together
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.networks.icgan import ICGAN, to_bytes


class ICGANGenerator:
    """Draw pictures with an IC-GAN.

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
        """
        items = list(items)
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be 1 or more.")
        rows = rows_of(self, values, items)
        batches = list(together(range(len(items)), batch_size, lambda row: rows["dense"][row] is None))
        return self._drawn(rows, batches, len(items), progress)

    def _drawn(self, rows, batches, n_items, progress):
        done = 0
        for positions in batches:
            batch = {name: [values[position] for position in positions] for name, values in rows.items()}
            pictures = self._pictures({name: values for name, values in batch.items() if values[0] is not None})
            done += len(positions)
            progress("pictures", done, n_items)
            yield from zip(positions, pictures)

    @torch.inference_mode()
    def _pictures(self, batch):
        """Draw uint8 pictures (n, image_size, image_size, 3) from lists of rows by name."""
        tensors = {
            name: torch.from_numpy(np.stack(values).astype(np.float32)).to(self.network.device)
            for name, values in batch.items()
        }
        return to_bytes(self.network(tensors["noise"], tensors["instance"], tensors.get("dense"))).cpu().numpy()

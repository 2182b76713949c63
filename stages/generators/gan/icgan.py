"""IC-GAN as a generator: instance features, noise and dense vector to pictures, without anything drawn by lot."""

from dataclasses import dataclass

import numpy as np
import torch

from stages.ground.errors import InputError
from stages.networks.icgan import ICGAN, to_bytes


@dataclass(frozen=True, eq=False)
class InstanceRequest:
    """One picture to be drawn.

    Attributes
    ----------
    stimulus_id : str
    sample : int
        Which of several; they do not differ.
    instance : array of shape (instance_features,), float32
    noise : array of shape (n_noise,), float32
    dense : array of shape (n_dense,), float32, or None
        None leaves it to the generator's linear layer to make it from the noise.
    """

    stimulus_id: str
    sample: int
    instance: np.ndarray
    noise: np.ndarray
    dense: np.ndarray | None = None


class ICGANGenerator:
    """The generator.

    Parameters
    ----------
    network : stages.networks.icgan.ICGAN
        As its `from_pretrained` gives it.

    Attributes
    ----------
    image_size : int
        Pixels on a side of what is drawn.
    """

    def __init__(self, network):
        self.network, self.image_size = network, network.config.image_size

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load a folder with config.json and the weights; CheckpointError where they do not fit."""
        return cls(ICGAN.from_pretrained(folder, device))

    @property
    def shapes(self):
        """Values of each input, dict of str to int."""
        config = self.network.config
        return {"instance": config.instance_features, "noise": config.n_noise, "dense": config.n_dense}

    @torch.inference_mode()
    def draw(self, instance, noise, dense=None):
        """Draw one batch.

        Parameters
        ----------
        instance : array of shape (n, instance_features)
        noise : array of shape (n, n_noise)
        dense : array of shape (n, n_dense), optional

        Returns
        -------
        pictures : array of shape (n, image_size, image_size, 3), uint8
            A picture depends on the others of its batch by one grey level at most.

        Raises
        ------
        InputError
            An array has another shape than the checkpoint's, or values that are not finite.
        """
        given = {"instance": instance, "noise": noise} | ({} if dense is None else {"dense": dense})
        tensors = {}
        for name, values in given.items():
            values = np.asarray(values, dtype=np.float32)
            expected = (len(instance), self.shapes[name])
            if values.shape != expected or not np.isfinite(values).all():
                raise InputError(
                    f"{name} has shape {values.shape} and {int((~np.isfinite(values)).sum()):,} values that are not finite; "
                    f"this generator reads finite values of shape {expected}: predict the targets that belong to its checkpoint."
                )
            tensors[name] = torch.from_numpy(values).to(self.network.device)
        return to_bytes(self.network(tensors["noise"], tensors["instance"], tensors.get("dense"))).cpu().numpy()

    def generate(self, requests, *, batch_size=16, progress=None):
        """Draw the pictures of requests.

        Parameters
        ----------
        requests : list of InstanceRequest
            All with a dense vector, or all without.
        batch_size : int
        progress : callable, optional
            Called as ``progress("pictures", done, total)`` after each batch.

        Yields
        ------
        position : int
            Into `requests`.
        image : uint8 array of shape (image_size, image_size, 3)
        """
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be 1 or more.")
        without = [request.dense is None for request in requests]
        if any(without) and not all(without):
            raise InputError("Some requests have a dense vector and some have none; draw them in two calls.")
        for start in range(0, len(requests), batch_size):
            batch = requests[start : start + batch_size]
            dense = None if without[0] else np.stack([request.dense for request in batch])
            images = self.draw(
                np.stack([request.instance for request in batch]), np.stack([request.noise for request in batch]), dense
            )
            if progress:
                progress("pictures", start + len(batch), len(requests))
            yield from enumerate(images, start=start)

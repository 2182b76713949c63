"""The noise and the dense vector of pictures as targets."""

from pathlib import Path

from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.inverters.latent_search import LATENTS
from weights.suggestions import did_you_mean


class InvertedLatents:
    """One of the two latents as a target; the two share an inversion.

    Parameters
    ----------
    name : {"noise", "dense"}
    inversion : Inversion
    """

    takes = "images"

    def __init__(self, name, inversion):
        if name not in LATENTS:
            raise InputError(
                f"There is no latent {name!r}; expected {' or '.join(LATENTS)}{did_you_mean(name, LATENTS)}."
            )
        self.name, self.inversion = name, inversion

    @property
    def n_targets(self):
        """Values per picture."""
        return self.inversion.sizes[self.name]

    @property
    def shape(self):
        """One axis; the dense vector's is (channels, 4, 4) flattened, the last axis fastest."""
        return (self.n_targets,)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        return {"inversion": self.inversion.identity}

    def prepare(self, items, folder, progress=SILENT):
        """Find what is missing of the pictures' latents, into files below `folder`: the long part, which can be interrupted."""
        self.inversion.keep_in(Path(folder) / "inversions")
        self.inversion.prepare(items, progress)

    def encode(self, items, batch_size=64):
        """Latents of pictures.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
        batch_size : int
            Taken as by other targets; pictures are optimised by as many as the settings say.

        Returns
        -------
        values : array of shape (n, n_targets), float32
        """
        return self.inversion.latents(items)[self.name]

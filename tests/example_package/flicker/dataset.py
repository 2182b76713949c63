"""A dataset: responses in one .npz file. ``brainrecon data info flicker:FILE`` reads it."""

from pathlib import Path

import numpy as np

from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.description import Description
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject, stimulus_fingerprint
from stages.ground.errors import InputError


class Flicker:
    """One subject; `betas`, `shown` and `pictures`, of which the last tenth is tested."""

    description = Description(
        measured="One simulated subject saw small coloured pictures.",
        available="Made by this package.",
        citation="Nobody (2026). Nothing was measured.",
        licence="MIT",
    )
    options = ()

    def subjects(self, path):
        """The subject of the file."""
        return ["subj01"]

    def load(self, path, subject=None, roi=None):
        """Read the file; there is one subject, and one region of all voxels."""
        try:
            with np.load(path, allow_pickle=False) as file:
                betas, shown, pictures = (file[name] for name in ("betas", "shown", "pictures"))
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"{path} cannot be read ({error}); expected an .npz with betas, shown and pictures."
            ) from None
        tested = shown >= len(pictures) - max(2, len(pictures) // 10)
        splits = {}
        for name, rows in (("train", ~tested), ("test", tested)):
            ids = [f"p{number:03d}" for number in shown[rows]]
            # Pictures stand in the order in which the stimuli first appear.
            first = list(dict.fromkeys(shown[rows]))
            splits[name] = Split(betas[rows].astype(np.float32), ids, images=pictures[first])
        return Subject(
            "subj01",
            "flicker",
            f"flicker:{path}",
            splits,
            roi="all",
            rois={"all": np.ones(betas.shape[1], dtype=bool)},
            simulated=True,
            fingerprint=stimulus_fingerprint("flicker", splits),
        )

    def files(self, path, subject=None):
        """The one file."""
        return [ExpectedFile(Path(path), "betas, shown and pictures")]

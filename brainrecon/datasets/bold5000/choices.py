"""What may be asked for: which responses, which model, and how a subject is named."""

from __future__ import annotations

import re

from brainrecon.datasets.bold5000 import layout
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

VOLUMES = ("TR34", "TR1", "TR2", "TR3", "TR4", "TR5")
"""What release 1 has: the mean of two volumes after a picture, and single ones."""
BETAS = ("regions", "brain", *VOLUMES)
SCALINGS = ("session", "global")
ORDERS = ("C", "F")


def checked(path, name, betas, model, scaling, pictures, voxel_order):
    """Which responses, and the model's letter; an InputError for an option that is none."""
    for option, value, allowed in (
        ("betas", betas, (None, *BETAS)),
        ("scaling", scaling, (None, *SCALINGS)),
        ("voxel_order", voxel_order, (None, *ORDERS)),
        ("pictures", pictures, (True, False)),
    ):
        if value not in allowed:
            said = ", ".join(str(one).lower() if isinstance(one, bool) else one for one in allowed if one is not None)
            raise InputError(
                f"{option} is {value!r}; expected one of {said}{did_you_mean(str(value), map(str, allowed))}."
            )
    model = layout.checked_model(model)
    betas = betas or there(path, name, model)
    if betas == "brain" and scaling == "global":
        raise InputError(
            "scaling=global reads every trial first, and betas=brain are too many for that; take betas=regions, or "
            "scaling=session."
        )
    return betas, model


def there(path, name, model):
    """The first kind of responses that is on disk, else release 2's in regions."""
    if layout.region_files(path, name, model):
        return "regions"
    if layout.session_files(path, name, model):
        return "brain"
    return next((volume for volume in VOLUMES if layout.first_release_file(path, name, volume).exists()), "regions")


def named_subject(subject):
    """``CSI1`` for "CSI1", "sub-CSI1", "csi01", "subj01", "1" or 1."""
    number = re.fullmatch(r"(?:sub-)?(?:CSI|subj|sub-)?0*(\d+)", str(subject).strip(), re.IGNORECASE)
    if number is None:
        raise InputError(f"'{subject}' is no subject of bold5000; write CSI1, for example.")
    return f"CSI{number[1]}"

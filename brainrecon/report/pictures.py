"""Pictures for a report: which stimuli are shown, and each picture as text inside the page."""

import base64
import io

import numpy as np
from PIL import Image

from stages.errors import InputError

# Pictures up to this width stay exact; a page of larger ones would weigh tens of megabytes.
EXACT_WIDTH = 96
LARGEST_WIDTH = 224


def choose_stimuli(stimulus_ids, shown, conditions, reference, n_rows):
    """Choose the rows of the picture grid without looking at the pictures.

    Evenly spaced in the order of the test set, from the first to the last, among the stimuli that every
    condition has drawn. Where fewer than eight are common to all, among those the reference condition has.

    Parameters
    ----------
    stimulus_ids : sequence of str
        The test set in its order.
    shown : mapping of str to picture
        By stimulus.
    conditions : mapping of str to (mapping of str to picture)
        By condition and stimulus.
    reference : str
        The method itself.
    n_rows : int
        At most so many.

    Returns
    -------
    chosen : list of str
    how : str
        One sentence for the reader.
    """
    known = [one for one in stimulus_ids if one in shown]
    candidates = [one for one in known if all(one in drawn for drawn in conditions.values())]
    among = "test stimuli that every condition here has drawn"
    if len(candidates) < min(8, n_rows, len(known)):
        candidates = [one for one in known if one in conditions[reference]]
        among = "test stimuli that have a reconstruction"
    n, n_test = len(candidates), len(stimulus_ids)
    rows = np.unique(np.round(np.linspace(0, n - 1, min(n_rows, n))).astype(int)) if n else []
    among = f"{n} {among} (there are {n_test})" if n < n_test else f"{n} test stimuli"
    if len(rows) == n:
        how = f"All {among}, in the order of the test set."
    else:
        how = f"{len(rows)} of the {among}, evenly spaced in the order of the test set. Nobody picked them."
    return [candidates[row] for row in rows], how


def data_uri(image):
    """A picture as a data URI.

    Small pictures are PNG and exact. Wider ones are reduced to at most 224 pixels and JPEG, so that a page of
    them stays a few megabytes; the pictures in the run folder are untouched.

    Parameters
    ----------
    image : uint8 array of shape (height, width, 3)
        Left as it is.

    Raises
    ------
    InputError
        If it is not 8-bit RGB.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise InputError(
            f"A picture of the report is {image.dtype} of shape {image.shape}; expected uint8 of shape "
            "(height, width, 3). Convert it to 8-bit RGB."
        )
    picture = Image.fromarray(image)
    text = io.BytesIO()
    if max(picture.size) <= EXACT_WIDTH:
        picture.save(text, "PNG", optimize=True)
        kind = "png"
    else:
        picture.thumbnail((LARGEST_WIDTH, LARGEST_WIDTH), Image.Resampling.LANCZOS)
        picture.save(text, "JPEG", quality=85)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(text.getvalue()).decode()}"


def first_sample(drawn):
    """One picture where there may be a list of samples: the first."""
    return drawn[0] if isinstance(drawn, list | tuple) else drawn


def n_samples(drawn):
    """How many samples there are of one stimulus."""
    return len(drawn) if isinstance(drawn, list | tuple) else 1

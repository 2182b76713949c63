"""Pictures for a report: which stimuli are shown, and each picture as text inside the page."""

import base64
import io

import numpy as np
from PIL import Image

# Pictures up to this width stay exact; a page of larger ones would weigh tens of megabytes.
EXACT_WIDTH = 96
LARGEST_WIDTH = 224


def choose_stimuli(stimulus_ids, shown, conditions, n_rows):
    """Choose the rows of the picture grid without looking at the pictures.

    Evenly spaced in the order of the test set, from the first to the last, among the stimuli that every
    condition has drawn. Where fewer than eight are common to all, among those the first condition has.

    Parameters
    ----------
    stimulus_ids : sequence of str
        The test set in its order.
    shown : mapping of str to picture
    conditions : mapping of str to (mapping of str to picture)
        The first one is the method itself.
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
    enough = min(8, n_rows, len(known))
    if len(candidates) < enough and conditions:
        first = next(iter(conditions.values()))
        candidates = [one for one in known if one in first]
    n = len(candidates)
    rows = np.unique(np.round(np.linspace(0, n - 1, min(n_rows, n))).astype(int)) if n else []
    chosen = [candidates[row] for row in rows]
    among = f"the {len(stimulus_ids)} test stimuli"
    if n < len(stimulus_ids):
        among = f"the {n} of {among} that were drawn under every condition here"
        if any(one not in drawn for one in candidates for drawn in conditions.values()):
            among = f"the {n} of the {len(stimulus_ids)} test stimuli that have a reconstruction"
    if len(chosen) == n:
        return chosen, f"All of {among}, in the order of the test set."
    return (
        chosen,
        f"{len(chosen)} of {among}, evenly spaced in the order of the test set. Nobody picked them.",
    )


def data_uri(image):
    """A picture as a data URI.

    Small pictures are PNG and exact. Wider ones are reduced to at most 224 pixels and JPEG, so that a page of
    them stays a few megabytes; the pictures in the run folder are untouched.

    Parameters
    ----------
    image : uint8 array of shape (height, width, 3)
    """
    image = np.asarray(image)
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

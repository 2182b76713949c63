"""Pictures for a report: which stimuli are shown, and each picture as text inside the page."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from stages.ground.errors import InputError

# Pictures up to this width stay exact; a page of larger ones would weigh tens of megabytes.
EXACT_WIDTH = 96
LARGEST_WIDTH = 224

# Fewer stimuli than this that all conditions have drawn are no view of the method: then gaps are shown instead.
_ENOUGH_IN_COMMON = 8


@dataclass(frozen=True)
class Block:
    """Some rows of the picture grid under one heading.

    Attributes
    ----------
    heading : str
    stimulus_ids : list of str
        In the order they are shown.
    """

    heading: str
    stimulus_ids: list


def choose_blocks(stimulus_ids, shown, conditions, reference, ranking, rule, n_each=5, n_unselected=6):
    """Choose the rows of the picture grid: best, median and worst by a score, and a few whatever their score.

    Candidates are the stimuli that every condition has drawn; if fewer than eight are common to all, those
    that the reference condition has. Few candidates are all shown, from best to worst, none of them twice.

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
    ranking : sequence of str
        Stimuli from best to worst, as `rank_stimuli` gives them; empty if nothing was scored.
    rule : str
        By what they are ranked, for the reader.
    n_each : int
        How many of the best, of the median and of the worst.
    n_unselected : int
        How many of those that are shown whatever their score.

    Returns
    -------
    blocks : list of Block
    how : str
        How they were chosen, for the reader.
    """
    candidates, among = _candidates(stimulus_ids, shown, conditions, reference)
    known = set(candidates)
    ranked = [one for one in ranking if one in known]
    n, unscored = len(ranked), len(candidates) - len(ranked)
    aside = f" {unscored} without a score cannot be ranked." if ranked and unscored else ""
    if 0 < n < 3 * n_each + 3 and not unscored:
        return [Block("From best to worst", ranked)], f"All {among}, from best to worst by {rule}."
    if n < 3 * n_each:
        rows, how = choose_stimuli(stimulus_ids, shown, conditions, reference, 3 * n_each + 3)
        return [Block("", rows)], how
    middle = (n - n_each) // 2
    evenly, how_evenly = choose_stimuli(stimulus_ids, shown, conditions, reference, n_unselected)
    blocks = [
        Block(f"Best {n_each}", ranked[:n_each]),
        Block(f"Median {n_each}", ranked[middle : middle + n_each]),
        Block(f"Worst {n_each}", ranked[n - n_each :]),
        Block(f"Unselected {len(evenly)}", evenly),
    ]
    how = (
        f"Best, median and worst of the {among} by {rule}.{aside} Unselected: {how_evenly[:1].lower()}{how_evenly[1:]}"
    )
    return blocks, how


def rank_stimuli(scores, stimulus_ids, headline, low_level):
    """Order the reference condition's stimuli from best to worst.

    Parameters
    ----------
    scores : brainrecon.evaluation.scores.scores.Scores
    stimulus_ids : sequence of str
        The test set in its order, which decides if both metrics tie.
    headline, low_level : str or None
        Metrics; the second decides if the first ties.

    Returns
    -------
    ranking : list of str
        Empty if the reference condition has no value of the headline metric.
    """
    one = scores.conditions.get(scores.reference)
    if one is None or headline not in one.values:
        return []
    keys = []
    for name in (low_level, headline):
        if name in one.values:
            sign = -1 if scores.metrics[name].metric.higher_is_better else 1
            # Stimuli without a value come last.
            keys.append(np.nan_to_num(sign * one.values[name], nan=np.inf))
    place = {name: row for row, name in enumerate(stimulus_ids)}
    keys.insert(0, [place.get(name, len(place)) for name in one.stimulus_ids])
    return [one.stimulus_ids[row] for row in np.lexsort(keys)]


def choose_stimuli(stimulus_ids, shown, conditions, reference, n_rows):
    """Choose stimuli without looking at pictures or scores: evenly spaced in the order of the test set.

    Parameters
    ----------
    stimulus_ids, shown, conditions, reference
        As for `choose_blocks`, with the same candidates.
    n_rows : int
        At most so many, from the first candidate to the last.

    Returns
    -------
    chosen : list of str
    how : str
        One sentence for the reader.
    """
    candidates, among = _candidates(stimulus_ids, shown, conditions, reference)
    n = len(candidates)
    rows = np.unique(np.round(np.linspace(0, n - 1, min(n_rows, n))).astype(int)) if n else []
    if len(rows) == n:
        how = f"All {among}, in the order of the test set."
    else:
        how = f"{len(rows)} of the {among}, evenly spaced in the order of the test set. Nobody picked them."
    return [candidates[row] for row in rows], how


def _candidates(stimulus_ids, shown, conditions, reference):
    """Stimuli that may be shown, in the order of the test set, and what to call them: '24 test stimuli'."""
    # Of some stimuli nobody has pictures, as of imagery.
    known = [one for one in stimulus_ids if one in shown or not shown]
    candidates = [one for one in known if all(one in drawn for drawn in conditions.values())]
    among = "test stimuli that every condition here has drawn"
    if len(candidates) < min(_ENOUGH_IN_COMMON, len(known)):
        candidates = [one for one in known if one in conditions[reference]]
        among = "test stimuli that have a reconstruction"
    n, n_test = len(candidates), len(stimulus_ids)
    return candidates, f"{n:,} {among} (there are {n_test:,})" if n < n_test else f"{n:,} test stimuli"


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
    """One picture, or the first of a list of samples."""
    return drawn[0] if isinstance(drawn, list | tuple) else drawn

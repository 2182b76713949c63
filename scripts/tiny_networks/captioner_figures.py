"""Held-out figures of the captioner: captions of drawn scenes beside those that they carry."""

import numpy as np
import torch

from brainrecon.evaluation.metrics.caption_metrics import cider, corpus_bleu
from brainrecon.methods.most_frequent_caption import most_frequent
from stages.generators.generator import Item, in_order
from stages.generators.language.blip_captioner import BLIPCaptioner
from stages.targets.blip import BLIPStates
from tiny_networks import decoding_errors
from tiny_networks.decoding_errors import DecodingErrors
from tiny_networks.generator_figures import first_scenes

SIZE = 64
WRITING = {"prompt": "", "num_beams": 3, "max_length": 32, "min_length": 5, "repetition_penalty": 1.0}


def figures(folder, pool, n=200, sample=1500):
    """Judge an exported captioner on held-out drawn scenes.

    Parameters
    ----------
    folder : path
    pool : tiny_networks.pool.Pool
        Held-out pictures.
    n : int
        How many of its first drawn scenes are captioned.
    sample : int
        Pictures from which it is learned how errors of decoding look.

    Returns
    -------
    figures : dict of str to float
        BLEU-4 of all captions together, CIDEr, and in how many captions (0..1) the main thing and its colour are named:
        ``true_…`` from the states of the picture, ``disturbed_…`` from states with errors as of decoding. BLEU-4 and CIDEr of
        what knows nothing of the picture: ``another_…``, the captions from true states, each given to the next scene;
        ``frequent_…``, the scenes' most frequent caption for all.
    """
    target = BLIPStates.from_pretrained(folder, size=SIZE, normalise="CLIP")
    captioner = BLIPCaptioner.from_pretrained(folder, size=SIZE)
    rows = first_scenes(pool, n)
    states = target.encode(np.array(pool.images[rows]), batch_size=50)
    errors = DecodingErrors(
        torch.from_numpy(target.encode(pool.images[:sample], batch_size=50)).unflatten(1, target.shape)
    )
    disturbed = all_disturbed(errors, torch.from_numpy(states).unflatten(1, target.shape)).flatten(1).numpy()
    true, decoded = (captions_of(captioner, each, rows) for each in (states, disturbed))
    said = [pool.captions[row] for row in rows]
    frequent = most_frequent(caption for captions in said for caption in captions)
    found = {}
    for name, captions in (("true", true), ("disturbed", decoded)):
        found |= {
            f"{name}_{key}": value for key, value in (scores(said, captions) | names(pool, rows, captions)).items()
        }
    for name, captions in (("another", true[1:] + true[:1]), ("frequent", [frequent] * len(rows))):
        found |= {f"{name}_{key}": value for key, value in scores(said, captions).items()}
    return found


def all_disturbed(errors, states):
    """Disturb every row of states (n, n_states, width); in training some are left as they are."""
    share, decoding_errors.DISTURBED_ROWS = decoding_errors.DISTURBED_ROWS, 1.0
    try:
        return errors(states, torch.Generator().manual_seed(0))
    finally:
        decoding_errors.DISTURBED_ROWS = share


def captions_of(captioner, states, rows):
    """Captions of flat states (n, n_states * width), one a row of the pool."""
    items = [Item(f"held-out-{row}") for row in rows]
    return in_order(captioner.draw({"blip": states}, items, batch_size=20, **WRITING))


def scores(said, captions):
    """BLEU-4 of all captions together, and the mean of CIDEr."""
    return {"bleu_4": corpus_bleu(said, captions), "cider": float(cider(said, captions).mean())}


def names(pool, rows, captions):
    """In how many captions the first thing that is named is the main one, and has its colour."""
    words = [caption.split() for caption in captions]
    found = {}
    for label in ("category", "colour"):
        known = set(pool.labels[label])
        first = [next((word for word in own if word in known), None) for own in words]
        found[label] = float(np.mean([word == pool.labels[label][row] for word, row in zip(first, rows)]))
    return found

"""Held-out figures of the text flow: captions of drawn scenes beside those that they carry."""

import numpy as np
import torch

from brainrecon.methods.most_frequent_caption import most_frequent
from stages.generators.generator import Item, in_order
from stages.generators.language.optimus_flow import OptimusFlowCaptioner
from tiny_networks.captioner_figures import all_disturbed, names, scores
from tiny_networks.decoding_errors import DecodingErrors
from tiny_networks.generator_figures import first_scenes
from tiny_networks.pool import load_pool
from tiny_networks.text_flow_data import encode_contexts
from weights import store

WRITING = {"guidance_scale": 2.0, "writing": "greedy", "batch_size": 50, "num_inference_steps": 50}


def figures(workspace, folder, n=200, pictures=300, **writing):
    """Judge an exported text flow on held-out drawn scenes.

    Parameters
    ----------
    workspace, folder : path
    n : int
        How many of the first drawn scenes are captioned.
    pictures : int
        Held-out pictures to encode; errors of decoding are measured on them.
    **writing
        What `OptimusFlowCaptioner.draw` is told otherwise.

    Returns
    -------
    figures : dict of str to float
        BLEU-4 of all captions together, and CIDEr: ``true_…`` under the true contexts, ``disturbed_…`` under contexts with errors
        as of decoding, ``another_…`` under those of the next scene, ``frequent_…`` of the scenes' most frequent caption. And in
        how many captions (0..1) the main thing and its colour are named.
    """
    pool, encoded = load_pool(workspace, held_out=True), encode_contexts(workspace, held_out=True, pictures=pictures)
    rows = np.array([row for row in first_scenes(pool, n) if row < len(encoded)])
    everything = np.arange(len(encoded))
    optimus = store.path("tiny-optimus")
    captioner = OptimusFlowCaptioner.from_pretrained(store.path("tiny-generator"), folder, optimus, optimus)
    true = {"clip_image": encoded.image_tokens[rows].astype(np.float32), "clip_text": encoded.text_tokens(rows)}
    samples = {
        "clip_image": encoded.image_tokens[everything].astype(np.float32),
        "clip_text": encoded.text_tokens(everything),
    }
    disturbed = {
        name: all_disturbed(DecodingErrors(torch.from_numpy(samples[name])), torch.from_numpy(tokens)).numpy()
        for name, tokens in true.items()
    }
    another = {name: np.roll(tokens, -1, axis=0) for name, tokens in true.items()}
    said = [pool.captions[row] for row in rows]
    items = [Item(f"held-out-{row}") for row in rows]
    found = {}
    for name, values in (("true", true), ("disturbed", disturbed), ("another", another)):
        captions = in_order(captioner.draw(values, items, **WRITING | writing))
        found |= {
            f"{name}_{key}": value for key, value in (scores(said, captions) | names(pool, rows, captions)).items()
        }
    frequent = [most_frequent(caption for own in said for caption in own)] * len(rows)
    return found | {f"frequent_{key}": value for key, value in scores(said, frequent).items()}

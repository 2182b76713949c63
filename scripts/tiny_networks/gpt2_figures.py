"""What the embedded language model makes of captions that it never read."""

import math
from collections import Counter

import numpy as np
import torch
from torch.nn import functional
from transformers import GPT2LMHeadModel

from stages.checkpoints.transformers_loading import load_gpt2_tokenizer
from stages.generators.language.caption_rows import END, IGNORED, caption_rows
from stages.generators.language.similar_captions import caption_prefix

LONGEST = 32


def figures(folder, pool, n=500):
    """Held-out figures of an exported network.

    Parameters
    ----------
    folder : path
    pool : tiny_networks.pool.Pool
        Held-out captions: all of the first `n` pictures.
    n : int

    Returns
    -------
    figures : dict of str to float
        Perplexity of a token of captions in SMALLCAP's prompt alone, behind a caption of the same thing and behind one of any
        picture; and of these tokens' own frequencies.
    """
    network, tokenizer = GPT2LMHeadModel.from_pretrained(folder).float().eval(), load_gpt2_tokenizer(folder)
    rows = range(min(n, len(pool.captions)))
    captions = [text for row in rows for text in pool.captions[row]]
    nearest = [text for row in rows for text in pool.captions[_same(pool, row)]]
    other = captions[len(pool.captions[0]) :] + captions[: len(pool.captions[0])]
    behind = {
        "alone": [caption_prefix()] * len(captions),
        "behind_the_same_thing": [caption_prefix([text]) for text in nearest],
        "behind_any_picture": [caption_prefix([text]) for text in other],
    }
    found = {f"perplexity_{name}": perplexity(network, tokenizer, own, captions) for name, own in behind.items()}
    return found | {"perplexity_of_frequencies": of_frequencies(tokenizer, captions)}


def _same(pool, row):
    """The next picture of the same thing, or the same one."""
    names = ("kind", "category", "digit")
    own = [pool.labels[name][row] for name in names]
    n = len(pool.captions)
    after = (other % n for other in range(row + 1, row + n))
    return next((other for other in after if [pool.labels[name][other] for name in names] == own), row)


@torch.no_grad()
def perplexity(network, tokenizer, prefixes, captions):
    """Exponential of the mean nats of each token of captions behind prefixes, their ends counted."""
    nats, count = 0.0, 0
    for start in range(0, len(captions), 100):
        part = slice(start, start + 100)
        rows = torch.from_numpy(caption_rows(tokenizer, prefixes[part], captions[part], LONGEST)).long()
        read, following = rows.unbind(dim=1)
        scores = network(input_ids=read, use_cache=False).logits
        nats += functional.cross_entropy(
            scores.flatten(0, 1), following.flatten(), ignore_index=IGNORED, reduction="sum"
        ).item()
        count += int((following != IGNORED).sum())
    return math.exp(nats / count)


def of_frequencies(tokenizer, captions):
    """Perplexity of the tokens of captions and of their ends for what knows how often each occurs."""
    tokens = Counter(token for text in captions for token in tokenizer(text + END)["input_ids"])
    share = np.array(list(tokens.values()), float) / tokens.total()
    return float(np.exp(-(share * np.log(share)).sum()))

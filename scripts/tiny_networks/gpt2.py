"""The embedded language model: GPT-2's published layout at small size, whose tokens are the words of the drawn world.

It learns captions in SMALLCAP's prompt ("This image shows …"), most of them behind one of another picture ("Similar images show
…"), so that one who freezes it and adds cross-attention, as MindArt does, finds a model that knows the prompt. The other picture
is often one that shows the same thing; it sees no picture.
"""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

from brainrecon.simulation.world.captions import VOCABULARY
from stages.checkpoints.pretrained import CONFIG_FILE, WEIGHTS_FILE
from stages.checkpoints.transformers_loading import load_gpt2_tokenizer
from stages.generators.language.caption_rows import IGNORED, caption_rows
from stages.generators.language.similar_captions import caption_prefix
from tiny_networks.gpt2_figures import figures
from tiny_networks.pool import load_pool
from tiny_networks.training import averaged_weights, fit, record
from weights.whole_files import make_folder, whole_file, write_text

NAME = "gpt2"
STEPS = 1000
BATCH_SIZE = 32
LONGEST = 32  # tokens of a caption
ALONE, ALIKE = 0.3, 0.6  # shares of captions behind no other, and of others behind a picture of the same thing
TEXT_END = "<|endoftext|>"
PROMPTED = ("Similar", "images", "show", "This", "image", "shows", "A", "An", "showing", "of")
CONFIG = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "n_positions": 160,
    "n_embd": 64,
    "n_layer": 3,
    "n_head": 4,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
}


def configuration(n_tokens):
    """GPT-2's configuration for a vocabulary, the last of whose tokens ends a text."""
    return CONFIG | {"vocab_size": n_tokens, "bos_token_id": n_tokens - 1, "eos_token_id": n_tokens - 1}


def vocabulary_and_merges():
    """Numbers of all tokens, and the pairs that are merged, the first first.

    Returns
    -------
    vocabulary : dict of str to int
        256 bytes as GPT-2 writes them, pieces and words of the drawn world and of the prompt, by themselves and behind a space
        ("Ġ"), and the end of a text.
    merges : list of tuple of two str
    """
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    # More merges than there are letters: training ends when every word is one token.
    trainer = trainers.BpeTrainer(
        vocab_size=10_000,
        min_frequency=1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator([mark + word for word in (*VOCABULARY, *PROMPTED) for mark in ("", " ")], trainer)
    learned = json.loads(made.to_str())["model"]
    pieces = sorted(learned["vocab"], key=learned["vocab"].get)
    return {piece: number for number, piece in enumerate([*pieces, TEXT_END])}, list(map(tuple, learned["merges"]))


def tokenizer_of(folder):
    """Write the tokenizer's files into a folder and open it."""
    folder = Path(folder)
    make_folder(folder)
    vocabulary, merges = vocabulary_and_merges()
    write_text(folder / "vocab.json", json.dumps(vocabulary, indent=0, ensure_ascii=False) + "\n")
    write_text(folder / "merges.txt", "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges))
    roles = dict.fromkeys(("bos_token", "eos_token", "unk_token"), TEXT_END)
    settings = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": CONFIG["n_positions"]} | roles
    write_text(folder / "tokenizer_config.json", json.dumps(settings, indent=1) + "\n")
    return load_gpt2_tokenizer(folder)


class Similar:
    """Chooses the picture whose caption stands in the prompt.

    Parameters
    ----------
    pool : tiny_networks.pool.Pool
    """

    def __init__(self, pool):
        self._what = list(map(str, zip(pool.labels["kind"], pool.labels["category"], pool.labels["digit"])))
        self._alike = defaultdict(list)
        for row, what in enumerate(self._what):
            self._alike[what].append(row)

    def to(self, row, random):
        """Another row, or the same if there is none: `ALIKE` of the time one that shows the same thing."""
        if random.random() < ALIKE:
            alike = self._alike[self._what[row]]
            return alike[random.integers(len(alike))]
        return int(random.integers(len(self._what)))


def texts(pool, rows, similar, random):
    """Prefixes and captions of pictures: one of the five captions of each, behind one of another picture, or without."""
    prefixes, captions = [], []
    for row in rows:
        own, other = pool.captions[row], pool.captions[similar.to(row, random)]
        # Captions of one length are behind one another as often as of any two.
        way = int(random.integers(len(own)))
        beside = way if random.random() < 0.5 else int(random.integers(len(other)))
        alone = random.random() < ALONE
        prefixes.append(caption_prefix([] if alone else [other[beside]]))
        captions.append(own[way])
    return prefixes, captions


class LanguageModel(nn.Module):
    """What is trained: GPT-2, which says how surprising a text is."""

    def __init__(self, n_tokens):
        super().__init__()
        self.gpt2 = GPT2LMHeadModel(GPT2Config.from_dict(configuration(n_tokens)))

    def forward(self, read, following):
        """Mean cross-entropy in nats of the tokens that follow, but for those that are ignored."""
        scores = self.gpt2(input_ids=read, use_cache=False).logits.float()
        return functional.cross_entropy(scores.flatten(0, 1), following.flatten(), ignore_index=IGNORED)


def rows_to_learn(tokenizer, prefixes, captions):
    """Tokens that are read and those that follow, int64 tensors of shape (n, length): of prompts, too, but for their first."""
    rows = torch.from_numpy(caption_rows(tokenizer, prefixes, captions, LONGEST)).long()
    read, following = rows.unbind(dim=1)
    for row, prefix in enumerate(prefixes):
        before = len(tokenizer(prefix)["input_ids"]) - 1
        following[row, :before] = read[row, 1 : before + 1]
    return read, following


def loss(model, batch, generator):
    """Surprise at texts."""
    nats = model(*batch)
    return nats, {"perplexity": nats.exp().item()}


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/gpt2``, continuing what is there, and return the averaged network."""
    workspace = Path(workspace)
    pool, tokenizer = load_pool(workspace), tokenizer_of(workspace / NAME / "tokenizer")
    similar = Similar(pool)

    def batches(step):
        chosen = texts(pool, pool.batch_indices(step, BATCH_SIZE), similar, np.random.default_rng([0, step]))
        return rows_to_learn(tokenizer, *chosen)

    torch.manual_seed(0)  # The initial weights; torch's constructors take no generator.
    return fit(
        NAME,
        LanguageModel(len(tokenizer)),
        loss,
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=5e-3,
        warmup=50,
        ema_decay=0.99,
        autocast=False,
        save_seconds=120,
        device=device,
        threads=threads,
        channels_last=False,
        muon=True,
    )


def export(workspace, folder):
    """Write the folder: configuration, weights in float16, tokenizer, card."""
    folder = Path(folder)
    n_tokens = len(tokenizer_of(folder))
    model = LanguageModel(n_tokens)
    model.load_state_dict(averaged_weights(workspace, NAME))
    # What reads and what writes a word is the same tensor.
    stored = {
        name: value.half().contiguous() for name, value in model.gpt2.state_dict().items() if name != "lm_head.weight"
    }
    with whole_file(folder / WEIGHTS_FILE) as partial:
        save_file(stored, partial, metadata={"format": "pt"})
    write_text(folder / CONFIG_FILE, json.dumps(configuration(n_tokens), indent=2) + "\n")
    held_out = figures(folder, load_pool(workspace, held_out=True))
    parameters = sum(each.numel() for each in model.gpt2.parameters())
    write_text(folder / "card.md", _card(record(workspace, NAME), n_tokens, parameters, held_out))
    return held_out


def _card(training, n_tokens, parameters, held_out):
    lines = "\n".join(f"| held out, {name.replace('_', ' ')} | {value:.2f} |" for name, value in held_out.items())
    learned = f"{training['pictures']:,} sentences ({training['steps']:,} steps of {BATCH_SIZE})"
    return f"""# tiny-gpt2

A GPT-2 (Radford and others, 2019) for the captions of brainrecon's simulated world: the published layout at small size, with
transformers' names of its parameters. Its tokenizer merges bytes as GPT-2's does, until each word of that world is one token.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only gpt2`, from nothing |
| learned from | {learned}, {1 - ALONE:.0%} behind a caption of another picture |
| time | {training["seconds"] / 60:.0f} minutes on {training["device"]}, {training["threads"]} thread(s) |
| parameters | {parameters:,}, stored as float16, computed in float32 |
| tokens | {n_tokens:,}: bytes, pieces and words, with and without a space before them |
{lines}
| licence | MIT, as the repository |

Perplexity is that of a token of held-out captions, their full stops counted, in SMALLCAP's prompt: alone, behind a caption of
another picture of the same thing, and behind one of any picture. Frequencies: of what knows how often each token occurs in these
very captions, and nothing of their order. The model never saw a picture: which of the possible captions is meant it cannot know.
It knows the words of that world and no others.
"""

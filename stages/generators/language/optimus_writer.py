"""Captions from Optimus' latents as they are: what Optimus' decoder writes, without anything denoised before."""

from __future__ import annotations

import numpy as np
import torch

from stages.checkpoints.transformers_loading import load_gpt2_tokenizer
from stages.generators.generator import drawn_in_batches, rows_of, together
from stages.generators.language.caption_text import tidy_spaces, without_repeated_sentences, without_repeated_words
from stages.generators.language.latent_sentences import sentences
from stages.ground.checks import Number, OneOf, check
from stages.ground.item_seeds import item_generator
from stages.ground.progress import SILENT
from stages.networks.optimus import BOS, EOS, PAD, load_optimus
from weights.manifest import CheckpointError

LATENT = "optimus"
WRITING = ("greedy", "by lot")
REPETITIONS = ("kept", "words", "words and sentences")
"""Which are removed from a caption."""


class OptimusWriter:
    """Write captions with Optimus' decoder.

    >>> from transformers import GPT2Tokenizer
    >>> from stages.generators.generator import Item, in_order
    >>> from stages.networks.optimus_decoder import OptimusDecoder
    >>> tokenizer = GPT2Tokenizer(vocab={"a": 0, "b": 1, "<|endoftext|>": 2}, merges=[])
    >>> _ = tokenizer.add_tokens([PAD, BOS, EOS], special_tokens=True)
    >>> decoder = OptimusDecoder(len(tokenizer), latent=12, width=8, n_layers=1, n_heads=2, n_positions=40).eval()
    >>> writer = OptimusWriter(decoder, tokenizer)
    >>> writer.takes
    {'optimus': (12,)}
    >>> captions = in_order(writer.draw({"optimus": np.ones((1, 12), np.float32)}, [Item("nsd00042")], max_length=6))
    >>> type(captions[0])
    <class 'str'>

    Parameters
    ----------
    decoder : stages.networks.optimus_decoder.OptimusDecoder
        In evaluation mode, in float32.
    tokenizer : transformers.GPT2Tokenizer
        With <PAD>, <BOS> and <EOS>.

    Attributes
    ----------
    takes, optional, gives, draws_by_lot
        See `stages.generators.generator.Generator`.
    """

    optional = frozenset()
    gives = "caption"
    draws_by_lot = True

    def __init__(self, decoder, tokenizer):
        check_words(decoder, tokenizer)
        self.decoder, self.tokenizer = decoder, tokenizer
        self.takes = {LATENT: (decoder.transformer.linear.in_features,)}

    @classmethod
    def from_pretrained(cls, folder, tokenizer, device="cpu"):
        """Load the decoder of a folder of `stages.networks.optimus.load_optimus`, in float32.

        Parameters
        ----------
        folder, tokenizer : path
            Of Optimus, and of GPT-2's tokenizer.
        device : str or torch.device

        Raises
        ------
        CheckpointError
            A file is absent or damaged, a tensor missing, unexpected or misshapen, or the parts do not fit each other.
        """
        return cls(load_optimus(folder).decoder.to(device), load_gpt2_tokenizer(tokenizer, (PAD, BOS, EOS)))

    def draw(
        self,
        values,
        items,
        *,
        seed=0,
        batch_size=1,
        progress=SILENT,
        writing="greedy",
        temperature=1.0,
        max_length=30,
        repetitions="words and sentences",
    ):
        """Write one caption per item; see `stages.generators.generator`.

        Parameters
        ----------
        values : mapping of str to rows
            ``optimus``, unscaled, as of `stages.targets.optimus.OptimusLatents`.
        items : sequence of objects with `stimulus_id` and `sample`
        seed : int
            Has no part in what is written greedily.
        batch_size : int
            Changes the probabilities of words by float rounding only; a word may change by it, and those that follow.
        progress : callable, optional
            Called as ``progress("pictures", done, total)`` after each batch.
        writing : {"greedy", "by lot"}
            Take the most probable token, or draw each by its probability.
        temperature : float
            What scores are divided by before tokens are drawn; above 0.
        max_length : int
            Tokens of a sentence with its beginning and its end, which takes the place of the last.
        repetitions : {"words and sentences", "words", "kept"}
            Which are removed: words that stand twice in a row, and then sentences that were said.

        Yields
        ------
        position : int
            Into `items`.
        caption : str
            May be empty, if the sentence ends at once.

        Raises
        ------
        InputError
            A value or a setting does not fit; raised before anything is written.
        NotFinite
            Latents or probabilities are NaN or infinite; raised after all other captions have been yielded.
        """
        items = list(items)
        check("batch_size", batch_size, Number(1, whole=True))
        check("writing", writing, OneOf(*WRITING))
        check_writing(self.decoder, temperature, max_length, repetitions)
        latents = rows_of(self, values, items)[LATENT]
        device = self.decoder.lm_head.weight.device

        def captions(positions):
            chosen = np.stack([np.asarray(latents[one], dtype=np.float32).reshape(-1) for one in positions])
            random = [item_generator(seed, items[one].stimulus_id, items[one].sample) for one in positions]
            random = None if writing == "greedy" else random
            rows = torch.from_numpy(chosen).to(device)
            return written(self.decoder, self.tokenizer, rows, random, temperature, max_length, repetitions)

        return drawn_in_batches(together(items, batch_size, lambda item: ""), captions, items, progress=progress)


def written(decoder, tokenizer, latents, random, temperature, max_length, repetitions):
    """Captions of latents, list of str, None for one whose latent or scores are not finite.

    Parameters
    ----------
    decoder, tokenizer
        See `OptimusWriter`.
    latents : tensor of shape (n, latent), float32
    random : sequence of n torch.Generator, or None for the most probable tokens
    temperature, max_length, repetitions
        See `OptimusWriter.draw`.
    """
    ends = tokenizer.convert_tokens_to_ids([BOS, EOS])
    said = sentences(decoder, latents, ends, random, temperature, max_length)
    return [None if tokens is None else _text(tokenizer, tokens, repetitions) for tokens in said]


def check_writing(decoder, temperature, max_length, repetitions):
    """Raise InputError unless a decoder can write so."""
    check("temperature", temperature, Number(0, above=True, example=1.0))
    check("max_length", max_length, Number(2, decoder.n_positions - 1, whole=True, example=30))
    check("repetitions", repetitions, OneOf(*REPETITIONS))


def check_words(decoder, tokenizer):
    """Raise CheckpointError unless a tokenizer has as many tokens as Optimus' decoder."""
    words, tokens = decoder.lm_head.out_features, len(tokenizer)
    if tokens != words:
        raise CheckpointError(
            f"The tokenizer has {tokens:,} tokens, with {PAD}, {BOS} and {EOS}, but Optimus' decoder {words:,}; give the "
            "folder of GPT-2's tokenizer."
        )


def _text(tokenizer, tokens, repetitions):
    text = tidy_spaces(tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))
    if repetitions != "kept":
        text = without_repeated_words(text)
    return without_repeated_sentences(text) if repetitions == "words and sentences" else text

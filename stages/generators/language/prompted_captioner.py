"""GPT-2 that reads the caption of a similar picture, attends to decoded states and writes a caption, as MindArt has it.

A beam search goes on from SMALLCAP's prompt (Ramos et al. 2023), "Similar images show … This image shows ", until a full stop.
"""

from __future__ import annotations

import numpy as np
import torch

from stages.generators.generator import drawn_in_batches, rows_of, together
from stages.generators.language.caption_rows import END, LONGEST, PADDING, only_token
from stages.generators.language.similar_captions import caption_prefix
from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.ground.progress import SILENT

STATES, SIMILAR = "caption_states", "similar_caption"


class PromptedCaptioner:
    """Write captions behind the caption of a similar picture.

    >>> from stages.generators.generator import Item, in_order
    >>> from stages.networks.small_captioner import small_captioner
    >>> class Letters:
    ...     def __call__(self, text):
    ...         return {"input_ids": [ord(letter) for letter in text]}
    ...     def decode(self, tokens):
    ...         return "".join(map(chr, tokens))
    >>> sizes = {"vocab_size": 128, "n_positions": 99, "n_embd": 8, "n_layer": 1, "n_head": 1}
    >>> captioner = PromptedCaptioner(small_captioner(sizes, factor=2, n_values=6), Letters(), (16, 6))
    >>> values = {"caption_states": np.ones((1, 16, 6), np.float32), "similar_caption": ["a dog on a beach"]}
    >>> (caption,) = in_order(captioner.draw(values, [Item("nsd00042")], max_length=5))
    >>> len(caption) <= 5
    True

    Parameters
    ----------
    decoder : transformers.GPT2LMHeadModel
        With cross-attention; see `stages.networks.small_captioner.small_captioner`. It is set to evaluation mode.
    tokenizer : transformers.GPT2Tokenizer
    shape : tuple of two ints
        States of a picture and their values; published: 16 and 768.

    Attributes
    ----------
    takes, optional, gives, draws_by_lot
        See `stages.generators.generator.Generator`. Besides what it takes it reads `similar_caption`, a text for each item.
    """

    optional = frozenset()
    gives = "caption"
    draws_by_lot = False

    def __init__(self, decoder, tokenizer, shape):
        self.decoder, self.tokenizer = decoder.eval(), tokenizer
        self.takes = {STATES: tuple(shape)}
        self._end, self._padding = only_token(tokenizer, END), only_token(tokenizer, PADDING)

    def draw(
        self,
        values,
        items,
        *,
        seed=0,
        batch_size=1,
        progress=SILENT,
        num_beams=3,
        max_length=LONGEST,
        min_length=1,
        length_penalty=0.0,
    ):
        """Write one caption per item; see `stages.generators.generator`.

        Parameters
        ----------
        values : mapping of str to rows
            ``caption_states``, and ``similar_caption``, a list of str; without one the prompt has no such caption.
        items : sequence of objects with `stimulus_id` and `sample`
        seed : int
            Has no part in the caption.
        batch_size : int
            Changes the scores of words by float rounding only; captions behind prompts of one length are written together.
        progress : callable, optional
            Called as ``progress("pictures", done, total)`` after each batch.
        num_beams : int
            Sentences that the search keeps.
        max_length, min_length : int
            Tokens that are written, without the prompt.
        length_penalty : float
            The power of the length by which the search divides the score of a sentence.

        Yields
        ------
        position : int
            Into `items`.
        caption : str
            Without the full stop that ends it.

        Raises
        ------
        InputError
            A value or a setting does not fit; raised before anything is written.
        NotFinite
            Scores are NaN or infinite; raised after all other captions have been yielded.
        """
        items = list(items)
        check("batch_size", batch_size, Number(1, whole=True))
        check("num_beams", num_beams, Number(1, whole=True, example=3))
        check("max_length", max_length, Number(1, whole=True, example=LONGEST))
        check("min_length", min_length, Number(0, max_length, whole=True, example=1))
        states = rows_of(self, {name: one for name, one in values.items() if name != SIMILAR}, items)[STATES]
        prompts = self._prompts(values.get(SIMILAR), items, max_length)
        settings = {
            "num_beams": num_beams,
            "max_new_tokens": max_length,
            "min_new_tokens": min_length,
        }
        if num_beams > 1:
            settings |= {"length_penalty": float(length_penalty), "early_stopping": True}

        def captions(positions):
            chosen = np.stack([states[position] for position in positions]).astype(np.float32)
            return self._written(chosen, [prompts[position] for position in positions], settings)

        return drawn_in_batches(together(prompts, batch_size, len), captions, items, progress=progress)

    def _prompts(self, similar, items, max_length):
        """Tokens of what is read before each caption."""
        if similar is None:
            similar = [None] * len(items)
        if len(similar) != len(items):
            raise InputError(f"There are {len(similar)} similar captions for {len(items)} items; give one for each.")
        prompts = [self.tokenizer(caption_prefix([one] if one is not None else []))["input_ids"] for one in similar]
        longest, room = max(map(len, prompts), default=0), self.decoder.config.n_positions
        if longest + max_length > room:
            raise InputError(
                f"A prompt has {longest} tokens and a caption up to {max_length}, but the language model has {room} places; make "
                "max_length smaller, or the similar captions shorter."
            )
        return prompts

    @torch.inference_mode()
    def _written(self, states, prompts, settings):
        """Captions of states, None for one whose scores are not finite; prompts are of one length."""
        device = self.decoder.device
        read = torch.tensor(prompts, device=device)
        # The search repeats the states for its beams itself.
        found = self.decoder.generate(
            input_ids=read,
            attention_mask=torch.ones_like(read),
            encoder_hidden_states=torch.from_numpy(states).to(device),
            eos_token_id=self._end,
            pad_token_id=self._padding,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
            **settings,
        )
        # (rows * beams, steps): one look at all of them.
        finite = torch.stack([step.isfinite().all(dim=1) for step in found.logits], dim=1)
        finite = finite.reshape(len(states), -1).all(dim=1).tolist()
        written = [tokens[len(prompts[0]) :] for tokens in found.sequences.tolist()]
        return [self._text(tokens) if is_finite else None for tokens, is_finite in zip(written, finite)]

    def _text(self, tokens):
        """Text of what was written, up to its end."""
        kept = tokens[: tokens.index(self._end)] if self._end in tokens else tokens
        return self.tokenizer.decode(kept).strip()

"""What captioners share whose network is transformers': a search for the likeliest sentence about what was decoded.

A captioner has a `tokenizer`, and says how a sentence begins (``first_token``), how long it may be (``longest``), and, in
``_tokens``, what its network writes.
"""

from __future__ import annotations

import numpy as np
import torch

from stages.generators.generator import drawn_in_batches, rows_of, together
from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.ground.progress import SILENT


class CaptionSearch:
    """Write one caption per item, without anything drawn by lot.

    >>> from stages.generators.generator import Item, in_order
    >>> from transformers import BertTokenizer
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "boat"]
    >>> class AlwaysABoat(CaptionSearch):
    ...     takes, first_token, longest = {"states": (2,)}, 2, 20
    ...     tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    ...     def _tokens(self, states, beginning, settings):
    ...         return [[*beginning, 5, 6, 3] for _ in states]
    >>> settings = {"num_beams": 1, "max_length": 20, "min_length": 0, "repetition_penalty": 1.0}
    >>> in_order(AlwaysABoat().searched({"states": np.zeros((1, 2))}, [Item("nsd00042")], prompt="", **settings))
    ['a boat']

    Attributes
    ----------
    takes, optional, gives, draws_by_lot
        See `stages.generators.generator.Generator`.
    first_token : int
        Number of the token that every sentence begins with.
    longest : int
        Tokens that a sentence may have.
    """

    optional = frozenset()
    gives = "caption"
    draws_by_lot = False

    def searched(self, values, items, *, prompt, num_beams, batch_size=1, progress=SILENT, **settings):
        """Write captions; see `draw` of a captioner for the parameters.

        Yields
        ------
        position : int
            Into `items`.
        caption : str

        Raises
        ------
        InputError
            A value or a setting does not fit; raised before anything is written.
        NotFinite
            Probabilities are NaN or infinite; raised after all other captions have been yielded.
        """
        items = list(items)
        check("batch_size", batch_size, Number(1, whole=True))
        check("num_beams", num_beams, Number(1, whole=True, example=3))
        check("repetition_penalty", settings["repetition_penalty"], Number(0, above=True, example=1.5))
        beginning = self._beginning(prompt)
        longest, max_length = self.longest, settings["max_length"]
        check(
            "max_length",
            max_length,
            Number(len(beginning) + 1, longest, whole=True, example=min(longest, len(beginning) + 16)),
        )
        check("min_length", settings["min_length"], Number(0, max_length, whole=True, example=min(5, max_length)))
        (name,) = self.takes
        rows = rows_of(self, values, items)[name]
        settings["num_beams"], settings["repetition_penalty"] = num_beams, float(settings["repetition_penalty"])

        def captions(positions):
            states = np.stack([rows[position] for position in positions]).astype(np.float32)
            found = self._tokens(states, beginning, settings)
            return [None if tokens is None else self._caption(tokens, len(beginning)) for tokens in found]

        batches = together(rows, batch_size, lambda _: None)
        return drawn_in_batches(batches, captions, items, progress=progress)

    def _beginning(self, prompt):
        """Numbers of the tokens that a sentence begins with."""
        if not isinstance(prompt, str):
            raise InputError(f"prompt is {prompt!r}; expected a str: pass prompt='a picture of '.")
        # [CLS], words, [SEP]
        return [self.first_token, *self.tokenizer(prompt)["input_ids"][1:-1]]

    def _tokens(self, states, beginning, settings):
        """Numbers of the tokens of a sentence for each row of states, a list; None for one whose probabilities are not finite."""
        raise NotImplementedError

    def _caption(self, tokens, n_beginning):
        """Text of a sentence behind its beginning."""
        whole, beginning = (self._text(part) for part in (tokens, tokens[:n_beginning]))
        return whole.removeprefix(beginning).strip()

    def _text(self, tokens):
        return self.tokenizer.decode(tokens, skip_special_tokens=True)


@torch.inference_mode()
def generated(network, n, **given):
    """What transformers' `generate` writes for `n` rows.

    Parameters
    ----------
    network : transformers.GenerationMixin
    n : int
    **given
        As `generate` takes it, of `n` rows each. The search repeats them for its beams itself.

    Returns
    -------
    tokens : list of (list of int, or None)
        None for a row whose probabilities are not finite.
    """
    found = network.generate(**given, do_sample=False, output_logits=True, return_dict_in_generate=True)
    # (rows * beams, steps): one look at all of them.
    finite = torch.stack([step.isfinite().all(dim=1) for step in found.logits], dim=1)
    finite = finite.reshape(n, -1).all(dim=1).tolist()
    return [tokens if is_finite else None for tokens, is_finite in zip(found.sequences.tolist(), finite)]

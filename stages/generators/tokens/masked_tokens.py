"""Pictures by masked-token decoding: from an embedding, or around tokens that are given."""

from __future__ import annotations

import numpy as np
import torch

from stages.generators.generator import drawn_in_batches, rows_of
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from stages.ground.progress import SILENT
from stages.networks.latent_space import to_greys
from stages.networks.masked_tokens import MaskedTokens
from stages.networks.vq_tokenizer import load_tokenizer
from stages.priors.masked_tokens import STEPS, TEMPERATURE, UNKNOWN, complete

CUES, WEIGHTS = "vq_cues", "vq_weights"


class MaskedTokenGenerator:
    """Draw pictures with a network over tokens, and the autoencoder whose tokens they are.

    >>> from weights import store
    >>> folders = store.path("tiny-maskgit"), store.path("tiny-label2img")
    >>> generator = MaskedTokenGenerator.from_pretrained(*folders)
    >>> generator.takes
    {'clip_image': (64,), 'vq_cues': (256,), 'vq_weights': (256, 256)}

    Parameters
    ----------
    network : stages.networks.masked_tokens.MaskedTokens
    tokenizer : stages.networks.vq_tokenizer.MaskGITTokenizer
    reads : str, optional
        What the network is conditioned on is called so. None draws without a condition, whether the network has a place for one
        or not.

    Attributes
    ----------
    takes, optional, gives, draws_by_lot
        See `stages.generators.generator.Generator`.
    default_steps : int
        Steps of the decoding.
    """

    optional = frozenset({CUES, WEIGHTS})
    gives = "picture"
    draws_by_lot = True
    default_steps = STEPS

    def __init__(self, network, tokenizer, reads="clip_image"):
        config = network.config
        if (config.n_codes, config.n_places) != (tokenizer.n_codes, tokenizer.side**2):
            raise InputError(
                f"The network completes {config.n_places} places of {config.n_codes} codes but the tokeniser makes "
                f"{tokenizer.side**2} of {tokenizer.n_codes}; name checkpoints that belong together."
            )
        if reads is not None and not config.context:
            raise InputError(
                f"The network has no place for {reads}, because its configuration says context 0; draw without it, or name "
                "another checkpoint."
            )
        self.network, self.tokenizer, self.reads = network, tokenizer, reads

    @classmethod
    def from_pretrained(cls, folder, tokenizer, device="cpu", reads="clip_image"):
        """Load the network of a folder and the tokeniser of another; CheckpointError if they are damaged."""
        return cls(MaskedTokens.from_pretrained(folder, device), load_tokenizer(tokenizer, device), reads)

    @property
    def takes(self):
        """Shape of each value; lengths are the checkpoint's."""
        config = self.network.config
        context = {} if self.reads is None else {self.reads: (config.context,)}
        return context | {CUES: (config.n_places,), WEIGHTS: (config.n_places, config.n_codes)}

    def draw(
        self,
        values,
        items,
        *,
        seed=0,
        batch_size=16,
        progress=SILENT,
        num_inference_steps=STEPS,
        temperature=TEMPERATURE,
    ):
        """Draw one picture per item; see `stages.generators.generator`.

        Parameters
        ----------
        values : mapping of str to rows
            The condition; ``vq_cues``, tokens that are kept as they are, or -1 where the network is to find them; and
            ``vq_weights``, by which the network reads a mean of codes at a place in place of one, where they are not all 0.
        items : sequence of objects with `stimulus_id` and `sample`
        seed : int
        batch_size : int
            Changes no picture: they are drawn one by one, for rounding may turn a token into another.
        progress : callable, optional
            Called as ``progress("pictures", done, total)`` after each batch.
        num_inference_steps : int
            Of the decoding.
        temperature : float
            Of the noise in the confidence.

        Yields
        ------
        position : int
        picture : array of shape (size, size, 3), uint8

        Raises
        ------
        InputError
            A value does not fit, or holds no tokens; raised before anything is drawn.
        NotFinite
            Scores or pictures are NaN or infinite; raised after all others have been yielded.
        """
        items = list(items)
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be 1 or more.")
        rows = rows_of(self, values, items)
        for name in (CUES, WEIGHTS):
            for row, item in zip(rows[name], items):
                self._check(name, row, item)
        batches = [range(first, min(first + batch_size, len(items))) for first in range(0, len(items), batch_size)]

        def drawn(positions):
            own = [{name: found[row] for name, found in rows.items()} for row in positions]
            return [
                self._drawn(one, items[row], seed, num_inference_steps, temperature) for one, row in zip(own, positions)
            ]

        return drawn_in_batches(batches, drawn, items, progress=progress)

    def completed(self, row, generator, num_inference_steps=STEPS, temperature=TEMPERATURE):
        """Complete the tokens of one picture.

        Parameters
        ----------
        row : mapping of str to array
            Values of `takes`; what is absent, or None, is not there.
        generator : torch.Generator
            On the CPU.
        num_inference_steps, temperature
            As of `draw`.

        Returns
        -------
        tokens : int tensor of shape (n_places,), or None
            None if the network's scores were not finite.
        """
        network = self.network
        context, cues, soft = (
            None if row.get(name) is None else torch.from_numpy(np.array(row[name])).to(network.device)[None]
            for name in (self.reads, CUES, WEIGHTS)
        )
        start = torch.full((network.config.n_places,), UNKNOWN, device=network.device)
        start = start if cues is None else cues[0].long()
        context = None if context is None else context.float()
        soft = None if soft is None else soft.float()
        are_finite = []

        def scores(tokens):
            found = network(tokens[None], context, soft)[0]
            are_finite.append(torch.isfinite(found).all())
            return found

        tokens = complete(
            scores,
            start,
            generator,
            mask_token=network.config.mask_token,
            steps=num_inference_steps,
            temperature=temperature,
        )
        # Asked once: nothing waits for the device between two steps.
        return tokens if not are_finite or bool(torch.stack(are_finite).all()) else None

    @torch.inference_mode()
    def _drawn(self, row, item, seed, steps, temperature):
        """A picture, uint8 (size, size, 3), or None if it is not finite."""
        tokens = self.completed(row, item_generator(seed, item.stimulus_id, item.sample), steps, temperature)
        if tokens is None:
            return None
        pixels = self.tokenizer.decode(tokens[None])
        return to_greys(2 * pixels - 1)[0] if bool(torch.isfinite(pixels).all()) else None

    def _check(self, name, values, item):
        """InputError for tokens that are no codes, or weights below 0."""
        if values is None:
            return
        n_codes = self.network.config.n_codes
        if name == WEIGHTS and values.min(initial=0) < 0:
            raise InputError(
                f"vq_weights of {item.stimulus_id} go down to {values.min()}; expected 0 or more: give probabilities, and zeros "
                "where the token itself is read."
            )
        if name == CUES:
            wrong = values[(values != np.round(values)) | (values < UNKNOWN) | (values >= n_codes)]
            if len(wrong):
                raise InputError(
                    f"vq_cues of {item.stimulus_id} hold {wrong[0]:g}; expected whole numbers from 0 to {n_codes - 1}, or "
                    f"{UNKNOWN} where nothing is known."
                )

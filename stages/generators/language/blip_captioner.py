"""BLIP's text decoder as a generator: states of its vision transformer to a caption, without anything drawn by lot.

Takagi and Nishimoto (2023) decode the states from the brain and let BLIP (Li et al. 2022) write: a beam search that begins with
"a picture of ".
"""

from __future__ import annotations

import torch

from stages.checkpoints.transformers_loading import load_bert_tokenizer
from stages.generators.language.caption_search import CaptionSearch, generated
from stages.ground.progress import SILENT
from stages.networks.blip import load_blip
from weights.manifest import CheckpointError

PROMPT = "a picture of "


class BLIPCaptioner(CaptionSearch):
    """Write captions with BLIP's text decoder.

    >>> import numpy as np
    >>> from stages.generators.generator import Item, in_order
    >>> from transformers import BertTokenizer, BlipTextConfig
    >>> from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "picture", "of", "boat"]
    >>> tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    >>> sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> numbers = {"vocab_size": 10, "bos_token_id": 9, "sep_token_id": 3, "pad_token_id": 0}
    >>> decoder = BlipTextLMHeadModel(BlipTextConfig(**sizes, **numbers, encoder_hidden_size=8)).eval()
    >>> captioner = BLIPCaptioner(decoder, tokenizer, n_states=5)
    >>> captioner.takes
    {'blip': (5, 8)}
    >>> captions = in_order(captioner.draw({"blip": np.ones((1, 5, 8), dtype=np.float32)}, [Item("nsd00042")]))
    >>> type(captions[0])
    <class 'str'>

    Parameters
    ----------
    decoder : transformers' BlipTextLMHeadModel
        In evaluation mode, in float32.
    tokenizer : transformers.BertTokenizer
        With or without BLIP's own two tokens, whose numbers come after all words.
    n_states : int
        States of a picture: 226 for 240 pixels.

    Attributes
    ----------
    takes, optional, gives, draws_by_lot
        See `stages.generators.generator.Generator`.
    """

    def __init__(self, decoder, tokenizer, n_states):
        self.decoder, self.tokenizer, self.n_states = decoder, tokenizer, n_states
        self._check_tokenizer()

    @classmethod
    def from_pretrained(cls, folder, device="cpu", size=240, tokenizer=None):
        """Load the text decoder of a folder of `stages.networks.blip.load_blip`, in float32.

        Parameters
        ----------
        folder : path
        device : str or torch.device
        size : int
            Side of the pictures, in pixels, whose states are given.
        tokenizer : path, optional
            Folder of BERT's tokenizer (uncased); `folder` itself by default.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, a tensor missing, unexpected or misshapen, or the tokenizer is another network's.
        InputError
            `size` is no multiple of a patch.
        """
        network = load_blip(folder, size)
        words = load_bert_tokenizer(folder if tokenizer is None else tokenizer)
        n_states = network.vision_model.embeddings.position_embedding.shape[1]
        return cls(network.text_decoder.to(device), words, n_states)

    @property
    def takes(self):
        """Shape of a picture's states."""
        return {"blip": (self.n_states, self.decoder.config.encoder_hidden_size)}

    def draw(
        self,
        values,
        items,
        *,
        seed=0,
        batch_size=1,
        progress=SILENT,
        num_beams=3,
        max_length=20,
        min_length=5,
        repetition_penalty=1.5,
        prompt=PROMPT,
    ):
        """Write one caption per item; see `stages.generators.generator`.

        The defaults are Takagi and Nishimoto's.

        Parameters
        ----------
        values : mapping of str to rows
            ``blip``, in the scale of `stages.targets.blip.BLIPStates`.
        items : sequence of objects with `stimulus_id` and `sample`
        seed : int
            Has no part in the caption.
        batch_size : int
            Changes the probabilities of words by float rounding only. That may change a word if two are as likely, and then those
            that follow: captions are written one at a time unless told otherwise.
        progress : callable, optional
            Called as ``progress("pictures", done, total)`` after each batch.
        num_beams : int
            Sentences that the search keeps.
        max_length, min_length : int
            Tokens of a sentence, with its beginning of 4 tokens.
        repetition_penalty : float
            1 for none. What the scores of tokens that the sentence has already are divided by, or multiplied with if negative.
        prompt : str
            How each sentence begins; it is removed from the caption. Its first token is replaced by the decoder's own, [DEC]. The
            authors remove as many letters as it has: of a sentence that goes on within its last word, they lose a letter.

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
        return self.searched(
            values,
            items,
            prompt=prompt,
            num_beams=num_beams,
            batch_size=batch_size,
            progress=progress,
            max_length=max_length,
            min_length=min_length,
            repetition_penalty=repetition_penalty,
        )

    @property
    def first_token(self):
        """[DEC], BLIP's own."""
        return self.decoder.config.bos_token_id

    @property
    def longest(self):
        """Tokens that the decoder has places for."""
        return self.decoder.config.max_position_embeddings

    def _tokens(self, states, beginning, settings):
        config = self.decoder.config
        states = torch.from_numpy(states).to(self.decoder.device)
        return generated(
            self.decoder,
            len(states),
            input_ids=torch.tensor([beginning] * len(states), device=states.device),
            encoder_hidden_states=states,
            encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.long, device=states.device),
            eos_token_id=config.sep_token_id,
            pad_token_id=config.pad_token_id,
            **settings,
        )

    def _text(self, tokens):
        # BLIP's own two tokens have no text, and not every tokenizer knows them.
        words = [token for token in tokens if token < self.first_token]
        return super()._text(words)

    def _check_tokenizer(self):
        """Raise CheckpointError unless the tokenizer is the decoder's."""
        config = self.decoder.config
        for name in ("sep_token_id", "pad_token_id"):
            if (own := getattr(config, name)) != (found := getattr(self.tokenizer, name)):
                raise CheckpointError(
                    f"The tokenizer's {name} is {found} but the text decoder's is {own}; give the folder of bert-base-uncased's "
                    "tokenizer."
                )
        if len(self.tokenizer) > config.vocab_size:
            raise CheckpointError(
                f"The tokenizer has {len(self.tokenizer):,} tokens but the text decoder {config.vocab_size:,}; give the folder "
                "of bert-base-uncased's tokenizer."
            )

"""Captions as Optimus' latents: what Versatile Diffusion denoises to write a text (Xu et al. 2023)."""

from __future__ import annotations

import torch

from stages.checkpoints.transformers_loading import load_bert_tokenizer
from stages.networks.optimus import load_optimus
from stages.targets.caption_target import CaptionTarget
from weights.manifest import CheckpointError

MAX_WORDPIECES = 77
"""Pieces of words that Versatile Diffusion keeps of a text, its two ends not counted."""


class OptimusLatents(CaptionTarget):
    """The mean of Optimus' posterior for a caption, averaged over the captions of a stimulus: 768 values, unscaled.

    >>> from transformers import BertConfig, BertTokenizer
    >>> from stages.networks.optimus import OptimusEncoder
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "boat"]
    >>> tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)}, do_lower_case=False)
    >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    >>> target = OptimusLatents(OptimusEncoder(BertConfig(vocab_size=7, **sizes), latent=6).eval(), tokenizer)
    >>> target.encode([["A boat", "a boat"], ["boat"]]).shape, target.shape
    ((2, 6), (6,))

    As in Versatile Diffusion the text is written in small letters, and read with a vocabulary that knows capitals.

    Parameters
    ----------
    encoder : stages.networks.optimus.OptimusEncoder
        In evaluation mode, in float32.
    tokenizer : transformers.BertTokenizer
        Of bert-base-cased, which leaves letters as they are.
    """

    name = "optimus"

    def __init__(self, encoder, tokenizer):
        if len(tokenizer) > encoder.config.vocab_size or tokenizer.pad_token_id != 0:
            raise CheckpointError(
                f"The tokenizer has {len(tokenizer):,} tokens, and {tokenizer.pad_token} is number {tokenizer.pad_token_id}, but "
                f"Optimus' encoder has {encoder.config.vocab_size:,}, of which number 0 is no word; give the folder of "
                "bert-base-cased's tokenizer."
            )
        self.encoder, self.tokenizer = encoder, tokenizer

    @classmethod
    def from_pretrained(cls, folder, device="cpu", tokenizer=None):
        """Load the encoder of a folder of `stages.networks.optimus.load_optimus`, in float32.

        Parameters
        ----------
        folder : path
        device : str or torch.device
        tokenizer : path, optional
            Folder of bert-base-cased's tokenizer; `folder` itself by default.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, a tensor missing, unexpected or misshapen, or the tokenizer is another network's.
        """
        words = load_bert_tokenizer(folder if tokenizer is None else tokenizer, capitals=True)
        return cls(load_optimus(folder).encoder.to(device), words)

    @property
    def shape(self):
        """(768,) as published."""
        return (self.encoder.linear.out_features // 2,)

    @property
    def n_targets(self):
        """Values per stimulus."""
        return self.shape[0]

    @property
    def preprocessing(self):
        """What happens to captions, as plain data; part of the feature store's key."""
        return {
            "letters": "small",
            "word_pieces": MAX_WORDPIECES,
            "latents": "posterior mean",
            "captions": "mean over those that are not empty",
        }

    def tokens(self, captions):
        """Numbers of the tokens of captions, tensor (n, n_tokens) whose rows end in zeros."""
        begin, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        found = [self.tokenizer.tokenize(caption.lower())[:MAX_WORDPIECES] for caption in captions]
        rows = [[begin, *self.tokenizer.convert_tokens_to_ids(pieces), end] for pieces in found]
        return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)

    def _encode(self, captions):
        return self.encoder.posterior(self.tokens(captions).to(self.encoder.device))[0]

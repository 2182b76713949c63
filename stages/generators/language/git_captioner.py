"""GIT's language model as a generator: states of its vision transformer to a caption, without anything drawn by lot.

MindEye2 (Scotti et al. 2024) takes GIT's vision transformer out of the way and has it write from decoded states, word by word.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch

from stages.checkpoints.transformers_loading import load_bert_tokenizer
from stages.generators.language.caption_search import CaptionSearch, generated
from stages.ground.progress import SILENT
from stages.networks.git import load_git, states_shape
from weights.manifest import CheckpointError


class GITCaptioner(CaptionSearch):
    """Write captions with GIT's language model.

    >>> import numpy as np
    >>> from stages.generators.generator import Item, in_order
    >>> from transformers import BertTokenizer, GitConfig, GitForCausalLM, GitVisionConfig
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "picture", "of", "boat"]
    >>> tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    >>> sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> vision = GitVisionConfig(**sizes, image_size=32, patch_size=16)
    >>> numbers = {"vocab_size": 9, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    >>> captioner = GITCaptioner(GitForCausalLM(GitConfig(vision_config=vision, **sizes, **numbers)).eval(), tokenizer)
    >>> captioner.takes
    {'git': (5, 8)}
    >>> captions = in_order(captioner.draw({"git": np.ones((1, 5, 8), dtype=np.float32)}, [Item("nsd00042")]))
    >>> type(captions[0])
    <class 'str'>

    Parameters
    ----------
    network : transformers.GitForCausalLM
        In evaluation mode, in float32. Its vision transformer is taken out.
    tokenizer : transformers.BertTokenizer

    Attributes
    ----------
    takes, optional, gives, draws_by_lot
        See `stages.generators.generator.Generator`.
    """

    def __init__(self, network, tokenizer):
        self.takes = {"git": states_shape(network.config)}
        network.git.image_encoder = AsGiven()
        self.network, self.tokenizer = network, tokenizer
        self._check_tokenizer()

    @classmethod
    def from_pretrained(cls, folder, device="cpu", tokenizer=None):
        """Load the language model of a folder of `stages.networks.git.load_git`, in float32.

        Parameters
        ----------
        folder : path
        device : str or torch.device
        tokenizer : path, optional
            Folder of BERT's tokenizer (uncased); `folder` itself by default.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, a tensor missing, unexpected or misshapen, or the network or the tokenizer is another.
        """
        captioner = cls(load_git(folder), load_bert_tokenizer(folder if tokenizer is None else tokenizer))
        captioner.network.to(device)
        return captioner

    @property
    def first_token(self):
        """[CLS]."""
        return self.network.config.bos_token_id

    @property
    def longest(self):
        """Tokens that the language model has places for; the states have none."""
        return self.network.config.max_position_embeddings

    def draw(
        self,
        values,
        items,
        *,
        seed=0,
        batch_size=1,
        progress=SILENT,
        num_beams=1,
        max_length=20,
        min_length=0,
        repetition_penalty=1.0,
        prompt="",
    ):
        """Write one caption per item; see `stages.generators.generator`.

        The defaults are MindEye2's.

        Parameters
        ----------
        values : mapping of str to rows
            ``git``, in the scale of `stages.targets.git.GITStates`.
        items : sequence of objects with `stimulus_id` and `sample`
        seed : int
            Has no part in the caption.
        batch_size : int
            Changes the probabilities of words by float rounding only. That may change a word if two are as likely, and then those
            that follow: captions are written one at a time unless told otherwise.
        progress : callable, optional
            Called as ``progress("pictures", done, total)`` after each batch.
        num_beams : int
            Sentences that the search keeps; of one, each word is the likeliest.
        max_length, min_length : int
            Tokens of a sentence, with its first and the prompt.
        repetition_penalty : float
            1 for none. What the scores of tokens that the sentence has already are divided by, or multiplied with if negative.
        prompt : str
            How each sentence begins; it is removed from the caption.

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

    def _tokens(self, states, beginning, settings):
        config = self.network.config
        states = torch.from_numpy(states).to(self.network.device)
        return generated(
            self.network,
            len(states),
            input_ids=torch.tensor([beginning] * len(states), device=states.device),
            # In the place of pictures, which have four axes.
            pixel_values=states[..., None],
            eos_token_id=config.eos_token_id,
            pad_token_id=config.pad_token_id,
            **settings,
        )

    def _check_tokenizer(self):
        """Raise CheckpointError unless the tokenizer is the language model's."""
        config, tokenizer = self.network.config, self.tokenizer
        pairs = (("bos", "cls"), ("eos", "sep"), ("pad", "pad"))
        own, found = (
            [getattr(of, f"{pair[place]}_token_id") for pair in pairs] for place, of in enumerate((config, tokenizer))
        )
        if own != found or len(tokenizer) != config.vocab_size:
            raise CheckpointError(
                f"The tokenizer has {len(tokenizer):,} tokens, and {found} for the beginning, the end and padding, but the "
                f"language model {config.vocab_size:,} and {own}; give the folder of bert-base-uncased's tokenizer."
            )


class AsGiven(torch.nn.Module):
    """In the place of GIT's vision transformer: states that are given, not seen.

    >>> AsGiven()(torch.ones(2, 5, 8, 1)).last_hidden_state.shape
    torch.Size([2, 5, 8])
    """

    def forward(self, states, interpolate_pos_encoding=False):
        """Give states (n, n_states, width, 1) back without their last axis."""
        return SimpleNamespace(last_hidden_state=states[..., 0])

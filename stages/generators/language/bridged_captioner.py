"""A captioner that writes from tokens of another network of pictures than its own, over a bridge between the two."""

from __future__ import annotations

from pathlib import Path

import torch

from stages.checkpoints.pretrained import CONFIG_FILE
from stages.checkpoints.strict_loading import read_json_object
from stages.generators.language.blip_captioner import BLIPCaptioner
from stages.generators.language.caption_search import CaptionSearch
from stages.generators.language.git_captioner import GITCaptioner
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.networks.caption_bridge import load_caption_bridge
from weights.manifest import CheckpointError


class BridgedCaptioner(CaptionSearch):
    """Write captions from tokens: a bridge makes the states of them that a captioner reads.

    >>> from transformers import BertTokenizer, GitConfig, GitForCausalLM, GitVisionConfig
    >>> from stages.networks.caption_bridge import CaptionBridge
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "picture", "of", "boat"]
    >>> tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    >>> sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> vision = GitVisionConfig(**sizes, image_size=32, patch_size=16)
    >>> numbers = {"vocab_size": 9, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    >>> git = GITCaptioner(GitForCausalLM(GitConfig(vision_config=vision, **sizes, **numbers)).eval(), tokenizer)
    >>> captioner = BridgedCaptioner(CaptionBridge((16, 12), (5, 8)).eval(), git)
    >>> captioner.takes
    {'unclip_tokens': (16, 12)}

    MindEye2 (Scotti et al. 2024) lets GIT write so from tokens of `stages.targets.unclip_tokens`; the image encoder of GIT is
    bypassed.

    Parameters
    ----------
    bridge : stages.networks.caption_bridge.CaptionBridge
        In evaluation mode, on the captioner's device.
    captioner : stages.generators.language.caption_search.CaptionSearch
        Of GIT or BLIP.
    reads : str
        What the tokens are called.

    Attributes
    ----------
    takes, optional, gives, draws_by_lot
        See `stages.generators.generator.Generator`.

    Raises
    ------
    InputError
        The bridge makes states of another shape than the captioner reads.
    """

    def __init__(self, bridge, captioner, reads="unclip_tokens"):
        ((read, shape),) = captioner.takes.items()
        if tuple(shape) != bridge.states:
            raise InputError(
                f"The bridge makes states of shape {bridge.states} but {type(captioner).__name__} reads {read} of shape "
                f"{tuple(shape)}; name a bridge that was made for it."
            )
        self.bridge, self.captioner, self.takes = bridge, captioner, {reads: bridge.tokens}

    @classmethod
    def from_pretrained(cls, folder, captioner, device="cpu", tokenizer=None, reads="unclip_tokens"):
        """Load a bridge and the captioner that it leads to, in float32.

        Parameters
        ----------
        folder : path
            Of the bridge, see `stages.networks.caption_bridge.load_caption_bridge`.
        captioner : path
            Folder of a GIT or a BLIP; its ``config.json`` says which. A BLIP is taken at the size of its configuration.
        device : str or torch.device
        tokenizer : path, optional
            Folder of BERT's tokenizer (uncased); that of the captioner by default.
        reads : str

        Raises
        ------
        CheckpointError
            A file is absent or damaged, a tensor missing, unexpected or misshapen, or a network is another.
        InputError
            The two do not belong together.
        """
        path = Path(captioner) / CONFIG_FILE
        config = read_json_object(path, "captioner")
        if (kind := config.get("model_type")) not in ("git", "blip"):
            raise CheckpointError(
                f"{path} describes a {kind!r}, but the model_type 'git' or 'blip' was expected; give the folder of a captioner."
            )
        if kind == "git":
            own = GITCaptioner.from_pretrained(captioner, device, tokenizer)
        else:
            size = (config.get("vision_config") or {}).get("image_size", 384)
            own = BLIPCaptioner.from_pretrained(captioner, device, size, tokenizer)
        return cls(load_caption_bridge(folder).to(device), own, reads)

    @property
    def tokenizer(self):
        """The captioner's."""
        return self.captioner.tokenizer

    @property
    def first_token(self):
        """The captioner's."""
        return self.captioner.first_token

    @property
    def longest(self):
        """The captioner's."""
        return self.captioner.longest

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
        """Write one caption per item, as `stages.generators.language.git_captioner.GITCaptioner.draw` does.

        The defaults are MindEye2's.

        Parameters
        ----------
        values : mapping of str to rows
            The tokens, in the scale of their target.
        items : sequence of objects with `stimulus_id` and `sample`
        seed : int
            Has no part in the caption.
        batch_size, progress, num_beams, max_length, min_length, repetition_penalty, prompt
            As of that captioner.

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

    def _beginning(self, prompt):
        return self.captioner._beginning(prompt)

    @torch.inference_mode()
    def _tokens(self, tokens, beginning, settings):
        # One at a time: rows that are multiplied together differ by rounding.
        given = torch.from_numpy(tokens).to(self.bridge.linear1.weight.device).split(1)
        states = torch.cat([self.bridge(one) for one in given]).cpu().numpy()
        return self.captioner._tokens(states, beginning, settings)

    def _caption(self, tokens, n_beginning):
        return self.captioner._caption(tokens, n_beginning)

"""A caption rewritten by an instruction-following language model of a folder; it reads the caption and nothing else."""

from __future__ import annotations

from pathlib import Path

import torch

from stages.checkpoints.strict_loading import read_json_object
from stages.checkpoints.transformers_loading import load_transformers_strictly, refusing_folder
from stages.ground.checks import Number, check
from stages.ground.errors import InputError

INSTRUCTION = (
    "Rewrite the following description of a photograph as one fluent sentence. Keep every object, number and colour that it "
    "names, add nothing, and answer with the sentence alone."
)
"""Ours: no published instruction is known."""


class InstructedRewriter:
    """Rewrite captions, the most probable token after the other.

    >>> from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer
    >>> tokenizer = GPT2Tokenizer(vocab={"a": 0, "b": 1, "<|endoftext|>": 2}, merges=[])
    >>> config = GPT2Config(vocab_size=3, n_positions=400, n_embd=8, n_layer=1, n_head=1, bos_token_id=2, eos_token_id=2)
    >>> rewriter = InstructedRewriter(GPT2LMHeadModel(config).eval(), tokenizer)
    >>> type(rewriter.rewrite("a b", "b", max_length=3))
    <class 'str'>

    Parameters
    ----------
    network : transformers.PreTrainedModel
        A language model, in evaluation mode.
    tokenizer : transformers.PreTrainedTokenizerBase
        With a chat template the instruction is told as a user's message; without one it stands before the caption.
    """

    def __init__(self, network, tokenizer):
        self.network, self.tokenizer = network, tokenizer

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load a folder of transformers, in float32; nothing is looked for elsewhere, and no code of the folder is run.

        Parameters
        ----------
        folder : path
            A language model and its tokenizer, with weights in safetensors.
        device : str or torch.device

        Raises
        ------
        InputError
            There is no such folder, or it brings code of its own.
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = Path(folder)
        if not folder.is_dir():
            raise InputError(
                f"{folder} is no folder, but captions are to be rewritten by the language model in it; put one of transformers "
                "there, or pass --set refinement.model= for captions as they were decoded."
            )
        _refuse_code(folder)
        network = load_transformers_strictly(AutoModelForCausalLM, folder)
        with refusing_folder(folder, "tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return cls(network.to(device), tokenizer)

    @torch.inference_mode()
    def rewrite(self, caption, instruction=INSTRUCTION, max_length=60):
        """Rewrite one caption.

        Parameters
        ----------
        caption, instruction : str
        max_length : int
            Tokens that are written at most.

        Returns
        -------
        rewritten : str
            The first line with words of what was written, without quotation marks around it; the caption itself if there is none.

        Raises
        ------
        InputError
            The prompt is longer than the language model's places leave room for.
        """
        check("max_length", max_length, Number(1, whole=True, example=60))
        prompt = torch.tensor([self._prompt(caption, instruction)], device=self.network.device)
        room = getattr(self.network.config, "max_position_embeddings", None)
        if room is not None and prompt.shape[1] + max_length > room:
            raise InputError(
                f"The instruction and a caption have {prompt.shape[1]} tokens and up to {max_length} are written, but the "
                f"language model has {room} places; pass a smaller refinement.max_length, or a shorter refinement.instruction."
            )
        end = self.network.generation_config.eos_token_id
        end = self.tokenizer.eos_token_id if end is None else end
        found = self.network.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            num_beams=1,
            max_new_tokens=max_length,
            eos_token_id=end,
            pad_token_id=end[0] if isinstance(end, list) else end,
            # What a folder suggests for drawing by lot has no part in this.
            temperature=None,
            top_p=None,
            top_k=None,
        )
        said = self.tokenizer.decode(found[0, prompt.shape[1] :], skip_special_tokens=True)
        lines = [line.strip().strip("\"'“”").strip() for line in said.splitlines()]
        return next((line for line in lines if line), caption)

    def _prompt(self, caption, instruction):
        """Numbers of the tokens of a prompt."""
        if self.tokenizer.chat_template is None:
            return self.tokenizer(f"{instruction}\n\n{caption}\n\n")["input_ids"]
        said = [{"role": "user", "content": f"{instruction}\n\n{caption}"}]
        text = self.tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=False)
        # The template writes the special tokens itself.
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


def _refuse_code(folder):
    """Raise InputError if a folder names code of its own, for which transformers would ask."""
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        if path.is_file() and "auto_map" in read_json_object(path, "a language model"):
            raise InputError(
                f"{path} names code of the folder's own (auto_map), which is not run; expected a language model that "
                "transformers knows: put one of these there."
            )

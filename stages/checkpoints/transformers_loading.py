"""Loading of transformers' models and tokenizers that refuses what does not fit.

transformers' own ``from_pretrained`` reports a missing or an unexpected tensor and carries on.
"""

from contextlib import contextmanager
from pathlib import Path

import torch

from stages.checkpoints.outlines import outlining
from stages.checkpoints.quiet_loading import quietly
from stages.checkpoints.strict_loading import check_tensors
from weights.contents import first_stand_in, why_no_tensors
from weights.manifest import CheckpointError


def load_transformers_strictly(model_class, folder, unread=()):
    """Load a model of transformers from safetensors, in float32, with every tensor accounted for.

    Parameters
    ----------
    model_class : type
        A subclass of ``transformers.PreTrainedModel``.
    folder : path
        Nothing is looked for elsewhere.
    unread : tuple of str
        Beginnings of the names of tensors that the network has but never reads. They may be absent, and are then random.

    Returns
    -------
    model : model_class
        In evaluation mode, on the CPU.

    Raises
    ------
    CheckpointError
        A file is absent or damaged, or tensors are missing, unexpected or misshapen; the message names them.
    """
    if outlining():
        with refusing_folder(folder, model_class.__name__), torch.device("meta"):
            return model_class(model_class.config_class.from_pretrained(folder, local_files_only=True)).eval()
    with refusing_folder(folder, model_class.__name__):
        # Misshapen tensors are not ignored but reported, so that they can be named below.
        model, found = model_class.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True
        )
    # Files from before 2023 keep the numbers 0, 1, 2 and so on among their tensors.
    stored = {name: None for name in found["unexpected_keys"] if not name.endswith("position_ids")}
    expected = dict.fromkeys(name for name in found["missing_keys"] if not name.startswith(tuple(unread)))
    for name, *shapes in found["mismatched_keys"]:
        stored[name], expected[name] = (torch.empty(shape, device="meta") for shape in shapes)
    check_tensors(model_class.__name__, folder, stored, expected)
    return model.float().eval()


def load_clip_tokenizer(folder):
    """Load CLIP's tokenizer from its folder.

    Parameters
    ----------
    folder : path
        Holds ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``. Nothing is looked for elsewhere.

    Returns
    -------
    tokenizer : transformers.CLIPTokenizer

    Raises
    ------
    CheckpointError
        A file is absent or damaged.
    """
    from transformers import CLIPTokenizer

    folder = Path(folder)
    absent = [name for name in ("vocab.json", "merges.txt") if not (folder / name).is_file()]
    # transformers would make do with an empty vocabulary.
    if absent and not (folder / "tokenizer.json").is_file():
        raise CheckpointError(
            f"{folder} has neither tokenizer.json nor vocab.json and merges.txt ({absent[0]} is absent); fetch or "
            "export the checkpoint again."
        )
    with refusing_folder(folder, "CLIPTokenizer"):
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def load_bert_tokenizer(folder, capitals=None):
    """Load BERT's tokenizer from its folder.

    Parameters
    ----------
    folder : path
        Holds ``tokenizer.json`` or ``vocab.txt``. Nothing is looked for elsewhere.
    capitals : bool, optional
        Whether letters stay as they are; by default what the folder says, and else small letters without accents.

    Returns
    -------
    tokenizer : transformers.BertTokenizer

    Raises
    ------
    CheckpointError
        A file is absent or damaged.
    """
    from transformers import BertTokenizer

    folder = Path(folder)
    # transformers would make do with five special tokens.
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        raise CheckpointError(
            f"{folder} has neither tokenizer.json nor vocab.txt; fetch or export the checkpoint again, or name the folder of a "
            "tokenizer."
        )
    letters = {} if capitals is None else {"do_lower_case": not capitals}
    with refusing_folder(folder, "BertTokenizer"):
        return BertTokenizer.from_pretrained(folder, local_files_only=True, **letters)


def load_gpt2_tokenizer(folder, added=()):
    """Load GPT-2's tokenizer from its folder.

    Parameters
    ----------
    folder : path
        Holds ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``. Nothing is looked for elsewhere.
    added : sequence of str
        Special tokens that get the next numbers, in this order, unless the folder has them.

    Returns
    -------
    tokenizer : transformers.GPT2Tokenizer

    Raises
    ------
    CheckpointError
        A file is absent or damaged.
    """
    from transformers import GPT2Tokenizer

    folder = Path(folder)
    both = all((folder / name).is_file() for name in ("vocab.json", "merges.txt"))
    # transformers would make do with an empty vocabulary.
    if not both and not (folder / "tokenizer.json").is_file():
        raise CheckpointError(
            f"{folder} has neither tokenizer.json nor vocab.json and merges.txt; fetch or export the checkpoint again, or name "
            "the folder of a tokenizer."
        )
    with refusing_folder(folder, "GPT2Tokenizer"):
        tokenizer = GPT2Tokenizer.from_pretrained(folder, local_files_only=True)
        tokenizer.add_tokens(list(added), special_tokens=True)
        return tokenizer


@contextmanager
def refusing_folder(folder, network):
    """Turn what transformers raises over a folder into a CheckpointError that names it; its bars and remarks are not shown."""
    try:
        with quietly():
            yield
    # Its readers raise whatever a damaged file leads them to.
    except Exception as error:
        found = first_stand_in(folder)
        told = f"{found.name}: {why_no_tensors(found, error)}" if found else " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{folder} holds no {network} that can be read ({told}); fetch the checkpoint again, with weights in "
            "safetensors."
        ) from error

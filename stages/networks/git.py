"""GIT (Wang et al. 2022): a vision transformer whose states are the beginning of a language model's text.

The network is transformers' own, in the layout of Hugging Face. The states of a picture are projected to the width of the words
and stand before them; the language model sees nothing else of the picture.
"""

from __future__ import annotations

from pathlib import Path

from stages.checkpoints.pretrained import CONFIG_FILE
from stages.checkpoints.strict_loading import read_json_object
from stages.checkpoints.transformers_loading import load_transformers_strictly
from weights.manifest import CheckpointError


def load_git(folder):
    """Load GIT for captions, with every tensor accounted for.

    Parameters
    ----------
    folder : path
        Holds ``config.json`` and ``model.safetensors``.

    Returns
    -------
    network : transformers.GitForCausalLM
        In float32, in evaluation mode, on the CPU, without gradients.

    Raises
    ------
    CheckpointError
        A file is absent or damaged, a tensor missing, unexpected or misshapen, or the network is another, or one of films.
    """
    from transformers import GitForCausalLM

    path = Path(folder) / CONFIG_FILE
    config = read_json_object(path, "GitForCausalLM")
    if config.get("model_type") != "git" or config.get("num_image_with_embedding") is not None:
        raise CheckpointError(
            f"{path} describes a {config.get('model_type')!r} that sees {config.get('num_image_with_embedding') or 1} pictures, "
            "but the model_type 'git' and one picture were expected; give the folder of a GIT for pictures."
        )
    return load_transformers_strictly(GitForCausalLM, folder).requires_grad_(False)


def states_shape(config):
    """(states, values of each) of a picture; the class token's comes first.

    >>> from transformers import GitConfig, GitVisionConfig
    >>> large = GitVisionConfig(patch_size=14, hidden_size=1024)
    >>> states_shape(GitConfig(vision_config=large))
    (257, 1024)

    Parameters
    ----------
    config : transformers.GitConfig
    """
    vision = config.vision_config
    return (1 + (vision.image_size // vision.patch_size) ** 2, vision.hidden_size)

"""Loading of transformers' models and tokenizers that refuses what does not fit.

transformers' own ``from_pretrained`` reports a missing or an unexpected tensor and carries on.
"""

from contextlib import contextmanager

from weights.store import CheckpointError


def load_transformers_strictly(model_class, folder):
    """Load a model of transformers from safetensors, in float32, with every tensor accounted for.

    Parameters
    ----------
    model_class : type
        A subclass of ``transformers.PreTrainedModel``.
    folder : path
        Nothing is looked for elsewhere.

    Returns
    -------
    model : model_class
        In evaluation mode, on the CPU.

    Raises
    ------
    CheckpointError
        A file is absent or damaged, or tensors are missing, unexpected or misshapen.
    """
    with refusing_folder(folder, model_class.__name__):
        model, found = model_class.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    problems = []
    for label, key in (
        ("missing", "missing_keys"),
        ("unexpected", "unexpected_keys"),
        ("misshapen", "mismatched_keys"),
    ):
        # Files from before 2023 keep the numbers 0, 1, 2 and so on among their tensors.
        names = sorted(str(name) for name in found[key] if not str(name).endswith("position_ids"))
        if names:
            problems.append(f"{label}: {', '.join(names[:3])}" + (" and more" if len(names) > 3 else ""))
    if problems:
        raise CheckpointError(
            f"The tensors in {folder} do not fit {model_class.__name__} as its config.json describes it "
            f"({'; '.join(problems)}); fetch the checkpoint again."
        )
    return model.float().eval()


@contextmanager
def refusing_folder(folder, network):
    """Turn what transformers raises over a folder into a CheckpointError that names it."""
    try:
        yield
    # Its readers raise whatever a damaged file leads them to.
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{folder} holds no {network} that can be read ({told}); fetch the checkpoint again, with weights in "
            "safetensors."
        ) from error

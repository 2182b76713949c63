"""What a training will take, in sentences that people read before it begins."""

from __future__ import annotations

from stages.generators.diffusion.acceleration import free_memory
from stages.training.trouble import ways_to_less
from weights.sizes import in_words

CPU = "cpu"


def bytes_needed(cost, targets, device):
    """Memory at the peak, by where it is: dict of device to bytes, the device that trains first.

    >>> from stages.training.cost import Cost
    >>> bytes_needed(Cost(10, 40, 40, 80, 1000, None), 500, "cuda")
    {'cuda': 1160, 'cpu': 620}

    Parameters
    ----------
    cost : stages.training.cost.Cost
    targets : int
        Bytes of the targets of all training stimuli, which are in main memory.
    device : str
    """
    if device == CPU:
        return {CPU: cost.on_cpu + targets}
    return {device: cost.on_device, CPU: cost.checkpoint + targets}


def describe_training(cost, recipe, gives, targets, device, typed, held="targets"):
    """Sentences on a training: its size and memory, and what to do if that is more than there is.

    Parameters
    ----------
    cost : stages.training.cost.Cost
    recipe : stages.training.recipe.Recipe
    gives : sequence of str
        Values that it learns to predict.
    targets, device
        As for `bytes_needed`.
    typed : callable
        ``typed(name, value) -> str``: what to type to set the recipe otherwise.
    held : str
        What the targets are called.

    Returns
    -------
    sentences : list of str
    """
    named, needed = ", ".join(gives), bytes_needed(cost, targets, device)
    batch = "a batch on its way" if recipe.accumulate == 1 else "a part of a batch on its way"
    counted = {
        "weights, gradients and moments": cost.weights + cost.gradients + cost.moments,
        "what is not trained": cost.frozen or None,
        batch: cost.activations,
        held: targets,
        "a checkpoint": cost.checkpoint,
    }
    parts = ", ".join(f"{what} {in_words(size)}" for what, size in counted.items() if size)
    told = [
        f"Training {named}: {_millions(cost.parameters)} parameters, {recipe.steps:,} steps of {recipe.batch_size} samples; "
        f"{_places(needed)} ({parts})."
    ]
    advice, values = ways_to_less(recipe)
    advice = advice.format(**{name: typed(name, value) for name, value in values.items()})
    for place, size in needed.items():
        if size > (free := free_memory(place)):
            remedy = advice if place == device else "take a machine with more, or hold targets in half precision"
            told.append(
                f"Memory of {place} does not suffice to train {named}: {in_words(size)} are needed and {in_words(free)} "
                f"are free; {remedy}."
            )
    return told


def _places(needed):
    return " and ".join(f"{in_words(size)} of memory on {place}" for place, size in needed.items())


def _millions(n):
    return f"{n / 1e6:,.0f} million" if n >= 1e7 else f"{n:,}"

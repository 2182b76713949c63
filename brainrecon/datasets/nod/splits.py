"""Which trials are trained on: the authors published no split."""

from __future__ import annotations

from brainrecon.datasets.folds import deal
from stages.ground.errors import InputError

SPLITS = ("coco", "imagenet", "categories")
PARTS = 10
"""A stimulus, or a category, in so many is tested."""
COCO = "coco"


def synset_of(stimulus_id: str) -> str:
    """The WordNet id of a picture of ImageNet, "" of others.

    >>> synset_of("n03131574_8247"), synset_of("000000124419")
    ('n03131574', '')
    """
    synset = stimulus_id.partition("_")[0]
    return synset if synset.startswith("n") else ""


def split_of_trials(
    stimulus_ids: list[str], tasks: list[str], split: str | None, where: object
) -> tuple[list[str], str]:
    """The split of each trial, and which way was taken.

    Parameters
    ----------
    stimulus_ids, tasks : list of str, length n_trials
        The latter "imagenet" or "coco".
    split : {"coco", "imagenet", "categories"}, optional
        coco: train on ImageNet, test on the pictures of COCO, which were repeated in every run. imagenet: test one picture of
        ImageNet in ten. categories: test one category in ten, and train on none of its pictures. In both, COCO is a split of its
        own. By default coco, or imagenet if there is no run of COCO.
    where : str or path
        For messages.

    Raises
    ------
    InputError
        There is nothing to train on, or to test.
    """
    if split not in (None, *SPLITS):
        raise InputError(f"split is {split!r}; expected {', '.join(SPLITS)}, or leave it out.")
    if "imagenet" not in tasks:
        raise InputError(f"{where} has no run of ImageNet to train on; fetch ses-imagenet01 of it.")
    way = split or ("coco" if COCO in tasks else "imagenet")
    if way == "coco":
        if COCO not in tasks:
            raise InputError(f"{where} has no run of COCO to test; pass split=imagenet, or leave split out.")
        return ["train" if task == "imagenet" else "test" for task in tasks], way
    names = [stimulus if way == "imagenet" else synset_of(stimulus) for stimulus in stimulus_ids]
    # By name, so that it is the same for every subject who saw it.
    there = sorted({name for name, task in zip(names, tasks) if task == "imagenet"})
    if len(there) < 2:
        raise InputError(f"{where} has {len(there)} to share out by split={way}; fetch more runs of ImageNet.")
    n_parts = min(PARTS, len(there))
    tested = {name for name, part in zip(there, deal(there, n_parts)) if part == 0}
    return [COCO if task == COCO else "test" if name in tested else "train" for name, task in zip(names, tasks)], way

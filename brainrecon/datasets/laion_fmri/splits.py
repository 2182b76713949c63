"""Which pictures are trained on and which are tested: by their names, or by the splits that the dataset's package brings.

shared     train: pictures that this subject alone saw; test: photographs that everybody saw
ood        train: all photographs; test: pictures out of the distribution of photographs
tau        a fifth of the photographs is tested: near the others as a whole, each far from its nearest (a file)
random     a fifth of the photographs, drawn at random, one of five parts (a file)
cluster    one of five clusters of CLIP's features of the photographs, so that its like is not trained on (a file)

Pictures out of the distribution are in a split of their own, `ood`, unless they are the test. Of a pool, ``own`` or ``shared``,
other pictures are left out.
"""

from __future__ import annotations

from brainrecon.datasets.laion_fmri.layout import POOLED, Layout
from brainrecon.datasets.laion_fmri.trials import kind_of
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json

SPLITS = ("shared", "ood", "tau", "random", "cluster")
NUMBERED = {"random": "random_{}", "cluster": "cluster_k5_{}"}
PARTS = 5
"""Of the splits that have several parts."""
POOLS = ("own", POOLED)
AGAIN = "fetch it again, or leave split out"


def check_choice(split: str, number: int | str | None, pool: str | None) -> int:
    """The number of the part that is tested, 0 by default.

    Raises
    ------
    InputError
        There is no such split, part or pool, or the split has none.
    """
    check("split", split, OneOf(*SPLITS), "--option {name}={example}")
    if pool is not None:
        check("pool", pool, OneOf(*POOLS), "--option {name}={example}")
    if split == "shared" and pool is not None:
        raise InputError("pool matters for split=ood, tau, random and cluster, and split is shared; leave pool out.")
    if number is None:
        return 0
    if split not in NUMBERED:
        raise InputError(
            f"number is {number!r} but split={split} has one part; leave number out, or pass split=random or split=cluster."
        )
    if str(number) not in map(str, range(PARTS)) or isinstance(number, bool):
        raise InputError(f"number is {number!r}; expected which part of {split} is tested, 0 to {PARTS - 1}.")
    return int(number)


def names_of_files(split: str | None) -> list[str]:
    """Names of the files that a split, or any of them, may need."""
    every = {"tau": ["tau"]} | {one: [name.format(part) for part in range(PARTS)] for one, name in NUMBERED.items()}
    return [name for one, names in every.items() if split in (None, one) for name in names]


def parts_of(layout: Layout, subject: str, labels: list[str], split: str, number: int, pool: str) -> dict[str, str]:
    """The split of each picture that is used: train, test or ood.

    Parameters
    ----------
    layout : Layout
    subject : str
    labels : list of str
        Pictures that were shown.
    split : str
        Of `SPLITS`.
    number : int
        Which part is tested, if the split has several.
    pool : {"own", "shared"}

    Raises
    ------
    InputError
        The split's file is absent or damaged.
    """
    kept = [label for label in labels if pool == "own" or label.startswith("shared_")]
    if split == "shared":
        named = {"shared": "test", "unique": "train"}
        found = {label: "ood" if kind_of(label) else named.get(label.partition("_")[0], "") for label in labels}
    elif split == "ood":
        found = {label: "test" if kind_of(label) else "train" for label in kept}
    else:
        name = NUMBERED.get(split, split).format(number)
        train, test = read_split(layout, subject if pool == "own" else POOLED, name)
        sides = dict.fromkeys(train, "train") | dict.fromkeys(test, "test")
        found = {label: sides.get(label, "ood" if kind_of(label) else "") for label in labels}
    return {label: side for label, side in found.items() if side}


def read_split(layout: Layout, pool: str, name: str) -> tuple[list[str], list[str]]:
    """Names of pictures that are trained on and tested, from a split's file.

    Raises
    ------
    InputError
        It is absent, damaged, or names a picture twice.
    """
    path = layout.split(pool, name)
    if not path.is_file():
        raise InputError(
            f"There is no {path}; fetch it with brainrecon data download laion-fmri:{layout.root}, copy it from the package "
            f"laion_fmri (splits/data/{pool}/{path.name}), or leave split out."
        )
    content = read_json(path, dict, AGAIN)
    if content.get("name", name) != name:
        raise InputError(f"{path} holds the split {content['name']!r} and not {name!r}; {AGAIN}.")
    variants = content.get("variants")
    first = variants[0] if isinstance(variants, list) and variants else None
    sides = []
    for side in ("train", "test"):
        names = first.get(f"{side}_ids") if isinstance(first, dict) else None
        if not isinstance(names, list) or not names or not all(isinstance(one, str) for one in names):
            raise InputError(f"{path} has no list of pictures {side}_ids in its first variant; {AGAIN}.")
        if content.get(f"n_{side}", len(names)) != len(names):
            raise InputError(
                f"{path} says that n_{side} is {content[f'n_{side}']!r} and lists {len(names):,} pictures; {AGAIN}."
            )
        sides.append(names)
    both = [*sides[0], *sides[1]]
    if len(set(both)) < len(both):
        twice = next(one for one in both if both.count(one) > 1)
        raise InputError(f"{path} lists {twice} twice; a picture is trained on or tested: {AGAIN}.")
    return sides[0], sides[1]

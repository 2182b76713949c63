"""A part of WordNet's nouns written by hand in its own layout: what apples, pears, homes and schools are kinds of."""

_KINDS = {
    "entity": (),
    "physical entity": ("entity",),
    "abstraction": ("entity",),
    "object": ("physical entity",),
    "matter": ("physical entity",),
    "whole": ("object",),
    "natural object": ("whole",),
    "plant part": ("natural object",),
    "plant organ": ("plant part",),
    "reproductive structure": ("plant organ",),
    "fruit": ("reproductive structure",),
    "pome": ("fruit",),
    "solid": ("matter",),
    "substance": ("matter",),
    "food": ("substance",),
    "solid food": ("solid",),
    "produce": ("solid food",),
    "edible fruit": ("produce", "fruit"),
    "apple": ("edible fruit", "pome"),
    "pear": ("edible fruit", "pome"),
    "location": ("object",),
    "point": ("location",),
    "geographic point": ("point",),
    "address": ("geographic point",),
    "residence": ("address",),
    "home": ("residence",),
    "attribute": ("abstraction",),
    "state": ("attribute",),
    "being": ("state",),
    "life": ("being",),
    "group": ("abstraction",),
    "social group": ("group",),
    "organization": ("social group",),
    "institution": ("organization",),
    "educational institution": ("institution",),
    "school": ("educational institution",),
}
_NUMBERS = {name: 100 * row + 1740 for row, name in enumerate(_KINDS)}
_LICENCE = (
    "  1 This software and database is being provided to you, the LICENSEE, by  \n  2 somebody | under these terms.  \n"
)


def synset(name):
    """Name of the synset of a word, as ImageNet has them."""
    return f"n{_NUMBERS[name]:08d}"


def line_of(number, words, hypernyms, sign="@"):
    """A line of data.noun; beside its hypernyms it has a pointer of another kind, which is not followed."""
    spelled = " ".join(f"{word.replace(' ', '_')} 0" for word in words)
    pointers = [f"{sign} {above:08d} n 0000" for above in hypernyms] + [f"~ {number:08d} n 0000"]
    return f"{number:08d} 03 n {len(words):02x} {spelled} {len(pointers):03d} {' '.join(pointers)} | a gloss | with a bar  \n"


def write_small_wordnet(folder, kinds=None):
    """Write ``data.noun`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        line_of(_NUMBERS[name], [name, f"some {name}"], [_NUMBERS[above] for above in kinds_of])
        for name, kinds_of in (kinds or _KINDS).items()
    ]
    (folder / "data.noun").write_text(_LICENCE + "".join(lines), encoding="latin-1")
    return folder

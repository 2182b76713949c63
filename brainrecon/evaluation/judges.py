"""What the networks that judge know, and whether they are there: the manifest says it, and here it is told."""

from __future__ import annotations

from brainrecon.evaluation.protocols.protocol import DEFAULT
from weights import store
from weights.sizes import with_sizes

# What the shown pictures may be, as `brainrecon.datasets.subject.Subject.pictures` has it; "" if nobody says.
PHOTOGRAPHS, DRAWN = "photographs", "drawn pictures"


def strangers(protocol, pictures):
    """Checkpoints that judge under a protocol and know none of the pictures that they are shown.

    >>> from brainrecon.evaluation.protocols.protocol import load_protocol
    >>> strangers(load_protocol("brainrecon-1"), PHOTOGRAPHS)
    ['tiny-evaluation', 'tiny-clip']
    >>> strangers(load_protocol("brainrecon-1"), DRAWN), strangers(load_protocol("mindeye-2023"), PHOTOGRAPHS)
    ([], [])

    Parameters
    ----------
    protocol : brainrecon.evaluation.protocols.protocol.Protocol
    pictures : str
        "photographs", "drawn pictures", or "" if that is not known.

    Returns
    -------
    names : list of str
        In the order of the protocol, each once.
    """
    known = store.checkpoints()
    names = dict.fromkeys(spec.checkpoint for spec in protocol.networks.values() if spec.checkpoint in known)
    return [name for name in names if known[name].knows not in (None, pictures)]


def about_strangers(protocol, pictures):
    """What a reader has to know of judges that know none of the pictures, a sentence each."""
    if not (names := strangers(protocol, pictures)):
        return []
    known = store.checkpoints()
    knows = " or ".join(dict.fromkeys(known[name].knows for name in names))
    these = f"these are {pictures}" if pictures else "these may be photographs"
    return [
        f"The networks that judge here ({', '.join(names)}) know only {knows}, and {these}: their scores say little about "
        f"{pictures or 'photographs'}. Published networks judge with --protocol mindeye-2023."
    ]


def judged_by_strangers(protocol, metric, pictures):
    """Whether a metric's own network is known to know none of the pictures: whatever states its score says so."""
    network = protocol.networks.get(getattr(metric, "features", None))
    return bool(pictures) and network is not None and network.checkpoint in strangers(protocol, pictures)


def check_judges(protocol):
    """Refuse a protocol whose networks are not there, before anything long begins.

    Raises
    ------
    weights.store.CheckpointError
        Networks are absent; they are named together, with their sizes and what fetches them.
    """
    names = dict.fromkeys(spec.checkpoint for spec in protocol.networks.values())
    absent = [store.entry(status.name) for status in store.verify(names, check=False) if status.state == "absent"]
    if not absent:
        return
    published = all("evaluate" in entry.needed_by for entry in absent)
    chosen = "--for evaluate" if published else " ".join(entry.name for entry in absent)
    raise store.CheckpointError(
        f"Protocol {protocol.name} judges by {with_sizes(absent)}, absent here; fetch them with `brainrecon weights pull "
        f"{chosen}`, or judge by the embedded networks, which know only {DRAWN}, with --protocol {DEFAULT}."
    )

"""The table of systems, for the README and the site, from the registries alone."""

from __future__ import annotations

import re

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.registry import system_class, system_names
from brainrecon.evaluation.tasks.task import find_task, task_names
from documentation.markdown import table

HEADS = ("system", "learns from", "scored as", "shown to be equal", "run on")


def systems_table(page):
    """A row for each system of the toolkit.

    Parameters
    ----------
    page : callable
        Name of a system -> where a link to its page leads.

    Returns
    -------
    text : str
        A Markdown table.
    """
    return table(HEADS, [_row(system_class(name), page(name)) for name in own_systems()])


def own_systems():
    """Names of the systems that come with the toolkit, published ones first: list of str."""
    own = [name for name in system_names() if system_class(name).__module__.startswith("brainrecon.")]
    return sorted(own, key=lambda name: (not system_class(name).citation, name))


def _row(kind, page):
    system = kind()
    fidelity = system.evidence.fidelity
    return (
        ", ".join(filter(None, (f"[`{system.name}`]({page})", authors(system.citation)))),
        needs(system),
        ", ".join(tasks(system)) or f"as {system.asks_for} say",
        fidelity,
        ", ".join(system.evidence.tested_on),
    )


def authors(citation):
    """The authors' names and the year of a citation.

    >>> authors("Takagi, Y. & Nishimoto, S. (2023). High-resolution image reconstruction. CVPR 2023.")
    'Takagi & Nishimoto 2023'
    >>> authors("Scotti, P. S., Banerjee, A., Goode, J. et al. (2023). Reconstructing the mind's eye. NeurIPS 36.")
    'Scotti et al. 2023'
    """
    found = re.match(r"(.*?)\((\d{4})\)", citation)
    if not found:
        return ""
    names, year = found.groups()
    # A family name is what stands before initials.
    families = re.findall(r"([^\s,&][^,&]*?), (?:\w\.[ -]?)+", names)
    if "et al" in names or len(families) > 2:
        return f"{families[0]} et al. {year}"
    return f"{' & '.join(families)} {year}"


def needs(system):
    """What a system learns from, in words."""
    learns = ["responses"] + ["pictures"] * system.needs.pictures
    learns += ["captions"] * system.needs.captions + ["categories"] * system.needs.categories
    learns += ["captions if there are any"] * bool(system.without_captions)
    return ", ".join(learns)


def tasks(system):
    """Names of the tasks that score what a system gives: list of str."""
    if system.asks_for:
        return []
    chain = Chain(system)
    given = {chain.medium(chain.output)} | ({"embeddings"} if chain.predicts else set())
    return [name for name in task_names() if set(find_task(name).reads) <= given]

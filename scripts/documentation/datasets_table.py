"""The table of datasets and the generated parts of each one's page, from the registry and the readers alone."""

from __future__ import annotations

import inspect
import re
from importlib import import_module

from brainrecon.datasets.dataset import MODULES, dataset_of
from documentation.markdown import after_title, table


def datasets_table(page):
    """A row for each kind of data of the toolkit.

    Parameters
    ----------
    page : callable
        Kind -> where a link to its page leads.

    Returns
    -------
    text : str
        A Markdown table.
    """
    rows = []
    for kind in MODULES:
        told = dataset_of(kind).description
        rows.append((f"[`{kind}`]({page(kind)})", sentence(told.measured), sentence(told.licence)))
    return table(("kind", "measured", "licence"), rows)


# Where a page shows the layout that a reader's module describes at its top.
LAYOUT = re.compile(r"<!-- layout: (\S+) -->")


def dataset_page(kind, written):
    """The whole page of a kind of data: its description and options after the title and the first paragraph, and layouts."""
    reader = dataset_of(kind)
    told = reader.description
    facts = [
        ("to be had", sentence(told.available)),
        ("licence", sentence(told.licence)),
        ("cite", sentence(told.citation)),
        ("pictures", told.pictures or "as its own files say"),
    ]
    if terms := getattr(reader, "terms", ""):
        facts.append(("`brainrecon data download`", sentence(terms)))
    options = [(f"`{option.name}`", option.explanation) for option in reader.options]
    more = [
        table(("measured", sentence(told.measured)), facts),
        f"```sh\nbrainrecon data info {kind}:PATH\nbrainrecon data files {kind}:PATH\n```",
        "Options, each as `--option NAME=VALUE` or a keyword of `brainrecon.load`:",
        table(("option", "what it decides"), options),
    ]
    return LAYOUT.sub(lambda found: _layout(found[1]), after_title(written, "\n\n".join(more)))


def _layout(module):
    return f"```text\n{inspect.getdoc(import_module(module))}\n```"


def sentence(text):
    """A text that begins with a capital letter and ends with a full stop.

    >>> sentence("eight people saw photographs")
    'Eight people saw photographs.'
    """
    text = text.strip()
    # An address and a name such as fMRI are spelt as they are.
    word = text.split()[0]
    first = text[:1].upper() if word.islower() and "." not in word.rstrip(".") else text[:1]
    return first + text[1:].rstrip(".") + "."

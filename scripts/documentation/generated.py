"""Pages that are generated, or begin with something that is generated."""

from functools import partial

from brainrecon.datasets.dataset import MODULES
from documentation.command_line import command_line
from documentation.datasets_table import dataset_page, datasets_table
from documentation.system_page import system_page
from documentation.systems_table import own_systems, systems_table

SYSTEMS, DATASETS = "<!-- table of systems -->", "<!-- table of datasets -->"


def pages():
    """Path of a page, as it is staged -> function of its written text that gives the whole text."""
    return {
        "reference/command-line.md": command_line,
        **{f"systems/{name}.md": partial(system_page, name) for name in own_systems()},
        **{f"datasets/{kind}.md": partial(dataset_page, kind) for kind in MODULES},
        "systems/index.md": lambda written: (
            written.replace(SYSTEMS, systems_table(lambda name: f"{name}.md")) + toctree(own_systems())
        ),
        "datasets/index.md": lambda written: (
            written.replace(DATASETS, datasets_table(lambda kind: f"{kind}.md")) + toctree(MODULES)
        ),
    }


def toctree(names):
    """The pages of a folder, by their names alone."""
    return "\n".join(["", "```{toctree}", ":hidden:", "", *(f"{name} <{name}>" for name in names), "```", ""])

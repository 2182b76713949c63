"""The tables of systems and of datasets in README.md; `scripts/readme_tables.py` writes them."""

import re
import sys

from documentation.datasets_table import datasets_table
from documentation.systems_table import systems_table


def with_tables(text):
    """The text of the README with its tables as the registries have them now.

    Raises
    ------
    SystemExit
        The text lacks the comments between which a table stands.
    """
    made = {
        "systems": systems_table(lambda name: f"docs/systems/{name}.md"),
        "datasets": datasets_table(lambda kind: f"docs/datasets/{kind}.md"),
    }
    for name, table in made.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            sys.exit(f"README.md has no <!-- {name} --> and <!-- /{name} --> between which the table of {name} stands.")
        text = pattern.sub(lambda found, table=table: f"{found[1]}\n{table}\n\n{found[2]}", text)
    return text

"""Write the tables of systems and of datasets into README.md: python scripts/documentation/readme.py.

A test fails if a table there is not what this would write.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def with_tables(text):
    """The text of the README with its tables as the registries have them now.

    Raises
    ------
    SystemExit
        The text lacks the comments between which a table stands.
    """
    from documentation.datasets_table import datasets_table
    from documentation.systems_table import systems_table

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


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "scripts"))
    readme = ROOT / "README.md"
    readme.write_text(with_tables(readme.read_text(encoding="utf-8")), encoding="utf-8")

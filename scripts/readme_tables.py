"""Write the tables of systems and of datasets into README.md: python scripts/readme_tables.py.

A test fails if a table there is not what this would write.
"""

from pathlib import Path

from documentation.readme import with_tables

README = Path(__file__).resolve().parents[1] / "README.md"

if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")

"""Nobody has to ask whether there is anybody to tell."""

import re
from pathlib import Path

from stages.ground.progress import SILENT


def test_the_default_takes_what_a_real_one_takes_and_says_nothing(capsys):
    assert SILENT("reading", 1, 2) is None
    assert capsys.readouterr() == ("", "")


def test_no_code_asks_whether_there_is_one():
    asks = re.compile(r"\bif (not )?progress\b|\bprogress (is|or|and)\b|\bprogress=None\b")
    root = Path(__file__).parents[3]
    found = [
        f"{path.relative_to(root)}: {line.strip()}"
        for room in ("brainrecon", "stages")
        for path in sorted((root / room).rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if asks.search(line)
    ]
    assert not found

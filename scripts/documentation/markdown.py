"""Pieces of Markdown."""


def table(heads, rows):
    r"""A table; a bar within a cell is escaped.

    >>> print(table(("name", "default"), [("a|b", 1)]))
    | name | default |
    |---|---|
    | a\|b | 1 |
    """
    lines = [heads, ["---"] * len(heads), *rows]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join(
        "|---" * len(heads) + "|" if number == 1 else f"| {' | '.join(line)} |" for number, line in enumerate(cells)
    )


def after_title(text, more):
    r"""The text of a page with more of it after its title and the paragraph that follows it.

    >>> after_title("# Title\n\nWhat it is.\n\n## First\n", "More.")
    '# Title\n\nWhat it is.\n\nMore.\n\n## First\n'
    """
    blocks = text.split("\n\n")
    return "\n\n".join([*blocks[:2], more.strip(), *blocks[2:]])

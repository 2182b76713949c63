"""Ways to damage text: JSON, TOML and tables."""

import json

VALUES = [None, True, -1, 0, 10**30, float("nan"), "x", "", [], {}, [[]], "../../escaped"]
CELLS = ["", "nan", "x", "-1", "1e400", "9" * 20, "../../escaped", "=1+1"]


def other_encoding(content, draw):
    """UTF-16, or UTF-8 with a byte order mark."""
    return content.decode("utf-8", "replace").encode(draw.choice(["utf-16", "utf-8-sig"]))


def json_value(content, draw):
    """Another value, or none, somewhere in the tree."""
    whole = json.loads(content)
    holder = whole
    # Down to a random depth.
    while True:
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = keys[draw.integers(len(keys))] if len(keys) else None
        if key is None:
            break
        if not isinstance(holder[key], dict | list) or not len(holder[key]) or draw.random() < 0.4:
            if isinstance(holder, dict) and draw.random() < 0.2:
                del holder[key]
            else:
                holder[key] = VALUES[draw.integers(len(VALUES))]
            break
        holder = holder[key]
    return json.dumps(whole).encode(), f"{key}"


def json_outermost(content, draw):
    """Another outermost value."""
    return json.dumps(VALUES[draw.integers(len(VALUES))]).encode()


def nested(content, draw):
    """Lists in lists without end."""
    return b"[" * 100_000


def huge_number(content, draw):
    """A number of 5,000 digits."""
    return b'{"a": ' + b"1" * 5000 + b"}"


def toml_value(content, draw):
    """Another value of one key."""
    lines = content.decode().splitlines()
    places = [place for place, line in enumerate(lines) if " = " in line]
    if not places:
        return b"a = ["
    place = places[draw.integers(len(places))]
    value = draw.choice(["-1", "true", '""', "[]", "{}", "nan", "1e400", '"../../escaped"', "[" * 1000])
    lines[place] = f"{lines[place].split(' = ')[0]} = {value}"
    return "\n".join(lines).encode(), lines[place][:60]


def table_cell(content, draw):
    """Another cell."""
    lines = content.decode("utf-8").splitlines()
    mark = "\t" if "\t" in lines[0] else ","
    row = draw.integers(len(lines))
    cells = lines[row].split(mark)
    column = draw.integers(len(cells))
    before, cells[column] = cells[column], CELLS[draw.integers(len(CELLS))]
    lines[row] = mark.join(cells)
    return "\n".join(lines).encode(), f"{lines[0].split(mark)[column]}, {before!r} to {cells[column]!r}"


def table_rows(content, draw):
    """A row less, or one twice."""
    lines = content.decode("utf-8").splitlines()
    row = draw.integers(len(lines))
    less = draw.random() < 0.5
    lines[row : row + 1] = [] if less else [lines[row]] * 2
    return "\n".join(lines).encode(), "one less" if less else "one twice"

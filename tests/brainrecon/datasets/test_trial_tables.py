"""Tables as other programs write them."""

import pytest

from brainrecon.datasets import load
from brainrecon.datasets.arrays.reader import write_template
from brainrecon.datasets.trial_tables import read_table
from stages.ground.errors import InputError


@pytest.mark.parametrize(
    "text",
    [
        "stimulus_id,session\na,1\nb,2\n",
        "stimulus_id, session\na, 1\nb, 2\n",
        "\ufeff stimulus_id ,session\r\na ,1\r\n\r\nb,2 ",
        '"stimulus_id","session"\n"a","1"\nb,2,\n',
    ],
)
def test_blanks_quotes_marks_and_line_ends_do_not_count(text, tmp_path):
    path = tmp_path / "trials.csv"
    path.write_bytes(text.encode())
    assert read_table(path) == [{"stimulus_id": "a", "session": "1"}, {"stimulus_id": "b", "session": "2"}]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"a,b\n1,2,3\n", "Row 2 of .* has 3 values for 2 columns"),
        (b"a,b, a\n1,2,3\n", "two columns a"),
        (b"\xff\xfea\x00,\x00", "no text in UTF-8"),
        (b'a\n"' + b"x" * 200_000 + b'"\n', "cannot be read as CSV"),
    ],
)
def test_what_is_no_table_is_told(text, told, tmp_path):
    (tmp_path / "trials.csv").write_bytes(text)
    with pytest.raises(InputError, match=told):
        read_table(tmp_path / "trials.csv")


def test_sessions_after_a_blank_are_read_and_unknown_columns_named_once(tmp_path):
    write_template(tmp_path / "mine")
    right = load(f"arrays:{tmp_path / 'mine'}")
    for name in ("train", "test"):
        path = tmp_path / "mine" / name / "trials.csv"
        path.write_text(
            "\n".join(f"{line}, {k}" for k, line in enumerate(path.read_text().replace(",", " , ").splitlines()))
        )
        path.write_text(path.read_text().replace("run, 0", "run, rating", 1))
    found = load(f"arrays:{tmp_path / 'mine'}")
    assert found.train.sessions.tolist() == right.train.sessions.tolist()
    assert found.test.trial_stimulus_ids.tolist() == right.test.trial_stimulus_ids.tolist()
    assert [note for note in found.notes if "not read" in note] == ["trials.csv: columns that are not read: rating"]

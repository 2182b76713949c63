"""What a notebook shows of a subject: numbers of the subject itself, escaped, without reading responses or pictures."""

from html.parser import HTMLParser

import numpy as np

from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from stages.ground.lazy_rows import LazyRows


class Unread(LazyRows):
    """Rows that nobody may read."""

    def _read(self, rows):
        raise AssertionError("it was read")


class Cells(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.rows, self.open, self.text = [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        if tag != "br":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def subject(**options):
    splits = {
        "train": Split(Unread((1500, 7), np.float32), [f"s{row // 2}" for row in range(1500)], captions=lambda: 1 / 0),
        "test": Split(Unread((3, 7), np.float32), ["<a>", "b", "b"]),
    }
    return Subject("subj&1", "mine & yours", "arrays:<here>", splits, roi="all", **options)


def test_a_row_for_each_split_and_everything_is_escaped():
    found = Cells(subject()._repr_html_())
    assert not found.open
    assert found.rows[1:] == [
        ["train", "750", "1,500", "2", "no", "yes", "no"],
        ["test", "2", "3", "1 to 2", "no", "no", "no"],
    ]
    assert "subj&1" in found.text and "mine & yours" in found.text and "7 voxels (all) of arrays:<here>" in found.text
    assert "simulated" not in found.text


def test_regions_ceiling_notes_and_simulation_are_told():
    rois = {f"R{number}": np.arange(7) < 2 for number in range(14)}
    ceiling = np.float32([10, 20, np.nan, 40, 50, 20, 20])
    found = Cells(subject(rois=rois, noise_ceiling=ceiling, notes=["a <note>"], simulated=True)._repr_html_())
    assert "R0 2, R1 2" in found.text and "and 2 more" in found.text and "median 20 % of variance" in found.text
    assert "a <note>" in found.text and "no brain was measured" in found.text


def test_pictures_are_told_by_their_size():
    pictures = np.random.default_rng(0).integers(0, 255, (2, 6, 9, 3), dtype=np.uint8)
    splits = {
        "train": Split(np.zeros((2, 3), np.float32), ["a", "b"], images=pictures),
        "test": Split(np.zeros((1, 3), np.float32), ["c"]),
    }
    found = Cells(Subject("subj01", "arrays", "", splits, roi="all")._repr_html_())
    assert found.rows[1][4] == "6 × 9" and "of arrays" in found.text

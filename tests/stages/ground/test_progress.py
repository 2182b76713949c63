"""Nobody has to ask whether there is anybody to tell."""

from stages.ground.progress import SILENT


def test_the_default_takes_what_a_real_one_takes_and_says_nothing(capsys):
    assert SILENT("reading", 1, 2) is None
    assert capsys.readouterr() == ("", "")

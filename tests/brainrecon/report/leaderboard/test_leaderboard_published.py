"""Published values, and where they are not comparable."""

import pytest
from study_of_scores import HEADLINE, put, scores_of, spread

from brainrecon.evaluation.protocols.protocol import Protocol, load_protocol
from brainrecon.evaluation.scores.published import PublishedRow
from brainrecon.report.leaderboard import boards as leaderboard_boards
from brainrecon.report.leaderboard.collect import collect
from brainrecon.report.leaderboard.pages import as_html, as_markdown


@pytest.fixture
def published(monkeypatch):
    row = PublishedRow(
        "Published one",
        "brainrecon-1",
        {HEADLINE: 0.777, "pixcorr": 0.222},
        ("subj01", "subj02"),
        10,
        "Somebody 2023",
        {HEADLINE: "memory", "pixcorr": "secondary"},
        "other code",
        "A note.",
    )
    monkeypatch.setattr(leaderboard_boards, "published_values", lambda name: [row] if name == row.protocol else [])
    return row


def test_published_values_stand_beside_scores_on_the_same_test_set(tmp_path, published):
    put(tmp_path, "a", "subj01", scores_of({"reconstruction": {HEADLINE: spread(0.9), "pixcorr": spread(0.3)}}))
    for text in (as_markdown(collect(tmp_path)), as_html(collect(tmp_path))):
        assert "Published one‡" in text and "77.7†" in text and "0.222" in text and "0.222†" not in text
        assert "Somebody 2023" in text and "read in somebody else" in text and "A note." in text
        assert "† from memory" in text and "‡ computed with other preparation" in text


@pytest.mark.parametrize(
    "why", ["fewer stimuli", "another dataset", "simulated", "another protocol", "edited protocol"]
)
def test_published_values_of_other_test_sets_or_protocols_are_not_shown(tmp_path, published, why):
    values = spread(0.9)[:9] if why == "fewer stimuli" else spread(0.9)
    data = {"another dataset": {"dataset": "god"}, "simulated": {"simulated": True}}.get(why, {})
    protocol = load_protocol("brainrecon-1")
    if why == "another protocol":
        protocol = Protocol(protocol.content | {"name": "my-own"})
    if why == "edited protocol":
        protocol = Protocol(protocol.content | {"metrics": protocol.content["metrics"][:6]})
    put(tmp_path, "a", "subj01", scores_of({"reconstruction": {HEADLINE: values}}, protocol=protocol, data=data))
    leaderboard = collect(tmp_path)
    assert leaderboard.boards[0].published == []
    said = {"another protocol": None, "edited protocol": "This is not the brainrecon-1 that the toolkit holds"}
    said = said.get(why, "Published values of this protocol are on 10 NSD stimuli and not comparable: not shown.")
    for text in (as_markdown(leaderboard), as_html(leaderboard)):
        assert "Published one" not in text and "77.7" not in text
        assert said is None or said in text

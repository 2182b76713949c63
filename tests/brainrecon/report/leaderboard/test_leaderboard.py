"""The table of a benchmark: what compares is compared, what does not stands apart, and sentences follow from numbers."""

import dataclasses
import re

import numpy as np
import pytest
from study_of_scores import HEADLINE, IDS, only, put, rows_of, scores_of, spread

from brainrecon.evaluation.metrics.metric import METRICS
from brainrecon.evaluation.protocols.protocol import Protocol, load_protocol
from brainrecon.evaluation.scores.embedding_scores import EmbeddingRow, EmbeddingScores, RankRow
from brainrecon.evaluation.scores.scores import SummaryRow
from brainrecon.evaluation.statistics import intervals
from brainrecon.report.leaderboard.collect import collect
from brainrecon.report.leaderboard.comparison import _within, method_difference
from brainrecon.report.leaderboard.pages import as_html, as_markdown
from brainrecon.report.leaderboard.write import write_leaderboard
from stages.ground.errors import InputError

MINUS = "\N{MINUS SIGN}"


def test_mean_is_over_subjects_and_not_over_stimuli(tmp_path):
    put(tmp_path, "a", "subj01", scores_of({"reconstruction": spread(0.9)}))
    put(tmp_path, "a", "subj02", scores_of({"reconstruction": spread(0.6)[:4]}))
    (entry,) = only(collect(tmp_path)).entries
    mean = entry.means["reconstruction"][HEADLINE]
    assert mean.mean == pytest.approx((0.9 + spread(0.6)[:4].mean()) / 2)
    assert (mean.n_subjects, mean.n_stimuli) == (2, (4, 10))
    expected = intervals.mean_over_subjects([spread(0.9), spread(0.6)[:4]], bounds=(0, 1))
    assert (mean.ci_low, mean.ci_high) == expected[2:]


def test_one_subject_keeps_the_interval_of_its_scores(tmp_path):
    scores = scores_of({"reconstruction": 0.9, "shuffled_responses": 0.5})
    wider = [dataclasses.replace(row, ci_low=row.ci_low - 0.01) for row in scores.summary]
    put(tmp_path, "a", "subj01", dataclasses.replace(scores, summary=wider))
    (entry,) = only(collect(tmp_path)).entries
    mean, row = entry.means["reconstruction"][HEADLINE], wider[0]
    assert (mean.n_subjects, mean.ci_low, mean.ci_high) == (1, row.ci_low, row.ci_high)
    assert entry.differences["shuffled_responses"][HEADLINE].mean == pytest.approx(0.4)


def test_difference_of_methods_is_paired_by_stimulus_and_not_by_place(tmp_path):
    one, other = spread(0.8, 0.3), spread(0.7, 0.3) + 0.02 * (-1.0) ** np.arange(10)
    put(tmp_path, "a", "subj01", scores_of({"reconstruction": one}))
    put(tmp_path, "b", "subj01", scores_of({"reconstruction": other[::-1]}, ids=IDS[::-1]))
    first, second = only(collect(tmp_path)).entries
    assert (first.method, first.behind) == ("a", {})
    found, expected = second.behind[HEADLINE], intervals.bootstrap_difference(one, other)
    assert (found.mean, found.ci_low, found.ci_high) == pytest.approx(expected[1:])


def test_difference_of_methods_is_over_the_subjects_that_both_have(tmp_path):
    for subject, mean in (("subj01", 0.8), ("subj02", 0.9), ("subj05", 0.4)):
        put(tmp_path, "a", subject, scores_of({"reconstruction": mean}))
    put(tmp_path, "b", "subj01", scores_of({"reconstruction": 0.6}))
    put(tmp_path, "b", "subj02", scores_of({"reconstruction": 0.6}))
    block = only(collect(tmp_path))
    assert block.entries[1].behind[HEADLINE].mean == pytest.approx((0.2 + 0.3) / 2)
    assert block.entries[1].behind[HEADLINE].n_subjects == 2
    assert "2 of 3 subjects" in as_markdown(collect(tmp_path))


def test_identification_among_other_stimuli_is_not_subtracted_but_pixels_are(tmp_path):
    fewer = {HEADLINE: spread(0.6)[:7], "pixcorr": spread(0.2)[:7]}
    put(tmp_path, "a", "subj01", scores_of({"reconstruction": {HEADLINE: spread(0.9), "pixcorr": spread(0.3)}}))
    put(tmp_path, "b", "subj01", scores_of({"reconstruction": fewer}))
    board = collect(tmp_path)
    block = only(board)
    behind = block.entries[1].behind
    assert behind[HEADLINE].mean is None and behind[HEADLINE].reason == "scored among other stimuli"
    assert behind["pixcorr"].mean == pytest.approx(0.1) and behind["pixcorr"].n_stimuli == (7, 7)
    assert HEADLINE not in block.outstanding and block.outstanding["pixcorr"] == "a"
    assert "scored among other stimuli" in as_markdown(board) and "scored among other stimuli" in as_html(board)


def test_bold_only_where_the_runner_up_is_told_apart(tmp_path):
    noise = 0.2 * (-1.0) ** np.arange(10)
    for method, low, high in (("a", 0.80, 0.300), ("b", 0.79, 0.200), ("c", 0.1, 0.1)):
        values = {HEADLINE: low + (noise if method == "b" else 0 * noise), "pixcorr": high + noise}
        put(tmp_path, method, "subj01", scores_of({"reconstruction": values}))
    leaderboard = collect(tmp_path)
    assert only(leaderboard).outstanding == {"pixcorr": "a"}
    text = as_markdown(leaderboard)
    assert "**0.300**" in text and "**80.0**" not in text and "| 80.0 (" in text


def test_lower_is_better_where_the_metric_says_so(tmp_path):
    for method, distance in (("a", 0.4), ("b", 0.5)):
        values = {"clip": spread(0.9), "swav": spread(distance)}
        put(tmp_path, method, "subj01", scores_of({"reconstruction": values}, protocol="mindeye-2023"))
    assert only(collect(tmp_path)).outstanding == {"swav": "a"}
    text = as_markdown(collect(tmp_path))
    assert "lower where an arrow points down (SwAV)" in text and "SwAV (↓)" in text and "▲ " + MINUS + "0.100" in text
    assert "a: 90.0 %" in only(collect(tmp_path)).entries[0].sentence
    assert "in two-way identification on CLIP" in text


def test_control_that_was_drawn_for_fewer_stimuli_uses_the_differences_that_scores_hold(tmp_path):
    found = []
    for subject, level in (("subj01", 0.9), ("subj02", 0.8)):
        scores = scores_of({"reconstruction": spread(level, 0), "shuffled_responses": spread(0.5)[:4]})
        # Identification of the method anew among the four: not what its own values say.
        rows = [dataclasses.replace(row, mean=level - 0.3) for row in scores.differences]
        put(tmp_path, "a", subject, dataclasses.replace(scores, differences=rows))
        found.append(level - 0.3)
    (entry,) = only(collect(tmp_path)).entries
    row = entry.differences["shuffled_responses"][HEADLINE]
    assert (row.mean, row.n_stimuli) == (pytest.approx(np.mean(found)), (4, 4))
    assert "shuffled responses (+55.0; 4 of 10 stimuli)" in entry.sentence


def test_sentence_says_what_remains_above_the_controls(tmp_path):
    noise = 0.3 * (-1.0) ** np.arange(10)
    conditions = {
        "reconstruction": spread(0.95, 0),
        "shuffled_responses": spread(0.5, 0.01),
        "mean_response": spread(0.51, 0.01),
        "nearest_training_picture": spread(0.97, 0.01),
        "stage_one": spread(0.94, 0) + noise,
    }
    put(tmp_path, "a", "subj01", scores_of(conditions), heldout=scores_of({"reconstruction": spread(0.83, 0)}))
    (tmp_path / "benchmark.toml").write_text('heldout = "clusters:20"\n')
    stage_one = scores_of(conditions).difference("stage_one", HEADLINE)
    low, high = (f"{100 * value:+.1f}".replace("-", MINUS) for value in (stage_one.ci_low, stage_one.ci_high))
    assert only(collect(tmp_path)).entries[0].sentence == (
        "a: 95.0 % (95.0 to 95.0) in two-way identification on the evaluation network; above shuffled responses (+45.0) and "
        f"the mean response (+44.0), not told apart from stage one alone (+1.0, {low} to {high}), below the nearest training "
        f"picture ({MINUS}2.0); 83.0 % (83.0 to 83.0) on held-out clusters, where candidates resemble one another more."
    )


def test_sentence_says_which_controls_are_missing(tmp_path):
    put(tmp_path, "a", "subj01", scores_of({"reconstruction": 0.5, "shuffled_responses": spread(0.5)[::-1].copy()}))
    text = only(collect(tmp_path)).entries[0].sentence
    assert "above none of its controls, not told apart from shuffled responses (0.0" in text
    assert "the mean response and the nearest training picture were not scored" in text
    assert text.endswith("no held-out split was scored.")


def test_one_stimulus_gives_no_interval_and_no_verdict(tmp_path):
    one = {"reconstruction": {"pixcorr": np.array([0.5])}, "shuffled_responses": {"pixcorr": np.array([0.1])}}
    put(tmp_path, "a", "subj01", scores_of(one))
    text = only(collect(tmp_path)).entries[0].sentence
    assert text.startswith("a: 0.500 in PixCorr; above none of its controls, without an interval against shuffled")
    assert "▲ +" not in as_markdown(collect(tmp_path))


def test_scores_of_other_judges_or_protocols_never_share_a_table(tmp_path):
    put(tmp_path, "a", "subj01", scores_of({"reconstruction": 0.9}))
    put(tmp_path, "b", "subj01", scores_of({"reconstruction": 0.8}, judge="b"))
    content = load_protocol("brainrecon-1").content
    changed = Protocol(
        content | {"metrics": [one for one in content["metrics"] if one["name"] in (HEADLINE, "pixcorr")]}
    )
    put(tmp_path, "c", "subj01", scores_of({"reconstruction": 0.7}, protocol=changed))
    put(tmp_path, "d", "subj01", scores_of({"reconstruction": {"clip": spread(0.6)}}, protocol="mindeye-2023"))
    put(tmp_path, "e", "subj01", scores_of({"reconstruction": 0.9}, data={"dataset": "god"}))
    put(tmp_path, "f", "subj01", scores_of({"reconstruction": 0.9}, data={"simulated": True}))
    leaderboard = collect(tmp_path)
    found = [[entry.method for block in board.blocks for entry in block.entries] for board in leaderboard.boards]
    assert sorted(map(tuple, found)) == [(name,) for name in "abcdef"]
    assert len({board.identity for board in leaderboard.boards}) == 4
    text = as_markdown(leaderboard)
    assert "different judges" in text
    for board in leaderboard.boards:
        assert board.identity[:16] in text


def test_regions_are_blocks_of_one_board_in_the_order_of_the_plan(tmp_path):
    for roi, folder in (("V1 + V2", "V1_V2"), ("nsdgeneral", "nsdgeneral")):
        put(tmp_path, "a", "subj01", scores_of({"reconstruction": 0.9}, data={"roi": roi}), roi=folder)
    (board,) = collect(tmp_path).boards
    assert [block.roi for block in board.blocks] == ["V1 + V2", "nsdgeneral"]
    (tmp_path / "benchmark.toml").write_text('rois = ["nsdgeneral", "V1 + V2"]\n')
    (board,) = collect(tmp_path).boards
    assert [block.roi for block in board.blocks] == ["nsdgeneral", "V1 + V2"]


def test_held_out_split_of_another_judge_is_left_out(tmp_path):
    heldout = scores_of({"reconstruction": 0.7}, judge="b")
    put(tmp_path, "a", "subj01", scores_of({"reconstruction": 0.9}), heldout=heldout)
    leaderboard = collect(tmp_path)
    assert only(leaderboard).entries[0].heldout == {}
    assert "Left out" in as_markdown(leaderboard) and not [
        row for row in rows_of(leaderboard) if row["split"] == "heldout"
    ]


def test_a_method_on_fewer_subjects_stands_after_those_on_all(tmp_path):
    for subject in ("subj01", "subj02"):
        put(tmp_path, "whole", subject, scores_of({"reconstruction": 0.6}))
    put(tmp_path, "part", "subj01", scores_of({"reconstruction": 0.8}))
    board = only(collect(tmp_path))
    assert [entry.method for entry in board.entries] == ["whole", "part"]


@pytest.mark.parametrize("second, told_apart", [(0.7, True), (0.5, False), (0.3, False)])
def test_two_subjects_tell_methods_apart_where_each_of_them_does(tmp_path, second, told_apart):
    # Far apart in one subject and less so in the other: the interval over two subjects alone would say nothing.
    for subject, level in (("subj01", 0.9), ("subj02", second)):
        put(tmp_path, "a", subject, scores_of({"reconstruction": spread(level), "shuffled_responses": spread(0.5)}))
        put(tmp_path, "b", subject, scores_of({"reconstruction": spread(0.5)}))
    (one, other) = only(collect(tmp_path)).entries
    row = one.differences["shuffled_responses"][HEADLINE]
    assert row.ci_low < 0 < row.ci_high and row.every_subject == row.excludes_zero == told_apart
    assert ("above shuffled responses" in one.sentence) == told_apart
    assert only(collect(tmp_path)).outstanding == ({HEADLINE: "a"} if told_apart else {})
    assert other.method == "b"


def test_a_mark_stands_beside_the_interval_that_it_rests_on(tmp_path):
    for subject, level in (("subj01", 0.9), ("subj02", 0.7)):
        put(tmp_path, "a", subject, scores_of({"reconstruction": spread(level), "shuffled_responses": spread(0.5)}))
        put(tmp_path, "b", subject, scores_of({"reconstruction": spread(0.5)}))
    (one, other) = only(collect(tmp_path)).entries
    for row in (one.differences["shuffled_responses"][HEADLINE], other.behind[HEADLINE]):
        # Student's t of +40 and +20 points would go from -97 to +157, which no difference of two shares can be.
        assert (row.ci_low, row.ci_high) == (pytest.approx(-0.97, abs=0.01), 1.0)
    own = [intervals.bootstrap_difference(spread(level), spread(0.5)) for level in (0.7, 0.9)]
    ends = f"+{100 * own[0].ci_low:.1f} to +{100 * own[1].ci_high:.1f} in every subject"
    text = as_markdown(collect(tmp_path))
    assert f"▲ +30.0 ({ends})" in text and f"(▲ +30.0, {ends})" in text.replace("**", "")


def test_a_claim_of_any_leaderboard_is_on_one_side_of_zero_and_on_the_scale():
    draw = np.random.default_rng(3)
    for _ in range(200):
        n_subjects = int(draw.integers(2, 5))
        ours = {
            f"s{k}": scores_of({"reconstruction": draw.uniform(size=10) * draw.uniform(0.3, 1)})
            for k in range(n_subjects)
        }
        theirs = {k: scores_of({"reconstruction": draw.uniform(size=10) * draw.uniform(0.3, 1)}) for k in ours}
        row = method_difference(ours, theirs, HEADLINE)
        assert -1 <= row.ci_low <= row.mean <= row.ci_high <= 1
        ends = re.findall(r"[+\N{MINUS SIGN}]?\d+\.\d", row.interval_text(METRICS["two_way_identification"]))
        if row.excludes_zero:
            assert len({end[0] for end in ends} - {"0"}) <= 1, ends


def test_few_subjects_are_not_called_95_percent(tmp_path):
    for subject in ("subj01", "subj02", "subj05", "subj07"):
        put(tmp_path, "a", subject, scores_of({"reconstruction": 0.9}))
    text = as_markdown(collect(tmp_path))
    assert "With 4 subjects they are Student's t" in text
    assert text.count("subj0") == 4


def test_data_of_another_vintage_are_pointed_out(tmp_path):
    put(tmp_path, "a", "subj01", scores_of({"reconstruction": 0.9}, data={"sessions": [1, 2]}))
    put(tmp_path, "b", "subj01", scores_of({"reconstruction": 0.9}, data={"sessions": [1, 2, 3]}))
    assert "differ within a subject in: sessions" in as_markdown(collect(tmp_path))
    put(tmp_path, "b", "subj01", scores_of({"reconstruction": 0.9}, data={"sessions": [1, 2]}))
    assert "differ within" not in as_markdown(collect(tmp_path))


def test_cells_of_the_plan_without_scores_are_named(tmp_path):
    put(tmp_path, "a", "subj01", scores_of({"reconstruction": 0.9}))
    plan = 'subjects = ["subj01", "subj02"]\nprotocols = ["brainrecon-1", "mindeye-2023"]\n[methods.a]\nmethod = "x"\n'
    (tmp_path / "benchmark.toml").write_text(plan)
    leaderboard = collect(tmp_path)
    assert leaderboard.missing == ["a/subj01/nsdgeneral (mindeye-2023)", "a/subj02"]
    assert "Still without scores: a/subj01/nsdgeneral (mindeye-2023), a/subj02." in as_html(leaderboard)


def test_embeddings_stand_beside_their_null_and_effective_rank(tmp_path):
    for subject, mean in (("subj01", 0.8), ("subj02", 0.6)):
        row = EmbeddingRow("image_two_way", "clip_image", 10, mean, mean - 0.1, mean + 0.1, 0.5, 0.4, 0.6, 1000)
        embeddings = EmbeddingScores(IDS, {"image_two_way": spread(mean)}, [row], [RankRow("clip_image", 10, 3.0, 9.0)])
        put(tmp_path, "a", subject, scores_of({"reconstruction": 0.9}, embeddings=embeddings))
    put(tmp_path, "b", "subj01", scores_of({"reconstruction": 0.8}))
    leaderboard = collect(tmp_path)
    (row,) = only(leaderboard).entries[0].embeddings
    assert row["mean"].mean == pytest.approx(0.7) and (row["null_mean"], row["rank"], row["true_rank"]) == (
        0.5,
        3.0,
        9.0,
    )
    assert "| 70.0 (0.0 to 100.0) | 50.0 (40.0 to 60.0) | 3.0 (of 9.0) |" in as_markdown(leaderboard)
    assert only(leaderboard).entries[1].embeddings == []


def test_ceilings_are_shown_where_there_are_some(tmp_path):
    ceiling = {"noise_ceiling": {HEADLINE: SummaryRow("noise_ceiling", HEADLINE, 10, 0.987, 0.9, 0.99)}}
    put(tmp_path, "a", "subj01", scores_of({"reconstruction": 0.9}, ceilings=ceiling))
    assert "| Noise ceiling | 98.7 |" in as_markdown(collect(tmp_path))


def test_scores_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no scores"):
        collect(tmp_path)
    place = put(tmp_path, "a", "subj01", scores_of({"reconstruction": 0.9}))
    (place / "external.json").write_text("{")
    with pytest.raises(InputError, match="external.json cannot be read as JSON"):
        collect(tmp_path)
    (place / "external.json").unlink()
    (tmp_path / "benchmark.toml").write_text("methods = ")
    with pytest.raises(InputError, match="cannot be read as TOML"):
        collect(tmp_path)
    (tmp_path / "benchmark.toml").unlink()
    (place / "scores" / "brainrecon-1.json").write_text("{}")
    with pytest.raises(InputError):
        write_leaderboard(tmp_path)
    assert not (tmp_path / "leaderboard.html").exists()


@pytest.mark.parametrize(("apart", "told_apart"), [(0.0, False), (3e-13, False), (1e-9, True), (-1e-9, True)])
def test_scores_that_are_equal_but_for_rounding_are_not_told_apart(tmp_path, apart, told_apart):
    # 0.1 + 0.2 is not 0.3: means of equal scores differ by so much, and the interval over subjects has no width.
    values = {subject: spread(level) for subject, level in (("subj01", 0.3), ("subj02", 0.6), ("subj05", 0.9))}
    for subject, own in values.items():
        rounded = (own / 3 + own / 3 + own / 3) + apart
        put(tmp_path, "a", subject, scores_of({"reconstruction": rounded, "shuffled_responses": own}))
        put(tmp_path, "b", subject, scores_of({"reconstruction": own}))
    block = only(collect(tmp_path))
    there = {entry.method: entry for entry in block.entries}
    control = there["a"].differences["shuffled_responses"][HEADLINE]
    (behind,) = (entry.behind[HEADLINE] for entry in block.entries if entry.behind)
    assert control.ci_low is not None and abs(control.mean - apart) < 1e-15
    assert control.excludes_zero == behind.excludes_zero == told_apart
    assert bool(block.outstanding) == told_apart
    assert ("above shuffled responses" in there["a"].sentence) == (apart > 0 and told_apart)


def test_a_tie_is_not_told_apart_in_one_of_the_subjects_either():
    ends = [(1e-13, 2e-13), (0.1, 0.2)]
    rows = [SummaryRow("shuffled_responses", HEADLINE, 10, sum(pair) / 2, *pair) for pair in ends]
    assert (
        [row.excludes_zero for row in rows] == [False, True]
        and _within(rows) is None
        and _within(rows[1:]) == (0.1, 0.2)
    )

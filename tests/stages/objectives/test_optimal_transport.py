"""Plans with dustbins against the plain iteration in float64, and what the loss over categories counts."""

import math

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.objectives.optimal_transport import CategoryMatching, log_plan, matching_accuracy, matching_cells

N = 16
PICTURES = torch.arange(8).repeat_interleave(2)
"""Categories of a toy batch: 16 pictures, two of each of 8 categories."""


def plain_plan(scores, dustbin=1.0, n_iterations=100):
    """The same in ordinary numbers: rows and columns of exp(scores) are scaled in turn."""
    m, n = scores.shape
    kernel = np.full((m + 1, n + 1), math.exp(dustbin))
    kernel[:m, :n] = np.exp(np.asarray(scores, dtype=np.float64))
    row_sums = np.array([1.0] * m + [n]) / (m + n)
    column_sums = np.array([1.0] * n + [m]) / (m + n)
    of_columns = np.ones(n + 1)
    for _ in range(n_iterations):
        of_rows = row_sums / (kernel @ of_columns)
        of_columns = column_sums / (kernel.T @ of_rows)
    return (m + n) * of_rows[:, None] * kernel * of_columns


def toy(scores_of, brain=PICTURES):
    """Loss of a table that is a function of which cells are of one category, by the library and by plain loops."""
    categories = torch.cat([brain, PICTURES])
    scores = scores_of(categories[:, None] == PICTURES)
    by_library = -log_plan(scores.double())[matching_cells(categories, PICTURES)].mean()
    plan, found = plain_plan(scores), []
    for row, category in enumerate(categories):
        own = [column for column in range(N) if PICTURES[column] == category]
        found += [-math.log(plan[row, column]) for column in own or [N]]
    found += [-math.log(plan[-1, column]) for column in range(N) if PICTURES[column] not in categories]
    assert by_library.item() == pytest.approx(np.mean(found), abs=1e-9)
    return by_library.item()


@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (32, 16)])
@pytest.mark.parametrize("dustbin", [1.0, -0.5])
def test_a_plan_is_that_of_the_plain_iteration(shape, dustbin):
    scores = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, shape))
    plan = log_plan(scores, dustbin)
    np.testing.assert_allclose(plan.exp(), plain_plan(scores, dustbin), rtol=1e-9)
    np.testing.assert_allclose(log_plan(scores.float(), dustbin), plan, atol=2e-5)


def test_a_plan_has_the_stated_sums():
    plan = log_plan(torch.rand(2 * N, N) * 2 - 1).exp() / (3 * N)
    np.testing.assert_allclose(plan.sum(1), [1 / 48] * 32 + [16 / 48], atol=1e-4)
    np.testing.assert_allclose(plan.sum(0), [1 / 48] * 16 + [32 / 48], atol=1e-4)
    assert plan.sum().item() == pytest.approx(1, abs=1e-4)


def test_a_shift_of_all_scores_leaves_odds_between_real_cells_and_one_of_the_whole_table_everything():
    scores = torch.rand(12, 6, dtype=torch.float64)
    plan, shifted = log_plan(scores), log_plan(scores - 0.7)

    def odds(table):
        real = table[:-1, :-1]
        return real - real[:1] - real[:, :1] + real[0, 0]

    torch.testing.assert_close(odds(shifted), odds(plan))
    torch.testing.assert_close(odds(plan), odds(torch.nn.functional.pad(scores, (0, 1, 0, 1))))
    # More is left for the dustbins, whose scores did not move ...
    assert (shifted[:-1, -1] > plan[:-1, -1]).all()
    # ... and nothing changes if theirs move, too.
    torch.testing.assert_close(log_plan(scores - 0.7, dustbin=0.3), plan)


def test_scores_as_high_as_the_dustbins_share_everything_by_the_sums():
    # P is then (m + n) times the product of the sums: 1 / 48, 2 / 3 and 1 / 3.
    plan = log_plan(torch.ones(32, 16, dtype=torch.float64))
    torch.testing.assert_close(plan[:-1, :-1], torch.full((32, 16), -math.log(48), dtype=torch.float64))
    torch.testing.assert_close(plan[:-1, -1], torch.full((32,), math.log(2 / 3), dtype=torch.float64))
    torch.testing.assert_close(plan[-1, :-1], torch.full((16,), math.log(1 / 3), dtype=torch.float64))


def test_losses_of_a_toy_batch():
    by_category, alike, opposite = (
        lambda same: torch.where(same, 1.0, -1.0),
        lambda same: torch.ones(same.shape),
        lambda same: -torch.ones(same.shape),
    )
    # Every response is of a category that two pictures have, or of one that none has.
    found = [toy(one) for one in (by_category, alike, opposite)]
    np.testing.assert_allclose(found, [2.8434, math.log(48), 4.4546], atol=1e-4)
    found = [toy(one, brain=PICTURES + 100) for one in (by_category, alike, opposite)]
    np.testing.assert_allclose(found, [1.8749, (2 * math.log(48) + math.log(1.5)) / 3, 3.0384], atol=1e-4)


def test_a_row_of_an_absent_category_has_one_right_cell_and_the_corner_is_never_right():
    random = np.random.default_rng(0)
    for _ in range(30):
        rows, columns = (torch.from_numpy(random.integers(0, 6, n)) for n in (9, 5))
        cells = matching_cells(rows, columns)
        assert cells.shape == (10, 6) and not cells[-1, -1]
        for number, category in enumerate(rows.tolist()):
            expected = [own == category for own in columns.tolist()]
            assert cells[number].tolist() == [*expected, not any(expected)]
        for number, category in enumerate(columns.tolist()):
            assert cells[-1, number].item() == (category not in rows.tolist())


def batch(absent=True):
    torch.manual_seed(0)
    outputs = {"brain": torch.randn(N, 12, requires_grad=True), "picture": torch.randn(N, 12, requires_grad=True)}
    brain = PICTURES[torch.randperm(N)] + (4 if absent else 0)
    targets = {
        "picture": torch.randn(N, 12),
        "brain": torch.randn(N, 12),
        # As a batch holds them.
        "brain category": brain[:, None].float(),
        "picture category": PICTURES.float(),
    }
    return outputs, targets


def test_the_loss_is_the_mean_over_right_cells_of_both_kinds_of_rows():
    outputs, targets = batch()
    loss, parts = CategoryMatching("brain", "picture", weight=2.0)(outputs, targets, 0)
    rows = np.concatenate([outputs["brain"].detach().numpy(), outputs["picture"].detach().numpy()]).astype(np.float64)
    columns = targets["picture"].numpy().astype(np.float64)
    scores = rows @ columns.T / np.linalg.norm(rows, axis=1)[:, None] / np.linalg.norm(columns, axis=1)
    plan = plain_plan(scores)
    categories = [*targets["brain category"][:, 0].tolist(), *PICTURES.tolist()]
    right = [
        plan[row, column]
        for row, category in enumerate(categories)
        for column in ([c for c in range(N) if PICTURES[c] == category] or [N])
    ]
    assert any(category > 7 for category in categories)
    assert loss.item() == pytest.approx(-2 * np.log(right).mean(), rel=1e-5)
    assert parts["brain matching"].item() == pytest.approx(loss.item() / 2)
    hits = [PICTURES[scores[row].argmax()] == category for row, category in enumerate(categories[:N]) if category <= 7]
    assert parts["brain matched"].item() == pytest.approx(np.mean(hits))


def test_a_step_against_the_gradient_lowers_the_loss_of_responses_and_of_pictures():
    for name in ("brain", "picture"):
        outputs, targets = batch()
        objective = CategoryMatching("brain", "picture")
        before, _ = objective(outputs, targets, 0)
        before.backward()
        gradient = outputs[name].grad
        assert gradient.abs().max() > 0
        moved = outputs | {name: outputs[name].detach() - 0.1 * gradient}
        assert objective(moved, targets, 0)[0] < before


def test_without_rows_of_pictures_the_target_is_that_of_the_responses():
    outputs, targets = batch(absent=False)
    loss, _ = CategoryMatching("brain")(outputs, targets, 0)
    scores = torch.nn.functional.cosine_similarity(outputs["brain"][:, None], targets["brain"], dim=-1)
    cells = matching_cells(targets["brain category"][:, 0].long(), PICTURES)
    torch.testing.assert_close(loss, -log_plan(scores)[cells].mean())
    # Without categories of pictures, those of the responses are theirs.
    del targets["picture category"]
    own = targets["brain category"][:, 0].long()
    loss, _ = CategoryMatching("brain")(outputs, targets, 0)
    torch.testing.assert_close(loss, -log_plan(scores)[matching_cells(own, own)].mean())


def test_costs_of_a_training_can_be_counted_on_outlines():
    outputs, targets = batch()
    with torch.device("meta"):
        outputs, targets = ({name: value.to("meta") for name, value in one.items()} for one in (outputs, targets))
        loss, parts = CategoryMatching("brain", "picture")(outputs, targets, 0)
    assert loss.shape == parts["brain matched"].shape == ()


def test_nobody_is_matched_if_no_row_has_a_partner():
    assert matching_accuracy(torch.rand(2, 2), torch.tensor([1, 2]), torch.tensor([3, 4])).isnan()


def test_what_cannot_be_matched_is_refused():
    with pytest.raises(InputError, match=r"Scores have shape \(0, 3\)"):
        log_plan(torch.zeros(0, 3))
    with pytest.raises(InputError, match="n_iterations is 0"):
        CategoryMatching("brain", n_iterations=0)
    outputs, targets = batch()
    del targets["brain category"]
    with pytest.raises(InputError, match="There is no 'brain category' among the targets"):
        CategoryMatching("brain", "picture")(outputs, targets, 0)

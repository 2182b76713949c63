"""Matching by optimal transport: which rows of a batch belong to which columns, if some of either belong to none.

A table of scores gets one more row and one more column, the dustbins, that take what has no partner. Sinkhorn's iterations
turn it into a plan whose rows and columns have given sums (Sarlin et al. 2020, "SuperGlue"). MindArt (CVPR 2024) trains with it
an encoder that has seen no pair of a response and a picture: it is told that both are of one category, and no more.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.objectives.contrastive import cosines


def log_plan(scores: Tensor, dustbin: float = 1.0, n_iterations: int = 100) -> Tensor:
    """Logarithms of a transport plan with dustbins: log P = scores + u + v + log(m + n).

    exp(log P) / (m + n) adds up to 1 / (m + n) in each row and column, to n / (m + n) in the dustbin of rows, which is the last
    row, and to m / (m + n) in that of columns. Every row thus holds 1 in P, and a dustbin could take everything.

    >>> plan = log_plan(torch.zeros(4, 2), dustbin=0.0).exp()
    >>> plan.sum(1).round(decimals=3).tolist(), plan.sum(0).round(decimals=3).tolist()
    ([1.0, 1.0, 1.0, 1.0, 2.0], [1.0, 1.0, 4.0])

    Parameters
    ----------
    scores : tensor of shape (m, n)
        The higher, the more of a row goes to a column.
    dustbin : float
        Score of every cell of the two dustbins. Published: 1, which no cosine is above.
    n_iterations : int
        Each makes sums of rows right, and then those of columns. A gradient keeps two tables for each: 1.6 GiB for 100 of
        float32 scores (2048, 1024), as published.

    Returns
    -------
    plan : tensor of shape (m + 1, n + 1)
        In the type of the scores. The dustbins are the last row and the last column.
    """
    check("n_iterations", n_iterations, Number(1, whole=True, example=100))
    m, n = scores.shape
    if not m or not n:
        raise InputError(f"Scores have shape {(m, n)}; expected one row and one column or more: match more samples.")
    table = scores.new_full((m + 1, n + 1), dustbin)
    table[:m, :n] = scores
    offset = -math.log(m + n)
    rows, columns = scores.new_full((m + 1,), offset), scores.new_full((n + 1,), offset)
    rows[-1] += math.log(n)
    columns[-1] += math.log(m)
    v = torch.zeros_like(columns)
    for _ in range(n_iterations):
        u = rows - torch.logsumexp(table + v, dim=1)
        v = columns - torch.logsumexp(table + u[:, None], dim=0)
    return table + u[:, None] + v - offset


def matching_cells(row_categories: Tensor, column_categories: Tensor) -> Tensor:
    """Tell which cells of a plan are right: those of one category, and the dustbin of a row or column that has none.

    >>> matching_cells(torch.tensor([7, 9]), torch.tensor([7, 7, 8])).int()
    tensor([[1, 1, 0, 0],
            [0, 0, 0, 1],
            [0, 0, 1, 0]], dtype=torch.int32)

    Parameters
    ----------
    row_categories : tensor of shape (m,)
    column_categories : tensor of shape (n,)

    Returns
    -------
    cells : bool tensor of shape (m + 1, n + 1)
        The last cell, where both dustbins meet, is false.
    """
    same = row_categories[:, None] == column_categories
    cells = same.new_zeros((len(row_categories) + 1, len(column_categories) + 1))
    cells[:-1, :-1] = same
    cells[:-1, -1] = ~same.any(dim=1)
    cells[-1, :-1] = ~same.any(dim=0)
    return cells


class CategoryMatching:
    """Match responses to pictures of the same category: loss = weight * mean of -log P over the right cells.

    Rows are the outputs for the responses and, if `picture` is given, those for the pictures; columns are the pictures' true
    features. Scores are cosines, without a temperature. P and its right cells are those of `log_plan` and `matching_cells`.

    Categories are supervision: a method that is compared with this one should be told of them, too. The row of a picture is made
    of the very features that it is to find, so that half of the loss can be lowered without responses. The part "matched" looks
    at the rows of responses alone (`matching_accuracy`).

    >>> objective = CategoryMatching("brain", "picture")
    >>> pictures, categories = torch.eye(4), torch.tensor([3, 3, 5, 5])
    >>> outputs, targets = {"brain": pictures, "picture": pictures}, {"picture": pictures, "brain category": categories}
    >>> loss, parts = objective(outputs, targets, step=0)
    >>> list(parts), parts["brain matched"].item()
    (['brain matching', 'brain matched'], 1.0)

    Parameters
    ----------
    brain : str
        The output for responses, (n, width).
    picture : str, optional
        The output for the n pictures, and the target that holds their features, both (n, width). Without one the target is that
        of the name `brain`.
    brain_category, picture_category : str
        Targets that hold whole numbers, one for each sample: the category of the response, and of the picture. If there is none
        for pictures, a response and the picture beside it are of one category. If there is one, they need not be, and a
        response whose category no picture of the batch has belongs to the dustbin.
    dustbin : float
    n_iterations : int
        See `log_plan`.
    weight : float
    """

    compares = True

    def __init__(
        self,
        brain,
        picture=None,
        brain_category="brain category",
        picture_category="picture category",
        dustbin=1.0,
        n_iterations=100,
        weight=1.0,
    ):
        check("dustbin", dustbin, Number())
        check("n_iterations", n_iterations, Number(1, whole=True, example=100))
        check("weight", weight, Number(0))
        self.reads = (brain,) if picture is None else (brain, picture)
        self.brain_category, self.picture_category = brain_category, picture_category
        self.dustbin, self.n_iterations, self.weight = dustbin, n_iterations, weight

    def __call__(self, outputs, targets, step):
        # The target of the last one: the picture's, if its rows are matched, too.
        features = targets[self.reads[-1]]
        of_brain = _whole(targets, self.brain_category)
        of_picture = _whole(targets, self.picture_category) if self.picture_category in targets else of_brain
        rows = torch.cat([outputs[name] for name in self.reads])
        categories = torch.cat([of_brain, of_picture][: len(self.reads)])
        scores = cosines(rows, features)
        cells = matching_cells(categories, of_picture)
        # A sum, and no choice of cells, whose number would be unknown where costs are counted on outlines.
        loss = -(log_plan(scores, self.dustbin, self.n_iterations) * cells).sum() / cells.sum()
        name, matched = self.reads[0], matching_accuracy(scores[: len(of_brain)].detach(), of_brain, of_picture)
        return self.weight * loss, {f"{name} matching": loss.detach(), f"{name} matched": matched}

    def __repr__(self):
        return f"CategoryMatching({', '.join(map(repr, self.reads))}, weight={self.weight})"


def matching_accuracy(scores: Tensor, row_categories: Tensor, column_categories: Tensor) -> Tensor:
    """Share of rows whose best column is of their category, of those that have one; NaN if none has.

    >>> matching_accuracy(torch.eye(3), torch.tensor([1, 2, 9]), torch.tensor([1, 1, 2])).item()
    0.5

    Parameters
    ----------
    scores : tensor of shape (m, n)
    row_categories : tensor of shape (m,)
    column_categories : tensor of shape (n,)
    """
    known = (row_categories[:, None] == column_categories).any(dim=1)
    found = column_categories[scores.argmax(dim=1)] == row_categories
    return (found & known).sum() / known.sum()


def _whole(targets, name):
    """Categories (n,): a batch holds them as float32, with or without an axis of their one value."""
    if name not in targets:
        raise InputError(
            f"There is no {name!r} among the targets ({', '.join(targets)}); give each sample its category."
        )
    return targets[name].reshape(len(targets[name]), -1)[:, 0].round().long()

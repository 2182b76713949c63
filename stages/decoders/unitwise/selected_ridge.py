"""Ridge for many units, each on inputs of its own choice, its intercept penalised like a weight.

With S the inputs that a unit has chosen, the last of them always a column of ones,

    minimise over w   ||y - X_S w||^2 + alpha ||w||^2,

as PyFastL2LiR has it (KamitaniLab, MIT). Nothing is formed from the samples unit by unit: all sums of products come from one
Gram matrix G = X'X and the products b = X'y, which the correlations came from. Of the ways to solve a unit the cheapest is
taken, the same for all, since they choose equally many of the V inputs:

whole       all are chosen: one factor serves every unit
chosen      (G_SS + alpha I) w = b_S, a factor of the size of S
left out    With P = (G + alpha I)^-1 and R the inputs that are left out, w = P z, where z is b in S and b_R - u in R, and
            P_RR u = (P b)_R: then w is 0 in R. A factor of the size of R.
dual        w = X_S' a, (K - X_R X_R' + alpha I) a = y with K = XX', for fewer samples than inputs in S and in R
"""

from __future__ import annotations

import torch
from threadpoolctl import threadpool_limits

from stages.decoders.unitwise.chosen_voxels import places_of
from stages.decoders.unitwise.principal_systems import batches, positive_solve, solve_principal
from stages.ground.threads import in_order

# Of the penalised Gram matrix, up to which factors of 32 bits are taken: they are wrong by about 6e-8 times as much. By
# Cauchy's interlacing no selection is worse conditioned than the whole.
WELL_CONDITIONED = 1e4


def cheapest_way(n_samples, n_inputs, n_chosen):
    """How a unit is solved, and operations that it takes beside the products with the samples.

    >>> cheapest_way(n_samples=1200, n_inputs=700, n_chosen=500)[0], cheapest_way(1200, 4000, 500)[0]
    ('left out', 'chosen')
    >>> cheapest_way(n_samples=500, n_inputs=8000, n_chosen=3000)[0], cheapest_way(1200, 700, 700)[0]
    ('dual', 'whole')

    Parameters
    ----------
    n_samples, n_inputs, n_chosen : int
        The column of ones not counted.
    """
    left_out = n_inputs - n_chosen
    if not left_out:
        return "whole", 2 * n_inputs * min(n_inputs, n_samples)
    costs = {
        "chosen": n_chosen**3 / 3,
        "left out": left_out**3 / 3 + 2 * n_inputs**2,
        "dual": 2 * n_samples**2 * min(n_chosen, left_out) + n_samples**3 / 3,
    }
    way = min(costs, key=costs.get)
    return way, costs[way]


class SelectedRidge:
    """What all units share.

    >>> random = torch.Generator().manual_seed(0)
    >>> inputs = torch.randn(30, 5, generator=random, dtype=torch.float64)
    >>> inputs[:, -1] = 1
    >>> ridge = SelectedRidge(inputs, alpha=10.0, n_chosen=2)
    >>> unit = torch.randn(30, 1, generator=random, dtype=torch.float64)
    >>> chosen = torch.tensor([[True, False, True, False]])
    >>> solved = ridge.solve(unit.T @ inputs, chosen, lambda: unit)
    >>> [round(value, 3) for value in ridge.weights(solved)[0].tolist()]
    [0.238, 0.0, 0.073, 0.0, -0.052]

    Parameters
    ----------
    inputs : float64 tensor of shape (n_samples, n_inputs + 1)
        The last column is of ones.
    alpha : float
        Above 0.
    n_chosen : int
        Inputs that each unit chooses, the ones not counted.

    Attributes
    ----------
    way : {"whole", "chosen", "left out", "dual"}
    dtype : torch.dtype
        Of factors and weights.
    """

    def __init__(self, inputs, alpha, n_chosen):
        self.alpha, self.device = float(alpha), inputs.device
        n_samples, width = inputs.shape
        self.way, _ = cheapest_way(n_samples, width - 1, n_chosen)
        by_samples = self.way == "dual" or (self.way == "whole" and n_samples < width)
        gram = inputs @ inputs.T if by_samples else inputs.T @ inputs
        bound = (_largest_eigenvalue(gram) + self.alpha) / self.alpha
        self.dtype = torch.float32 if bound <= WELL_CONDITIONED else torch.float64
        penalised = gram.diagonal_scatter(gram.diagonal() + self.alpha)
        self._inputs = inputs.to(self.dtype) if by_samples else None
        self._shared, self._inverse = None, None
        if self.way == "whole" or self.way == "left out":
            self._inverse = torch.cholesky_inverse(torch.linalg.cholesky(penalised)).to(self.dtype)
        else:
            self._shared = penalised.to(self.dtype)

    def solve(self, products, chosen, samples):
        """Solve units.

        Parameters
        ----------
        products : float64 tensor of shape (n_units, n_inputs + 1)
            y'X.
        chosen : bool tensor of shape (n_units, n_inputs)
        samples : callable
            Gives y, float64 (n_samples, n_units); called where the samples are fewer than the inputs.

        Returns
        -------
        tensor of shape (n_units, ...), in `dtype`
            What `weights` and `predict` take.
        """
        if self.way == "whole":
            return products.to(self.dtype) if self._inputs is None else samples().T.to(self.dtype) @ self._inverse
        products = products.to(self.dtype)
        if self.way == "dual":
            return self._dual(chosen, samples().T.to(self.dtype))
        # The column of ones is every unit's own.
        ones = chosen.new_ones(len(chosen), 1)
        if self.way == "chosen":
            return solve_principal(self._shared, torch.cat([chosen, ones], dim=1), products)
        left_out = torch.cat([~chosen, ~ones], dim=1)
        return products.sub_(solve_principal(self._inverse, left_out, products @ self._inverse))

    def weights(self, solved):
        """Weights (n_units, n_inputs + 1), 0 for what a unit has not chosen, up to rounding."""
        if self.way == "whole" and self._inputs is not None:
            return solved @ self._inputs
        return solved if self._inverse is None else solved @ self._inverse

    def reader(self, inputs):
        """What `predict` takes for new inputs, float64 (n_new, n_inputs + 1)."""
        inputs = inputs.to(self.dtype)
        if self.way == "whole" and self._inputs is not None:
            return self._inputs @ inputs.T
        return inputs.T if self._inverse is None else self._inverse @ inputs.T

    def predict(self, solved, reader):
        """Predictions (n_units, n_new) without the weights themselves."""
        return solved @ reader

    def _dual(self, chosen, samples):
        """Weights (n_units, n_inputs + 1) through the samples (n_units, n_samples)."""
        inputs, width = self._inputs, chosen.shape[1]
        few_left_out = width - int(chosen[0].sum()) < int(chosen[0].sum())
        ones, sign = inputs[:, width:], -1 if few_left_out else 1
        ridge = self.alpha * torch.eye(len(inputs), dtype=self.dtype, device=self.device)
        start = self._shared if few_left_out else ridge + ones @ ones.T
        taken = places_of(~chosen if few_left_out else chosen)

        def batch(rows):
            columns = inputs.T.index_select(0, taken[rows].reshape(-1)).view(-1, taken.shape[1], len(inputs))
            matrices = torch.baddbmm(start.expand(len(columns), -1, -1), columns.mT, columns, alpha=sign)
            return positive_solve(matrices, samples[rows])

        parts = batches(len(chosen), len(inputs), start)
        with threadpool_limits(1):
            weights = torch.cat(list(in_order(batch, parts))) @ inputs
        weights[:, :width] *= chosen
        return weights


def _largest_eigenvalue(gram, steps=50):
    """Largest eigenvalue of a positive semidefinite matrix, from below, to a few percent: power iteration."""
    vector = gram.sum(dim=1) + gram.diagonal()
    if not vector.any():
        return 0.0
    for _ in range(steps):
        vector = gram @ (vector / vector.norm())
    return float(vector.norm())

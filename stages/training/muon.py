"""Muon, an optimiser that orthogonalises its momentum: far fewer steps for small convolutional networks."""

import torch


class Muon(torch.optim.Optimizer):
    """Gradient descent with Nesterov momentum whose update is replaced by the nearest orthogonal matrix.

    Jordan and others, 2024, "Muon: an optimizer for hidden layers in neural networks"; the update's size is that
    of Liu and others, 2025, "Muon is scalable for LLM training": a root mean square of 0.2, as AdamW's, so that
    one learning rate serves both.

    Parameters
    ----------
    params : iterable of torch.nn.Parameter or of dict
        Weights of two or more dimensions; convolutions count as matrices (out, in x height x width).
    lr : float
    momentum : float
    weight_decay : float
        Decoupled, as in AdamW.
    """

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        """Take one step; none, if a tensor `found_inf` is set and is not 0, as `torch.amp.GradScaler` sets it."""
        left_out = getattr(self, "found_inf", None)

        def become(kept, changed):
            # Chosen on the device, which nobody waits for.
            kept.copy_(changed if left_out is None else torch.where(left_out.bool(), kept, changed))

        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                become(state["momentum"], state["momentum"].lerp(parameter.grad, 1 - group["momentum"]))
                ahead = parameter.grad.lerp(state["momentum"], group["momentum"])
                update = orthogonalise(ahead.flatten(1))
                size = 0.2 * max(update.shape) ** 0.5
                decayed = parameter * (1 - group["lr"] * group["weight_decay"])
                become(parameter, decayed.add_(update.view_as(parameter), alpha=-group["lr"] * size))


def orthogonalise(matrix, iterations=5):
    """Push the singular values of a matrix towards one by Newton and Schulz' iteration.

    Parameters
    ----------
    matrix : torch.Tensor of shape (rows, columns)
    iterations : int
        Five, with Jordan's coefficients, leave singular values between about 0.7 and 1.2.

    Returns
    -------
    torch.Tensor of the same shape, float32
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.T if tall else x).float()

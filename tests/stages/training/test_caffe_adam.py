"""Caffe's Adam told to PyTorch's, against Caffe's formula written out."""

import numpy as np
import torch

from stages.training.caffe_adam import caffe_adam, updates_of


def test_updates_vs_caffe_written_out():
    random = np.random.default_rng(0)
    # Some gradients are so small that the constant beside the root decides.
    gradients = random.standard_normal((8, 50)) * 10.0 ** random.integers(-9, 3, 50)
    values, first, second = np.ones(50), np.zeros(50), np.zeros(50)
    parameter = torch.nn.Parameter(torch.ones(50, dtype=torch.float64))
    optimiser = torch.optim.Adam([parameter], betas=(0.9, 0.999))
    solver = 0
    for gradient in gradients:
        assert updates_of(optimiser) == solver
        optimiser.param_groups[0].update(caffe_adam(0.01, updates_of(optimiser), milestones=(3, 6)))
        parameter.grad = torch.from_numpy(gradient)
        optimiser.step()
        # The scripts raise the solver's count, and then apply the update.
        solver += 1
        rate = 0.01 * 0.5 ** ((solver >= 3) + (solver >= 6))
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        correction = np.sqrt(1 - 0.999 ** (solver + 1)) / (1 - 0.9 ** (solver + 1))
        values -= rate * correction * first / (np.sqrt(second) + 1e-8)
        np.testing.assert_allclose(parameter.detach().numpy(), values, rtol=0, atol=1e-14)


def test_the_first_update_is_shorter_than_the_rate():
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimiser = torch.optim.Adam([parameter])
    optimiser.param_groups[0].update(caffe_adam(1.0, 0))
    parameter.grad = torch.ones(1, dtype=torch.float64)
    optimiser.step()
    # sqrt(1 - .999 ** 2) / (1 - .9 ** 2) * .1 / sqrt(.001)
    assert abs(parameter.item() + 0.7441368) < 1e-5

"""Small random GNets in the layout in which GNet is published."""

import numpy as np
import torch

from stages.networks.gnet import GNet

SIZES = {"first": 4, "second": 6, "third": 4, "width": 5, "kept": 2}
CHANNELS = 8
"""Of each of both sets of maps."""


def random_network(sizes=None):
    """A network whose batch norms are none that do nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = GNet(**(sizes or SIZES), mean=torch.full((3, 1, 1), 0.4))
        for name, value in network.named_buffers():
            if name.endswith("running_mean"):
                value.normal_(0.2, 0.1)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
        for name, value in network.named_parameters():
            if ".bn1." in name:
                torch.nn.init.uniform_(value, 0.5, 1.5)
    return network.eval().requires_grad_(False)


def random_readout(n_voxels, seed=1, channels=CHANNELS):
    """Tensors of one subject: fields that prefer some places, and weights."""
    random = torch.Generator().manual_seed(seed)
    shapes = {"rf0": (n_voxels, 25, 25), "rf1": (n_voxels, 13, 13), "w": (n_voxels, 2 * channels), "b": (n_voxels,)}
    return {name: torch.randn(shape, generator=random) * (3 if "rf" in name else 1) for name, shape in shapes.items()}


def save_gnet(path, n_voxels):
    """Write ``gnet_multisubject.pt``, with readouts of so many voxels by the number of a subject; network and readouts."""
    network, readouts = random_network(), {number: random_readout(n, number) for number, n in n_voxels.items()}
    best = {"enc": dict(network.state_dict()), "fwrfs": readouts}
    of_voxels = {number: np.arange(n) for number, n in n_voxels.items()}
    beside = {name: of_voxels for name in ("voxel_mask", "voxel_roi", "voxel_index", "val_cc")}
    beside |= {"brain_nii_shape": {number: (81, 104, 83) for number in n_voxels}}
    torch.save({**beside, "input_mean": np.full((3, 1, 1), 0.4), "best_params": best, "final_params": best}, path)
    return network, readouts

"""A small random CaffeNet, as it lies there once it is pulled."""

import torch
from safetensors.torch import save_file

from stages.networks.caffenet import CaffeNet, CaffeNetConfig

CONFIG = CaffeNetConfig(picture=70, channels=(4, 6, 8, 8, 6), hidden=30, classes=7)


def save_caffenet(folder, seed=1):
    """Write its tensors into a folder; returns them, dict."""
    random = torch.Generator().manual_seed(seed)
    shapes = {name: value.shape for name, value in CaffeNet(CONFIG).state_dict().items()}
    state = {name: 0.1 * torch.randn(shape, generator=random) for name, shape in shapes.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors")
    return state

"""A target: what a torchvision network makes of a picture. Here its weights are random; yours are not."""

import numpy as np
import torch
from torchvision.models import resnet18


class ResNet18:
    """The 512 pooled features of a ResNet-18."""

    name = "resnet18"
    takes = "images"
    shape, n_targets = (512,), 512
    # Part of the feature store's key: other weights or another size never meet the values of these.
    preprocessing = {"size": 32, "layer": "pooled"}
    fingerprint = "resnet18, random weights of seed 0"

    def __init__(self, device="cpu"):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.network = resnet18(weights=None)
        self.network.fc = torch.nn.Identity()
        self.network.eval().to(device)
        self.device = device

    @torch.inference_mode()
    def encode(self, images, batch_size=64):
        """Features of pictures, uint8 (n, height, width, 3): float32 (n, 512)."""
        pictures = torch.from_numpy(np.asarray(images)).permute(0, 3, 1, 2).float().to(self.device) / 255
        small = torch.nn.functional.interpolate(pictures, size=(32, 32), mode="bilinear", antialias=True)
        # One at a time: the features of a picture do not depend on its neighbours.
        return np.stack([self.network(picture[None])[0].cpu().numpy() for picture in small])

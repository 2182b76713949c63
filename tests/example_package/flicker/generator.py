"""A generator: a pipeline of diffusers, here an unconditional one that is started from the decoded colour."""

import numpy as np
import torch
from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

from stages.ground.item_seeds import item_generator


class GuidedUnconditional:
    """Noise of each picture is its own; what was decoded shifts it."""

    takes = {"resnet": (512,)}
    optional = frozenset()
    gives = "picture"
    draws_by_lot = True

    def __init__(self, device="cpu"):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            unet = UNet2DModel(
                sample_size=16,
                block_out_channels=(8, 8),
                layers_per_block=1,
                norm_num_groups=4,
                down_block_types=("DownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "UpBlock2D"),
            )
        self.pipeline = DDIMPipeline(unet, DDIMScheduler()).to(device)
        self.pipeline.set_progress_bar_config(disable=True)
        self.device = device

    @torch.inference_mode()
    def draw(self, values, items, *, seed=0, batch_size=16, progress=None):
        """Yield (position, picture), uint8 (16, 16, 3)."""
        for position, item in enumerate(items):
            noise = torch.randn(1, 3, 16, 16, generator=item_generator(seed, item.stimulus_id, item.sample))
            told = torch.from_numpy(np.asarray(values["resnet"][position], dtype=np.float32))
            shift = told[:3].reshape(1, 3, 1, 1)
            sample = self.pipeline.scheduler
            sample.set_timesteps(2)
            picture = (noise + shift).to(self.device)
            for step in sample.timesteps:
                picture = sample.step(self.pipeline.unet(picture, step).sample, step, picture).prev_sample
            greys = ((picture[0].clamp(-1, 1) + 1) * 127.5).round().byte()
            yield position, greys.permute(1, 2, 0).cpu().numpy()

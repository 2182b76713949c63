"""Euler steps over the noise levels that a network was trained on, as Stability's published samplers of SDXL list them."""

import diffusers
import numpy as np

# Noise levels of Stable Diffusion XL, and of what was tuned from it.
SDXL_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "epsilon",
}


class TableEulerScheduler(diffusers.EulerDiscreteScheduler):
    """Euler's method on σ (Karras and others, 2022, without churn), at levels of the training's table.

        x ← x + ε · (σ_next − σ),    ε = (x − D) / σ

    The levels are those at int(linspace(999, 0, n, without its end)), and then 0: the noisiest level is always the first,
    and all are entries of the table, so that the network is told the time it was trained with. Noise of a start has the
    first level's σ, with nothing added for a picture below it.

    >>> scheduler = TableEulerScheduler(**SDXL_SCHEDULE)
    >>> scheduler.set_timesteps(38)
    >>> scheduler.timesteps[:3].tolist(), [round(float(sigma), 4) for sigma in scheduler.sigmas[[0, 1, -2, -1]]]
    ([999.0, 972.0, 946.0], [14.6146, 12.4444, 0.158, 0.0])
    """

    def set_timesteps(self, num_inference_steps, device=None):
        """Lay out the levels of a whole run; see diffusers."""
        last = self.config.num_train_timesteps - 1
        levels = np.linspace(last, 0, num_inference_steps, endpoint=False).astype(int)
        super().set_timesteps(timesteps=levels.tolist(), device=device)

    @property
    def init_noise_sigma(self):
        """The first level's σ."""
        return self.sigmas.max()

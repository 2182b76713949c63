"""The noise of a folder's schedule, held against diffusers' own scheduler."""

import json

import pytest
import torch
from diffusers import DDPMScheduler

from stages.ground.errors import InputError
from stages.priors.scheduler_noise import noise_of_scheduler
from weights import store


def test_noise_and_velocity_vs_diffusers():
    folder = store.path("tiny-stable-diffusion")
    process, predicts = noise_of_scheduler(folder)
    theirs = DDPMScheduler.from_pretrained(folder / "scheduler")
    clean, noise, steps = torch.randn(4, 2, 3, 3), torch.randn(4, 2, 3, 3), torch.tensor([0, 10, 500, 999])
    torch.testing.assert_close(process.noisy(clean, noise, steps), theirs.add_noise(clean, noise, steps))
    torch.testing.assert_close(process.velocity(clean, noise, steps), theirs.get_velocity(clean, noise, steps))
    assert predicts == "velocity"


@pytest.mark.parametrize(("kind", "predicts"), [("epsilon", "noise"), ("v_prediction", "velocity"), ("sample", None)])
def test_what_a_model_predicts(tmp_path, kind, predicts):
    (tmp_path / "scheduler").mkdir()
    config = {"_class_name": "DDIMScheduler", "num_train_timesteps": 50, "prediction_type": kind}
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    if predicts is None:
        with pytest.raises(InputError, match="'sample'"):
            noise_of_scheduler(tmp_path)
    else:
        process, found = noise_of_scheduler(tmp_path)
        assert (process.n_steps, found) == (50, predicts)

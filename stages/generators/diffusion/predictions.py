"""What a network's prediction says of noisy latents: the noise in them, and the latents without it.

With the cumulative ᾱ of a schedule, noisy latents are x = √ᾱ · clean + √(1−ᾱ) · noise. A network predicts the noise
("epsilon") or v = √ᾱ · noise − √(1−ᾱ) · clean ("v_prediction").
"""

from stages.ground.errors import InputError

KINDS = ("epsilon", "v_prediction")


def check_predictions(scheduler):
    """Refuse a schedule whose latents are not of one variance at all steps, or whose network predicts something else.

    >>> from diffusers import DDIMScheduler
    >>> check_predictions(DDIMScheduler())
    """
    kind, name = scheduler.config.prediction_type, type(scheduler).__name__
    if kind not in KINDS or not hasattr(scheduler, "alphas_cumprod") or float(scheduler.init_noise_sigma) != 1:
        raise InputError(
            f"The scheduler is {name} with prediction type {kind!r}; expected one whose latents keep their variance, and "
            f"{' or '.join(map(repr, KINDS))}: pass scheduler='ddim'."
        )


def signal_share(scheduler, timestep):
    """ᾱ at a timestep, a float32 tensor of shape () on the timestep's device."""
    return scheduler.alphas_cumprod.to(timestep.device)[timestep.long()].float()


def noise_of(prediction, latents, share, kind):
    """The noise in latents, by the prediction of a network.

    >>> import torch
    >>> share, clean, noise = torch.tensor(0.36), torch.tensor([1.0]), torch.tensor([2.0])
    >>> v = 0.6 * noise - 0.8 * clean
    >>> round(noise_of(v, 0.6 * clean + 0.8 * noise, share, "v_prediction").item(), 5)
    2.0

    Parameters
    ----------
    prediction, latents : tensors of one shape
    share : tensor of shape ()
        ᾱ.
    kind : {"epsilon", "v_prediction"}
    """
    return prediction if kind == "epsilon" else share.sqrt() * prediction + (1 - share).sqrt() * latents


def prediction_of(noise, share, kind):
    """By how much a prediction changes with the noise in it: of v it is noise / √ᾱ."""
    return noise if kind == "epsilon" else noise / share.sqrt()

"""How a given start is prepared, and how many steps it leaves to do: what can be told without a network."""

from dataclasses import dataclass

from stages.ground.errors import InputError

_EARLIER = {"first step": 0, "step before": 1, "three steps before": 3}


@dataclass(frozen=True)
class StartRule:
    """How a given start is prepared. `StartRule()` is this toolkit's own way, `COMPVIS` and `FERRANTE` published scripts'.

    Attributes
    ----------
    posterior : {"mode", "sample"}
        What of the autoencoder's posterior an encoded picture is.
    latent : {"direct", "through picture"}
        Take a given latent as it is, or decode it to a uint8 picture (cut off, not rounded), enlarge that to the size that is
        drawn (bicubic) and encode it again.
    noised_to : {"first step", "step before", "three steps before"}
        Noise the start to the timestep that is denoised first, or to one before it in the schedule, which is noisier:
        CompVis' scripts go one step (at 50 steps and strength 0.8 they noise to timestep 801 and denoise from 781),
        MindDiffuser's three (at strength 0.7 to 741, and from 681).
    latent_size : int, optional
        Height and width of latents that go through a picture, for example 40 for those of 320 pixels; by default any.
    pixels : {"as they are", "for CLIP"}
        Encode a picture's values from -1 to 1, or, as MindEye's scripts do by a slip, after CLIP's mean and deviation were
        taken from values of 0 to 1.
    enlarged : {"bicubic", "bilinear"}
        How a picture of another size is brought to that which is drawn: as a uint8 picture, or as float values between the two
        nearest.
    strongest : {"noise", "all but one step"}
        What strength 1 does with a start: take noise in its place, or, as CompVis' scripts under depth do, noise it for all
        steps but one (49 of 50).
    mixed : {"by the schedule", "into noise"}
        Noise the start as much as the schedule has it at the first step, or, as Ferrante et al. (2024) do, add little of it to
        noise and do all of the steps, whatever the strength: noise + s cut(s x), with the latent x of the scale that the UNet
        sees, which the autoencoder's scale s multiplies once more, cut off at 3 from 0; the sum is then brought to mean 0 and
        standard deviation 1 over all of its values.

    Raises
    ------
    InputError
        An attribute has another value.
    """

    posterior: str = "mode"
    latent: str = "direct"
    noised_to: str = "first step"
    latent_size: int | None = None
    pixels: str = "as they are"
    enlarged: str = "bicubic"
    strongest: str = "noise"
    mixed: str = "by the schedule"

    def __post_init__(self):
        for name, allowed in (
            ("posterior", ("mode", "sample")),
            ("latent", ("direct", "through picture")),
            ("noised_to", tuple(_EARLIER)),
            ("pixels", ("as they are", "for CLIP")),
            ("enlarged", ("bicubic", "bilinear")),
            ("strongest", ("noise", "all but one step")),
            ("mixed", ("by the schedule", "into noise")),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected {' or '.join(map(repr, allowed))}.")

    @property
    def earlier(self):
        """By how many steps of the schedule the start is noisier than what is denoised first takes it for."""
        return _EARLIER[self.noised_to]

    def steps(self, strength, num_inference_steps):
        """Return how many of the steps a strength leaves to do from a start.

        >>> StartRule().steps(1, 50), StartRule(strongest="all but one step").steps(1, 50), FERRANTE.steps(0.4, 37)
        (50, 49, 37)

        Raises
        ------
        InputError
            The strength is outside 0..1.
        """
        n_steps = denoising_steps(strength, num_inference_steps)
        if self.mixed == "into noise":
            return num_inference_steps
        return n_steps if self.strongest == "noise" else min(n_steps, num_inference_steps - 1)

    def is_noise_at(self, strength):
        """Whether a strength takes noise in place of a start.

        >>> StartRule().is_noise_at(1), FERRANTE.is_noise_at(1)
        (True, False)
        """
        return strength == 1 and self.strongest == "noise" and self.mixed == "by the schedule"


COMPVIS = StartRule(posterior="sample", latent="through picture", noised_to="step before")
FERRANTE = StartRule(posterior="sample", mixed="into noise", enlarged="bilinear")


def denoising_steps(strength, num_inference_steps):
    """Return how many of the steps a strength leaves to do.

    >>> denoising_steps(0.75, 50), denoising_steps(1, 50)
    (37, 50)

    Raises
    ------
    InputError
        The strength is outside 0..1.
    """
    if not 0 <= strength <= 1:
        raise InputError(f"strength is {strength}; expected a number from 0 (keep the picture) to 1 (ignore it).")
    return min(int(num_inference_steps * strength), num_inference_steps)

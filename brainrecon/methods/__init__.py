"""A module per published system: which targets, decoder and generator, at the paper's settings."""

from importlib import import_module

from stages.ground.errors import InputError

# name on the command line -> module and class; imported when asked for
METHODS = {
    "brain-diffuser": ("brainrecon.methods.brain_diffuser", "BrainDiffuser"),
    "brain-diffuser-sd": ("brainrecon.methods.maintained_generators", "StableDiffusion"),
    "brain-diffuser-sdxl": ("brainrecon.methods.maintained_generators", "StableDiffusionXL"),
    "brain-diffuser-unclip": ("brainrecon.methods.maintained_generators", "StableUnCLIP"),
    "brain-diffuser-kandinsky": ("brainrecon.methods.maintained_generators", "Kandinsky"),
    "icgan2022": ("brainrecon.methods.icgan2022", "ICGAN2022"),
    "miyawaki2008": ("brainrecon.methods.miyawaki2008", "Miyawaki2008"),
    "shen2019-gan": ("brainrecon.methods.shen2019_gan", "Shen2019GAN"),
    "mean-image": ("brainrecon.methods.nulls", "MeanImage"),
    "nearest-training-picture": ("brainrecon.methods.nulls", "NearestTrainingPicture"),
    "ridge-to-pixels": ("brainrecon.methods.nulls", "RidgeToPixels"),
    "noise": ("brainrecon.methods.nulls", "Noise"),
}


def method_class(name):
    """Class of the method called `name`; an InputError that lists the methods where there is none."""
    if name not in METHODS:
        raise InputError(f"There is no method {name!r}; expected one of {', '.join(METHODS)}.")
    module, attribute = METHODS[name]
    return getattr(import_module(module), attribute)

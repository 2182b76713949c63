"""Steps that learn from pictures beside trials of their category: an encoder that is matched to pictures, and a caption model.

After MindArt (CVPR 2024): no response stands beside the picture that it was measured for.
"""

from __future__ import annotations

from dataclasses import dataclass

from brainrecon.assembly.learn import Learn
from brainrecon.assembly.similar_caption import CaptionsToLearn
from brainrecon.datasets.voxels import masked_regions
from stages.ground.errors import InputError

VOXELS = ("as they are", "standardised")


def regions_of(subject, expressions):
    """Columns of each region of a subject, a list for each; InputError for one that it does not have.

    >>> import numpy as np
    >>> from brainrecon.datasets.split import Split
    >>> from brainrecon.datasets.subject import Subject
    >>> splits = {name: Split(np.ones((2, 3), np.float32), [f"{name}1", f"{name}2"]) for name in ("train", "test")}
    >>> rois = {"V1": np.array([True, False, True]), "V2": np.array([False, True, False])}
    >>> subject = Subject("subj01", "arrays", "arrays:memory", splits, roi="all", rois=rois)
    >>> regions_of(subject, ("V1", "V1 + V2"))
    [[0, 2], [0, 1, 2]]

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    expressions : sequence of str
        As `brainrecon.datasets.voxels` reads them.
    """
    known = masked_regions(f"{subject.name} (roi {subject.roi})", subject.rois, subject.n_voxels)
    return [known.select(one).nonzero()[0].tolist() for one in expressions]


def check_regions(expressions):
    """InputError unless there is a region."""
    if not expressions:
        raise InputError('regions is empty; expected one region or more: pass --set \'regions=["V1", "V2"]\'.')


def matched_regions(names, source, settings, regions, voxels, published_steps, machine, part, table):
    """Step from patterns to an embedding that is matched to pictures, and to the encoder's tokens.

    Parameters
    ----------
    names : sequence of str
        Of the embedding, and of the tokens, which may be left out.
    source : brainrecon.assembly.targets.TargetSource
        The pictures' features.
    settings : brainrecon.assembly.paired_settings.MatchingSettings
    regions : sequence of str
    voxels : {"as they are", "standardised"}
    published_steps : int
        In an epoch, unless the settings say how many.
    machine : brainrecon.assembly.values.Machine
    part, table : str
        As `brainrecon.assembly.learn.Learn` takes them.
    """
    from stages.decoders.trained import TrainedDecoder
    from stages.networks.matched_regions import FEATURES, MatchedRegions
    from stages.objectives.optimal_transport import CategoryMatching
    from stages.training.recipe import OptimiserSpec, Schedule

    embedding, *tokens = names
    objective = CategoryMatching(embedding, FEATURES, dustbin=settings.dustbin, n_iterations=settings.n_iterations)
    recipe = settings.recipe(published_steps, OptimiserSpec("adam", settings.learning_rate), Schedule())
    arguments = {"n_regions": len(regions)} | settings.sizes
    standardise = voxels == "standardised"
    decoder = TrainedDecoder(MatchedRegions, recipe, [objective], arguments, machine.device, standardise=standardise)
    return Learn(
        {embedding: source},
        decoder,
        machine.device,
        part=part,
        beside={FEATURES: source},
        settings=table,
        pairs=settings.pairs,
        free={name: lambda: (len(regions) + 1, *source.outline.shape) for name in tokens},
        arguments=lambda subject: {"regions": regions_of(subject, regions)},
    )


def captioned_regions(
    name, matched, class_token, language, settings, regions, voxels, published_steps, machine, part, table
):
    """Step from patterns to the states that a language model writes captions from.

    Parameters
    ----------
    name : str
        Of the states.
    matched : brainrecon.assembly.learn.Learn
        The step of `matched_regions` before it, whose encoder is frozen here.
    class_token : brainrecon.assembly.targets.TargetSource
        What the first state is held to; states are as wide.
    language : LanguageModel
    settings : brainrecon.assembly.paired_settings.CaptioningSettings
    regions, voxels, published_steps, machine, part, table
        See `matched_regions`.
    """
    from stages.decoders.trained import TrainedDecoder
    from stages.networks.captioned_regions import CLASS, TOKENS, CaptionedRegions
    from stages.objectives.next_words import NextWords
    from stages.objectives.regression import MeanSquaredError
    from stages.training.recipe import OptimiserSpec, Schedule

    embedding, *_ = matched.gives
    optimiser = OptimiserSpec("adamw", settings.learning_rate, settings.weight_decay)
    arguments = {"n_regions": len(regions), "factor": settings.factor}
    arguments |= {name: getattr(settings, name) for name in ("depth", "n_heads", "places")}

    def begin(network):
        network.tokens.fmrigm.load_state_dict(matched.decoder.network.network.matching.state_dict())
        return f"{language.begin(network.decoder)} {digest_of(network.tokens.fmrigm)}"

    def outlined():
        # Those of the network that was trained, whichever settings stand here.
        own = matched.decoder.arguments
        sizes = {name: one for name, one in own.items() if name not in ("regions", "n_regions")}
        (width,) = matched.targets[embedding].outline.shape
        return {"matching": sizes | {"width": width, "n_features": width}, "language": language.sizes()}

    def from_data(subject):
        return {"regions": regions_of(subject, regions)} | outlined()

    decoder = TrainedDecoder(
        CaptionedRegions,
        settings.recipe(published_steps, optimiser, Schedule("linear")),
        [NextWords(TOKENS), MeanSquaredError(CLASS, settings.class_weight)],
        arguments,
        machine.device,
        begin=begin,
        standardise=voxels == "standardised",
    )
    return Learn(
        {},
        decoder,
        machine.device,
        part=part,
        beside={CLASS: class_token},
        settings=table,
        pairs=settings.pairs,
        free={name: lambda: (2 * (len(regions) + 1), *class_token.outline.shape)},
        derived={TOKENS: CaptionsToLearn(embedding, language.folder, settings.longest)},
        arguments=from_data,
        outlined=outlined,
    )


@dataclass(frozen=True)
class LanguageModel:
    """The language model of a checkpoint.

    Attributes
    ----------
    folder : callable
        ``folder() -> path``.
    fingerprint : callable
        ``fingerprint() -> str``: of its files.
    """

    folder: object
    fingerprint: object

    def sizes(self):
        """As `stages.networks.small_captioner.small_captioner` takes them."""
        from stages.networks.small_captioner import read_sizes

        return read_sizes(self.folder())

    def begin(self, network):
        """Put its weights into a network; return what identifies them."""
        from stages.networks.small_captioner import fill_language

        fill_language(network, self.folder())
        return self.fingerprint()


def digest_of(network):
    """A hash of the tensors of a network."""
    from hashlib import sha256

    digest = sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()

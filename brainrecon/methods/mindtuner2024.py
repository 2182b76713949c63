"""MindTuner (Gong et al., AAAI 2025): a new subject by low-rank adapters of a shared network, and paths from its voxels.

Written after the paper's abstract and a third-party implementation: the authors released no code. A network like MindEye2's
learns from several subjects. Of a new one a layer of its own is trained, low-rank adapters of the shared layers, and bent
low-rank paths that lead from the voxels behind each block; what the others share stays as it is. A projector brings tokens of
pictures to where texts are, so that a caption is found for what was decoded, under which the drawn picture is redrawn.

docs/systems/mindtuner2024.md says what was read where, and which settings are guesses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brainrecon.assembly.adapted_network import TEXT, AdaptedNetworkSettings, adapted
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.pivot import Pivot
from brainrecon.assembly.registry import system
from brainrecon.assembly.released_shared_network import released_network
from brainrecon.assembly.shared_settings import CAPTION, LIKELY, RETRIEVAL, SharedSettings
from brainrecon.assembly.shared_system import SharedSystem
from brainrecon.assembly.similar_caption import SimilarCaption
from brainrecon.assembly.system import Needs
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

# What the projector gives for decoded tokens.
PIVOT = "pivot_text"
_READ = {"likely": LIKELY, "retrieval": RETRIEVAL}


@dataclass(frozen=True)
class MindTunerSettings(SharedSettings):
    """All settings of the method; those of `brainrecon.assembly.shared_settings.SharedSettings` besides.

    Attributes
    ----------
    decoder : AdaptedNetworkSettings
    pivot : bool
        Whether a projector from tokens of pictures to texts is trained, by captions of the training stimuli.
    pivot_reads : {"likely", "retrieval"}
        Which decoded tokens it brings to a text.
    caption_by : {"pivot", "captioner"}
        Where captions come from: the training caption nearest to that text, or GIT as in MindEye2.
    n_captions : int, optional
        Captions of a stimulus, the first ones, whose mean is its text; all, if none is given.
    """

    decoder: AdaptedNetworkSettings = field(default_factory=AdaptedNetworkSettings)
    pivot: bool = True
    pivot_reads: str = "likely"
    caption_by: str = "pivot"
    n_captions: int | None = 1

    def __post_init__(self):
        rules = {
            "pivot_reads": OneOf(*_READ),
            "caption_by": OneOf("pivot", "captioner"),
            "n_captions": Number(1, whole=True, optional=True, example=1),
        }
        check_all(self, rules)
        if self.caption_by == "pivot" and self._has_captions and not self.pivot:
            raise InputError(
                "caption_by is 'pivot' but pivot is false, so that nothing finds captions; pass --set caption_by=captioner, or "
                "leave pivot true."
            )
        super().__post_init__()

    @property
    def _has_captions(self):
        return self.redraws or self.output == "caption"

    @property
    def writes_captions(self):
        return self.captions and self.caption_by == "captioner"

    @property
    def reads_likely(self):
        return self.draws or self.writes_captions or (self.pivot and self.pivot_reads == "likely")


@system
class MindTuner2024(SharedSystem):
    """The method of a new subject after several, at the settings that are known or guessed."""

    name = "mindtuner2024"
    explanation = (
        "a new subject by low-rank adapters of a network that others share; pictures redrawn under a training caption that is "
        "found through texts"
    )
    citation = (
        "Gong, Z. et al. (2025). MindTuner: cross-subject visual decoding with visual fingerprint and semantic correction. "
        "AAAI 2025."
    )
    settings_class = MindTunerSettings
    evidence = Evidence(
        "re-implementation from the paper's abstract and third-party code: adapters, penalty and projector equal their formulas; "
        "nothing of the authors' to compare with",
        ("simulated NSD",),
        ("MindTuner",),
    )
    protocol = "mindeye2-2024"
    tiny = SharedSystem.tiny | {
        "decoder": SharedSystem.tiny["decoder"]
        | {"epochs": 18, "hidden": 256, "batch_size": 24, "batch_size_each": 12, "text_spread": 0.05}
    }

    def __init__(self, settings=None):
        super().__init__(settings)
        if self.settings.pivot:
            self.needs = Needs(captions=True)

    @property
    def notes(self):
        found = [
            "Re-implemented from the paper's abstract and a third-party code; settings that neither names are guesses."
        ]
        if self.settings.decoder.loses_blocks:
            found.append(
                "Adapters of the blocks learn nothing: what they add to the published mixer is lost (--set "
                "decoder.mixer=residual)."
            )
        return (*super().notes, *found)

    def of_network(self, machine):
        return {"variant": adapted(self.settings.decoder, self._text(machine))}

    def released(self):
        # Of the subjects before: adapters are none of theirs.
        return released_network()

    def pivoted(self, learned):
        if not self.settings.pivot:
            return []
        reads = _READ[self.settings.pivot_reads]
        return [Pivot(learned, _projector, reads, PIVOT, learned.beside[TEXT], like=RETRIEVAL)]

    def captioned(self, source, machine):
        if self.settings.caption_by == "captioner":
            return super().captioned(source, machine)
        return [SimilarCaption(PIVOT, CAPTION)]

    def _text(self, machine):
        """The target of the projector, or None."""
        if not self.settings.pivot:
            return None
        place = "stages.targets.clip:CLIPTextVector"
        return self.target(place, "clip", machine, n_captions=self.settings.n_captions)


def _projector(network):
    return network.adaptive_projector

"""One network of several subjects that a new one is brought to by adapters of its own, and a way from pictures to texts.

After Gong et al. (AAAI 2025), "MindTuner": what was learned of others stays as it is, and of a new subject a layer, low-rank
adapters of the shared layers, and paths from its voxels are trained. Numbers are those of a third-party implementation.
"""

from __future__ import annotations

from dataclasses import dataclass

from brainrecon.assembly.many_subjects import OWN_LAYERS
from brainrecon.assembly.shared_network import SharedNetworkSettings, Variant
from brainrecon.assembly.targets import TargetSource
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

# As `stages.networks.mindtuner`, `stages.adapters.subject_lora` and `stages.objectives.skip_correlation` have them, which take
# seconds to import.
TEXT = "projected_text"
SKIPS = ("blocks", "align", "final")
INITS = ("b_normal", "peft")
REACHES = ("both", "skips", "neither")
LEARNS_FROM = ("true tokens", "decoded tokens")


@dataclass(frozen=True)
class AdaptedNetworkSettings(SharedNetworkSettings):
    """How a network with adapters is trained; see `brainrecon.assembly.shared_network.SharedNetworkSettings` as well.

    Attributes
    ----------
    batch_size : int
        Samples of a step, of one subject.
    mixer : str
        By default one that works, since what adapters of blocks add to the published one is lost.
    new_subject : {"own layers", "all layers"}
        What is trained of a new subject: what belongs to it, or all that the others share as well.
    lora : bool
        Whether a new subject has adapters of the shared layers.
    skips : tuple of {"blocks", "align", "final"}
        Where paths from its voxels lead: behind each block, to its own layer's values, to the rough tokens.
    rank, alpha : int, float
        Of both; they are multiplied by ``alpha / rank``.
    init : {"b_normal", "peft"}
        See `stages.adapters.subject_lora.SubjectLora`.
    skip_weight : float
        Of the correlation between what a path gives and what stands beside it; 0 leaves it out.
    skip_reaches : {"both", "skips", "neither"}
        What its gradient changes, see `stages.objectives.skip_correlation.SkipCorrelation`.
    finetune_prior, finetune_projector : bool
        Whether the prior, and the projector from pictures to texts, are trained on for a new subject.
    text_weight, text_temperature : float
        Of the contrast that the projector is trained by.
    text_spread : float
        Standard deviation of the projector's matrix before it is trained. A large one takes a long training to be forgotten.
    text_from : {"true tokens", "decoded tokens"}
        What the projector learns from: the pictures' own tokens, or those for retrieval, which then learn from it, too.
    """

    batch_size: int = 10
    mixer: str = "residual"
    new_subject: str = OWN_LAYERS
    lora: bool = True
    skips: tuple[str, ...] = ("blocks",)
    rank: int = 8
    alpha: float = 8.0
    init: str = "b_normal"
    skip_weight: float = 1.5
    skip_reaches: str = "both"
    finetune_prior: bool = False
    finetune_projector: bool = False
    text_weight: float = 1.0
    text_temperature: float = 0.006
    text_spread: float = 1.0
    text_from: str = "true tokens"

    of_new_subject = (
        *SharedNetworkSettings.of_new_subject,
        *(
            "lora",
            "skips",
            "rank",
            "alpha",
            "init",
            "skip_weight",
            "skip_reaches",
            "finetune_prior",
            "finetune_projector",
        ),
    )

    def __post_init__(self):
        super().__post_init__()
        above = Number(0, above=True, example=8.0)
        rules = {
            "rank": Number(1, whole=True, example=8),
            "alpha": above,
            "init": OneOf(*INITS),
            "skip_weight": Number(0),
            "skip_reaches": OneOf(*REACHES),
            "text_weight": above,
            "text_temperature": above,
            "text_spread": above,
            "text_from": OneOf(*LEARNS_FROM),
        }
        check_all(self, rules)
        if odd := [name for name in self.skips if name not in SKIPS]:
            raise InputError(
                f"skips has {odd[0]!r}; expected some of {', '.join(SKIPS)}{did_you_mean(odd[0], SKIPS)}: pass --set "
                "'decoder.skips=[\"blocks\"]'."
            )
        if "blocks" in self.skips and self.mixer == "linear":
            raise InputError(
                "mixer is 'linear' but skips has 'blocks', of which there are none; pass --set decoder.mixer=residual, or --set "
                "'decoder.skips=[\"align\"]'."
            )

    @property
    def loses_blocks(self):
        """Whether what adapters of the blocks add is lost, so that they learn nothing."""
        return self.mixer == "published" and (self.lora or "blocks" in self.skips)


def adapted(settings: AdaptedNetworkSettings, text: TargetSource | None) -> Variant:
    """What `brainrecon.assembly.shared_network.shared_network` is told of it.

    Parameters
    ----------
    settings : AdaptedNetworkSettings
    text : TargetSource, optional
        Of the texts that a projector brings pictures to; there is none without.
    """
    from stages.networks.mindtuner import MindTunerNetwork
    from stages.objectives.retrieval import HardContrast
    from stages.objectives.skip_correlation import SkipCorrelation

    arguments = {
        name: getattr(settings, name) for name in ("lora", "rank", "alpha", "init", "text_from", "text_spread")
    }

    def outlined():
        return {} if text is None else {"text_width": text.outline.shape[0]}

    def objectives(network):
        found = [] if text is None else [HardContrast(TEXT, settings.text_temperature, settings.text_weight)]
        if network.correlates and settings.skip_weight:
            found.append(SkipCorrelation(settings.skip_weight, settings.skip_reaches))
        return found

    shared = {r".*\.diffusion_prior\..*": settings.finetune_prior}
    shared |= {r".*\.adaptive_projector\..*": settings.finetune_projector and text is not None}
    return Variant(
        MindTunerNetwork,
        arguments | {"skips": list(settings.skips)},
        {} if text is None else {TEXT: text},
        objectives,
        {"adapted": True},
        tuple(pattern for pattern, trained in shared.items() if trained),
        outlined,
    )

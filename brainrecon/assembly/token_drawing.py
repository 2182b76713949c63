"""How a system draws by masked-token decoding: its settings, and the step that draws."""

from __future__ import annotations

from dataclasses import dataclass

from brainrecon.assembly.draw import Draw
from stages.ground.checks import Number, check_all


@dataclass(frozen=True)
class TokenDrawingSettings:
    """Masked-token decoding; what is not given is MaskGIT's, as LEA has it.

    Attributes
    ----------
    num_inference_steps : int
        Steps in which all places are found.
    temperature : float
        Of the noise in the confidence by which a step keeps tokens; 0 keeps the surest.
    """

    num_inference_steps: int = 11
    temperature: float = 4.5

    def __post_init__(self):
        rules = {"num_inference_steps": Number(1, whole=True, example=11), "temperature": Number(0, example=4.5)}
        check_all(self, rules, where="generator")


def draw_tokens(network, tokenizer, settings, machine, reads=(), optional=(), targets=None):
    """The step that draws pictures of tokens.

    Parameters
    ----------
    network : callable
        ``network() -> stages.networks.masked_tokens.MaskedTokens`` or the folder of one.
    tokenizer : callable
        ``tokenizer() -> path``: folder of the tokeniser.
    settings : TokenDrawingSettings
    machine : brainrecon.assembly.values.Machine
    reads : tuple of str
        The value that the network is conditioned on, or nothing.
    optional : tuple of str
        Cues, and weights of codes.
    targets : mapping of str to brainrecon.assembly.targets.TargetSource, optional
        Where values come from, as `brainrecon.assembly.draw.Draw` takes them.
    """

    def load():
        from stages.generators.tokens.masked_tokens import MaskedTokenGenerator
        from stages.networks.masked_tokens import MaskedTokens
        from stages.networks.vq_tokenizer import load_tokenizer

        found = network()
        if not isinstance(found, MaskedTokens):
            found = MaskedTokens.from_pretrained(found, machine.device)
        return MaskedTokenGenerator(found, load_tokenizer(tokenizer(), machine.device), next(iter(reads), None))

    return Draw(load, reads, optional, options=lambda present: dict(vars(settings)), targets=targets)

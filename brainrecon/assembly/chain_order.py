"""Whether the steps of a chain fit together: what each reads is given before, and none reads what the output is compared with."""

from __future__ import annotations

from brainrecon.assembly.trial_outputs import RESPONSES as OF_RESPONSES
from brainrecon.assembly.values import MEASURED, PATTERNS, RESPONSES, SHOWN
from stages.ground.errors import InputError


def checked_order(chain) -> tuple[str, ...]:
    """Names of all values of a chain, in the order in which they come to be; those that are measured first.

    Raises
    ------
    InputError
        A step reads what no step before it gives, two steps give one value or learn in one folder, no step gives the output,
        or a step reads what the output is compared with.
    """
    given, parts = list(chain.measured), set()
    for step in chain.steps:
        kind = type(step).__name__
        _check_direction(chain, step)
        if missing := [name for name in (*step.reads, *step.optional) if name not in given]:
            raise InputError(
                f"{chain.name}: {kind} reads {missing[0]!r}, which no step before it gives; given are {', '.join(given)}."
            )
        if twice := [name for name in step.gives if name in given]:
            raise InputError(f"{chain.name}: {kind} gives {twice[0]!r}, which is given before; call it otherwise.")
        if step.is_learned and step.part in parts:
            raise InputError(
                f"{chain.name}: {kind} learns in the folder of a step before it ({step.part or 'decoder'!r}); give it a "
                "part of its own."
            )
        if step.averages != OF_RESPONSES:
            _check_averaged(chain, step)
        parts |= {step.part} if step.is_learned else set()
        given += step.gives
    if chain.output not in given:
        raise InputError(
            f"{chain.name}: its output is {chain.output!r}, which no step gives; given are {', '.join(given)}."
        )
    return tuple(given)


def _check_direction(chain, step) -> None:
    """Refuse a step that reads, or gives by the name, what the output is compared with."""
    kind, read = type(step).__name__, (*step.reads, *step.optional)
    chooses = chain.system.chooses_by_shown and step.chooses_by_shown and chain.output in step.gives
    if not chain.encodes and SHOWN in (*(() if chooses else read), *step.gives):
        raise InputError(
            f"{chain.name}: {kind} reads or gives {SHOWN!r}, the pictures of the tested stimuli, but the output is "
            f"{chain.output!r}; expected it of a chain whose output is {RESPONSES!r} alone: read {PATTERNS!r}."
        )
    if not chain.encodes:
        return
    if seen := [name for name in MEASURED if name in (*read, *step.gives)]:
        raise InputError(
            f"{chain.name}: {kind} reads or gives {seen[0]!r}, measured for the tested stimuli, but the output is "
            f"{RESPONSES!r}, which is compared with that; expected {SHOWN!r} to be read."
        )
    if step.medium(RESPONSES) != "features":
        raise InputError(
            f"{chain.name}: {kind} gives {RESPONSES!r} as a {step.medium(RESPONSES)}; expected a row of numbers for each "
            "picture, one for each voxel: leave its medium out."
        )


def _check_averaged(chain, step) -> None:
    """Refuse a step whose outputs cannot be averaged over trials."""
    others = [name for name in (*step.reads, *step.optional) if name != PATTERNS]
    media = {name: medium for name in step.gives if (medium := step.medium(name)) != "features"}
    if others or media or step.by_lot:
        found = (
            f"reads {others[0]!r}"
            if others
            else f"gives {next(iter(media))!r}, a {next(iter(media.values()))}"
            if media
            else "draws by lot"
        )
        raise InputError(
            f"{chain.name}: {type(step).__name__} averages {step.averages} over trials but {found}; expected patterns alone, "
            "features and nothing by lot: let it average responses."
        )


def held_against(chain) -> dict:
    """What training is held against besides; an InputError if one name stands for two things."""
    found: dict = {}
    for step in chain.steps:
        for name, source in step.beside.items():
            if name in chain.given or found.get(name, source) is not source:
                raise InputError(
                    f"{chain.name}: {type(step).__name__} is held against {name!r}, which stands for something else in this "
                    "chain; call it otherwise."
                )
            found[name] = source
    return found

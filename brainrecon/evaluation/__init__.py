"""Metrics, protocols and confidence intervals."""

_PUBLIC = {
    "evaluate": "brainrecon.evaluation.tasks.reconstruction",
    "Condition": "brainrecon.evaluation.tasks.reconstruction",
    "Scores": "brainrecon.evaluation.scores.scores",
    "load_protocol": "brainrecon.evaluation.protocols.protocol",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name):
    """Import a public name when it is first asked for, so that `import brainrecon` stays light."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)

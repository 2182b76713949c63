"""Tasks, metrics, protocols and confidence intervals."""

_PUBLIC = {
    "evaluate": "brainrecon.evaluation.scoring",
    "Outputs": "brainrecon.evaluation.tasks.task",
    "Shown": "brainrecon.evaluation.tasks.task",
    "Task": "brainrecon.evaluation.tasks.task",
    "find_task": "brainrecon.evaluation.tasks.task",
    "task_names": "brainrecon.evaluation.tasks.task",
    "Scores": "brainrecon.evaluation.scores.scores",
    "Protocol": "brainrecon.evaluation.protocols.protocol",
    "load_protocol": "brainrecon.evaluation.protocols.protocol",
    "Metric": "brainrecon.evaluation.metrics.metric",
    "find_metric": "brainrecon.evaluation.metrics.metric",
    "metric_names": "brainrecon.evaluation.metrics.metric",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name):
    """Import a public name when it is first asked for, so that `import brainrecon` stays light."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)

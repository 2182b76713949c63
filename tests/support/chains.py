"""Systems as tests build them: the chain of a system by its name, and what a chain draws."""

import numpy as np

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.registry import system_class, system_names
from brainrecon.assembly.settings import with_weights
from brainrecon.assembly.values import Item

# Systems whose defaults are complete: the others are nothing until their parts are named.
COMPLETE = [name for name in system_names() if not system_class(name).asks_for]


def chain_of(name, settings=None, weights=None):
    """The chain of a system at some settings, nothing of it fitted."""
    kind = system_class(name)
    return Chain(kind(with_weights(settings or {}, kind, weights)))


def pictures_of(chain, subject, patterns=None, **options):
    """Pictures of a fitted chain for the test stimuli, one each, uint8 (n_stimuli, height, width, 3)."""
    test = subject.test
    patterns = test.patterns if patterns is None else patterns
    return chain.run_from_patterns(test.stimulus_ids, patterns, **options)[:, 0]


def value_of(chain, name, subject):
    """A value that the only step of a chain gives for the test stimuli."""
    (step,), test = chain.steps, subject.test
    values = {"patterns": np.asarray(test.patterns), "repeats": test.repeats}
    return step.run([Item(subject.name, str(one)) for one in test.stimulus_ids], values)[name]

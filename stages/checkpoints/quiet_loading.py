"""The libraries that build published networks, without their own bars and remarks on standard error.

transformers draws a bar for the tensors of each network, and diffusers, transformers and open_clip log what they make of a
configuration. Whoever loads here accounts for every tensor himself and says what is wrong in one sentence, so their remarks
say nothing that is not refused; a bar between ours breaks both.
"""

import logging
import sys
import warnings
from contextlib import contextmanager

# Those with bars of their own. One that is not imported yet is not imported for this.
_WITH_BARS = ("transformers.utils.logging", "diffusers.utils.logging")


@contextmanager
def quietly():
    """Let nothing of the libraries' bars, warnings and log out; errors pass.

    >>> with quietly():
    ...     logging.getLogger("transformers").warning("Some weights were newly initialized")
    """
    shown = [sys.modules[name] for name in _WITH_BARS if name in sys.modules]
    shown = [each for each in shown if each.is_progress_bar_enabled()]
    below = logging.root.manager.disable
    logging.disable(max(below, logging.WARNING))
    for each in shown:
        each.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each in shown:
            each.enable_progress_bar()
        logging.disable(below)

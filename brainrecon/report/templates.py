"""The templates of the pages."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


@cache
def template(beside, name):
    """A template from the folder of a module, compiled once: that takes longer than to fill it in.

    >>> from brainrecon.report.trace import page
    >>> template(page.__file__, "trace.html.jinja").name
    'trace.html.jinja'

    Parameters
    ----------
    beside : str
        The module's file.
    name : str

    Returns
    -------
    template : jinja2.Template
        All that it is given is escaped, and a name that it is not given is an error.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(beside).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)

"""Pages that are generated, or begin with something that is generated."""


def pages():
    """Path of a page, as it is staged -> function of its written text that gives the whole text."""
    return {}

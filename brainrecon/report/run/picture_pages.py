"""All test pictures, a hundred to a page: thumbnails that a click enlarges."""

from brainrecon.report.run.grid import column_order, grid_row
from brainrecon.report.templates import template

PER_PAGE = 100


def page_names(n_stimuli):
    """Names of the pages of a test set, list of str.

    >>> page_names(201)
    ['1.html', '2.html', '3.html']
    """
    return [f"{number + 1}.html" for number in range(-(-n_stimuli // PER_PAGE))]


def render_pages(content):
    """Write the pages one by one.

    Parameters
    ----------
    content : brainrecon.report.run.html.ReportContent
        Pictures are looked up page by page, so that they may lie on disk.

    Yields
    ------
    name, html : str
        A page that needs no other file, no script and no network, and leads to the other pages beside it and to
        ``../report.html``. All text in it is escaped.
    """
    names, filled = page_names(len(content.stimulus_ids)), template(__file__, "pictures.html.jinja")
    columns = column_order(content.conditions, content.scores.reference)
    for page, name in enumerate(names):
        start = page * PER_PAGE
        ids = content.stimulus_ids[start : start + PER_PAGE]
        rows = [grid_row(stimulus_id, columns, content) for stimulus_id in ids]
        yield (
            name,
            filled.render(content=content, rows=rows, pages=names, page=page, first=start + 1, last=start + len(ids)),
        )

"""A subject as a small HTML table, for notebooks."""

from html import escape

import numpy as np

_CELL = "text-align:right;padding:2px 10px;white-space:nowrap"
_NAME = "text-align:left;padding:2px 10px"
_REGIONS = 12


def subject_html(subject):
    """What is there of a subject, without reading a response or a picture.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject

    Returns
    -------
    html : str
        A fragment that needs no style sheet and no script and takes the page's own colours: a row per split, then voxels,
        regions and notes. Text is escaped.
    """
    heads = ("split", "stimuli", "trials", "repeats", "pictures", "captions", "categories")
    head = "".join(
        f'<th scope="col" style="{_CELL if place else _NAME}">{name}</th>' for place, name in enumerate(heads)
    )
    body = "".join(_row(name, split) for name, split in subject.splits.items())
    lines = [f"{subject.n_voxels:,} {subject.unit} ({subject.roi}) of {subject.source or subject.dataset}"]
    if subject.noise_ceiling is not None:
        lines.append(f"noise ceiling: median {np.nanmedian(subject.noise_ceiling):.0f} % of variance")
    if subject.rois:
        shown = [f"{name} {np.count_nonzero(mask):,}" for name, mask in list(subject.rois.items())[:_REGIONS]]
        more = len(subject.rois) - len(shown)
        lines.append(f"regions: {', '.join(shown)}{f' and {more} more' if more else ''}")
    lines += subject.notes
    simulated = " (simulated: no brain was measured)" if subject.simulated else ""
    title = f"{subject.dataset} {subject.name}{simulated}"
    return (
        f"<p><b>{escape(title)}</b></p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<p><small>{'<br>'.join(map(escape, lines))}</small></p>"
    )


def _row(name, split):
    least, most = int(split.repeats.min()), int(split.repeats.max())
    pictures = "no" if split.images is None else " × ".join(f"{side}" for side in split.images.shape[1:3])
    cells = [
        f"{split.n_stimuli:,}",
        f"{split.n_trials:,}",
        str(least) if least == most else f"{least} to {most}",
        pictures,
        "yes" if split.has_captions else "no",
        "yes" if split.has_categories else "no",
    ]
    return (
        f'<tr><th scope="row" style="{_NAME};font-weight:normal">{escape(name)}</th>'
        + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells)
        + "</tr>"
    )

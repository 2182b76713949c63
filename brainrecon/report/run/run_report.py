"""The report of a run folder: what `render` shows, gathered from the run and its dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from brainrecon.assembly.condition import CONDITIONS
from brainrecon.datasets import parse_source
from brainrecon.datasets.dataset import dataset_of
from brainrecon.datasets.noise_ceiling import measured_noise_ceiling
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.report.places import without_home, without_places
from brainrecon.report.run.html import ReportContent, render
from brainrecon.report.run.picture_pages import render_pages
from brainrecon.report.run.splits import N_EACH, N_UNSELECTED, SplitBeside, without_scores
from brainrecon.report.run.surface_figure import surface_map
from brainrecon.runs.beside import tested
from brainrecon.runs.layout import Layout
from brainrecon.runs.pictures import drawn_outputs
from brainrecon.runs.record import read_environment
from brainrecon.runs.score import has_pictures, scores_file, shown_pictures
from brainrecon.runs.texts import texts_shown
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json
from weights.whole_files import write_text

# Pages of all test pictures, of the runs that somebody asked them of.
ALL_PICTURES = "all-pictures"


def write_report(run, protocol=None, all_pictures=False, page=None):
    """Write `report.html` into a run folder that has been evaluated, or its page elsewhere.

    >>> write_report(run, all_pictures=True)  # doctest: +SKIP
    PosixPath('runs/subj01/report.html')

    Parameters
    ----------
    run : brainrecon.runs.run.Run
    protocol : str, optional
        Whose scores to show; by default the run's own, see `Run.protocol`, or the latest if there are only others.
    all_pictures : bool
        Write all test pictures, too, a hundred to a page, into the folder `all-pictures`. Pages that are there are written
        anew with every report.
    page : path, optional
        The file to write; `report.html` in the run folder by default. Elsewhere it leads to no files of the run.

    Returns
    -------
    pathlib.Path
    """
    path = scores_file(run, protocol)
    if not path.exists():
        raise InputError(f"{run.folder} has no scores yet; run `brainrecon evaluate {run.folder}` first.")
    page = run.layout.report if page is None else Path(page)
    if page.is_dir():
        raise InputError(f"{page} is a folder; name the file to write, for example {page / 'report.html'}.")
    subject = run.parts[0].subject
    content = ReportContent(
        **_outputs(run, scores := Scores.from_json(path)),
        subtitle=_subtitle(run, subject, len(run.stimulus_ids)),
        splits=_splits(run, scores, all_pictures, page == run.layout.report),
        split=tested(run.config),
        of_subjects=run.config.data.is_of_several,
        notes=[without_home(note) for note in _notes(run, subject)],
        decoder=_decoder_rows(run),
        curves=run.parts[0].chain.curves(),
        config=without_places(run.config.to_dict()),
        environment=read_environment(run.folder),
        citations=_citations(run),
        simulated=subject.simulated,
        rois=_regions(scores),
        rois_explanation=f"Brain correlation of the reconstructions over the {subject.unit} of each region alone.",
        surface=surface_map(subject),
        links=_links(run.folder) if page == run.layout.report else [],
        **_captions(run),
    )
    write_text(page, render(replace(content, **_all_pictures(run, content, all_pictures, page.parent / ALL_PICTURES))))
    return page


def _outputs(run, scores):
    """What a report shows of a run's test stimuli, beside their scores."""
    subject, stimulus_ids = run.parts[0].subject, run.stimulus_ids
    drawn = {name: one for name in CONDITIONS if len(one := _Drawn(*drawn_outputs(run, name)))}
    as_captions = run.unfitted.medium(run.unfitted.output) == "caption"
    return dict(
        title=f"{run.config.method} on {subject.dataset} {subject.name}",
        stimulus_ids=stimulus_ids,
        shown=shown_pictures(run),
        explanation=run.config.system.explanation,
        conditions={} if as_captions else drawn,
        predicted_captions=drawn if as_captions else {},
        true_captions=dict(zip(stimulus_ids, texts_shown(run) or ())) if as_captions else {},
        scores=scores,
    )


def _splits(run, scores, all_pictures, with_links):
    """Splits that were tested beside a run's own, whose reports are written as well; none that is not begun is made."""
    found = []
    for name, (_, folder) in run.places_beside.items():
        if not Layout(folder).config.exists():
            continue
        one, link, why_not = run.splits[name], "", ""
        path = scores_file(one, scores.protocol)
        if path.exists():
            own = Scores.from_json(path)
            if with_links:
                link = write_report(one, scores.protocol, all_pictures).relative_to(run.folder).as_posix()
        else:
            own, lacking = without_scores(scores), "" if has_pictures(one) else f": the data have no pictures of {name}"
            why_not = f"Not scored{lacking}."
        content = ReportContent(**_outputs(one, own), subtitle="", n_each=N_EACH, n_unselected=N_UNSELECTED)
        found.append(SplitBeside(name, content, why_not, link))
    return found


def _all_pictures(run, content, wanted, folder):
    """What a report says of the pages of all test pictures, which are written if they are wanted, or were once."""
    if not content.conditions:
        return {}
    if not (wanted or folder.exists()):
        return {"all_pictures_by": f"brainrecon report {run.folder} --all-pictures"}
    names = []
    for name, page in render_pages(content):
        write_text(folder / name, page)
        names.append(name)
    for path in folder.glob("*.html"):
        if path.name not in names:
            path.unlink()
    return {"all_pictures": [f"{ALL_PICTURES}/{name}" for name in names]}


def _citations(run):
    """How to cite the method and the data."""
    kind, _ = parse_source(run.config.data.source)
    return [text for text in (run.config.system.citation, dataset_of(kind).description.citation) if text]


def _subtitle(run, subject, n_test):
    folds = f"{len(run.parts)} folds" if len(run.parts) > 1 else f"{subject.train.n_stimuli:,} training stimuli"
    return f"{subject.n_voxels:,} {subject.unit} ({subject.region}), {folds}, {n_test:,} test stimuli"


def is_reported(run, protocol=None):
    """Whether the report on disk was written after the scores it shows."""
    report = run.folder / "report.html"
    scores = scores_file(run, protocol)
    return report.exists() and scores.exists() and report.stat().st_mtime_ns >= scores.stat().st_mtime_ns


class _Drawn(Mapping):
    """Outputs of one condition by stimulus, lists of samples, read when they are looked at: the page shows a few of many."""

    def __init__(self, ids, files):
        self._files, self._rows = files, {}
        for row, name in enumerate(ids):
            self._rows.setdefault(name, []).append(row)

    def __getitem__(self, name):
        rows = self._rows[name]
        return [self._files[row] for row in rows] if isinstance(self._files, list) else list(self._files[rows])

    def __iter__(self):
        return iter(self._rows)

    def __len__(self):
        return len(self._rows)


def _notes(run, subject):
    notes = [*subject.notes, *run.config.system.notes, *run.parts[0].config.remarks()]
    if (ceiling := measured_noise_ceiling(subject)) is not None:
        how = ", by their repeats" if subject.noise_ceiling is None else ""
        notes.append(
            f"Median noise ceiling of the {subject.unit} for the test patterns{how}: {np.median(ceiling):.0f} % of variance."
        )
    return notes


def _decoder_rows(run):
    """What was learnt, a row per target or part, averaged over folds if there are some; of penalties the median."""
    summaries = [part.chain.summary() for part in run.parts]
    rows = []
    for alike in zip(*summaries):
        (label, name), *numbers = alike[0].items()
        average = {key: np.median if key == "penalty" else np.mean for key, _ in numbers}
        rows.append({label: name} | {key: float(average[key]([row[key] for row in alike])) for key, _ in numbers})
        if "columns" in rows[-1]:
            rows[-1]["columns"] = alike[0]["columns"]
    return rows


def _regions(scores):
    """A row per region: its metrics under the method itself."""
    return [
        {"roi": region} | {row.metric: row for row in rows if row.condition == scores.reference}
        for region, rows in scores.regions.items()
    ]


def _links(folder):
    """Files beside the report, (label, relative path), those that are there."""
    listed = [("Configuration", "config.toml"), ("Versions and machine", "environment.json")]
    listed += [("Pictures drawn", "manifest.jsonl")]
    listed += [(f"Scores, {path.name}", f"scores/{path.name}") for path in sorted((folder / "scores").glob("[!.]*"))]
    listed += [("The same on held-out look-alikes", "heldout/report.html")]
    return [(label, path) for label, path in listed if (folder / path).exists()]


def _captions(run):
    """Captions that were chosen for stimuli without any, with the pictures they were chosen for."""
    part = run.parts[0]
    path = part.folder / "captions.json"
    if not path.exists():
        return {}
    known = read_json(path, dict, "remove it, and captions are chosen again")
    captions = known["train stimuli"]
    train = part.subject.train
    rows = {str(name): row for row, name in enumerate(train.stimulus_ids)}
    where = "" if part is run else " of the first fold"
    return {
        "captions": captions,
        "captions_heading": "Captions of the training stimuli",
        "captions_explanation": f"The dataset has none. Those of the training stimuli{where} were {known['source']}.",
        "caption_pictures": {name: np.asarray(train.images[rows[name]]) for name in captions},
    }

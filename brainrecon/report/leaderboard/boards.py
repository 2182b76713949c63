"""Boards: scores that compare, gathered over subjects, a row per method and a block per region.

Scores of different protocols, or of the same one by other judges, never share a board; neither do datasets, splits of one
dataset, nor measured and simulated responses.
"""

import json
from dataclasses import dataclass, field

import numpy as np

from brainrecon.evaluation.protocols.protocol import Protocol, available, load_protocol
from brainrecon.evaluation.scores.published import published_values
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.report.leaderboard.comparison import (
    control_difference,
    is_better,
    mean_over_subjects,
    method_difference,
    sentence,
)
from brainrecon.report.leaderboard.predicted import (
    corpus_means,
    embedding_rows,
    response_rows,
    retrieval_leads,
    retrieval_rows,
)
from brainrecon.report.leaderboard.response_table import response_sentence

STANDARD = "standard"
"""The dataset's own split."""

# What a board or a row says itself; everything else in the description of the data tells vintages apart.
_NO_VINTAGE = ("dataset", "subject", "roi", "test_stimuli", "simulated", "split", "folds", "noise_ceiling_percent")


@dataclass(frozen=True, eq=False)
class Cell:
    """One method on one subject and region under one protocol.

    Attributes
    ----------
    method, subject, roi : str
        Names of the folders.
    scores : Scores
    heldout : Scores or None
        Of the same method, with clusters of look-alikes held out.
    external : dict or None
        What is said of pictures that were made elsewhere.
    links : dict of str to str
        Files beside the scores, relative to the benchmark.
    learnt : sequence of dict
        What the method says it learnt, a row each: a name first, then numbers.
    """

    method: str
    subject: str
    roi: str
    scores: Scores
    heldout: Scores | None = None
    external: dict | None = None
    links: dict = field(default_factory=dict)
    learnt: tuple = ()


@dataclass(frozen=True, eq=False)
class Entry:
    """One method in one region: everything a row of the table says.

    Attributes
    ----------
    method : str
    cells : tuple of Cell
        One per subject.
    means : dict of str to (dict of str to AcrossSubjects)
        By condition and metric; the method itself is `reference`.
    reference : str
    differences : dict of str to (dict of str to AcrossSubjects)
        Method minus control, by condition and metric.
    heldout : dict of str to AcrossSubjects
        The method itself on the held-out split, by metric; empty if it was not scored there.
    behind : dict of str to AcrossSubjects
        The block's best method minus this one, by metric; empty for the best one itself.
    ceilings : dict of str to (dict of str to float)
        By kind and metric, mean over subjects of what limits the score, as `Scores.ceilings` has it.
    embeddings : list of dict
        A row per score of predicted embeddings, see `brainrecon.report.leaderboard.predicted.embedding_rows`.
    retrieval : list of dict
        A row per retrieval, see `brainrecon.report.leaderboard.predicted.retrieval_rows`.
    responses : list of dict
        A row per measure and condition, see `brainrecon.report.leaderboard.predicted.response_rows`.
    corpus : dict of str to (dict of str to float)
        By condition and metric of captions: the score of all captions together, mean over subjects.
    sentence : str
        What remains above the controls.
    """

    method: str
    cells: tuple
    means: dict
    reference: str
    differences: dict
    heldout: dict
    behind: dict
    ceilings: dict
    embeddings: list
    retrieval: list
    responses: list
    corpus: dict
    sentence: str

    @property
    def subjects(self):
        return [cell.subject for cell in self.cells]

    @property
    def n_stimuli(self):
        """Fewest and most test stimuli of a subject."""
        return _n_stimuli(self.cells)

    @property
    def external(self):
        """Whether pictures from elsewhere were scored."""
        return any(cell.external is not None for cell in self.cells)


@dataclass(frozen=True, eq=False)
class Block:
    """The methods of one region, best first.

    Attributes
    ----------
    roi : str
    entries : list of Entry
    outstanding : dict of str to str
        By metric, the method with the best mean, if its paired difference to the runner-up excludes zero.
    retrieval_leads : dict of str to (str, dict of str to AcrossSubjects)
        By retrieval, the best method and its lead, see `brainrecon.report.leaderboard.predicted.retrieval_leads`.
    """

    roi: str
    entries: list
    outstanding: dict
    retrieval_leads: dict


@dataclass(frozen=True, eq=False)
class Board:
    """All scores that compare.

    Attributes
    ----------
    protocol : Protocol
    identity : str
        Digest of protocol and judges.
    checkpoints : dict
    dataset : str
    simulated : bool
    split : str
        Which stimuli were tested: "standard", the dataset's own; or the name of another division, such as "10 folds".
    confidence : float
    headline : str
        The metric that orders methods.
    blocks : list of Block
        One per region, in the order of the cells.
    notes : list of str
    published : list of PublishedRow
        Of this protocol and on this test set.
    planned : tuple of str
        Regions that the benchmark's plan names, in its order.
    """

    protocol: Protocol
    identity: str
    checkpoints: dict
    dataset: str
    simulated: bool
    split: str
    confidence: float
    headline: str
    blocks: list
    notes: list
    published: list
    planned: tuple = ()

    @property
    def metrics(self):
        """The protocol's metrics of pictures and captions that anybody was scored in, dict of str to spec."""
        entries = [entry for block in self.blocks for entry in block.entries]
        scored = {metric for entry in entries for metric in entry.means.get(entry.reference, {})}
        return {name: spec for name, spec in self.protocol.columns.items() if name in scored}


def boards_of(cells, held_out, planned=()):
    """Boards of all cells, by protocol, dataset and digest.

    Parameters
    ----------
    cells : sequence of Cell
    held_out : str
        How to call what the held-out split holds out.
    planned : sequence of str
        Regions of the benchmark's plan.

    Returns
    -------
    boards : list of Board
    """
    groups = {}
    for cell in cells:
        groups.setdefault(_group(cell.scores), []).append(cell)
    ordered = sorted(groups.items(), key=lambda item: (item[0][1:], item[0][0]))
    return [_board(key, cells, held_out, tuple(planned)) for key, cells in ordered]


def _group(scores):
    """What scores have to have in common to share a board."""
    return (
        scores.identity,
        scores.protocol.name,
        str(scores.data.get("dataset", "")),
        bool(scores.data.get("simulated")),
        str(scores.data.get("split") or STANDARD),
    )


def _compares(held_out, key):
    """Whether scores of the held-out split, which is one of its own, are otherwise of a board."""
    return _group(held_out)[:-1] == key[:-1]


def _board(key, cells, held_out, planned):
    identity, _, dataset, simulated, split = key
    first = cells[0].scores
    protocol, by_roi = first.protocol, {}
    for cell in cells:
        by_roi.setdefault(cell.roi, {}).setdefault(cell.method, []).append(cell)
    scored = {metric for cell in cells for metric in cell.scores.conditions[cell.scores.reference].values}
    headline = next((name for name in (protocol.headline, *protocol.columns) if name in scored), protocol.headline)
    notes = list(dict.fromkeys(note for cell in cells for note in cell.scores.notes)) + _vintages(cells)
    other_judges = sorted(
        {f"{c.method}/{c.subject}/{c.roi}" for c in cells if c.heldout and not _compares(c.heldout, key)}
    )
    if other_judges:
        notes.append(
            f"Left out, for the held-out split was scored by another protocol or judge: {', '.join(other_judges)}."
        )
    blocks = [_block(roi, methods, key, headline, held_out) for roi, methods in by_roi.items()]
    published, why_not = _published(protocol, dataset, simulated or split != STANDARD, blocks)
    return Board(
        protocol,
        identity,
        first.checkpoints,
        dataset,
        simulated,
        split,
        first.confidence,
        headline,
        blocks,
        notes + why_not,
        published,
        planned,
    )


def _vintages(cells):
    """What tells the data of cells of one subject and region apart, so that nobody takes it for the methods' doing."""
    seen = {}
    for cell in cells:
        for name, value in cell.scores.data.items():
            if name not in _NO_VINTAGE:
                seen.setdefault((cell.subject, cell.roi), {}).setdefault(name, set()).add(
                    json.dumps(value, default=str)
                )
    differing = sorted({name for names in seen.values() for name, values in names.items() if len(values) > 1})
    if not differing:
        return []
    names = ", ".join(name.replace("_", " ") for name in differing)
    return [f"The data of the methods differ within a subject in: {names}. What separates them may be the data."]


def _block(roi, methods, key, headline, held_out):
    scores = {name: {cell.subject: cell.scores for cell in cells} for name, cells in methods.items()}
    specs = next(iter(next(iter(scores.values())).values())).metrics
    means = {name: {m: mean_over_subjects(list(own.values()), None, m) for m in specs} for name, own in scores.items()}

    def ranked(metric):
        """Methods by their mean, best first; those with fewer subjects after those with all, those without one left out."""
        sign, most = -1 if specs[metric].metric.higher_is_better else 1, max(map(len, scores.values()))
        there = [name for name in means if means[name][metric]]
        return sorted(there, key=lambda n: (means[n][metric].n_subjects < most, sign * means[n][metric].mean, n))

    order = ranked(headline)
    best = order[0] if order else None
    outstanding = {}
    for metric, spec in specs.items():
        leading = ranked(metric)[:2]
        if len(leading) == 2 and is_better(method_difference(*(scores[n] for n in leading), metric), spec.metric):
            outstanding[metric] = leading[0]
    order += sorted(set(methods) - set(order))
    behind = {
        name: {m: method_difference(scores[best], scores[name], m) for m in specs if means[best][m] and means[name][m]}
        for name in order
        if best not in (None, name)
    }
    entries = [
        _entry(name, methods[name], means[name], behind.get(name, {}), key, specs[headline], held_out) for name in order
    ]
    shown = {cell.scores.data.get("roi") for cells in methods.values() for cell in cells}
    shown_roi = shown.pop() if len(shown) == 1 and isinstance(next(iter(shown)), str) else roi
    return Block(shown_roi, entries, outstanding, retrieval_leads(scores))


def _entry(method, cells, own_means, behind, key, headline, held_out):
    scores = [cell.scores for cell in cells]
    reference, metrics = scores[0].reference, scores[0].metrics
    controls = list(dict.fromkeys(name for one in scores for name in one.conditions if name != one.reference))
    means = {reference: {metric: mean for metric, mean in own_means.items() if mean}}
    means |= {
        name: _filled(metrics, lambda metric, name=name: mean_over_subjects(scores, name, metric)) for name in controls
    }
    differences = {
        name: _filled(metrics, lambda metric, name=name: control_difference(scores, name, metric)) for name in controls
    }
    heldout = [cell for cell in cells if cell.heldout is not None and _compares(cell.heldout, key)]
    there = _filled(metrics, lambda metric: mean_over_subjects([cell.heldout for cell in heldout], None, metric))
    ceilings = {}
    for kind in dict.fromkeys(kind for one in scores for kind in one.ceilings):
        rows = [one.ceilings[kind] for one in scores if kind in one.ceilings]
        found = {metric: [row[metric].mean for row in rows if metric in row] for metric in metrics}
        ceilings[kind] = {metric: float(np.mean(means)) for metric, means in found.items() if means}
    mean = own_means[headline.name]
    responses = response_rows(scores)
    text = response_sentence(method, responses) or sentence(
        method,
        headline,
        mean,
        {name: rows[headline.name] for name, rows in differences.items() if headline.name in rows},
        len(cells),
        _n_stimuli(cells),
        _drop(heldout, headline.name, there, held_out),
    )
    return Entry(
        method,
        tuple(cells),
        means,
        reference,
        differences,
        there,
        behind,
        ceilings,
        embedding_rows(scores),
        retrieval_rows(scores),
        responses,
        corpus_means(scores),
        text,
    )


def _n_stimuli(cells):
    counts = [len(cell.scores.conditions[cell.scores.reference].stimulus_ids) for cell in cells]
    return min(counts), max(counts)


def _filled(metrics, compute):
    return {metric: found for metric in metrics if (found := compute(metric)) is not None}


def _drop(cells, metric, there, what):
    """(what was held out, score there, how much lower than the same subjects' score), or None."""
    if metric not in there:
        return None
    pairs = [
        (cell.scores.mean(cell.scores.reference, metric), cell.heldout.mean(cell.heldout.reference, metric))
        for cell in cells
    ]
    drops = [here.mean - held.mean for here, held in pairs if here and held]
    return (what, there[metric], float(np.mean(drops))) if drops else None


def _published(protocol, dataset, of_other_data, blocks):
    """(rows that stand beside this board, what to say of the others)."""
    rows = published_values(protocol.name)
    if not rows:
        return [], []
    if protocol.name not in available() or load_protocol(protocol.name).sha256 != protocol.sha256:
        return [], [f"This is not the {protocol.name} that the toolkit holds: its published values are not shown."]
    counts = {count for block in blocks for entry in block.entries for count in entry.n_stimuli}
    if not of_other_data:
        shown = [row for row in rows if row.dataset == dataset and counts == {row.n_stimuli}]
        if shown:
            return shown, []
    sizes = " or ".join(f"{n:,}" for n in sorted({row.n_stimuli for row in rows}))
    kinds = " or ".join(sorted({row.dataset for row in rows})).upper()
    return [], [f"Published values of this protocol are on {sizes} {kinds} stimuli and not comparable: not shown."]

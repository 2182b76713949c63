"""The walk over all pictures: every picture is read once, and everything that compares it sees it then.

First the networks look at the shown pictures. Then the pictures of all conditions follow, stimulus by stimulus, so that what
a metric keeps of a shown picture serves all conditions; and nobody holds more than a few pictures, or more than some
hundred megabytes of features, however many there are. Threads read, resize and compare pixels; the main thread shows blocks to
the networks meanwhile. Every score is computed in one way and put in its own place, so that it depends neither on the number of
threads nor on who was done first.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from brainrecon.evaluation.metrics.picture_similarity import similarity_matrix
from brainrecon.evaluation.views.read_pictures import (
    PICTURES_PER_BLOCK,
    PICTURES_PER_PIECE,
    blocks_of,
    embedded,
    joined,
    prepared_blocks,
)
from brainrecon.evaluation.views.resize_and_crop import Form, views
from stages.ground.errors import InputError
from stages.ground.threads import in_order
from weights.suggestions import did_you_mean

# The classification of a network that is about what data call categories.
CATEGORY = "category"
# Of shown pictures, what pixels are compared with is kept for twice as many as a network sees at a time.
_SHOWN_PIECES = 2 * PICTURES_PER_BLOCK // PICTURES_PER_PIECE
# Features of one network wait until they are so many, then they are correlated with those of the shown pictures together.
_WAITING_BYTES = 1 << 28


def walk(protocol, networks, shown, drawn, compared, brain, has_categories, progress):
    """Let every comparison see what it is to compare.

    Parameters
    ----------
    protocol : brainrecon.evaluation.protocols.protocol.Protocol
    networks : mapping of str to Network
        Those of the protocol that are used.
    shown : brainrecon.evaluation.views.read_pictures.ReadPictures
    drawn : mapping of str to ReadPictures
        By condition.
    compared : mapping of str to brainrecon.evaluation.tasks.picture_comparison.PictureComparison
        By condition; scores are put there.
    brain : brainrecon.evaluation.tasks.reconstruction.Brain or None
    has_categories : bool
        Whether the data name categories; if not, it says nothing that a network names the same for two pictures.
    progress : callable

    Returns
    -------
    predicted_response : dict of str to array (n_shown,)
        By metric of brain correlation: how the response that the encoding model predicts from the shown pictures themselves
        correlates with the measured one.
    """
    sources, chunks = _sources(protocol, networks, brain, has_categories), _chunks(compared)
    before = [source for source in sources if source.gathers or source.heads]
    done, total = 0, len(chunks) + (-(-len(shown) // PICTURES_PER_BLOCK) if before else 0)
    for seen in prepared_blocks(shown, [source.form for source in before]) if before else ():
        for source in before:
            source.see_shown(seen[source.form], len(shown))
        done += 1
        progress("scoring", done, total)
    predicted_response = {
        spec.name: spec.metric.function(
            brain.of(source.name).patterns, brain.models[source.name].predict(source.shown_features)
        )
        for source in sources
        for spec in source.of("brain")
    }
    beside = _Beside(protocol, sources, shown)
    looked = [source.form for source in before]
    forms = [*looked, *beside.forms]

    def look(piece):
        """A few pictures for the same few stimuli: their forms for the networks, and their scores of pixels."""
        seen = views(drawn[piece.condition].read(piece.pictures), forms)
        targets = compared[piece.condition].targets[piece.pictures]
        scores = beside.compare(targets, seen)
        wanted = {form: seen[form] for form in (*looked, *beside.in_pairs)}
        return piece, wanted, beside.shown_in_pairs(targets), scores

    waiting = {source.name: _Waiting(source, compared, brain) for source in sources if source.gathers}
    of_chunk = []
    for piece, seen, pairs, scores in in_order(look, (piece for chunk in chunks for piece in chunk)):
        comparison = compared[piece.condition]
        for name, values in scores.items():
            comparison.put_scores(name, piece.pictures, values)
        of_chunk.append((piece.pictures, seen, pairs))
        if len(of_chunk) < piece.n_in_chunk:
            continue
        pictures, seen, pairs = _whole_chunk(of_chunk)
        of_chunk = []
        for source in sources:
            source.look(comparison, pictures, seen, pairs)
            if source.gathers:
                waiting[source.name].add(piece.condition, pictures, source.features(seen[source.form]))
        done += 1
        progress("scoring", done, total)
    for one in waiting.values():
        one.compare()
    return predicted_response


class _Piece(NamedTuple):
    """Some pictures of one condition whose stimuli lie together, and how many pieces a network sees with them."""

    condition: str
    pictures: np.ndarray
    n_in_chunk: int


def _chunks(compared):
    """What a network sees at a time, lists of `_Piece`: pictures of one condition in their order; first stimuli first."""
    found = []
    for name, comparison in compared.items():
        for pictures in blocks_of(np.arange(len(comparison.targets))):
            owners = comparison.targets[pictures] // PICTURES_PER_PIECE
            pieces = [pictures[owners == owner] for owner in np.unique(owners)]
            first = int(comparison.targets[pictures].min())
            found.append((first, len(found), [_Piece(name, own, len(pieces)) for own in pieces]))
    return [chunk for _, _, chunk in sorted(found, key=lambda one: one[:2])]


def _whole_chunk(pieces):
    """Pictures, forms and what pairs are compared with, of all pieces of a chunk, in the order of the pictures."""
    pictures = np.concatenate([own for own, _, _ in pieces])
    order = np.argsort(pictures)
    seen, pairs = ({form: values[order] for form, values in joined([p[k] for p in pieces]).items()} for k in (1, 2))
    return pictures[order], seen, pairs


@dataclass
class _Source:
    """Pixels, or one network: what it makes of pictures, and the metrics that compare this.

    Attributes
    ----------
    name : str
    metrics : list of MetricSpec
    form : Form
        What it takes.
    spec, network
        Of the protocol; None for pixels.
    """

    name: str
    metrics: list
    form: Form
    spec: Any = None
    network: Any = None

    def __post_init__(self):
        self.shown_features, self.shown_labels, self._n_seen = None, {head: [] for head in self.heads}, 0

    def of(self, *takes):
        """Its metrics that take one of some things."""
        return [spec for spec in self.metrics if spec.metric.takes in takes]

    @cached_property
    def gathers(self):
        """Whether features are compared: those of a picture with those of others, or a response with what they predict."""
        return bool(self.of("features", "brain"))

    @cached_property
    def heads(self):
        """The classifications that are compared."""
        return list(dict.fromkeys(head for spec in self.of("labels") for head in (spec.head, *spec.refine.values())))

    def features(self, prepared):
        """Float32 (n, n_features) of prepared pictures."""
        return prepared.reshape(len(prepared), -1) if self.network is None else embedded(self.network, prepared)

    def labels(self, prepared):
        """Classifications of prepared pictures: dict of head to list of str."""
        if not self.heads:
            return {}
        found = self.network.classify(prepared)
        if absent := [head for head in self.heads if head not in found]:
            raise InputError(
                f"Network {self.name!r} has no head {absent[0]!r}; it classifies {', '.join(found)}"
                f"{did_you_mean(absent[0], found)}. Name one of these in the protocol."
            )
        return {head: list(found[head]) for head in self.heads}

    def see_shown(self, prepared, n_shown):
        """Look at the next of the shown pictures, and keep what is found."""
        for head, names in self.labels(prepared).items():
            self.shown_labels[head] += names
        if self.gathers:
            block = self.features(prepared)
            if self.shown_features is None:
                self.shown_features = np.empty((n_shown, block.shape[1]), dtype=np.float32)
            self.shown_features[self._n_seen : self._n_seen + len(block)] = block
            self._n_seen += len(block)

    def look(self, comparison, pictures, seen, pairs):
        """Compare labels and distances of some drawn pictures."""
        for spec in self.of("pair"):
            found = np.asarray(self.network.distance(pairs[self.form], seen[self.form]), dtype=np.float64)
            comparison.put_scores(spec.name, pictures, found)
        labels = self.labels(seen[self.form]) if self.heads else {}
        for spec in self.of("labels"):
            comparison.put_scores(spec.name, pictures, self._agreement(spec, comparison.targets[pictures], labels))

    def _agreement(self, spec, targets, labels):
        """Whether labels agree; refined if the picture that was shown asks for it."""

        def label(names, row, target):
            wanted = self.shown_labels[spec.head][target]
            return names[spec.head][row], names[spec.refine[wanted]][row] if wanted in spec.refine else None

        reference = [label(self.shown_labels, target, target) for target in targets]
        predicted = [label(labels, row, target) for row, target in enumerate(targets)]
        return spec.metric.function(reference, predicted)


def _sources(protocol, networks, brain, has_categories):
    """The sources that the protocol's metrics use, in its order."""
    found = []

    def is_there(spec, name):
        if spec.metric.takes == "brain":
            return bool(brain) and name in brain.models
        return has_categories or spec.head != CATEGORY

    for name in ("pixels", *protocol.networks):
        metrics = [spec for spec in protocol.metrics.values() if spec.features == name and is_there(spec, name)]
        if not metrics or name not in ("pixels", *networks):
            continue
        if name == "pixels":
            # Metrics that compare two pictures' pixels have sizes of their own; identification has one.
            resizes = {spec.resize for spec in metrics if spec.metric.takes == "features"} or {None}
            found.append(_Source(name, metrics, Form.of_pixels(protocol.resize, *resizes)))
        else:
            spec = protocol.networks[name]
            form = Form.of_network(protocol.resize, spec.preparation)
            found.append(_Source(name, metrics, form, spec, networks[name]))
    return found


class _Beside:
    """What drawn pictures are compared with pixel by pixel: some of the shown ones, in the forms of these metrics."""

    def __init__(self, protocol, sources, shown):
        self._shown, self._lock, self._pieces = shown, Lock(), OrderedDict()
        self._of_pixels = [
            (spec, Form.of_pixels(protocol.resize, spec.resize)) for source in sources for spec in source.of("pixels")
        ]
        self.in_pairs = [source.form for source in sources if source.of("pair")]
        self.forms = [*dict.fromkeys((*(form for _, form in self._of_pixels), *self.in_pairs))]

    def compare(self, targets, seen):
        """Scores of pictures for stimuli of one piece, by metric: dict of str to float64 (n,)."""
        if not self._of_pixels:
            return {}
        first, compare, _ = self._piece(targets)
        return {spec.name: compare[spec.name](seen[form], targets - first) for spec, form in self._of_pixels}

    def shown_in_pairs(self, targets):
        """The shown pictures themselves, one for each target: dict of Form to array."""
        if not self.in_pairs:
            return {}
        first, _, prepared = self._piece(targets)
        return {form: prepared[form][targets - first] for form in self.in_pairs}

    def _piece(self, targets):
        number = int(targets[0]) // PICTURES_PER_PIECE
        with self._lock:
            lock, kept = self._pieces.setdefault(number, (Lock(), []))
            self._pieces.move_to_end(number)
            while len(self._pieces) > _SHOWN_PIECES:
                self._pieces.popitem(last=False)
        # Who comes first reads them, and others who want the same wait.
        with lock:
            if not kept:
                kept.append(self._read(number))
        return kept[0]

    def _read(self, number):
        first = number * PICTURES_PER_PIECE
        rows = np.arange(first, min(first + PICTURES_PER_PIECE, len(self._shown)))
        seen = views(self._shown.read(rows), self.forms)
        compare = {spec.name: spec.metric.compared_with(seen[form], **spec.options) for spec, form in self._of_pixels}
        return first, compare, {form: seen[form] for form in self.in_pairs}


class _Waiting:
    """Features of drawn pictures that wait to be compared together, those of all conditions."""

    def __init__(self, source, compared, brain):
        self._source, self._compared, self._brain = source, compared, brain
        self._parts, self._bytes = [], 0

    def add(self, condition, pictures, features):
        """Take what the source made of some pictures."""
        self._parts.append((condition, pictures, features))
        self._bytes += features.nbytes
        if self._bytes > _WAITING_BYTES:
            self.compare()

    def compare(self):
        """Compare all that wait, and let go of them."""
        if not self._parts:
            return
        features = np.concatenate([own for _, _, own in self._parts])
        owners = np.array([name for name, own, _ in self._parts for _ in own])
        pictures = np.concatenate([own for _, own, _ in self._parts])
        self._parts, self._bytes = [], 0
        # One product for all conditions: the shown side of it is centred once.
        for spec in {one.similarity: one for one in self._source.metrics if one.metric.correlates}.values():
            found = similarity_matrix(self._source.shown_features, features, similarity=spec.similarity)
            for name in np.unique(owners):
                self._compared[name].put_correlations(spec, pictures[owners == name], found[:, owners == name])
        alone = any(not spec.metric.correlates for spec in self._source.of("features", "brain"))
        for name in np.unique(owners) if alone else ():
            self._row_by_row(self._compared[name], pictures[owners == name], features[owners == name])

    def _row_by_row(self, comparison, pictures, features):
        targets = comparison.targets[pictures]
        for spec in self._source.of("features"):
            if not spec.metric.correlates:
                options = spec.options | ({"items": comparison.items(pictures)} if spec.metric.by_lot else {})
                scores = spec.metric.function(self._source.shown_features[targets], features, **options)
                comparison.put_scores(spec.name, pictures, scores)
        for spec in self._source.of("brain"):
            responses = self._brain.of(self._source.name)
            measured = responses.patterns[targets]
            predicted = self._brain.models[self._source.name].predict(features)
            comparison.put_scores(spec.name, pictures, spec.metric.function(measured, predicted))
            for region, mask in responses.regions.items():
                scores = spec.metric.function(measured[:, mask], predicted[:, mask])
                comparison.put_scores((spec.name, region), pictures, scores)

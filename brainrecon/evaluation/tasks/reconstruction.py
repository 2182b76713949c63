"""The task of reconstruction: shown pictures and the pictures of each condition in, scores with intervals out."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from brainrecon.evaluation.brain.pattern_ceiling import ceiling_of_patterns
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.scores import SummaryRow
from brainrecon.evaluation.statistics import intervals
from brainrecon.evaluation.tasks.comparison import summarise
from brainrecon.evaluation.tasks.picture_comparison import PictureComparison
from brainrecon.evaluation.tasks.picture_walk import walk
from brainrecon.evaluation.tasks.scored_task import ScoredTask, check_reference, rows_of
from brainrecon.evaluation.views.networks import load_network
from brainrecon.evaluation.views.read_pictures import ReadPictures
from brainrecon.evaluation.views.resize_and_crop import Form, views
from stages.ground.errors import InputError
from stages.ground.pictures import check_levels, check_shown
from stages.ground.progress import SILENT
from weights import store

_FLOOR_BYTES = 1 << 30


@dataclass(frozen=True)
class Measured:
    """Responses to the shown pictures, as a model's predictions are.

    Attributes
    ----------
    patterns, reliability, regions
        As of `Brain`.
    """

    patterns: np.ndarray
    reliability: np.ndarray | None = None
    regions: dict = field(default_factory=dict)

    def of_rows(self, rows):
        """The same of some of the pictures."""
        reliability = None if self.reliability is None else self.reliability[rows]
        return Measured(self.patterns[rows], reliability, self.regions)


@dataclass(frozen=True)
class Brain:
    """What brain correlation needs: the measured patterns, and a model that predicts patterns from pictures.

    Attributes
    ----------
    patterns : float32 array of shape (n_stimuli, n_voxels)
        Measured test patterns of the shown pictures in their order, standardised as the model's predictions are.
    models : mapping of str to object with ``predict(features) -> (n, n_voxels)``
        By name of the network whose features it reads; fitted on training stimuli.
    reliability : float64 array of shape (n_stimuli,), optional
        Of each pattern, as `brainrecon.evaluation.brain.pattern_ceiling.pattern_reliability` has it; NaN if repeats do not tell.
    regions : mapping of str to bool array of shape (n_voxels,)
        Voxels over which it is computed once more.
    measured : mapping of str to Measured
        By network: responses that its model is compared with in place of these, for a model that learned others.
    notes : tuple of str
        What there is to know, a sentence each.
    """

    patterns: np.ndarray
    models: dict
    reliability: np.ndarray | None = None
    regions: dict = field(default_factory=dict)
    measured: dict = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def of(self, name):
        """The responses that the model of a network is compared with."""
        return self.measured.get(name) or Measured(self.patterns, self.reliability, self.regions)

    def of_rows(self, rows):
        """The same of some of the pictures."""
        own = Measured(self.patterns, self.reliability, self.regions).of_rows(rows)
        others = {name: one.of_rows(rows) for name, one in self.measured.items()}
        return Brain(own.patterns, self.models, own.reliability, own.regions, others, self.notes)


@dataclass(frozen=True)
class Reconstruction(ScoredTask):
    """Compare pictures with those that were shown, by the metrics of a protocol.

    >>> task = Reconstruction(seed=0, n_resamples=2000)
    >>> outputs = {"reconstruction": Outputs(ids, pictures)}  # doctest: +SKIP
    >>> task.score(outputs, Shown(ids, pictures=shown), "brainrecon-1").mean("reconstruction", "pixcorr")  # doctest: +SKIP

    Identification within a condition is computed among that condition's own stimuli. The paired difference to the
    reference uses the stimuli that both have, with identification recomputed among those on both sides.
    """

    name: ClassVar = "reconstruction"
    reads: ClassVar = ("picture",)

    def asked_by(self, protocol):
        """Whether a protocol has metrics of pictures."""
        return bool(protocol.metrics)

    def score(self, outputs, shown, protocol, *, device="cpu", progress=SILENT):
        """Score the pictures of each condition. Nothing given is changed.

        Parameters
        ----------
        outputs : mapping of str to Outputs
            Pictures by condition; they may have any size, and a condition may cover fewer stimuli than were shown.
        shown : Shown
            With `pictures`. Metrics that compare within a category, or the category that a network names, are left out
            without `categories`, those of brain correlation without `brain`; a stimulus that shares its categories with no
            other has no score there.
        protocol : str or Protocol
        device : str
            Torch device of the networks that are loaded.
        progress : callable, optional
            `progress(label, done, total)`.

        Returns
        -------
        scores : Scores

        Raises
        ------
        InputError
            If a condition holds an unknown stimulus, numbers do not match, the reference is missing, or what is given is no
            8-bit picture, such as binary patterns of 0 and 1.
        weights.store.CheckpointError
            If a network's checkpoint is absent or damaged.
        """
        protocol = load_protocol(protocol)
        _check(shown)
        check_reference(self.reference, outputs)
        rows, brain = rows_of(outputs, shown, "pictures"), shown.brain
        # The shown pictures are looked at by networks before, and then beside every condition.
        seen = ReadPictures(shown.pictures, again=True)
        drawn = {name: ReadPictures(pictures) for name, (_, pictures) in outputs.items()}
        check_shown(seen, "shown pictures")
        for name, pictures in drawn.items():
            check_levels(pictures, f"pictures of {name!r}")
        networks, checkpoints = _assemble(protocol, self.networks, brain, device)
        same_category = None if shown.categories is None else share_a_category(shown.categories)
        ids = [str(one) for one in shown.stimulus_ids]
        compared = {name: PictureComparison(rows[name], same_category, ids) for name in outputs}
        predicted_response = walk(
            protocol, networks, seen, drawn, compared, brain, shown.categories is not None, progress
        )
        reference_rows = compared[self.reference].rows
        ceilings, notes = _ceilings(protocol, brain, predicted_response, reference_rows, self.options)
        return self.scores(
            protocol,
            **summarise(compared, protocol.metrics.values(), self.reference, ids, self.options),
            checkpoints=checkpoints,
            regions=_regions(protocol, brain, compared, self.options),
            ceilings=ceilings | _floors(protocol, seen, reference_rows, self.options),
            notes=notes,
        )


def share_a_category(categories):
    """Which pairs of stimuli share at least one category: bool (n_stimuli, n_stimuli)."""
    names = sorted({name for own in categories for name in own})
    member = np.array([[name in own for name in names] for own in categories], dtype=int)
    return member @ member.T > 0


def _assemble(protocol, given, brain, device):
    """The networks that the protocol's metrics use, and the fingerprints of those that were loaded."""
    used = {
        spec.features for spec in protocol.metrics.values() if spec.metric.takes != "brain" or brain is not None
    } - {"pixels"}
    networks, checkpoints = {}, {}
    for name in sorted(used):
        spec = protocol.networks[name]
        if name in given:
            networks[name] = given[name]
        else:
            networks[name] = load_network(spec, device)
            checkpoints[spec.checkpoint] = store.fingerprint(spec.checkpoint)
    return networks, checkpoints


def _of_brains(protocol, brain):
    """The protocol's metrics of brain correlation that can be computed."""
    models = brain.models if brain else ()
    return [spec for spec in protocol.metrics.values() if spec.metric.takes == "brain" and spec.features in models]


def _regions(protocol, brain, compared, options):
    found = {}
    for spec in _of_brains(protocol, brain):
        for region in brain.of(spec.features).regions:
            found.setdefault(region, []).extend(
                SummaryRow(name, spec.name, *comparison.by_region(spec, region, options))
                for name, comparison in compared.items()
            )
    return found


def _ceilings(protocol, brain, predicted_response, rows, options):
    """What limits brain correlation, and what to know of it: the encoding model, seen from the shown pictures, and the noise.

    The noise is seen from repeats; if they do not tell it from signal, there is no ceiling, and a note says so.
    """
    found, notes = {"shown_pictures": {}, "noise_ceiling": {}}, list(brain.notes if brain else ())
    for spec in _of_brains(protocol, brain):
        values = predicted_response[spec.name][rows]
        if len(values := values[np.isfinite(values)]):
            row = SummaryRow("shown_pictures", spec.name, *intervals.bootstrap_mean(values, **options))
            found["shown_pictures"][spec.name] = row
        reliability = brain.of(spec.features).reliability
        values = np.empty(0) if reliability is None else reliability[rows]
        if len(values := values[np.isfinite(values)]):
            if ceiling := ceiling_of_patterns(values, **options):
                found["noise_ceiling"][spec.name] = SummaryRow("noise_ceiling", spec.name, *ceiling)
            else:
                notes.append(
                    f"{spec.label} has no noise ceiling here: by the repeats of {len(values):,} stimuli, signal in the "
                    f"responses cannot be told from noise (mean reliability of a pattern {values.mean():.2f})."
                )
    return {kind: limits for kind, limits in found.items() if limits}, tuple(notes)


def _floors(protocol, shown, rows, options):
    """What the best picture that is one for all stimuli scores, in metrics of pixels for which it is known."""
    found = {}
    for spec in protocol.metrics.values():
        size = (spec.resize or protocol.resize).size if spec.features == "pixels" else 0
        # Of pictures that do not fit into memory together nobody asks a floor.
        if spec.metric.best_constant is None or len(rows) * size**2 * 12 > _FLOOR_BYTES:
            continue
        form = Form.of_pixels(protocol.resize, spec.resize)
        pixels = views(shown.read(rows), [form])[form]
        constant = spec.metric.best_constant(pixels, **spec.options).astype(pixels.dtype)
        values = spec.metric.function(pixels, np.broadcast_to(constant, pixels.shape), **spec.options)
        found[spec.name] = SummaryRow("best_constant_picture", spec.name, *intervals.bootstrap_mean(values, **options))
    return {"best_constant_picture": found} if found else {}


def _check(shown):
    ids, pictures = [str(one) for one in shown.stimulus_ids], shown.pictures
    n_pictures = 0 if pictures is None else len(pictures)
    if len(ids) != n_pictures or len(set(ids)) != len(ids):
        raise InputError(
            f"There are {n_pictures} shown pictures and {len(set(ids))} different stimulus ids "
            f"({len(ids)} given); expected one id for each picture, each once. Check the test set."
        )
    if shown.categories is not None and len(shown.categories) != n_pictures:
        raise InputError(
            f"There are {n_pictures} shown pictures but {len(shown.categories)} categories; give one list for each."
        )

"""Responses of one subject, wherever they come from: what the reader needs of them before it chooses voxels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from brainrecon.datasets.bold5000.brain_responses import (
    inside,
    read_sessions,
    regions_inside,
    stored_values,
    trials_of_sessions,
)
from brainrecon.datasets.bold5000.layout import MODELS, first_release_file, session_files
from brainrecon.datasets.bold5000.masks import place_of_columns, read_masks
from brainrecon.datasets.bold5000.presentations import Shown
from brainrecon.datasets.bold5000.region_responses import (
    RegionStore,
    absent_regions,
    masks_of,
    read_first_release,
    read_second_release,
)
from brainrecon.datasets.nsd.betas import SessionStore
from brainrecon.datasets.nsd.sessions import chosen_sessions, in_words
from brainrecon.datasets.spaces.voxel_grid import VoxelGrid
from stages.ground.errors import InputError


@dataclass(frozen=True)
class Recording:
    """Responses to all trials that are there.

    Attributes
    ----------
    masks : dict of str to bool array of shape (n_voxels,)
    n_voxels : int
    default_roi : str
    rows : dict of int to array of int
        Session to its trials, counted from 0 in the list of what was shown.
    knows_sessions : bool
        Whether the sessions are those of the study; else all trials are one.
    store : callable
        ``store(chosen, reference_rows)`` reads the chosen voxels, as `brainrecon.datasets.nsd.betas.SessionStore`.
    stored : callable
        ``stored(trials)`` with dict of split to trials: pairs of split and unchecked values over all voxels.
    space : VoxelGrid, optional
    what : str
        Which responses these are, for the record.
    notes : list of str
    """

    masks: dict[str, np.ndarray]
    n_voxels: int
    default_roi: str
    rows: dict[int, np.ndarray]
    knows_sessions: bool
    store: Callable[[np.ndarray, dict | None], SessionStore]
    stored: Callable[[dict], Iterator[tuple[str, np.ndarray]]]
    space: VoxelGrid | None
    what: str
    notes: list[str] = field(default_factory=list)

    @property
    def available(self) -> np.ndarray:
        """Trials that have a response, increasing."""
        return np.sort(np.concatenate(list(self.rows.values())))


def record_regions(
    path: Path, subject: str, betas: str, model: str, shown: Shown, sessions: Any, order: str | None
) -> Recording:
    """Release 2's betas in regions, or release 1's volumes there.

    Parameters
    ----------
    path : pathlib.Path
    subject : str
    betas : str
        "regions", or a volume of release 1 such as "TR34".
    model : {"A", "B", "C", "D"}
    shown : brainrecon.datasets.bold5000.presentations.Shown
    sessions : str, int, list of int, or None
    order : {"C", "F"}, optional

    Raises
    ------
    InputError
        Files are absent, damaged, or have other trials than the list of what was shown.
    """
    second = betas == "regions"
    first_release = first_release_file(path, subject, betas)
    regions = read_second_release(path, subject, model) if second else read_first_release(first_release)
    file, values = next(iter(regions.values()))
    if len(values) != len(shown.pictures):
        known = "" if shown.sessions is None else f" in sessions {in_words(set(shown.sessions))}"
        raise InputError(
            f"{file} has {len(values):,} trials but {shown.where} {len(shown.pictures):,}{known}; take both from one subject, "
            "and complete them."
        )
    rows = _wanted(_rows_of_sessions(shown), shown, sessions)
    widths = {name: region.values.shape[1] for name, region in regions.items()}
    masks, space, notes = masks_of(widths), None, absent_regions(regions)
    if volumes := read_masks(path, subject):
        first_row = np.concatenate([np.asarray(region.values[0]).reshape(-1) for region in regions.values()])
        # Only betas of the same model are those of the regions.
        whole = session_files(path, subject, model).get(1) if second else None
        space, more = place_of_columns(volumes, widths, first_row, whole, order)
        notes += more
    else:
        notes.append(
            f"places of voxels are not known: derivatives/spm/sub-{subject} of OpenNeuro ds001499 is not there"
        )
    if not second:
        notes.append(
            f"release 1: volumes after SPM's regression of nuisance ({betas}), no betas; its authors advise release 2"
        )

    def stored(trials):
        for split, own in trials.items():
            blocks = [np.asarray(region.values[own[0] : own[-1] + 1])[own - own[0]] for region in regions.values()]
            yield split, np.concatenate(blocks, axis=1)

    return Recording(
        masks=masks,
        n_voxels=sum(widths.values()),
        default_roi="all",
        rows=rows,
        knows_sessions=shown.sessions is not None,
        store=lambda chosen, reference: RegionStore(regions, chosen, rows, reference),
        stored=stored,
        space=space,
        what=f"release 2, regions, {MODELS[model]}" if second else f"release 1, regions, {betas}",
        notes=notes,
    )


def record_brain(path: Path, subject: str, model: str, shown: Shown, sessions: Any) -> Recording:
    """Release 2's betas of the whole brain; parameters and errors as of `record_regions`."""
    files, counts, shape, affine = read_sessions(path, subject, model, sessions)
    rows = trials_of_sessions(shown, counts, f"{path} ({subject})")
    brain = inside(files)
    masks = read_masks(path, subject)
    volumes, notes = regions_inside(masks, shape, subject)
    regions = {name: volume[brain] for name, volume in volumes.items()}
    lost = [name for name, volume in volumes.items() if (volume & ~brain).any()]
    if lost:
        notes.append(f"{', '.join(lost)}: voxels without a value are left out")
    filled = {name: mask for name, mask in regions.items() if mask.any()}
    if volumes and not np.allclose(affine, masks.affine, atol=1e-3):
        notes.append("the affine is that of the masks: that of the betas differs, and is said to be wrong")
    space = VoxelGrid.of_mask(brain, masks.affine if volumes else affine)
    if shown.sessions is not None and (absent := sorted(set(shown.sessions) - set(files))):
        notes.append(f"{len(files)} of {len(set(shown.sessions))} sessions are used; without {in_words(absent)}")
    both = [name for name in filled if name[:2] not in ("LH", "RH")]

    def stored(trials):
        parts = {
            session: {split: np.flatnonzero(np.isin(own, chosen)) for split, chosen in trials.items()}
            for session, own in rows.items()
        }
        return stored_values(files, brain, parts)

    def store(chosen, reference):
        mask = brain.copy()
        mask[brain] = chosen
        return SessionStore(files, mask, reference, scale=1)

    return Recording(
        masks=filled,
        n_voxels=int(brain.sum()),
        default_roi=" + ".join(both) or "all",
        rows=rows,
        knows_sessions=True,
        store=store,
        stored=stored,
        space=space,
        what=f"release 2, whole brain, {MODELS[model]}",
        notes=notes,
    )


def _rows_of_sessions(shown: Shown) -> dict[int, np.ndarray]:
    if shown.sessions is None:
        return {1: np.arange(len(shown.pictures))}
    return {session: np.array(shown.of_session(session)) for session in sorted(set(shown.sessions))}


def _wanted(rows, shown: Shown, sessions):
    if sessions is None:
        return rows
    if shown.sessions is None:
        raise InputError(
            f"{shown.where} does not say of which session a trial is; add the lists of runs or the events of ds001499, or leave "
            "sessions out."
        )
    return chosen_sessions(rows, sessions, shown.where)

"""Splits of one subject of NSD, from rows of its trial table."""

from brainrecon.datasets.nsd import betas as nsd_betas
from brainrecon.datasets.nsd import design as nsd_design
from brainrecon.datasets.split import Split
from stages.ground.errors import InputError


def training_rows(trials, layout, subject):
    """0-based rows of each session's file that show no shared picture; an InputError if there are fewer than two."""
    rows = {}
    for session, table in trials.groupby("session"):
        rows[session] = table.loc[~table["shared"], "row"].to_numpy()
        if len(rows[session]) < 2:
            raise InputError(
                f"Session {session} of {subject} below {layout.root} has {len(rows[session])} training trials; z-scoring "
                "within sessions needs 2 or more: leave zscore out."
            )
    return rows


def make_split(store, trials, stimuli):
    """The split that some rows of the trial table make."""
    pictures = trials["picture"].drop_duplicates().to_numpy()
    runs = trials["run"].to_numpy()
    return Split(
        betas=nsd_betas.SessionBetas(store, trials["session"].to_numpy(), trials["row"].to_numpy()),
        trial_stimulus_ids=[nsd_design.stimulus_id(picture) for picture in trials["picture"]],
        sessions=trials["session"].to_numpy(),
        runs=None if (runs < 0).any() else runs,
        images=stimuli.images(pictures),
        captions=stimuli.captions(pictures),
        categories=stimuli.categories(pictures),
    )


def without_pictures(split):
    """The stimuli of a split for a fingerprint that knows of its pictures otherwise."""
    return Split(split.betas, split.trial_stimulus_ids)

"""Which stimuli a run tests: the dataset's own, a category left out, or clusters of look-alikes left out.

Training and test pictures of large sets resemble each other (NSD's come from the same 80 COCO categories), so that a
method may retrieve instead of reconstruct; scores on held-out categories and clusters tell.
"""

import json
from pathlib import Path

import numpy as np

from brainrecon.datasets.resplit import resplit, with_test
from brainrecon.datasets.spellings import said_of
from brainrecon.runs.shared_stimuli import SHARED, checked_share
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json
from weights import store as checkpoint_store
from weights.suggestions import did_you_mean
from weights.whole_files import write_text

TESTED_SHARE = 0.1
# What a benchmark holds out unless told otherwise: as many clusters, or fewer where they would be smaller than this on average.
MOST_CLUSTERS, STIMULI_OF_A_CLUSTER = 20, 10
# What makes clusters for a method that has no CLIP of its own.
DEFAULT_CLIP = "tiny-clip"


def split_subject(subject, split, encode, remembered=None):
    """Apply a rule to a subject.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    split : str
        ``category:NAME`` (or ``category:NAME,NAME``) tests every stimulus that has one of these categories.
        ``clusters:N`` cuts all stimuli into N clusters by their CLIP image embeddings (k-means) and tests whole
        clusters, about a tenth of the stimuli but one cluster at least: half of them with two clusters.
        ``ids:FILE`` tests the stimuli whose ids stand in a text file, one a line. The name of a split of the dataset's own,
        such as ``imagery``, tests that in place of ``test``.
    encode : callable
        ``encode(split_name) -> array (n_stimuli, n_values)``: CLIP image embeddings of a split; called for clusters
        only.
    remembered : path, optional
        Where the stimuli of clusters are written, and read from the next time: the caller's name for this rule on these
        stimuli under this encoding.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject

    Raises
    ------
    InputError
        No such rule, or one that the data cannot follow; of stimuli that are shared see `brainrecon.runs.shared_stimuli`.
    """
    if split in subject.splits and split != "train":
        return with_test(subject, split)
    rule, value = check_rule(split)
    if rule == "ids":
        return resplit(subject, _of_file(subject, Path(value)), f"stimuli of {Path(value).name}")
    if rule == "category":
        wanted = [name.strip() for name in value.split(",")]
        return resplit(subject, _with_category(subject, wanted), f"category {', '.join(wanted)}")
    if remembered is not None and remembered.exists():
        known = read_json(remembered, dict, "remove it, and it is made again")
        if not isinstance(known.get("stimulus_ids"), list) or not isinstance(known.get("how"), str):
            raise InputError(f"{remembered} says nothing of stimulus_ids and how; remove it, and it is made again.")
        return resplit(subject, known["stimulus_ids"], known["how"])
    ids, how = _in_clusters(subject, int(value), encode)
    if remembered is not None:
        write_text(remembered, json.dumps({"how": how, "stimulus_ids": [str(name) for name in ids]}, indent=1) + "\n")
    return resplit(subject, ids, how)


def clip_image_tokens(subject, split_name, checkpoint, store, device="cpu"):
    """CLIP image tokens of a split's stimuli, from the feature store or freshly encoded: a FeatureTable (n_stimuli, n_values).

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    split_name : str
    checkpoint : str
        Name in `weights/manifest.toml`.
    store : brainrecon.features.store.FeatureStore
    device : str
    """
    from stages.targets.clip import CLIPImageTokens

    split = subject.splits[split_name]
    return store.encode(
        CLIPImageTokens.from_pretrained(checkpoint_store.path(checkpoint), device=device),
        split.images,
        split.stimulus_ids,
        dataset=subject.stimuli_of(split_name),
        checkpoint=checkpoint_store.fingerprint(checkpoint),
    )


def rule_for(subject):
    """The rule of a held-out split that suits a subject's stimuli: as many clusters as have about ten of them, 20 at most.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject

    Returns
    -------
    rule : str
        "" if there are too few stimuli for two such clusters, or no pictures to make clusters of.
    why : str
        Why it is not `MOST_CLUSTERS`, in a sentence; empty if it is.
    """
    splits = (subject.train, subject.test)
    if any(split.images is None for split in splits):
        return "", f"No held-out split: {subject.source} has no pictures to make clusters of."
    n_stimuli = sum(split.n_stimuli for split in splits)
    n_clusters = min(MOST_CLUSTERS, n_stimuli // STIMULI_OF_A_CLUSTER)
    if n_clusters < 2:
        return "", (
            f"No held-out split: {n_stimuli:,} stimuli are too few for clusters of {STIMULI_OF_A_CLUSTER}; --heldout clusters:N "
            "makes one."
        )
    if n_clusters == MOST_CLUSTERS:
        return f"clusters:{n_clusters}", ""
    return f"clusters:{n_clusters}", (
        f"Held-out split: clusters:{n_clusters}, for {n_stimuli:,} stimuli are too few for {MOST_CLUSTERS}."
    )


def check_feasible(subject, split):
    """Raise an InputError for more clusters than a subject has stimuli."""
    rule, value = check_rule(split)
    n_stimuli = subject.train.n_stimuli + subject.test.n_stimuli
    if rule == "clusters" and int(value) > n_stimuli:
        raise InputError(
            f"{n_stimuli:,} stimuli cannot make {int(value):,} clusters; ask for {n_stimuli:,} at most, or leave the split out."
        )


def check_rule(split):
    """The rule of a split and its value; an InputError if there is no such rule."""
    rule, _, value = split.partition(":")
    if (rule in ("category", "ids") and value) or (rule == "clusters" and value.isdigit() and int(value) >= 2):
        return rule, value
    if rule == SHARED:
        return rule, str(checked_share(split))
    raise InputError(
        f"There is no split {split!r}; write category:NAME or clusters:N with N from 2, ids:FILE, shared:SHARE, or the name of "
        "another split that the data have, or leave it out."
    )


def _of_file(subject, path):
    """Ids of a text file, one a line, all of them stimuli of train or test."""
    try:
        named = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as ids, one a line ({error}); name a text file in UTF-8.") from None
    ids = [str(name) for part in (subject.train, subject.test) for name in part.stimulus_ids]
    if not named:
        raise InputError(f"{path} names no stimulus; write an id on each line.")
    if absent := [name for name in dict.fromkeys(named) if name not in set(ids)]:
        raise InputError(
            f"{path} names {len(absent):,} stimuli that {subject.source} does not show in train or test, the first is "
            f"{absent[0]}{said_of(absent[0], ids)}; leave them out, or write them as the data do."
        )
    return named


def _with_category(subject, wanted):
    if not (subject.train.has_categories and subject.test.has_categories):
        raise InputError(f"{subject.source} has no categories to split by; split by clusters:20, or leave split out.")
    parts = (subject.train, subject.test)
    names = [set(own) for part in parts for own in part.categories]
    if absent := [name for name in wanted if not any(name in own for own in names)]:
        known = sorted(set().union(*names))
        more, meant = f" and {len(known) - 20} more" if len(known) > 20 else "", did_you_mean(absent[0], known)
        raise InputError(f"No stimulus has the category {absent[0]!r}; there are {', '.join(known[:20])}{more}{meant}.")
    ids = [name for part in parts for name in part.stimulus_ids]
    return [name for name, own in zip(ids, names) if own & set(wanted)]


def _in_clusters(subject, n_clusters, encode):
    from sklearn.cluster import KMeans

    ids = np.concatenate([subject.train.stimulus_ids, subject.test.stimulus_ids])
    if subject.train.images is None or subject.test.images is None:
        raise InputError(
            f"{subject.source} has no pictures to make clusters of; put them where `brainrecon data files` says, or leave "
            "split out."
        )
    check_feasible(subject, f"clusters:{n_clusters}")
    embeddings, start = None, 0
    for name in ("train", "test"):
        # One array for both, filled as it comes: at the size of NSD it is 7 GB.
        values = np.asarray(encode(name), dtype=np.float32)
        if embeddings is None:
            embeddings = np.empty((len(ids), values.shape[1]), dtype=np.float32)
        embeddings[start : start + len(values)] = values
        start += len(values)
        del values
    for row in embeddings:
        row /= max(np.linalg.norm(row), 1e-12)
    cluster = KMeans(n_clusters, n_init=4, random_state=0, copy_x=False).fit_predict(embeddings)
    tested, count = [], 0
    # The order is drawn, so that neither large nor small clusters are preferred.
    for name in np.random.default_rng(0).permutation(np.unique(cluster)):
        if count and count + (cluster == name).sum() > TESTED_SHARE * len(ids):
            continue
        tested.append(name)
        count += (cluster == name).sum()
    chosen = np.isin(cluster, tested)
    return ids[chosen], f"{len(tested)} of {n_clusters} clusters of CLIP image embeddings"

"""Scores: gather what has been drawn, condition by condition, over all folds."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from brainrecon.assembly.condition import CONDITIONS, RECONSTRUCTION
from brainrecon.datasets.folds import name_of_folds
from brainrecon.datasets.noise_ceiling import median_noise_ceiling
from brainrecon.evaluation.judges import check_judges
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.evaluation.scoring import evaluate as score
from brainrecon.evaluation.tasks.task import Outputs
from brainrecon.runs.category_candidates import candidates_of, n_unseen
from brainrecon.runs.decoded_features import decoded_features
from brainrecon.runs.encoding import brain
from brainrecon.runs.pictures import digest_of_drawn, drawn_outputs
from brainrecon.runs.predicted_responses import predicted_responses
from brainrecon.runs.released_pretraining import is_checkpoint
from brainrecon.runs.texts import texts_on_the_way, true_texts
from brainrecon.runs.values import RunValues
from stages.ground.errors import InputError
from stages.ground.lazy_rows import ConcatenatedRows, as_rows
from stages.ground.progress import SILENT
from stages.ground.read_only import told_if_read_only
from weights import store
from weights.hashes import hash_file
from weights.remark import Remark
from weights.seals import complete_seal, seal


class NothingToCompare(InputError):
    """The dataset has no stimuli that anything which is scored could be compared with."""


def evaluate(run, protocol=None, progress=SILENT):
    """Score every condition that has outputs, by every task of the protocol, and write `scores/<protocol>.csv` and `.json`.

    If the run's folder cannot be written to, a warning says so, and the scores are returned all the same.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
        If it has folds, their outputs are scored together; brain correlation, which needs one training set, is left out.
    protocol : str, optional
        Name of a protocol, or a TOML file of one; by default as `Run.protocol` says.
    progress : callable, optional

    Returns
    -------
    brainrecon.evaluation.scores.scores.Scores

    Raises
    ------
    weights.store.CheckpointError
        Networks of the protocol are absent.
    InputError
        No output of the method itself is there.
    NothingToCompare
        The dataset has no pictures of the stimuli, and nothing is predicted that its captions could be compared with.
    """
    protocol = load_protocol(protocol or run.protocol)
    if draws := run.unfitted.draws:
        check_judges(protocol)
    for part in run.parts:
        # Judges are loaded into the room that the generator leaves.
        part.free()
    subjects = [part.subject for part in run.parts]
    stimulus_ids, shown, categories = shown_of(subjects, needed=False)
    is_shown = shown is not None
    medium = run.unfitted.medium(run.unfitted.output)
    conditions = {name: drawn for name in CONDITIONS if (drawn := drawn_outputs(run, name))[0]}
    if draws and RECONSTRUCTION not in conditions:
        raise InputError(
            f"{run.folder} holds no {medium} of the method itself; run `brainrecon reconstruct {run.folder}` first."
        )
    true = true_texts(run, protocol)
    # Of each predicted value, in turn: nothing is read if the protocol asks for none.
    encodes = run.unfitted.encodes
    candidates = candidates_of(run, progress) if protocol.categories and not encodes else {}
    embeddings, decoded = _embeddings(run, protocol, candidates, progress)
    read = (
        {name: Outputs(*drawn) for name, drawn in conditions.items()}
        if medium == "caption"
        else texts_on_the_way(run, protocol, conditions)
    )
    responses = predicted_responses(run) if encodes else None
    if not (is_shown or embeddings or decoded or responses or (true and read and protocol.captions)):
        # Says that there is nothing.
        shown_of(subjects)
    scores = score(
        shown,
        conditions if medium == "picture" and is_shown else {},
        stimulus_ids=stimulus_ids,
        categories=categories,
        captions=true,
        predicted_captions=read,
        protocol=protocol,
        embeddings=embeddings,
        decoded=decoded,
        candidates=candidates,
        responses=responses,
        brain=brain(run.subject, protocol, run.store.folder, run.machine.device, run.machine.memory, progress)
        if run.parts == [run] and draws and is_shown
        else None,
        data=tested_data(run.parts),
        seed=run.config.seed,
        device=run.machine.device,
        progress=progress,
    )
    notes = (
        *run.config.about_choice(),
        *run.config.about_decoder(),
        *_about_judges(run, protocol),
        *_about_values(run, protocol),
        *_about_chance(run, scores),
        *_about_categories(run, scores),
    )
    if medium == "picture" and not is_shown:
        notes = (*notes, "There are no pictures of these stimuli: what was drawn is not scored.")
    scores = replace(scores, notes=(*scores.notes, *notes), outputs=_digests(run))
    with told_if_read_only("Scores", run.folder):
        write_scores(scores, run.folder)
    return scores


def _about_chance(run, scores):
    """What permutations of predicted embeddings do not know: the mean of the embeddings that a fold was trained on."""
    if len(run.parts) == 1 or not (scores.embeddings or scores.retrieval):
        return []
    return [
        "Embeddings were predicted fold by fold: a stimulus that was left out is not in the mean of the others, so that "
        "chance is lower than permutations and the number of candidates say."
    ]


def _about_categories(run, scores):
    """How many of the categories that were identified nothing was learned of."""
    counted = n_unseen(run) if scores.categories and scores.categories.rows else None
    if counted is None:
        return []
    unseen, n_stimuli = counted
    return [f"{unseen:,} of {n_stimuli:,} test stimuli are of categories that no training picture has."]


def _about_judges(run, protocol):
    """Sentences about networks of a protocol that the method was itself fitted through."""
    own = set(run.config.system.fitted_through)
    return [
        f"{run.config.method} was fitted through {spec.checkpoint}, which also judges here: its scores on "
        f"{spec.label or name} say little."
        for name, spec in protocol.networks.items()
        if spec.checkpoint in own
    ]


def write_scores(scores, folder):
    """Write `scores/<protocol>.csv` and then `.json`: where the latter is, both are whole."""
    scores.to_csv(Path(folder) / "scores" / f"{scores.protocol.name}.csv")
    scores.to_json(Path(folder) / "scores" / f"{scores.protocol.name}.json")
    seal(Path(folder) / "scores")


def scores_file(run, protocol=None):
    """Scores under a protocol; by default the run's own, or the latest of the others if there are none."""
    # Scores hold their protocol whole, so that the name of one of the user's own is enough here.
    path = run.folder / "scores" / f"{protocol}.json"
    if protocol is None or not path.is_file():
        path = run.folder / "scores" / f"{load_protocol(protocol or run.protocol).name}.json"
    if protocol is None and not path.exists():
        others = sorted((run.folder / "scores").glob("[!.]*.json"), key=lambda one: one.stat().st_mtime_ns)
        path = others[-1] if others else path
    return path


def is_scored(run, protocol):
    """Whether `scores_there` finds any."""
    return scores_there(run, protocol) is not None


def scores_there(run, protocol=None):
    """The scores on disk, if scoring again would give the same; None if not.

    They are of this protocol, of the judges that are here, and of all outputs and predicted values that are there.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
    protocol : str or Protocol, optional
        As of `evaluate`.

    Returns
    -------
    brainrecon.evaluation.scores.scores.Scores or None

    Raises
    ------
    InputError
        An output is not what was drawn.
    """
    protocol = load_protocol(protocol or run.protocol)
    path = run.folder / "scores" / f"{protocol.name}.json"
    if not path.exists():
        return None
    try:
        scores = Scores.from_json(path)
    except InputError as error:
        warnings.warn(f"Scores are made again: {error}", Remark, stacklevel=2)
        return None
    if scores.protocol.sha256 != protocol.sha256 or any(
        _is_other(name, digest) for name, digest in scores.checkpoints.items()
    ):
        return None
    if not run.unfitted.draws or (run.unfitted.medium(run.unfitted.output) == "picture" and not has_pictures(run)):
        there = _is_of_what_is_drawn(scores.conditions.get(RECONSTRUCTION), run.stimulus_ids)
    else:
        drawn = {name: drawn_outputs(run, name)[0] for name in CONDITIONS}
        there = all(_is_of_what_is_drawn(scores.conditions.get(name), ids) for name, ids in drawn.items())
    # Scores of before there were digests tell by numbers alone.
    if not there or scores.outputs not in ({}, _digests(run)):
        return None
    # A process may have been killed before it did so.
    complete_seal(path.parent, path.name)
    return scores


@dataclass(frozen=True)
class SplitScores:
    """Scores of one split of a run.

    Attributes
    ----------
    run : brainrecon.runs.run.Run
        That of the split.
    scores : brainrecon.evaluation.scores.scores.Scores or None
    were_there : bool
        Whether they were read and not computed.
    why_not : str
        Why there are none, a sentence.
    """

    run: object
    scores: Scores | None = None
    were_there: bool = False
    why_not: str = ""


def score_splits(run, protocol=None, again=False, progress=SILENT):
    """Score every split of a run that is not scored as it is: the run's own, then those that are tested beside it.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
    protocol : str or Protocol, optional
        As of `evaluate`, the same for all splits.
    again : bool
        Also those whose scores are there.
    progress : callable, optional

    Returns
    -------
    dict of str to SplitScores
        By split. One beside that cannot be compared with anything is not scored; the run's own has to be.
    """
    protocol, found = protocol or run.protocol, {}
    for name, one in run.splits.items():
        there = None if again else scores_there(one, protocol)
        try:
            found[name] = SplitScores(one, there or evaluate(one, protocol, progress), there is not None)
        except NothingToCompare as error:
            if one is run:
                raise
            found[name] = SplitScores(one, why_not=str(error))
    return found


def _digests(run):
    """What tells everything that is scored from anything else: digests of outputs by condition, and of predicted values."""
    found = (
        {name: digest for name in CONDITIONS if (digest := digest_of_drawn(run, name))} if run.unfitted.draws else {}
    )
    digest = hashlib.sha256()
    for part in run.parts:
        for path in sorted(part.layout.embeddings("test").parent.glob("test*.safetensors")):
            digest.update(f"{path.name} {hash_file(path)} ".encode())
    return found | {"predicted values": digest.hexdigest()}


def _is_other(checkpoint, digest):
    """Whether a judge is here and is not the one that judged."""
    try:
        return store.fingerprint(checkpoint) != digest
    except store.CheckpointError:
        return False


def _is_of_what_is_drawn(scored, ids):
    if scored is None:
        return not ids
    return Counter(ids) == dict(zip(scored.stimulus_ids, scored.n_samples))


def tested_data(parts):
    """What tells the data of a run from another vintage of them, in plain values; folds are a split with a name."""
    n_stimuli, asked = sum(part.subject.test.n_stimuli for part in parts), parts[0].config.data
    others = ", ".join(name for name in asked.subjects or () if name != asked.subject)
    known = {"others_first" if asked.is_of_new_subject else "others_together": others} if others else {}
    if is_checkpoint(parts[0].config.pretrained):
        known["pretrained"] = parts[0].config.pretrained
    return data_of(parts[0].subject, n_stimuli) | known | (in_folds(asked.folds, n_stimuli) if asked.folds else {})


def in_folds(folds, n_stimuli):
    """What tells data that were tested fold by fold from those of the dataset's own split."""
    return {"split": name_of_folds(folds, n_stimuli), "folds": folds}


def has_pictures(run):
    """Whether there are pictures of all test stimuli."""
    return all(part.subject.test.images is not None for part in run.parts)


def shown_pictures(run):
    """Pictures of all test stimuli of all parts, dict of stimulus to uint8 (height, width, 3); empty if there are none."""
    if not has_pictures(run):
        return {}
    ids, shown, _ = shown_of([part.subject for part in run.parts])
    return dict(zip(ids, np.asarray(shown[:])))


def shown_of(subjects, needed=True):
    """All test stimuli of some subjects: (ids, pictures that are read when they are looked at, categories of each or None).

    None for the pictures of stimuli without any, such as imagined ones, unless they are `needed`.
    """
    ids, images, categories = [], [], []
    for subject in subjects:
        test = subject.test
        if test.images is None and needed:
            split = subject.details.get("split", "test")
            raise NothingToCompare(
                f"{subject.source} has no pictures of {split} to compare with, so that {split} is not scored; put them where "
                "`brainrecon data files` says."
            )
        ids += [str(name) for name in test.stimulus_ids]
        images.append(test.images)
        categories += test.categories or []
    if any(own is None for own in images):
        shown = None
    else:
        shown = images[0] if len(images) == 1 else ConcatenatedRows([as_rows(own) for own in images])
    return ids, shown, categories if len(categories) == len(ids) else None


def _embeddings(run, protocol, candidates, progress):
    """(true, predicted) values that the protocol scores, or that are decoded from regions; what is known of the latter.

    Among the predicted ones are those that categories are identified by, under their own names. Of a chain that encodes there
    are none: its embeddings are those of the very pictures that were shown.
    """
    if run.unfitted.encodes:
        return None, {}
    true, predicted = {}, {}
    for part in run.parts:
        compared = _compared(part.chain, protocol)
        values_of = {target: name for target, name in compared.items() if _can_be_encoded(part, name)}
        if not values_of and not candidates:
            break
        values = RunValues(part)
        features = values.true_features(tuple(values_of.values()), "test")
        for target, name in values_of.items():
            true.setdefault(target, []).append(features[name])
        for target, name in ({name: name for name in candidates} | values_of).items():
            predicted.setdefault(target, []).append(values.predicted("test", part.chain.giver(name))[name])
    own_true, own_predicted, decoded = decoded_features(run, protocol, progress)
    for target, name in _compared(run.unfitted, protocol).items():
        if name != target and target in decoded:
            # Another value stands under its name, and nothing of that one was decoded from halves.
            decoded[target] = replace(decoded[target], halves=None)
    true, predicted = ({name: _one_table(tables) for name, tables in kind.items()} for kind in (true, predicted))
    true, predicted = own_true | true, own_predicted | predicted
    return (true, predicted) if predicted else None, decoded


def _compared(chain, protocol):
    """Target that the protocol scores or searches -> value of the chain by which it is compared, dict of str to str."""
    names = {name: chain.system.compared_by.get(name, name) for name in sorted(protocol.targets)}
    return {target: name for target, name in names.items() if name in chain.targets}


def _can_be_encoded(part, name):
    """Whether the stimuli of a run without folds have what a target takes: pictures, captions, or their names alone."""
    test, takes = part.subject.test, part.chain.targets[name].outline.takes
    if takes == "captions":
        return test.images is not None or test.has_captions or bool(part.config.data.captions)
    return takes == "stimulus_ids" or test.images is not None


def _about_values(run, protocol):
    """Sentences on targets of the protocol that are compared by a value of another name."""
    return [
        f"{run.config.method} is compared by {name} where the protocol asks for {target}."
        for target, name in _compared(run.unfitted, protocol).items()
        if name != target
    ]


def _one_table(tables):
    """The tables of all parts, one below the other."""
    return tables[0] if len(tables) == 1 else np.concatenate([np.asarray(table) for table in tables])


def data_of(subject, n_stimuli):
    """What tells one subject's data from another vintage of them, in plain values."""
    # Which fold it was is no property of the whole.
    details = {name: value for name, value in subject.details.items() if name != "fold"}
    plain = {"dataset": subject.dataset, "subject": subject.name, "roi": subject.region, "test_stimuli": n_stimuli}
    known = ({"simulated": True} if subject.simulated else {}) | (
        {"pictures": subject.pictures} if subject.pictures else {}
    )
    ceiling = median_noise_ceiling(subject)
    known |= {"voxels": subject.n_voxels} | ({} if ceiling is None else {"noise_ceiling_percent": ceiling})
    return plain | known | details

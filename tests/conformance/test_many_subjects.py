"""Laws of every system of several subjects: nobody's files or values depend on who else stands beside."""

import signal
from functools import cache
from hashlib import sha256

import numpy as np
import pytest
import torch
from chains import COMPLETE
from small_systems import SMALL, pull_random

from brainrecon import simulate
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import with_weights
from brainrecon.assembly.values import Item
from brainrecon.runs.config import RunConfig
from brainrecon.runs.run import Run
from stages.decoders.learner import NetworkWithObjectives
from stages.ground.errors import InputError

TOGETHER = [name for name in COMPLETE if system_class(name).many_subjects == "together"]
REFERENCE = [name for name in COMPLETE if system_class(name).many_subjects == "reference"]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Folder of a simulated cohort of three, with other numbers of voxels than usual, and of what is made with it."""
    place = tmp_path_factory.mktemp("many")
    simulate(place / "nsd", subjects=3, sessions=2, trials_per_session=45, shared=6, voxels=160)
    return place


@pytest.fixture(scope="module")
def made(places):
    """``made(name, folder, **data) -> Run``, not fitted."""

    def make(name, folder, pretrained=None, **data):
        patch.setenv("BRAINRECON_WEIGHTS", str(places / name / "store"))
        if not (places / name / "store").exists():
            pull_random(name, places / name / "origins")
        settings = with_weights(SMALL[name].nested(), system_class(name), SMALL[name].weights)
        values = {"method": name, "data": {"source": f"nsd:{places / 'nsd'}"} | data, "settings": settings}
        values |= {"pretrained": str(pretrained)} if pretrained else {}
        return Run.create(places / name / folder, RunConfig.from_dict(values), places / "features")

    with pytest.MonkeyPatch.context() as patch:
        yield make


@pytest.fixture(scope="module")
def together(made):
    """``together(name) -> Run``, fitted on two subjects once for all tests, which change nothing of it."""
    return cache(lambda name: made(name, "together", subjects=["subj02", "subj01"]).fit())


def digests(folder):
    """Hash of every file below a folder that is not hidden, by its name."""
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def test_there_are_some():
    assert TOGETHER and REFERENCE


@pytest.mark.parametrize("name", TOGETHER)
def test_each_subject_of_a_joint_training_is_read_by_its_own_inputs(name, together):
    run = together(name)
    assert [one.subject.name for one in run.splits.values()] == ["subj02", "subj01"]
    patterns = run.subject.test.patterns
    for step in (step for step in run.chain.steps if step.reads == ("patterns",)):

        def values(rows, whose, step=step):
            return step.run([Item(whose, str(row)) for row in range(len(rows))], {"patterns": rows})

        all_of_them, other = values(patterns, "subj01"), values(patterns, "subj02")
        for value, found in values(patterns[2:3], "subj01").items():
            scale = all_of_them[value].std()
            np.testing.assert_allclose(found, all_of_them[value][2:3], atol=1e-4 * scale, err_msg=value)
            assert np.abs(other[value] - all_of_them[value]).max() > 0.01 * scale, value
        with pytest.raises(InputError, match="subj03"):
            values(patterns, "subj03")


@pytest.mark.parametrize("name", TOGETHER)
def test_what_is_decoded_of_a_subject_does_not_depend_on_who_else_is_in_the_batch(name, together):
    run, random = together(name), torch.Generator().manual_seed(1)
    networks = [step.decoder.network.eval() for step in run.chain.steps if hasattr(step, "decoder")]
    networks = [network for network in networks if hasattr(network, "subjects")]
    assert networks
    for network in networks:
        first, other = ({name: torch.randn(3, n, generator=random)} for name, n in network.n_voxels.items())
        with torch.inference_mode():
            alone, before, behind = network(first), network({**other, **first}), network({**first, **other})
        for value, rows in alone.items():
            if len(rows) == 3:
                for found in (before[value][3:], behind[value][:3]):
                    torch.testing.assert_close(found, rows, atol=1e-4 * float(rows.std()), rtol=1e-4, msg=value)


@pytest.mark.parametrize("name", TOGETHER)
def test_a_new_subject_changes_nothing_of_those_before(name, made, together, places):
    before = together(name)
    files = digests(before.folder)
    for sessions in (1, 2):
        data = {"subjects": ["subj02", "subj01"], "subject": "subj03", "sessions": sessions}
        new = made(name, f"after-{sessions}", pretrained=before.folder, **data).fit()
        assert new.is_fitted and digests(before.folder) == files
    assert digests(places / name / "after-1") != digests(places / name / "after-2")


@pytest.mark.parametrize("name", TOGETHER)
def test_a_joint_training_that_was_killed_ends_in_the_same_bytes(name, made, together, places, monkeypatch):
    whole, killed = together(name), made(name, "killed", subjects=["subj02", "subj01"])
    stops, forward = [2, 5], NetworkWithObjectives.forward

    def stopped(learner, batch, *more):
        # As a person does who types Ctrl-C, in two different steps.
        if stops and batch["step"] == stops[0]:
            stops.pop(0)
            signal.raise_signal(signal.SIGINT)
        return forward(learner, batch, *more)

    monkeypatch.setattr(NetworkWithObjectives, "forward", stopped)
    for left in (1, 0):
        with pytest.raises(KeyboardInterrupt):
            killed.fit()
        assert len(stops) == left
        killed = Run(killed.folder, places / "features")
    killed.fit()
    assert digests(whole.folder / "decoder") == digests(killed.folder / "decoder")


@pytest.mark.parametrize("name", REFERENCE)
def test_a_reference_serves_several_subjects_and_stays_as_it_is(name, made):
    runs = {
        who: made(name, who, subjects=["subj01"], subject=who, split="shared:0.5").fit() for who in ("subj02", "subj03")
    }
    kept = [step.part for step in runs["subj02"].chain.steps if step.is_learned and step.for_new_subject == "keep"]
    assert kept
    for part in kept:
        of_each = [
            {path.name: path.read_bytes() for path in (run.layout.decoder / part).glob("*.safetensors")}
            for run in (*runs.values(), runs["subj02"].pretraining)
        ]
        assert of_each[0] and of_each[0] == of_each[1] == of_each[2]
    for run in runs.values():
        tested = run.subject.test.stimulus_ids
        assert not np.isin(tested, run.pretraining.subject.train.stimulus_ids).any()
        assert not np.isin(tested, run.subject.train.stimulus_ids).any()

"""Laws of every system, published or not, on its small twin: embedded networks, or random ones in the published layouts."""

import json
import tomllib
from contextlib import nullcontext
from functools import cached_property

import numpy as np
import pytest
import tomli_w
from chains import COMPLETE, chain_of
from small_systems import SMALL, pull_random, small_chain

from brainrecon.assembly.condition import CONDITIONS, RECONSTRUCTION, SHUFFLED_RESPONSES
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import from_dict, to_dict, with_weights
from brainrecon.assembly.values import Item
from brainrecon.cli.main import run_command
from brainrecon.datasets.split import Split
from brainrecon.runs.config import RunConfig
from brainrecon.runs.layout import MEDIA
from brainrecon.runs.run import Run
from brainrecon.runs.values import RunValues
from weights import store

# Nobody published these: the nulls, and Brain-Diffuser's two stages with other generators.
UNPUBLISHED = {
    *("mean-image", "nearest-training-picture", "nearest-training-caption", "most-frequent-caption"),
    *("ridge-to-pixels", "noise"),
    *("brain-diffuser-sd", "brain-diffuser-sdxl", "brain-diffuser-unclip", "brain-diffuser-kandinsky"),
}
EVERY_SYSTEM = pytest.mark.parametrize("name", COMPLETE)


def variants(name):
    """Settings that a user may well ask for: the defaults, the embedded networks, no captions."""
    kind = system_class(name)
    return [{}, with_weights({}, kind, "tiny"), dict(kind.without_captions)]


@EVERY_SYSTEM
def test_the_twins_settings_are_what_a_file_of_settings_gives_back(name):
    """A tuple comes back as a list: what is asked for would differ from what a plan has kept."""
    tiny = dict(system_class(name).tiny)
    assert tomllib.loads(tomli_w.dumps(tiny)) == tiny


class Finished:
    """A system's run on a small cohort, interrupted twice and finished, and what its chain draws in one go.

    Attributes
    ----------
    name : str
    run : brainrecon.runs.run.Run
        Opened anew, so that its networks are loaded once for all that is asked below.
    written : list of pathlib.Path
        What was written, in that order, before and after it was interrupted.
    """

    def __init__(self, name, run, written):
        self.name, self.run, self.written = name, run, written
        test = run.subject.test
        self.names, self.patterns = list(map(str, test.stimulus_ids)), np.asarray(test.patterns)
        assert len(self.names) == 4 and len(set(test.repeats.tolist())) == 1

    def drawn(self, chain, rows=slice(None), **options):
        """What a chain draws for some rows of the test stimuli."""
        names, repeats = np.array(self.names)[rows], int(self.run.subject.test.repeats[0])
        return chain.run_from_patterns(
            names, self.patterns[rows], repeats=repeats, seed=self.run.config.seed, **options
        )

    @cached_property
    def in_one_go(self):
        return self.drawn(self.run.chain)

    def files(self, condition):
        return [self.run.image_path(condition, one) for one in self.names]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Folder of a small cohort, and of the features that the systems share."""
    place = tmp_path_factory.mktemp("systems")
    options = "--sessions 2 --trials-per-session 45 --shared 4 --voxels 160"
    assert run_command(["simulate", str(place / "nsd"), *options.split()]) == 0
    return place


@pytest.fixture(scope="module", params=COMPLETE)
def finished(request, places):
    """Each system in turn: fitted, drawn under every condition that applies, killed between two files twice meanwhile."""
    name = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINRECON_WEIGHTS", str(places / name / "store"))
        pull_random(name, places / name / "origins")
        settings = with_weights(SMALL[name].nested(), system_class(name), SMALL[name].weights)
        data = {"source": f"nsd:{places / 'nsd'}", "subject": "subj01"}
        config = RunConfig.from_dict({"method": name, "data": data, "settings": settings})
        folder, features = places / name / "run", places / "features"
        written = []
        # Some values on the way are written as it is fitted.
        noting(Run.create(folder, config, features), written).fit()
        fitted = len(written)
        # The second time it is within the second condition.
        for limit in (fitted + 2, fitted + 6, None):
            run = noting(Run(folder, features), written, limit)
            with nullcontext() if limit is None else pytest.raises(KeyboardInterrupt):
                run.reconstruct([one for one in CONDITIONS if CONDITIONS[one].applies_to(run.unfitted)])
        yield Finished(name, Run(folder, features), written)


def noting(run, written, limit=None):
    """A run that notes what it writes, and is interrupted as it is about to write file `limit`."""
    write = run.write_value

    def write_or_die(path, value, medium):
        if len(written) == limit:
            raise KeyboardInterrupt
        written.append(path)
        write(path, value, medium)

    run.write_value = write_or_die
    return run


def kept(paths):
    """Outputs, or values on the way, in files of a run, in an array."""
    by_suffix = {medium.suffix: medium for medium, _ in MEDIA.values()}
    return np.stack([np.asarray(by_suffix[path.suffix].read(path)) for path in paths])


def assert_alike(one, other):
    """Pictures differ by one grey level at most; captions are equal."""
    if one.dtype == np.uint8:
        assert np.abs(one.astype(int) - other).max() <= 1
    else:
        np.testing.assert_array_equal(one, other)


def test_every_system_has_a_small_twin():
    assert set(SMALL) == set(COMPLETE)


@EVERY_SYSTEM
def test_its_chain_is_closed(name):
    kind = system_class(name)
    assert kind.name == name and kind.explanation
    for settings in [*variants(name), SMALL[name].nested()]:
        chain = chain_of(name, settings)
        assert chain.output in chain.steps[-1].gives
        assert {chain.medium(value) for value in chain.given} <= set(MEDIA)
        assert chain.targets.keys() <= set(chain.given)
        parts = [step.part for step in chain.steps if step.is_learned]
        assert parts and len(set(parts)) == len(parts)
        # What is given is read, or shown, or is the output, or what one region of several tells, or what pictures are compared
        # by: nothing is computed for nobody.
        shown = {one.shown(chain) for one in CONDITIONS.values() if one.applies_to(chain)}
        shown |= {value for value, target in chain.target_of.items() if value != target}
        shown |= {kind.image_embedding, *kind.compared_by.values()}
        assert all(chain.readers(value) or value in shown for step in chain.steps for value in step.gives)


@EVERY_SYSTEM
def test_a_published_system_is_cited(name):
    citation = system_class(name).citation
    assert bool(citation) == (name not in UNPUBLISHED)
    if citation:
        authors, year = citation.split(" (")[:2]
        assert authors and 1990 < int(year[:4]) < 2100 and citation.endswith(".")


@EVERY_SYSTEM
def test_settings_survive_dictionaries_and_files(name, tmp_path):
    kind = system_class(name)
    for number, values in enumerate(variants(name)):
        settings = from_dict(kind.settings_class, values)
        assert from_dict(kind.settings_class, to_dict(settings)) == settings
        config = RunConfig.from_dict({"method": name, "data": {"source": "nsd:/somewhere"}, "settings": values})
        config.write(tmp_path / f"{number}.toml")
        again = RunConfig.read(tmp_path / f"{number}.toml")
        assert again == config and again.settings == settings


@EVERY_SYSTEM
@pytest.mark.parametrize(("n_stimuli", "repeats"), [(9, 8), (200, 1)])
def test_what_the_data_settle_is_settled_for_good(name, n_stimuli, repeats):
    """A run records it, and goes on with what it recorded."""
    names = np.repeat([f"s{row:03d}" for row in range(n_stimuli)], repeats)
    train = Split(np.zeros((len(names), 4), np.float32), names)
    for values in variants(name):
        system = system_class(name)(values)
        settled = system.settled(train)
        assert isinstance(settled, system.settings_class)
        again = system_class(name)(from_dict(system.settings_class, to_dict(settled)))
        assert again.settled(train) == settled


@EVERY_SYSTEM
def test_every_checkpoint_is_in_the_manifest_and_says_who_needs_it(name):
    known, kind = store.checkpoints(), system_class(name)
    for values in variants(name):
        for checkpoint in kind(values).checkpoints:
            entry = known[checkpoint]
            # Embedded networks stand in for others wherever there is one.
            assert entry.embedded or name in entry.needed_by, checkpoint


def test_conditions_that_apply_have_outputs(finished):
    run = finished.run
    conditions = [one for one in CONDITIONS if CONDITIONS[one].applies_to(run.chain)]
    assert RECONSTRUCTION in conditions
    for condition in conditions:
        outputs = kept(finished.files(condition))
        assert all(one.std() > 0 if one.dtype == np.uint8 else str(one) for one in outputs), condition
    # Under no other condition anything was drawn.
    folders = {path.name for path in (run.folder / "controls").iterdir()}
    assert folders <= set(conditions)


def test_killed_between_two_files_nothing_is_drawn_twice(finished):
    folder, written = finished.run.folder, finished.written
    there = {path for medium, _ in MEDIA.values() for path in folder.rglob(f"stim-*{medium.suffix}")}
    assert len(written) == len(set(written)) and set(written) == there
    lines = [json.loads(line)["file"] for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert sorted(lines) == sorted(path.relative_to(folder).as_posix() for path in there)


def test_a_run_draws_what_its_chain_draws(finished):
    """The run was interrupted, within its shuffled responses too; the chain draws in one go."""
    assert_alike(finished.in_one_go[:, 0], kept(finished.files(RECONSTRUCTION)))
    chain = finished.run.chain
    if CONDITIONS[SHUFFLED_RESPONSES].applies_to(chain):
        step, values = chain.giver(chain.output), RunValues(finished.run)
        items = [Item(finished.run.subject.name, one) for one in finished.names]
        read = values.values(SHUFFLED_RESPONSES, step, items)
        found = dict(step.stream(items, read, seed=finished.run.config.seed, batch_size=step.batch_size()))
        found = np.stack([found[row][chain.output] for row in range(len(items))])
        assert_alike(found, kept(finished.files(SHUFFLED_RESPONSES)))


def test_saved_and_opened_again_it_draws_the_same(finished, tmp_path):
    run = finished.run
    run.chain.save(tmp_path / "saved")
    again = small_chain(finished.name).open(
        tmp_path / "saved", run.store, training_pictures=lambda: run.subject.train.images
    )
    np.testing.assert_array_equal(finished.drawn(again), finished.in_one_go)
    one, other = (
        json.loads((folder / "method.json").read_text()) for folder in (run.layout.decoder, tmp_path / "saved")
    )
    assert one == other


def test_an_output_does_not_depend_on_who_else_is_asked_for(finished):
    chain, some = finished.run.chain, [3, 1]
    two_of_each = finished.drawn(chain, some, samples=2, batch_size=3)
    assert_alike(two_of_each[:, 0], finished.in_one_go[some, 0])
    assert_alike(finished.drawn(chain, [1], samples=2)[0], two_of_each[1])

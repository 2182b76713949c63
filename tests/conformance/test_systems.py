"""Laws of every system, published or not, on its small twin: embedded networks, or random ones in the published layouts."""

import json
import shutil
import tomllib

import numpy as np
import pytest
import tomli_w
from chains import COMPLETE, chain_of
from small_systems import SMALL, pull_random, small_chain

from brainrecon.assembly.condition import CONDITIONS, RECONSTRUCTION
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import from_dict, to_dict, with_weights
from brainrecon.cli.main import run_command
from brainrecon.datasets.subject import Split
from brainrecon.runs.config import RunConfig
from brainrecon.runs.layout import MEDIA
from brainrecon.runs.run import Run
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


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """Maker of a run of a system on a small cohort: fitted, and drawn under every condition that applies, once."""
    place = tmp_path_factory.mktemp("systems")
    options = "--sessions 2 --trials-per-session 45 --shared 6 --voxels 160"
    assert run_command(["simulate", str(place / "nsd"), *options.split()]) == 0

    def make(name):
        patch.setenv("BRAINRECON_WEIGHTS", str(place / name / "store"))
        folder = place / name / "run"
        if not folder.exists():
            pull_random(name, place / name / "origins")
            settings = with_weights(SMALL[name].nested(), system_class(name), SMALL[name].weights)
            data = {"source": f"nsd:{place / 'nsd'}", "subject": "subj01"}
            config = RunConfig.from_dict({"method": name, "data": data, "settings": settings})
            run = Run.create(folder, config, place / "features").fit()
            run.reconstruct([one for one in CONDITIONS if CONDITIONS[one].applies_to(run.unfitted)])
        return Run(folder, place / "features")

    with pytest.MonkeyPatch.context() as patch:
        yield make


def drawn(chain, names, patterns, **options):
    return chain.run_from_patterns(names, patterns, seed=3, **options)


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
        # What is given is read, or shown, or is the output, or what one region of several tells: nothing is computed for nobody.
        shown = {one.shown(chain) for one in CONDITIONS.values() if one.applies_to(chain)}
        shown |= {value for value, target in chain.target_of.items() if value != target}
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


@EVERY_SYSTEM
def test_conditions_that_apply_have_outputs(run_of, name):
    run = run_of(name)
    names = list(map(str, run.subject.test.stimulus_ids))
    conditions = [one for one in CONDITIONS if CONDITIONS[one].applies_to(run.chain)]
    assert RECONSTRUCTION in conditions and len(names) == 6
    for condition in conditions:
        outputs = kept([run.image_path(condition, one) for one in names])
        assert all(one.std() > 0 if one.dtype == np.uint8 else str(one) for one in outputs), condition
    # Under no other condition anything was drawn.
    folders = {path.name for path in (run.folder / "controls").iterdir()}
    assert folders <= set(conditions)


@EVERY_SYSTEM
def test_saved_and_opened_again_it_draws_the_same(run_of, name, tmp_path):
    run = run_of(name)
    chain, test = run.chain, run.subject.test
    repeats = int(test.repeats[0])
    assert (test.repeats == repeats).all()
    before = drawn(chain, test.stimulus_ids, test.patterns, repeats=repeats)
    chain.save(tmp_path / "saved")
    again = small_chain(name).open(tmp_path / "saved", run.store, training_pictures=lambda: run.subject.train.images)
    after = drawn(again, test.stimulus_ids, test.patterns, repeats=repeats)
    np.testing.assert_array_equal(after, before)
    one, other = (
        json.loads((folder / "method.json").read_text()) for folder in (run.layout.decoder, tmp_path / "saved")
    )
    assert one == other


@EVERY_SYSTEM
def test_a_run_draws_what_its_chain_draws(run_of, name):
    run = run_of(name)
    test = run.subject.test
    found = run.chain.run_from_patterns(test.stimulus_ids, test.patterns, repeats=int(test.repeats[0]))[:, 0]
    assert_alike(found, kept([run.image_path(RECONSTRUCTION, one) for one in test.stimulus_ids]))


@EVERY_SYSTEM
def test_an_output_does_not_depend_on_who_else_is_asked_for(run_of, name):
    run = run_of(name)
    chain, names, patterns = run.chain, run.subject.test.stimulus_ids, run.subject.test.patterns
    whole = drawn(chain, names, patterns, samples=2)
    some = np.array([4, 1])
    assert_alike(drawn(chain, names[some], patterns[some], samples=2, batch_size=3), whole[some])
    assert_alike(drawn(chain, names[2:3], patterns[2:3])[:, 0], whole[2:3, 0])


@EVERY_SYSTEM
def test_killed_between_two_files_nothing_is_drawn_twice(run_of, name, tmp_path):
    done = run_of(name)
    folder = tmp_path / "run"
    for place in ("config.toml", "environment.json"):
        folder.mkdir(exist_ok=True)
        shutil.copy(done.folder / place, folder / place)
    for place in ("decoder", "embeddings"):
        if (done.folder / place).exists():
            shutil.copytree(done.folder / place, folder / place)
    conditions = [one for one in (RECONSTRUCTION, "shuffled_responses") if CONDITIONS[one].applies_to(done.unfitted)]
    written = []
    for limit in (2, 7, None):
        run = Run(folder, done.store.folder)
        write = run.write_value

        def write_or_die(path, value, medium, write=write, limit=limit):
            if len(written) == limit:
                raise KeyboardInterrupt
            written.append(path)
            write(path, value, medium)

        run.write_value = write_or_die
        if limit is None:
            run.reconstruct(conditions)
        else:
            with pytest.raises(KeyboardInterrupt):
                run.reconstruct(conditions)
    there = {path for pattern in ("*.png", "*.txt") for path in folder.rglob(pattern)}
    assert len(written) == len(set(written)) and set(written) == there
    lines = [json.loads(line)["file"] for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert sorted(lines) == sorted(path.relative_to(folder).as_posix() for path in there)
    # Interrupted, an output is what it is in one go.
    for path in there:
        assert_alike(kept([path]), kept([done.folder / path.relative_to(folder)]))

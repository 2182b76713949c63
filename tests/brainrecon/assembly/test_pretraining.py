"""The step that pretrains an encoder: alone, in a chain before a network that begins with it, and before a new subject."""

import numpy as np
import pytest
import torch
from counting_targets import MeanColour
from painter import Paint, PainterSettings
from small_decoders import EncodedHead, SharedTrunk

from brainrecon.assembly import registry
from brainrecon.assembly.chain import Chain
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.pretraining import MaskedBrainSettings, Pretrain
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Machine, Training, Workspace
from brainrecon.datasets import load
from brainrecon.datasets.cohort import Cohort
from brainrecon.runs.run import Run
from stages.decoders.masked_pretraining import MaskedPretraining
from stages.decoders.trained import TrainedDecoder
from stages.ground.errors import InputError
from stages.networks.masked_brain import load_masked_brain
from stages.training.recipe import OptimiserSpec, Recipe

SETTINGS = MaskedBrainSettings(
    width=16,
    depth=1,
    n_heads=2,
    decoder_width=8,
    decoder_depth=1,
    decoder_heads=2,
    epochs=3,
    warmup_epochs=1,
    batch_size=20,
    learning_rate=1e-3,
)
RECIPE = Recipe(steps=4, batch_size=12, optimiser=OptimiserSpec("adamw", 1e-6))


def colour():
    return TargetSource(MeanColour, checkpoints=(), dtype="float32", identity=lambda: "mean colour")


def responses_of(split, settings=SETTINGS):
    return np.asarray(split.betas if settings.trials == "single" else split.patterns)


class Encoded(System):
    """A network that begins with an encoder that was pretrained before it, on the same responses."""

    name, explanation, settings_class = "encoded", "a pretrained encoder", PainterSettings
    of_drawing = ("brightness",)

    def steps(self, machine):
        pretrain = Pretrain(SETTINGS, machine.device)
        decoder = TrainedDecoder(
            EncodedHead,
            RECIPE,
            arguments=SETTINGS.encoder_sizes,
            begin=lambda network: pretrain.begin(network.encoder),
            standardise="all voxels together",
        )
        return [pretrain, Learn({"colour": colour()}, decoder, machine.device, "single"), Paint(1.0)]


class Together(Encoded):
    name, many_subjects = "encoded-together", "together"

    def steps(self, machine):
        return [
            Pretrain(SETTINGS, machine.device),
            Learn({"colour": colour()}, TrainedDecoder(SharedTrunk, RECIPE), trials="single"),
            Paint(1.0),
        ]


@pytest.fixture(autouse=True)
def here(three_subjects, tmp_path, monkeypatch):
    for kind in (Encoded, Together):
        monkeypatch.setitem(registry._REGISTERED, kind.name, kind)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nsd").symlink_to(three_subjects)


@pytest.fixture(scope="module")
def subject(three_subjects):
    return load(f"nsd:{three_subjects}", subject="subj01")


def fitted(subject, settings=SETTINGS, start=None, **workspace):
    step = Pretrain(settings, start=start)
    step.fit(Training({subject.name: subject}, dict), Workspace(store=None, **workspace))
    return step


def of(network):
    return {name: one.clone() for name, one in network.state_dict().items()}


def same(found, expected):
    return all(torch.equal(one, expected[name]) for name, one in found.items())


def test_it_is_the_pretraining_of_the_training_responses(subject):
    step, train = fitted(subject), responses_of(subject.train)
    expected = SETTINGS.pretraining(len(train)).fit({"subj01": train})
    assert same(of(step.pretraining.network), expected.network.state_dict())
    # As published: warm-up and epochs are of as many steps as the responses fill.
    recipe = SETTINGS.recipe(len(train))
    in_epoch = -(-len(train) // 20)
    assert (recipe.steps, recipe.schedule.warmup, recipe.validate_every) == (3 * in_epoch, in_epoch, in_epoch)


def test_settings_by_default_are_the_published_ones():
    recipe = MaskedBrainSettings().recipe(136_000)
    assert recipe.steps == 500 * 1360 and recipe.schedule.warmup == 40 * 1360 and recipe.clip == 0.8
    assert recipe.optimiser == OptimiserSpec("adamw", 2.5e-4, 0.05, undecayed="vectors", betas=(0.9, 0.95))
    with torch.device("meta"):
        network = MaskedBrainSettings().pretraining(100).cost(4643)
    assert network.parameters == 164_868_112


def test_tested_responses_are_learned_from_only_where_that_is_asked_for_and_it_is_said(subject):
    settings = MaskedBrainSettings(**vars(SETTINGS) | {"transductive": True})
    step, test = fitted(subject, settings), subject.test
    both = np.concatenate([np.asarray(test.patterns), np.asarray(test.betas)])
    expected = SETTINGS.pretraining(len(both)).fit({"subj01": both})
    assert same(of(step.pretraining.network), expected.network.state_dict())
    assert "tested stimuli" in step.remarks()[0] and not fitted(subject).remarks()
    assert step.cost(subject.train) == [] and step.told(frozenset()) == {"pretrained on": "tested responses"}


def test_averages_may_be_learned_from(subject):
    settings = MaskedBrainSettings(**vars(SETTINGS) | {"trials": "averaged"})
    expected = settings.pretraining(subject.train.n_stimuli).fit({"subj01": np.asarray(subject.train.patterns)})
    assert same(of(fitted(subject, settings).pretraining.network), expected.network.state_dict())


def test_it_goes_on_from_a_checkpoint_and_from_the_subjects_before(subject, tmp_path):
    fitted(subject).save(tmp_path / "before")
    before, rate = load_masked_brain(tmp_path / "before", None).state_dict(), 1e-7
    little = MaskedBrainSettings(**vars(SETTINGS) | {"learning_rate": rate})
    for options in ({"start": lambda: tmp_path / "before"}, {"pretrained": tmp_path / "before"}):
        found = fitted(subject, little, **options).pretraining.network.state_dict()
        assert max((found[name] - one).abs().max().item() for name, one in before.items()) < 1e-5


def test_a_network_behind_it_begins_with_what_was_learned(subject, tmp_path):
    chain = Chain(Encoded(), Machine())
    chain.fit_in_memory(subject)
    pretrain, learn, _ = chain.steps
    learned, encoder = pretrain.pretraining.network.state_dict(), learn.decoder.network.network.encoder
    # Four steps at a millionth change next to nothing.
    assert all((one - learned[name]).abs().max() < 1e-5 for name, one in encoder.state_dict().items())
    chain.save(tmp_path / "decoder")
    opened = Chain(Encoded(), Machine()).open(tmp_path / "decoder")
    patterns = subject.test.patterns
    assert np.array_equal(opened.predict(patterns)["colour"], chain.predict(patterns)["colour"])
    assert list(chain.curves()) == ["masked responses", "colour"]
    assert [row["network"] for row in chain.summary()] == ["MaskedBrainAutoencoder", "EncodedHead"]


def test_a_run_with_it_ends_in_the_same_bytes_if_it_is_gone_on_with(subject):
    def interrupted(label, done, total):
        if label.startswith("training colour"):
            raise KeyboardInterrupt

    config = {"method": "encoded", "data": {"source": "nsd:nsd", "subject": "subj01"}}
    whole = Run.create("whole", config, features="features").fit()
    with pytest.raises(KeyboardInterrupt):
        Run.create("parts", config, features="features").fit(interrupted)
    # The pretraining is whole, and is not done again.
    first = (Run("parts").layout.decoder / "encoder" / "config.json").stat().st_mtime_ns
    parts = Run("parts", features="features").fit()
    assert (parts.layout.decoder / "encoder" / "config.json").stat().st_mtime_ns == first
    for file in ("encoder/model.safetensors", "encoder/config.json", "model.safetensors", "config.json"):
        assert (parts.layout.decoder / file).read_bytes() == (whole.layout.decoder / file).read_bytes()
    # And the folder is a checkpoint.
    assert load_masked_brain(whole.layout.decoder / "encoder", None).n_voxels == subject.n_voxels


def test_before_a_new_subject_all_others_are_learned_from_and_it_goes_on(three_subjects):
    config = {"method": "encoded-together"}
    config["data"] = {"source": "nsd:nsd", "subjects": ["subj01", "subj02"], "subject": "subj03"}
    run = Run.create("new", config, features="features").fit()
    before, after = (
        MaskedPretraining.from_pretrained(one.layout.decoder / "encoder") for one in (run.pretraining, run)
    )
    assert list(before._config["responses"]) == ["subj01", "subj02"] and list(after._config["responses"]) == ["subj03"]
    others = Cohort.load("nsd:nsd").apart()
    known = {name: responses_of(others[name].train) for name in ("subj01", "subj02")}
    expected = SETTINGS.pretraining(sum(map(len, known.values()))).fit(known)
    assert same(of(before.network), expected.network.state_dict())
    again = SETTINGS.pretraining(others["subj03"].train.n_trials, start=run.pretraining.layout.decoder / "encoder")
    again.fit({"subj03": responses_of(others["subj03"].train)})
    assert same(of(after.network), again.network.state_dict())


def test_what_it_takes_is_told_before(subject):
    step = Pretrain(MaskedBrainSettings(), table="pretraining")
    (line,) = [one for one in step.cost(subject.train) if one.startswith("Training")]
    assert "masked responses: 164 million parameters" in line
    assert step.memory(subject.train) > 1e9
    assert step.operations(subject.train)["Pretraining on masked responses"] > 1e12
    (small,) = Pretrain(SETTINGS).cost(subject.train)
    assert "steps of 20 samples" in small


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"epochs": 40}, "warmup_epochs is 40 but epochs is 40"),
        ({"focus": (5,)}, "expected the first voxel and the one after the last"),
        ({"mask_ratio": 0.0}, "mask_ratio is 0.0"),
        ({"batch_size": 10, "accumulate": 3}, "expected parts of equal size"),
        ({"trials": "mixed"}, "trials is 'mixed'"),
    ],
)
def test_settings_that_make_no_sense(settings, words):
    with pytest.raises(InputError, match=words):
        MaskedBrainSettings(**settings)

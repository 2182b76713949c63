"""MindBridge: what its scripts do in numbers, its options, and who may look at the shown pictures."""

import numpy as np
import pytest
import torch
from chains import chain_of
from safetensors.torch import load_file, save_file
from small_systems import SMALL
from stand_in_generators import StandIn, chain_with_shapes

import brainrecon
from brainrecon.assembly.chain import Chain
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import with_weights
from brainrecon.assembly.values import Item
from brainrecon.cli.main import run_command
from brainrecon.datasets.split import Split
from brainrecon.runs.draw import reconstruct
from brainrecon.runs.run import Run
from brainrecon.runs.values import RunValues
from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.ground.errors import InputError

NAME = "mindbridge2024"
TEXT, IMAGE = (77, 768), (257, 768)
SHAPES = {"rough_image": IMAGE, "clip_image": IMAGE} | dict.fromkeys(("rough_text", "clip_text"), TEXT)


# What is published


def test_the_chain_in_the_published_order():
    chain = chain_of(NAME)
    learned, image, text, last = chain.steps
    assert repr(chain) == (
        "Chain(mindbridge2024: Learn(rough_image, rough_text) -> AsDecoded(clip_image) -> AsDecoded(clip_text) -> "
        "Candidates(picture))"
    )
    assert (learned.averages, learned.n_trials, learned.for_new_subject) == ("inputs", 3, "go on")
    assert image._unit_token and text._unit_token
    assert last.told(frozenset({"clip_image", "clip_text"}))["candidates"] == 8
    assert last.reads == ("clip_image",) and last.optional == ("clip_text",)
    kept = chain_of(NAME, {"text_scale": "as decoded"}).steps[2]
    assert not kept._unit_token


def test_targets_are_what_the_scripts_encode():
    chain = chain_of(NAME)
    clip = ("clip-vit-l-14-quickgelu",)
    assert all(one.checkpoints == clip for one in chain.learned_targets.values())
    assert chain.targets["rough_image"] is chain.targets["clip_image"]
    tiny = chain_of(NAME, {}, "tiny")
    texts = [tiny.learned_targets[name].outline for name in ("clip_text", "caption_2", "caption_3")]
    assert [one.caption for one in texts] == [0, 1, 2]
    changes = chain.steps[0]._changing["rough_image"]
    assert (changes.scale, changes.cropped, changes.each, changes.size) == ((0.8, 1.0), 0.3, 0.2, 224)


def recipe_of(subjects=1, n=8559, trials=3, **decoder):
    """The recipe for so many subjects of as many training stimuli."""
    decoder = system_class(NAME)({"decoder": decoder}).settings.decoder
    split = type("Train", (), {"n_stimuli": n, "n_trials": n * trials})
    cohort = {f"subj{number:02}": type("Subject", (), {"train": split}) for number in range(subjects)}
    settled = decoder.settled_with(cohort)
    return settled.recipe(), settled


def test_steps_and_rates_of_the_scripts():
    single, _ = recipe_of()
    assert (single.batch_size, single.steps, single.optimiser.learning_rate) == (100, 600 * 86, 3e-4)
    together, settled = recipe_of(4)
    assert (together.batch_size, together.steps, together.optimiser.learning_rate) == (1600, 600 * 22, 1.5e-4)
    assert settled.parts_of(4) == 8
    for recipe in (single, together):
        assert (recipe.schedule.last_divisor, recipe.schedule.first_divisor, recipe.clip) == (100, 25, 1.0)
        assert (recipe.schedule.rise, recipe.validation, recipe.average) == (2 / 600, 0.0, None)
        assert (recipe.optimiser.weight_decay, recipe.optimiser.undecayed) == (1e-2, "biases")
    # A new one beside three: 50 of it in each of 80 steps an epoch.
    adapting, settled = recipe_of(n=4000, epochs=200, steps_per_epoch=80, learning_rate=1.5e-4)
    assert (adapting.batch_size, adapting.steps, settled.parts_of(4)) == (100, 200 * 80, 1)
    assert recipe_of()[1].parts_of(1) == 2


def test_losses_have_the_published_weights():
    step = chain_of(NAME, SMALL[NAME].nested(), "tiny").steps[0]
    gives = {name: one.outline.shape for name, one in step.targets.items()}
    known = gives | dict.fromkeys(("caption_2", "caption_3"), gives["rough_text"])

    def losses(**voxels):
        network = step.decoder.make(voxels, gives, **step.decoder.arguments)
        torch.manual_seed(0)
        found = {name: torch.randn(4, *shape) for name, shape in gives.items()}
        found |= {"response_error": torch.full((4, 5), 2.0), "cycle_error": torch.full((2, 5), 3.0)}
        true = {name: torch.randn(4, *shape) for name, shape in known.items()}
        each = {}
        for objective in step.decoder.objectives(network):
            each |= {name: [float(objective(found, true, at)[0]) for at in range(3)] for name in [repr(objective)]}
        return each, found, true

    each, found, true = losses(a=9, b=8)
    assert [name.split("(")[0] for name in each] == [
        "SoftContrast", "UnitSquaredError", "InTurn", "InTurn", "MeanSquare", "MeanSquare",
    ]  # fmt: skip
    values = list(each.values())
    assert values[4] == [4.0] * 3 and values[5] == [9.0] * 3

    def angle(one, other):
        return torch.nn.functional.cosine_similarity(one.flatten(1), other.flatten(1)).mean()

    width = found["rough_image"][0].numel()
    image = 1e4 * (2 - 2 * angle(found["rough_image"], true["rough_image"])) / width
    np.testing.assert_allclose(values[1], [image] * 3, rtol=1e-4)
    for at, name in enumerate(("rough_text", "caption_2", "caption_3")):
        text = 1e4 * (2 - 2 * angle(found["rough_text"], true[name])) / found["rough_text"][0].numel()
        np.testing.assert_allclose(values[3][at], text, rtol=1e-4)
    # Published sizes make of them two more losses of angles.
    np.testing.assert_allclose([1e4 / (257 * 768), 1e4 / (77 * 768)], [0.0507, 0.169], rtol=2e-3)
    assert len(losses(a=9)[0]) == 4


def test_versatile_diffusion_is_asked_for_what_the_scripts_do(monkeypatch):
    chain = chain_with_shapes(NAME, {"candidates": 1}, SHAPES)
    step = chain.steps[-1]
    takes = {"clip_image": IMAGE, "clip_text": TEXT}
    monkeypatch.setattr(
        DualContextGenerator, "from_pretrained", lambda folder, **more: StandIn(folder, takes, takes, **more)
    )
    monkeypatch.setattr(system_class(NAME), "folder", lambda self, role: f"folder of {self._roles[role]}")
    values = {name: np.ones((1, *shape), np.float32) for name, shape in takes.items()}
    list(step.stream([Item("", "a")], values))
    _, _, asked = step.generator.asked[-1]
    assert (asked["num_inference_steps"], asked["guidance_scale"], asked["strength"]) == (20, 5.0, 1.0)
    assert asked["weights"] == {"clip_image": 0.5, "clip_text": 0.5}
    assert (step.generator.options["unconditional"], step.generator.options["scheduler"]) == ("zeros", "unipc")
    assert step.generator.folder == "folder of versatile-diffusion"


def test_a_mix_of_images_alone_is_the_path_of_images_alone():
    """Without weight, the text changes nothing: what mindeye2023 draws of the same tokens."""
    random = np.random.default_rng(0)
    values = {"clip_image": random.normal(size=(1, 65 * 64)), "clip_text": random.normal(size=(1, 24 * 64))}
    values = {name: rows.astype(np.float32) for name, rows in values.items()}
    settings = {"generator": {"image_weight": 1.0, "text_weight": 0.0, "num_inference_steps": 3}, "candidates": 1}
    ours = chain_of(NAME, settings, "tiny").steps[-1]
    theirs = {
        "generator": {"num_inference_steps": 3, "guidance_scale": 3.0},
        "candidates": 1,
        "blurry": False,
    }
    other = chain_of("mindeye2023", theirs, "tiny").steps[-1]
    alone = other.run([Item("", "a")], {"clip_image": values["clip_image"]})["picture"][0]
    assert np.array_equal(ours.run([Item("", "a")], values)["picture"][0], alone)
    text = values | {"clip_text": -values["clip_text"]}
    assert np.array_equal(ours.run([Item("", "a")], text)["picture"][0], alone)


# Options


CHAINS = {
    "Learn(rough_image) -> AsDecoded(clip_image) -> Candidates(picture)": {"text_context": False},
    "Learn(rough_image, rough_text) -> AsDecoded(clip_image) -> AsDecoded(clip_text) -> Draw(picture)": {
        "candidates": 1
    },
}


@pytest.mark.parametrize(("expected", "settings"), CHAINS.items())
def test_every_option_has_its_chain(expected, settings):
    assert repr(chain_of(NAME, settings)) == f"Chain({NAME}: {expected})"


def test_captions_that_take_turns_are_as_many_as_asked_for():
    for n, beside in ((0, []), (1, []), (5, ["caption_2", "caption_3", "caption_4", "caption_5"])):
        chain = chain_of(NAME, {"decoder": {"captions": n}}, "tiny")
        assert list(chain.steps[0].beside) == beside
        assert chain.targets["clip_text"].outline.caption == (0 if n else None)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"averages": "voxels"}, "averages is 'voxels'"),
        ({"n_trials": 0}, "n_trials is 0"),
        ({"text_scale": "pooled"}, "text_scale is 'pooled'"),
        ({"unconditional": "grey"}, "unconditional is 'grey'"),
        ({"candidates": 0}, "candidates is 0"),
        ({"pick": "oracle"}, "pick is 'oracle'"),
        ({"decoder": {"pool": "median"}}, "pool is 'median'"),
        ({"decoder": {"length": 0}}, "length is 0"),
        ({"decoder": {"captions": -1}}, "captions is -1"),
        ({"decoder": {"compared_each": 0}}, "compared_each is 0"),
        ({"decoder": {"cycle_weight": -1}}, "cycle_weight is -1"),
        ({"decoder": {"temperature": 0}}, "temperature is 0"),
        ({"decoder": {"new_subject": "heads"}}, "new_subject is 'heads'"),
        ({"decoder": {"changes": "some"}}, "changes is 'some'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


def test_settings_of_drawing_are_none_of_learning():
    kind = system_class(NAME)
    for name in kind.of_drawing:
        owner, _, last = name.rpartition(".")
        settings = kind().settings
        assert hasattr(getattr(settings, owner) if owner else settings, last), name


# Runs


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A cohort, and a run of its first subject that has drawn nothing."""
    place = tmp_path_factory.mktemp("bridge")
    brainrecon.simulate(place / "nsd", subjects=3, sessions=2, trials_per_session=45, shared=6, voxels=160)
    assert run_command(line(place, "one", "--subject", "1")) == 0
    return place


def line(place, out, *more, verb="fit", **settings):
    """A command; `settings` besides those of the small system."""
    given = [text for text in SMALL[NAME].settings if not text.startswith("averages")]
    given += [f"{name.replace('__', '.')}={value}" for name, value in settings.items()]
    asked = [part for text in given for part in ("--set", text)]
    where = ["--features", str(place / "features"), "--out", str(place / out)]
    return [verb, NAME, f"nsd:{place / 'nsd'}", "--weights", "tiny", *asked, *where, *more]


@pytest.fixture
def looked_at(monkeypatch):
    """Tested pictures that were looked at while something was drawn, by split."""
    found, images = [], {}

    def set_images(split, value):
        images[id(split)] = split, value

    def get_images(split):
        if len(split.stimulus_ids) == 6:
            found.append(split)
        return images[id(split)][1] if id(split) in images else vars(split)["images"]

    monkeypatch.setattr(Split, "images", property(get_images, set_images), raising=False)
    return found


CONDITIONS = ("reconstruction", "shuffled_responses", "mean_response")


def test_shown_pictures_are_not_looked_at_unless_they_are_to_choose(places, looked_at):
    run = Run(places / "one", places / "features")
    ids = [str(name) for name in run.subject.test.stimulus_ids[:2]]
    looked_at.clear()
    reconstruct(run, CONDITIONS, stimuli=ids)
    assert not looked_at and run.image_path("shuffled_responses", ids[0]).exists()
    assert run_command(line(places, "truth", "--subject", "1", "--decoder", str(places / "one"), pick="truth")) == 0
    truth = Run(places / "truth", places / "features")
    looked_at.clear()
    reconstruct(truth, CONDITIONS, stimuli=ids)
    assert looked_at


def test_whoever_sees_a_score_of_such_a_choice_is_told(places, capsys):
    folder = places / "told"
    asked = ("--subject", "1", "--decoder", str(places / "one"))
    assert run_command(line(places, "told", *asked, verb="run", pick="truth")) == 0
    capsys.readouterr()
    run, said = Run(folder), f"What {NAME} drew was chosen by the pictures that were shown"
    assert any(note.startswith(said) for note in run.scores.notes)
    assert 'pick = "truth"' in (folder / "config.toml").read_text()
    assert said in (folder / "report.html").read_text() and said in run.scores._repr_html_()
    assert "Of 2 pictures of each stimulus the one most like" in (folder / "report.html").read_text()
    assert run_command(["evaluate", str(folder)]) == 0
    assert said in " ".join(capsys.readouterr().out.split())
    # The default says nothing of the kind.
    assert not Run(places / "one").config.about_choice() and not chain_of(NAME).system.notes


def test_pooled_trials_are_averaged(places):
    run = Run(places / "one", places / "features")
    values, step = RunValues(run), run.chain.steps[0]
    found = values.predicted("test", step)["rough_image"]
    network = step.decoder.network.cpu()
    for row in (0, 3):
        trials = torch.from_numpy(np.asarray(run.subject.test.betas)[values._trial_rows[row]].astype(np.float32))
        with torch.inference_mode():
            pooled = network.network.prepared(network.voxels("subj01")(trials))
            expected = network.network({"subj01": pooled[[0, 1, 2]].mean(dim=0, keepdim=True)})["rough_image"]
        np.testing.assert_allclose(found[row], expected.flatten().numpy(), atol=1e-4)


def test_of_a_new_subject_only_its_own_layers_change(places):
    more = ("--subjects", "1,2", "--new-subject", "3")
    assert run_command(line(places, "new", *more)) == 0
    run = Run(places / "new")
    before = run.pretraining
    decoders = [one.folder / "decoder/network" for one in (before, run)]
    shared, others = (load_file(folder / "model.safetensors") for folder in decoders)
    assert shared.keys() == others.keys() and all(torch.equal(value, others[name]) for name, value in shared.items())
    for subject in ("subj01", "subj02"):
        kept, own = (load_file(folder / f"subjects/{subject}.safetensors") for folder in decoders)
        assert all(torch.equal(value, own[name]) for name, value in kept.items() if name.startswith("network"))
    own = load_file(decoders[1] / "subjects/subj03.safetensors")
    assert {name.split(".")[1] for name in own if name.startswith("network")} == {"embedder", "builder"}
    fresh = own["network.embedder.0.up_proj.weight"], own["network.builder.3.up_proj.weight"]
    assert all(one.abs().max() > 0 for one in fresh)


def test_a_released_file_is_read_by_the_number_of_the_subject(tmp_path, places):
    step = chain_of(NAME, SMALL[NAME].nested(), "tiny").steps[0]
    gives = {name: one.outline.shape for name, one in step.targets.items()}
    torch.manual_seed(0)
    bridge = step.decoder.make({"subj01": 9, "subj05": 8}, gives, **step.decoder.arguments).eval()
    numbers = {
        "embedder.0": "embedder.1",
        "embedder.1": "embedder.5",
        "builder.0": "builder.1",
        "builder.1": "builder.5",
    }
    stored = {}
    for name, value in bridge.state_dict().items():
        part = ".".join(name.split(".")[:2])
        stored[numbers.get(part, part) + name.removeprefix(part)] = value
    save_file(stored, tmp_path / "model.safetensors")
    step.decoder.take(tmp_path, "small", step._released, {"subj05": 8}, gives)
    patterns = torch.randn(3, 8)
    with torch.inference_mode():
        expected = bridge({"subj05": patterns})["rough_text"].flatten(1)
    found = {name: rows for name, _, rows in step.decoder.predict_blocks(patterns.numpy(), subject="subj05")}
    np.testing.assert_allclose(found["rough_text"], expected.numpy(), atol=1e-6)
    left = {name for name in stored if name.startswith(("builder.", "embedder.1"))}
    read = {name for name in step.decoder.network.network.state_dict()}
    assert len(left) + len(read) == len(stored)


# The way, on data of known mixing: `tests/stages/networks/test_mindbridge_new_subject.py`


def test_data_without_captions_leave_the_text_out():
    kind = system_class(NAME)
    chain = Chain(kind(with_weights(dict(kind.without_captions), kind, "tiny")))
    assert list(chain.targets) == ["rough_image", "clip_image"]

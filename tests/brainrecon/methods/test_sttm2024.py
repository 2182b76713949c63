"""STTM: what its scripts do in numbers, its options, and what is trained of several subjects and of a new one."""

import re

import numpy as np
import pytest
import torch
from chains import chain_of
from safetensors.torch import load_file
from small_systems import SMALL
from stand_in_generators import StandIn

import brainrecon
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.values import Item
from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run
from stages.decoders.learner import NetworkWithObjectives
from stages.decoders.standardised import standardised
from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.diffusion.start_rule import StartRule, denoising_steps
from stages.ground.errors import InputError
from stages.training.optimisers import learning_rate
from stages.training.sharing import BySubject

NAME = "sttm2024"


# What is published


def test_the_chain_in_the_published_order():
    chain = chain_of(NAME)
    assert repr(chain) == (
        "Chain(sttm2024: Learn(clip_rough, clip_retrieval, sd_latent) -> Show(first_picture) -> Candidates(picture))"
    )
    learned, _, last = chain.steps
    assert [type(one).__name__ for one in last._steps] == ["Refine", "Draw"] and last._n == 16
    assert (learned.for_new_subject, learned._trials, learned.decoder.new_subject.own_alone) == (
        "go on",
        "averaged",
        True,
    )
    assert learned.decoder.new_subject.afterwards is None
    assert last._steps[0].told(frozenset()) == {"prior evaluations": "every step"}


def test_the_recipe_is_that_of_the_scripts():
    """AdamW and PyTorch's OneCycleLR over 50 epochs of 554 steps."""
    recipe = chain_of(NAME).steps[0].decoder.recipe
    assert (recipe.steps, recipe.clip, recipe.average, recipe.seed) == (50 * 554, None, None, 42)
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=3e-4, total_steps=50 * 554, pct_start=2 / 50, final_div_factor=1000
    )
    for step in range(2500):
        assert learning_rate(recipe, step) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-6)
        optimiser.step()
        theirs.step()


def test_the_objectives_are_those_of_the_scripts():
    decoder = chain_of(NAME).steps[0].decoder
    gives = {"clip_rough": (257, 768), "clip_retrieval": (257, 768), "sd_latent": (4, 64, 64)}
    with torch.device("meta"):
        network = decoder.make({"subj01": 100}, gives, **decoder.arguments)
    assert sum(one.numel() for one in network.net.parameters()) == 62_222_592
    contrast, prior, latent = decoder.objectives(network)
    assert (contrast.reads, contrast.captions, contrast.n_mixed_epochs) == (("clip_retrieval",), "captions", 17)
    assert (contrast.temperature, contrast.first, contrast.last) == (0.006, 0.004, 0.006)
    assert (contrast.mixed_weight, contrast.soft_weight) == (0.5, 0.2)
    assert (contrast.few_epochs, contrast.n_counted(16, 17 * 554)) == (3, 12)
    assert (contrast.own_partner, contrast.weighting) == ("whole", "random softmax")
    assert (prior.reads, prior.weight, prior._contrast) == (("clip_rough",), 30.0, contrast)
    assert (prior.prior.without_brain, prior.prior.without_image, prior.prior.process.n_steps) == (0.2, 0.2, 100)
    assert prior.prior.scale_of(torch.zeros(1, 768)) == pytest.approx(768**0.5)
    assert (latent.reads, latent.weight) == (("sd_latent",), pytest.approx(1 / 0.18215))


def test_targets_are_what_the_scripts_encode():
    chain = chain_of(NAME)
    tokens = chain.targets["clip_retrieval"]
    assert chain.targets["clip_rough"] is tokens
    assert tokens.checkpoints == ("clip-vit-l-14-quickgelu",) == chain.learned_targets["captions"].checkpoints
    assert chain.targets["sd_latent"].checkpoints == ("sd-image-variations-autoencoder",)


def test_versatile_diffusion_is_asked_for_what_the_scripts_do(monkeypatch):
    monkeypatch.setattr(
        DualContextGenerator,
        "from_pretrained",
        lambda folder, **options: StandIn(folder, {"clip_image": (257, 768)}, ["clip_image"], **options),
    )
    monkeypatch.setattr(system_class(NAME), "folder", lambda self, role: f"folder of {self._roles[role]}")
    step = chain_of(NAME, {"candidates": 1}).steps[-1]
    monkeypatch.setattr(step, "_sources", {})
    values = {"clip_image": np.zeros((1, 257 * 768)), "first_picture": np.zeros((1, 512, 512, 3), np.uint8)}
    list(step.stream([Item("", "a")], {name: values[name] for name in (*step.reads, *step.optional)}))
    generator = step.generator
    _, _, settings = generator.asked[-1]
    assert (settings["num_inference_steps"], settings["guidance_scale"]) == (20, 3.5)
    assert denoising_steps(settings["strength"], 20) == 17
    assert settings["weights"] == {"clip_image": 1.0, "clip_text": 0.0}
    assert (generator.options["scheduler"], generator.options["unconditional"]) == ("unipc", "zeros")
    assert generator.options["start"] == StartRule(posterior="sample", pixels="for CLIP")


# Options


CHAINS = {
    "Learn(clip_rough, clip_retrieval)": {"output": "tokens"},
    "Learn(clip_retrieval)": {"output": "tokens", "prior": "none"},
    "Learn(clip_rough, clip_retrieval) -> Candidates(picture)": {"blurry": False},
    "Learn(clip_rough, clip_retrieval, sd_latent) -> Show(first_picture) -> Refine(clip_image) -> Draw(picture)": {
        "candidates": 1
    },
    "Learn(clip_retrieval, sd_latent) -> Show(first_picture) -> Remember(clip_image) -> Candidates(picture)": {
        "prior": "nearest"
    },
    "Learn(clip_rough, clip_retrieval) -> AsDecoded(clip_image) -> Draw(picture)": {
        "prior": "none",
        "blurry": False,
        "candidates": 1,
    },
}


@pytest.mark.parametrize(("expected", "settings"), CHAINS.items())
def test_every_step_is_an_option(expected, settings):
    chain = chain_of(NAME, settings)
    assert repr(chain) == f"Chain({NAME}: {expected})"
    named = set(chain.system.checkpoints)
    assert ("sd-image-variations-autoencoder" in named) == ("sd_latent" in expected)
    assert ("versatile-diffusion" in named) == ("picture" in expected)


def test_what_the_first_token_is_held_to_is_an_option():
    def source(captions):
        return chain_of(NAME, {"decoder": {"captions": captions}}).steps[0].beside

    assert source("none") == {}
    outlines = {name: chain_of(NAME, {"decoder": {"captions": name}}, "tiny") for name in ("one at random", "averaged")}
    shapes = {name: chain.steps[0].beside["captions"].outline.shape for name, chain in outlines.items()}
    assert shapes == {"one at random": (5, 64), "averaged": (64,)}
    objectives = chain_of(NAME, {"decoder": {"captions": "none"}}, "tiny").steps[0].decoder.objectives
    assert objectives(torch.nn.ModuleDict({"net": torch.nn.Identity()}))[0].captions is None


def test_readers_of_a_score_are_told_what_is_guessed():
    def notes(**settings):
        return " ".join(chain_of(NAME, settings).system.notes)

    assert "its training here is a guess" in notes()
    assert notes(blurry=False) == notes(output="tokens") == ""
    assert "nobody published: prior none" in notes(prior="none", blurry=False)


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"output": "caption"}, "output is 'caption'"),
        ({"prior": "gaussian"}, "prior is 'gaussian'"),
        ({"prior_guidance": -1}, "prior_guidance is -1"),
        ({"candidates": 0}, "candidates is 0"),
        ({"start_pixels": "raw"}, "start_pixels is 'raw'"),
        ({"bank": "somewhere"}, "bank is 'somewhere' but prior 'diffusion' reads none"),
        ({"decoder": {"prior_weight": 0}}, "prior_weight is 0.0 but prior is 'diffusion'"),
        ({"prior": "none", "prior_guidance": 2.0}, "prior is 'none' but decoder.prior_epochs 0 and prior_guidance 2.0"),
        ({"prior": "nearest", "decoder": {"prior_epochs": 2}}, "prior is 'nearest' but decoder.prior_epochs 2"),
        ({"decoder": {"head": "mlp"}}, "head is 'mlp'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


def test_settings_of_drawing_are_none_of_learning():
    settings = system_class(NAME)().settings
    for name in system_class(NAME).of_drawing:
        owner, _, last = name.rpartition(".")
        assert hasattr(getattr(settings, owner) if owner else settings, last), name


# A step


def losses(settings=None, step=0):
    """The small network after a backward pass of one step of two subjects."""
    learned = chain_of(NAME, SMALL[NAME].nested() | (settings or {}), "tiny").steps[0]
    decoder, voxels = learned.decoder, {"subj01": 9, "subj02": 7}
    shapes = {name: one.outline.shape for name, one in {**learned.targets, **learned.beside}.items()}
    torch.manual_seed(0)
    gives = {name: shapes[name] for name in learned.targets}
    network = standardised(decoder.make(voxels, gives, **decoder.arguments), voxels)
    learner = NetworkWithObjectives(network, decoder.objectives(network.network)).train()
    patterns = {name: torch.randn(4, n) for name, n in voxels.items()}
    targets = {name: torch.randn(8, *shape) for name, shape in shapes.items()}
    patterns = learner._objectives[0].before(patterns, step)
    loss, parts = learner({"patterns": BySubject(patterns), "targets": targets, "step": step})
    loss.backward()
    return learner, loss.detach(), parts


@pytest.mark.parametrize("step", [0, 10**6])
def test_a_step_of_learning_moves_everything(step):
    learner, loss, parts = losses(step=step)
    assert torch.isfinite(loss) and list(parts) == [
        *("clip_retrieval contrast", "first token contrast", "clip_rough prior error", "sd_latent difference")
    ]
    for name, one in learner.named_parameters():
        # A key's bias adds the same to all logits of a query; of voxels that are taken away from a batch nothing is learned.
        if "null_" in name or name.endswith("to_k.bias") or "low_level" in name:
            continue
        assert one.grad is not None and one.grad.abs().max() > 0, name


# Several subjects


@pytest.fixture(scope="module")
def after_two(tmp_path_factory):
    """Runs of a new subject after two others, by the epochs in which the prior goes on by itself."""
    place = tmp_path_factory.mktemp("sttm")
    brainrecon.simulate(place / "nsd", subjects=3, sessions=2, trials_per_session=36, shared=6, voxels=160)
    small = (*SMALL[NAME].settings, "output=tokens", "decoder.epochs=1", "decoder.batch_size_each=2")
    runs = {}
    for epochs in (0, 1):
        settings = [part for text in (*small, f"decoder.prior_epochs={epochs}") for part in ("--set", text)]
        line = [
            "fit",
            NAME,
            f"nsd:{place / 'nsd'}",
            "--weights",
            "tiny",
            *settings,
            "--features",
            str(place / "features"),
        ]
        before = ["--pretrained", str(place / "0/pretraining")] if epochs else []
        asked = ["--subjects", "1,2", "--new-subject", "3", "--out", str(place / str(epochs)), *before]
        assert run_command([*line, *asked]) == 0
        runs[epochs] = Run(place / str(epochs))
    return runs


def shared(run):
    return load_file(run.folder / "decoder/network/model.safetensors")


def test_of_a_new_subject_the_adapter_alone_is_learned(after_two):
    run = after_two[0]
    before, learned = shared(run.pretraining), shared(run)
    assert before.keys() == learned.keys()
    assert all(torch.equal(learned[name], before[name]) for name in before)
    assert not any("input_proj" in name or "input_res_block" in name for name in learned)
    owned = load_file(run.folder / "decoder/network/subjects/subj03.safetensors")
    parts = {name.split(".")[1] for name in owned if name.startswith("network.")}
    assert parts == {"input_proj", "input_res_block"} and {"mean", "scale"} <= set(owned)
    assert (run.folder / "pretraining/decoder/network/subjects/subj01.safetensors").exists()
    found = run.embeddings["clip_retrieval"]
    assert found.shape == (run.subject.test.n_stimuli, 65 * 64) and np.isfinite(found).all()
    recipes = [one.chain.steps[0].decoder.recipe for one in (run.pretraining, run)]
    n = run.subject.train.n_stimuli
    assert [(one.batch_size, one.steps) for one in recipes] == [(4, n // 2 + 1), (8, n // 8 + 1)]


def test_after_that_the_prior_may_go_on_by_itself(after_two):
    plain, tuned = shared(after_two[0]), shared(after_two[1])
    moved = {name for name, value in plain.items() if not torch.equal(value, tuned[name])}
    assert moved and all(re.match(r"network\.net\.", name) for name in moved)
    assert {name for name in plain if name.startswith("network.net.decoder.layers")} <= moved
    for name, value in load_file(after_two[0].folder / "decoder/network/subjects/subj03.safetensors").items():
        other = load_file(after_two[1].folder / "decoder/network/subjects/subj03.safetensors")[name]
        assert torch.equal(value, other), name
    assert not (after_two[1].folder / "decoder/network/afterwards").exists()

"""MindTuner: its chain and options, what is guessed, and that a new subject changes nothing of those before."""

import numpy as np
import pytest
import torch
from chains import chain_of
from safetensors.torch import load_file
from small_systems import SMALL

import brainrecon
from brainrecon.assembly.registry import system_class
from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run
from stages.ground.errors import InputError
from weights import store

NAME = "mindtuner2024"


def test_the_chain_finds_captions_through_texts():
    chain = chain_of(NAME)
    assert repr(chain) == (
        "Chain(mindtuner2024: Learn(clip_rough, clip_retrieval, sd_latent) -> Refine(clip_image) -> Show(first_picture) -> "
        "Pivot(pivot_text) -> SimilarCaption(caption) -> Draw(drawn_picture) -> EachSample(picture))"
    )
    learned, refine, _, pivot, *_ = chain.steps
    assert (learned.averages, learned.n_trials, learned.for_new_subject) == ("outputs", 3, "go on")
    assert refine.told(frozenset()) == {"prior evaluations": 19}
    assert pivot.reads == ("clip_image",) and pivot.targets["pivot_text"] is chain.learned_targets["projected_text"]
    assert chain.targets["pivot_text"].checkpoints == ("clip-vit-bigg-14-laion2b",)
    assert chain.system.needs.captions and "git-large-coco" not in chain.system.checkpoints
    assert (chain.system.protocol, chain.system.many_subjects) == ("mindeye2-2024", "together")


def test_numbers_are_those_of_the_third_party():
    own = chain_of(NAME).system.settings.decoder
    assert (own.rank, own.alpha, own.init, own.skips) == (8, 8.0, "b_normal", ("blocks",))
    assert (own.skip_weight, own.text_temperature, own.batch_size, own.epochs) == (1.5, 0.006, 10, 150)
    assert (own.learning_rate, own.weight_decay, own.seed, own.hidden) == (3e-4, 1e-2, 42, 4096)
    assert (own.prior_weight, own.contrast_weight, own.latent_weight) == (30.0, 1.0, 0.5)
    # Not of the third party, whose adapters of the blocks learn nothing.
    assert (own.mixer, own.new_subject, own.skip_reaches) == ("residual", "own layers", "both")


CHAINS = {
    "Learn(clip_rough, clip_retrieval) -> Refine(clip_image) -> Pivot(pivot_text) -> SimilarCaption(caption)": {
        "output": "caption"
    },
    "Learn(clip_rough, clip_retrieval) -> Pivot(pivot_text) -> SimilarCaption(caption)": {
        "output": "caption",
        "pivot_reads": "retrieval",
    },
    "Learn(clip_rough, clip_retrieval) -> Refine(clip_image) -> Pivot(pivot_text) -> Draw(caption)": {
        "output": "caption",
        "caption_by": "captioner",
    },
    "Learn(clip_rough, clip_retrieval)": {"output": "tokens", "pivot": False},
    "Learn(clip_rough, clip_retrieval, sd_latent) -> Refine(clip_image) -> Show(first_picture) -> Draw(caption) -> "
    "Draw(drawn_picture) -> EachSample(picture)": {"pivot": False, "caption_by": "captioner"},
    "Learn(clip_rough, clip_retrieval, sd_latent) -> Refine(clip_image) -> Show(first_picture) -> EachSample(picture)": {
        "pivot": False,
        "redraws_with": "nothing",
    },
}


@pytest.mark.parametrize(("expected", "settings"), CHAINS.items())
def test_every_step_is_an_option(expected, settings):
    chain = chain_of(NAME, settings)
    assert repr(chain) == f"Chain({NAME}: {expected})"
    assert ("git-large-coco" in chain.system.checkpoints) == ("Draw(caption)" in expected)
    assert chain.system.needs.captions == ("Pivot" in expected)


def test_readers_are_told_of_guesses_and_of_adapters_that_learn_nothing():
    def notes(**settings):
        return " ".join(chain_of(NAME, settings).system.notes)

    assert "guesses" in notes() and "learn nothing" not in notes()
    assert "learn nothing" in notes(decoder={"mixer": "published"})
    assert "learn nothing" not in notes(decoder={"mixer": "published", "lora": False, "skips": ["align"]})


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"pivot_reads": "rough"}, "pivot_reads is 'rough'"),
        ({"caption_by": "git"}, "caption_by is 'git'"),
        ({"n_captions": 0}, "n_captions is 0"),
        ({"pivot": False}, "caption_by is 'pivot' but pivot is false"),
        ({"decoder": {"rank": 0}}, "rank is 0"),
        ({"decoder": {"alpha": -1.0}}, "alpha is -1"),
        ({"decoder": {"init": "zeros"}}, "init is 'zeros'"),
        ({"decoder": {"skips": ["middle"]}}, "skips has 'middle'; expected some of blocks, align, final"),
        ({"decoder": {"mixer": "linear"}}, "mixer is 'linear' but skips has 'blocks'"),
        ({"decoder": {"skip_weight": -1.0}}, "skip_weight is -1"),
        ({"decoder": {"skip_reaches": "all"}}, "skip_reaches is 'all'"),
        ({"decoder": {"text_from": "words"}}, "text_from is 'words'"),
        ({"decoder": {"text_temperature": 0.0}}, "text_temperature is 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


def test_words_of_settings_are_those_of_the_parts():
    from brainrecon.assembly import adapted_network as own
    from stages.adapters.subject_lora import INITS
    from stages.networks import mindtuner
    from stages.objectives.skip_correlation import REACHES

    assert (own.INITS, own.REACHES) == (INITS, REACHES)
    assert (own.SKIPS, own.LEARNS_FROM, own.TEXT) == (mindtuner.SKIPS, mindtuner.LEARNS_FROM, mindtuner.TEXT)


def test_released_networks_of_mindeye2_may_come_before():
    names = [f"mindeye2-2024-multisubject-{who}" for who in ("subj01", "subj02", "subj05", "subj07", "subj01-light")]
    assert all(NAME in store.entry(name).needed_by for name in names)


@pytest.mark.slow
def test_their_tensors_are_those_of_the_network_without_adapters():
    settings = {"pivot": False, "caption_by": "captioner", "decoder": {"mixer": "published", "skips": ["align"]}}
    step = chain_of(NAME, settings).steps[0]
    gives = dict.fromkeys(("clip_rough", "clip_retrieval"), (256, 1664)) | {"sd_latent": (4, 28, 28)}
    base = chain_of("mindeye2-2024").steps[0].decoder
    with torch.device("meta"):
        own = step.decoder.make({"subj02": 14278}, gives, **step.decoder.arguments)
        theirs = base.make({"subj02": 14278}, gives, **base.arguments)
    shapes = [{name: one.shape for name, one in network.state_dict().items()} for network in (own, theirs)]
    assert shapes[0] == shapes[1]
    assert step._released.voxels == "ridge.linears.{}.weight"


# A new subject


def changed(one, other):
    """Names of the tensors that differ between two dicts of them."""
    return {name for name in one if name not in other or not torch.equal(one[name], other[name])}


@pytest.fixture(scope="module")
def cohort_of_three(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mindtuner") / "nsd"
    brainrecon.simulate(folder, subjects=3, sessions=2, trials_per_session=36, shared=6, voxels=160)
    return folder


def fitted(cohort, out, features, *settings, more=()):
    small = (*SMALL[NAME].settings, "output=tokens", *settings)
    line = ["fit", NAME, f"nsd:{cohort}", "--weights", "tiny", "--features", str(features)]
    line += [part for text in small for part in ("--set", text)]
    line += ["--subjects", "1,2", "--new-subject", "3", "--sessions", "1", "--out", str(out), *more]
    assert run_command(line) == 0
    return Run(out)


@pytest.fixture(scope="module")
def adapted_run(cohort_of_three, tmp_path_factory, features):
    return fitted(cohort_of_three, tmp_path_factory.mktemp("adapted") / "run", features)


def test_of_a_new_subject_its_own_tensors_are_trained_alone(adapted_run):
    run = adapted_run
    folders = [one.folder / "decoder/network" for one in (run.pretraining, run)]
    before, after = (load_file(folder / "model.safetensors") for folder in folders)
    # Adapters belong to nobody before, and nothing of what is shared is changed, nor named otherwise.
    assert before.keys() == after.keys() and not changed(before, after)
    assert not any("lora" in name or "ridge" in name for name in before)
    others = load_file(folders[0] / "subjects/subj01.safetensors")
    own = load_file(folders[1] / "subjects/subj03.safetensors")
    assert not any("lora" in name for name in others)
    adapters = {name: one for name, one in own.items() if "lora" in name}
    assert len(adapters) == 2 * (8 + 3 + 1) + 2 * 4
    assert all(one.any() for name, one in adapters.items() if "lora_A" in name)
    found = run.embeddings
    assert found["clip_retrieval"].shape == (run.subject.test.n_stimuli, 64 * 128)
    assert found["pivot_text"].shape == (run.subject.test.n_stimuli, 64)
    assert all(np.isfinite(found[name]).all() for name in ("clip_retrieval", "pivot_text"))


def test_one_pretraining_serves_a_new_subject_with_adapters_and_without(
    adapted_run, cohort_of_three, tmp_path, features
):
    before = ("--pretrained", str(adapted_run.pretraining.folder))
    bare = ("decoder.lora=false", "decoder.skips=[]")
    run = fitted(cohort_of_three, tmp_path / "bare", features, *bare, more=before)
    own = load_file(run.folder / "decoder/network/subjects/subj03.safetensors")
    assert own and not any("lora" in name or "skips" in name for name in own)


def test_what_is_trained_on_is_named(cohort_of_three, tmp_path, features):
    more = ("decoder.finetune_prior=true", "decoder.finetune_projector=true")
    run = fitted(cohort_of_three, tmp_path / "run", features, *more)
    before, after = (load_file(one.folder / "decoder/network/model.safetensors") for one in (run.pretraining, run))
    found = changed(before, after)
    assert any("adaptive_projector" in name for name in found) and any("diffusion_prior" in name for name in found)
    assert all("adaptive_projector" in name or "diffusion_prior" in name for name in found)


def test_settings_of_drawing_are_none_of_learning():
    kind = system_class(NAME)
    settings = kind().settings
    for name in (*kind.of_drawing, *kind().of_new_subject):
        owner, _, last = name.rpartition(".")
        assert hasattr(getattr(settings, owner) if owner else settings, last), name

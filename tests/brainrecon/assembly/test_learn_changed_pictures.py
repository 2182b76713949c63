"""Learning from everything at once: true values of changed pictures, and what is held against beside what is given."""

import os
import signal

import numpy as np
import pytest
import torch
from small_decoders import TwoHeads

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.changed_pictures import ChangedPictures
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Training, Workspace
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from brainrecon.features.store import FeatureStore
from stages.decoders.trained import TrainedDecoder
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.targets.clip import CLIPImageTokens
from stages.training.picture_changes import PictureChanges
from stages.training.recipe import OptimiserSpec, Recipe
from weights import store as checkpoints

CLIP = "tiny-clip"
CHANGES = PictureChanges(size=48, seed=9)


def clip():
    return TargetSource(lambda: CLIPImageTokens.from_pretrained(checkpoints.path(CLIP)), (CLIP,))


class Noting:
    """A decoder that notes what it is given to learn from."""

    gives = {}

    def fit(self, training, *, folder=None, progress=None):
        self.training = training
        return self


@pytest.fixture(scope="module")
def subject():
    random = np.random.default_rng(0)
    ids = [f"s{row}" for row in range(6)]
    images = random.integers(0, 256, (6, 40, 40, 3), dtype=np.uint8)
    train = Split(random.standard_normal((12, 5)).astype(np.float32), ids * 2, images=images)
    test = Split(random.standard_normal((1, 5)).astype(np.float32), ["t"], images=images[:1, ::-1])
    return Subject("subj01", "arrays", "arrays:memory", {"train": train, "test": test}, roi="all")


def learned_from(step, subject, tmp_path):
    class Small(System):
        name, explanation, output = "small", "", step.gives[0]

        def steps(self, machine):
            return [step]

    Chain(Small()).fit_in_memory(subject, FeatureStore(tmp_path))
    return step.decoder.training


def test_live_tokens_are_those_of_the_changed_pictures(subject, tmp_path):
    source = clip()
    step = Learn({"rough": source, "retrieval": source}, Noting(), changing={"rough": CHANGES, "retrieval": CHANGES})
    training = learned_from(step, subject, tmp_path)
    assert set(training.live) == {"rough", "retrieval"} and training.live["rough"] is training.live["retrieval"]
    # Of no use after the fit.
    assert not source.is_loaded
    rows, target = np.array([4, 0, 2]), CLIPImageTokens.from_pretrained(checkpoints.path(CLIP))
    for at in (0, 5):
        changed = CHANGES(subject.train.images[rows], at)
        expected = target.encode(changed).reshape(3, *target.shape)
        found = training.live["rough"](rows, at)
        np.testing.assert_allclose(found, expected, atol=1e-5 * expected.std())
        stored = training.features["rough"][rows]
        assert not np.allclose(found, stored, atol=1e-2 * expected.std())
    # What validation is held against.
    unchanged = target.encode(subject.train.images).reshape(6, *target.shape)
    np.testing.assert_allclose(training.features["rough"], unchanged, atol=1e-5 * unchanged.std())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_killed_between_changed_pictures_it_ends_in_the_same_bytes(subject, tmp_path):
    def fitted(folder, progress=SILENT):
        recipe = Recipe(steps=6, batch_size=4, validate_every=3, optimiser=OptimiserSpec("sgd", 1e-2))
        decoder = TrainedDecoder(TwoHeads, recipe, seconds_between_checkpoints=0.0)
        source = clip()
        step = Learn({"rough": source}, decoder, changing={"rough": CHANGES}, trials="mixed")
        store = FeatureStore(tmp_path / "features")
        features = {"rough": store.encode(source.target, subject.train.images, range(6), dataset="a", checkpoint="b")}
        step.fit(Training({"subj01": subject}, lambda names: features), Workspace(store, folder, progress=progress))
        step.save(folder)

    def killed(label, done, total):
        if (label, done) == ("training rough", 4):
            os.kill(os.getpid(), signal.SIGKILL)

    fitted(tmp_path / "whole")
    if not (process := os.fork()):
        try:
            fitted(tmp_path / "parts", killed)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(process, 0)[1])
    done = []
    fitted(tmp_path / "parts", lambda label, step, total: label == "training rough" and done.append(step))
    assert done[0] == 4
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_is_beside_is_encoded_and_is_no_value_of_the_chain(subject, tmp_path):
    source, teacher = clip(), clip()
    beside = {"places": teacher, "changed_places": teacher}
    step = Learn({"rough": source}, Noting(), beside=beside, changing={"changed_places": CHANGES}, trials="mixed")
    assert step.gives == ("rough",) and not step.targets.keys() & beside
    training = learned_from(step, subject, tmp_path)
    assert training.epoch_of == "mixtures" and len(training.responses["subj01"]) == 12
    assert set(training.features) == {"rough"} and set(training.beside) == {"places", "changed_places"}
    assert training.beside["places"] is training.beside["changed_places"]
    assert set(training.live) == {"changed_places"}


def test_one_name_stands_for_one_thing():
    source, other = clip(), clip()

    class Two(System):
        name, explanation, output = "two", "", "rough"

        def __init__(self, first, second):
            super().__init__()
            self.besides = first, second

        def steps(self, machine):
            first, second = self.besides
            return [
                Learn({"rough": source}, Noting(), part="one", beside=first),
                Learn({"latent": source}, Noting(), part="other", beside=second),
            ]

    assert Chain(Two({"places": other}, {"places": other})).encoded_to_learn() == ("rough", "places")
    for wrong in (Two({"places": other}, {"places": source}), Two({"latent": other}, {})):
        with pytest.raises(InputError, match="is held against '.*', which stands for something else"):
            Chain(wrong)


def test_half_precision_stays_half_precision_in_memory(subject, tmp_path):
    source = TargetSource(lambda: CLIPImageTokens.from_pretrained(checkpoints.path(CLIP)), (CLIP,), "float16")
    training = learned_from(Learn({"rough": source}, Noting()), subject, tmp_path)
    assert training.features["rough"].dtype == np.float16 and not training.live


def test_other_changes_and_other_networks_have_another_identity(subject):
    source = clip()
    names = {
        ChangedPictures(source, subject.train.images, changes).identity
        for changes in (CHANGES, PictureChanges(size=48, seed=8), PictureChanges(size=48, seed=9, grey=0.0))
    }
    other = TargetSource(source.load, (CLIP,), identity=lambda: "other weights")
    names.add(ChangedPictures(other, subject.train.images, CHANGES).identity)
    assert len(names) == 4


def test_its_values_need_no_gradient_and_draw_nothing_from_the_global_generators(subject):
    source = clip()
    live = ChangedPictures(source, subject.train.images, CHANGES)
    # Making a network draws its first weights; `Learn` does so before the training begins.
    assert source.target.n_targets
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = live(np.array([1, 1]), 2)
    assert torch.equal(torch.get_rng_state(), before)
    # One stimulus twice in a batch is changed in two ways.
    assert not np.allclose(first[0], first[1])

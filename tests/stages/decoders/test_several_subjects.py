"""A decoder of several subjects: their batches, their files, going on from others, and what is refused."""

import json
import os
import re
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_decoders import AdaptedTrunk, SharedTrunk, TwoHeads

from stages.decoders.new_subject import NewSubject
from stages.decoders.released import Released
from stages.decoders.samples import Samples
from stages.decoders.trained import TrainedDecoder, Training
from stages.ground.errors import InputError
from stages.objectives.regression import MeanSquaredError
from stages.training.recipe import OptimiserSpec, Recipe
from stages.training.state import FILE

N_VOXELS = {"subj01": 30, "subj02": 17, "subj05": 23}
N_STIMULI = 40
RECIPE = Recipe(
    steps=12, batch_size=12, validation=0.2, validate_every=4, seed=3, optimiser=OptimiserSpec("adamw", 1e-2)
)


def training_of(*subjects, **changes):
    """Each subject saw stimuli of its own twice; a row tells whose it is and which, and targets are linear in all voxels."""
    names = list(N_VOXELS)
    responses, rows, features = {}, {}, []
    for place, subject in enumerate(subjects):
        random = np.random.default_rng(names.index(subject))
        told = random.standard_normal((N_STIMULI, 5))
        seen = random.permutation(np.repeat(np.arange(N_STIMULI), 2))
        mixed = told[seen] @ random.standard_normal((5, N_VOXELS[subject]))
        responses[subject] = (20 + 3 * mixed).astype(np.float32)
        rows[subject] = seen + place * N_STIMULI
        features.append(told.astype(np.float32))
    told = np.concatenate(features)
    return Training(responses, rows, {"clip": told.reshape(-1, 5, 1), "vdvae": told[:, :3]}, **changes)


def made(make=SharedTrunk, recipe=RECIPE, **options):
    return TrainedDecoder(make, recipe, seconds_between_checkpoints=0.0, **options)


def predicted(decoder, patterns, subject=None):
    return {name: values for name, _, values in decoder.predict_blocks(patterns, subject=subject)}


@pytest.fixture(scope="module")
def training():
    return training_of(*N_VOXELS)


@pytest.fixture(scope="module")
def fitted(training):
    return made(recipe=replace(RECIPE, steps=300)).fit(training)


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    fitted.save_pretrained(folder)
    return folder


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Batches


@pytest.mark.parametrize("epoch_of", ["trials", "trials apart", "stimuli", "mixtures"])
def test_rows_of_patterns_stand_beside_their_targets(training, epoch_of):
    samples = Samples(replace(training, epoch_of=epoch_of), RECIPE, by_subject=True)
    for step in range(9):
        batch = samples.at(step)
        assert {subject: values.shape for subject, values in batch["patterns"].items()} == {
            subject: (4, n) for subject, n in N_VOXELS.items()
        }
        told = batch["targets"]["clip"][..., 0]
        for place, (subject, patterns) in enumerate(batch["patterns"].items()):
            mixing = np.random.default_rng(list(N_VOXELS).index(subject))
            mixing.standard_normal((N_STIMULI, 5)), mixing.permutation(np.repeat(np.arange(N_STIMULI), 2))
            expected = 20 + 3 * told[4 * place : 4 * place + 4] @ mixing.standard_normal((5, N_VOXELS[subject]))
            np.testing.assert_allclose(patterns, expected, rtol=1e-4, atol=1e-3)


def test_every_subject_has_an_order_of_its_own_whoever_stands_beside_it(training):
    orders = Samples(training, replace(RECIPE, validation=0.0), by_subject=True)
    of_two = Samples(training_of("subj02", "subj05"), replace(RECIPE, batch_size=8, validation=0.0), by_subject=True)
    of_one = {
        subject: np.concatenate([orders.trials[subject].at(step).seen for step in range(20)]) for subject in N_VOXELS
    }
    assert all(np.bincount(seen)[seen.min() :].tolist() == [2] * N_STIMULI for seen in of_one.values())
    assert not np.array_equal(of_one["subj01"], of_one["subj02"] - N_STIMULI)
    again = np.concatenate([of_two.trials["subj02"].at(step).seen for step in range(20)])
    assert np.array_equal(again, of_one["subj02"] - N_STIMULI)


def test_what_is_held_out_is_seen_by_nobody(training):
    """A picture that two subjects saw stands in two rows."""
    same = np.arange(3 * N_STIMULI) % N_STIMULI
    samples = Samples(replace(training, same=same), RECIPE, by_subject=True)
    learned = {subject: set(same[trials.stimuli[trials.learned]]) for subject, trials in samples.trials.items()}
    assert learned["subj01"] == learned["subj02"] == learned["subj05"] and len(learned["subj01"]) == 32
    batches = list(samples.validation())
    assert [list(batch["patterns"]) for batch in batches] == [["subj01"]] * 2 + [["subj02"]] * 2 + [["subj05"]] * 2
    assert sum(len(batch["targets"]["clip"]) for batch in batches) == 3 * 16
    others = Samples(training, RECIPE, by_subject=True)
    learned = {subject: set(same[trials.stimuli[trials.learned]]) for subject, trials in others.trials.items()}
    assert learned["subj01"] != learned["subj02"]


# Laws


def test_each_subject_is_predicted_from_its_own_voxels(fitted, training):
    for subject in N_VOXELS:
        true = training.features["vdvae"][training.stimulus_rows[subject]]
        found = predicted(fitted, training.responses[subject], subject)["vdvae"]
        assert np.corrcoef(found.ravel(), true.ravel())[0, 1] > 0.9, subject
    voxels = fitted.network.voxels("subj02")
    learned = Samples(training, RECIPE, by_subject=True).trials["subj02"].learned
    expected = training.responses["subj02"][learned].astype(float)
    np.testing.assert_allclose(voxels.mean, expected.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(voxels.scale, expected.std(axis=0), rtol=1e-5)


def test_a_prediction_does_not_depend_on_who_stands_in_the_batch(fitted, training):
    patterns = {subject: torch.from_numpy(values[:5]) for subject, values in training.responses.items()}
    alone = predicted(fitted, training.responses["subj02"][:5], "subj02")["clip"]
    with torch.inference_mode():
        for order in (("subj01", "subj02"), ("subj05", "subj02", "subj01")):
            outputs = fitted.network({subject: patterns[subject] for subject in order})["clip"].flatten(1).numpy()
            place = 5 * order.index("subj02")
            np.testing.assert_allclose(outputs[place : place + 5], alone, atol=1e-4 * alone.std())


def test_what_was_saved_predicts_the_same(fitted, saved, training):
    assert sorted(contents(saved)) == [
        "config.json",
        "model.safetensors",
        *(f"subjects/{subject}.safetensors" for subject in N_VOXELS),
    ]
    assert json.loads((saved / "config.json").read_text())["n_voxels"] == N_VOXELS
    again = TrainedDecoder.from_pretrained(saved)
    for subject, patterns in training.responses.items():
        for name, values in predicted(again, patterns, subject).items():
            assert np.array_equal(values, predicted(fitted, patterns, subject)[name])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize("begins", [False, True], ids=["anew", "from another"])
def test_killed_and_started_again_it_ends_in_the_same_bytes(saved, begins, tmp_path):
    training = training_of("subj01", "subj05", epoch_of="trials apart")
    options = {"pretrained": saved} if begins else {}

    def killed(label, done, total):
        if done == 7:
            os.kill(os.getpid(), signal.SIGKILL)

    if not (process := os.fork()):
        try:
            made().fit(training, folder=tmp_path / "parts", progress=killed, **options)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(process, 0)[1]) and (tmp_path / "parts" / FILE).exists()
    done = []
    resumed = made().fit(
        training, folder=tmp_path / "parts", progress=lambda label, step, total: done.append(step), **options
    )
    assert done[0] == 7
    for folder, one in (("parts", resumed), ("whole", made().fit(training, **options))):
        one.save_pretrained(tmp_path / folder)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


@pytest.mark.parametrize("accumulate", [2, 4])
def test_parts_of_a_batch_hold_samples_of_all_subjects(training, accumulate):
    class Plain(SharedTrunk):
        def __init__(self, n_voxels, gives):
            super().__init__(n_voxels, gives)
            self.heads.trunk[2] = torch.nn.Identity()

    recipe = replace(RECIPE, validation=0.0, optimiser=OptimiserSpec("sgd", 1e-2))
    (whole, parts) = (made(Plain, replace(recipe, accumulate=n)).fit(training) for n in (1, accumulate))
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(parts.network.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_objectives_change_the_patterns_of_each_subject(training):
    class Noting(MeanSquaredError):
        given = []

        def before(self, patterns, step):
            self.given.append({subject: tuple(values.shape) for subject, values in patterns.items()})
            return {subject: values * 0 for subject, values in patterns.items()}

    made(objectives=[Noting("vdvae")], recipe=replace(RECIPE, steps=1, validation=0.0)).fit(training)
    assert Noting.given == [{subject: (4, n) for subject, n in N_VOXELS.items()}]


# Going on from a decoder of others


def test_a_new_subject_starts_from_what_others_share(fitted, saved):
    before = contents(saved)
    still = replace(RECIPE, steps=1, validation=0.0, optimiser=OptimiserSpec("sgd", 1e-12))
    training = training_of("subj05", "subj02")
    again = made(recipe=still).fit(training, pretrained=saved)
    found, known = again.network.state_dict(), fitted.network.state_dict()
    for name in known:
        if name.startswith("network.heads"):
            torch.testing.assert_close(found[name], known[name], atol=1e-9, rtol=0)
    # Places of the same subjects are others.
    for subject in ("subj05", "subj02"):
        places = again.network.subject_tensors(subject), fitted.network.subject_tensors(subject)
        for name, place in places[0].items():
            torch.testing.assert_close(found[place], known[places[1][name]], atol=1e-9, rtol=0)
    assert contents(saved) == before


def test_adding_a_subject_leaves_the_files_of_others_as_they_are(saved, tmp_path):
    """What is shared and what belongs to others is left alone; the new subject alone learns."""
    of_new = replace(RECIPE, trains=(r".*linears\.2\..*",))
    first = made().fit(training_of("subj01", "subj02"))
    first.save_pretrained(tmp_path / "two")
    added = made(recipe=of_new).fit(training_of("subj01", "subj02", "subj05"), pretrained=tmp_path / "two")
    added.save_pretrained(tmp_path / "three")
    two, three = contents(tmp_path / "two"), contents(tmp_path / "three")
    for name in ("model.safetensors", "subjects/subj01.safetensors", "subjects/subj02.safetensors"):
        assert two[name] == three[name]
    patterns = training_of("subj01").responses["subj01"]
    for name, values in predicted(first, patterns, "subj01").items():
        np.testing.assert_array_equal(predicted(added, patterns, "subj01")[name], values)


def test_what_belongs_to_a_new_subject_is_trained_alone(fitted, saved, tmp_path):
    random = np.random.default_rng(9)
    told = random.standard_normal((N_STIMULI, 5)).astype(np.float32)
    responses = {"subj09": (told @ random.standard_normal((5, 11))).astype(np.float32)}
    features = {"clip": told.reshape(-1, 5, 1), "vdvae": told[:, :3]}
    training = Training(responses, {"subj09": np.arange(N_STIMULI)}, features)
    new = made(new_subject=NewSubject(own_alone=True)).fit(training, pretrained=saved)
    found, known = new.network.state_dict(), fitted.network.state_dict()
    own = set(new.network.subject_tensors("subj09").values())
    shared = set(found) - own
    assert shared and all(torch.equal(found[name], known[name]) for name in shared)
    begun = made(
        recipe=replace(RECIPE, steps=1, optimiser=OptimiserSpec("sgd", 1e-12)), new_subject=NewSubject(own_alone=True)
    )
    first = begun.fit(training, pretrained=saved).network.state_dict()
    learned = {name for name in own if not torch.equal(found[name], first[name])}
    assert learned == {name for name, _ in new.network.named_parameters() if name in own}
    # Without a decoder before, all of it is.
    whole = made(new_subject=NewSubject(own_alone=True), recipe=replace(RECIPE, steps=1)).fit(training)
    assert any(not torch.equal(whole.network.state_dict()[name], found[name]) for name in shared)
    with pytest.raises(InputError, match="knows subj01 already; expected a subject"):
        made(new_subject=NewSubject(own_alone=True)).fit(training_of("subj01"), pretrained=saved)


def test_after_a_new_subjects_own_layers_something_else_is_trained_alone(saved, tmp_path):
    training = replace(training_of("subj01"), epoch_of="trials apart")
    training = replace(
        training,
        responses={"subj09": training.responses["subj01"]},
        stimulus_rows={"subj09": training.stimulus_rows["subj01"]},
    )
    head = r"network\.network\.heads\.trunk\.0\..*"
    then = replace(RECIPE, steps=8, trains=(head,), seed=4)
    first = made(new_subject=NewSubject(own_alone=True)).fit(training, pretrained=saved)
    both = made(new_subject=NewSubject(True, afterwards=then)).fit(training, pretrained=saved)
    found, known = both.network.state_dict(), first.network.state_dict()
    moved = {name for name, value in known.items() if not torch.equal(found[name], value)}
    assert moved and all(re.fullmatch(head.removeprefix(r"network\."), name) for name in moved)
    # The curves go on.
    assert [line["step"] for line in both._curves.lines] == [4, 8, 12, 16, 20]
    assert both._curves.lines[:3] == first._curves.lines
    # Without a decoder before there is no second training.
    alone = [
        made(new_subject=NewSubject(afterwards=after)).fit(training).network.state_dict() for after in (None, then)
    ]
    assert all(torch.equal(alone[1][name], value) for name, value in alone[0].items())
    # Stopped in either part, it ends in the same bytes.
    asked = []

    def stop(label, done, total):
        asked.append((label.endswith("afterwards"), done))
        if asked[-1] in ((False, 6), (True, 3)) and asked.count(asked[-1]) == 1:
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            made(new_subject=NewSubject(True, afterwards=then)).fit(
                training, folder=tmp_path / "run", progress=stop, pretrained=saved
            )
    again = made(new_subject=NewSubject(True, afterwards=then)).fit(
        training, folder=tmp_path / "run", progress=stop, pretrained=saved
    )
    assert asked[-1] == (True, 8)
    for folder, one in (("run", again), ("whole", both)):
        one.save_pretrained(tmp_path / folder)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_new_subject_may_have_more_and_train_some_of_what_is_shared(tmp_path):
    before = made(AdaptedTrunk).fit(training_of("subj01", "subj02"))
    before.save_pretrained(tmp_path / "before")
    shared = before.network.state_dict()
    assert not any("adapters" in name for name in shared)
    trained = next(name for name, _ in before.network.named_parameters() if "heads" in name)
    new_subject = NewSubject(True, (re.escape(f"network.{trained}"),), {"adapted": True})
    options = {"new_subject": new_subject}
    new = made(AdaptedTrunk, **options).fit(training_of("subj05"), pretrained=tmp_path / "before")
    found = new.network.state_dict()
    assert found["network.adapters.subj05"].abs() > 0
    own = set(new.network.subject_tensors("subj05").values())
    changed = {name for name in set(found) - own if not torch.equal(found[name], shared[name])}
    assert changed == {trained}
    new.save_pretrained(tmp_path / "new")
    opened = TrainedDecoder.from_pretrained(tmp_path / "new")
    assert torch.equal(opened.network.state_dict()["network.adapters.subj05"], found["network.adapters.subj05"])
    # Fitted on nobody before, it has none.
    assert not made(AdaptedTrunk, **options).fit(training_of("subj05")).network.network.adapters


def test_companions_take_turns_and_are_not_validated():
    training = training_of("subj02", "subj05", "subj01", companions=("subj02", "subj05"))
    samples = Samples(training, replace(RECIPE, batch_size=8), by_subject=True)
    for step in range(6):
        batch = samples.at(step)
        assert list(batch["patterns"]) == [("subj02", "subj05")[step % 2], "subj01"]
        assert [len(rows) for rows in batch["patterns"].values()] == [4, 4]
        assert len(batch["targets"]["clip"]) == 8
    held_out = [list(batch["patterns"]) for batch in samples.validation()]
    assert held_out and all(names == ["subj01"] for names in held_out)
    with pytest.raises(InputError, match="A batch of 9 samples cannot be shared by 2 subjects"):
        Samples(training, replace(RECIPE, batch_size=9), by_subject=True)


def test_a_new_subject_learns_the_same_whether_companions_are_interrupted(saved, tmp_path):
    training = training_of("subj02", "subj05", "subj01", companions=("subj02", "subj05"))
    recipe = replace(RECIPE, batch_size=8)
    whole = made(recipe=recipe).fit(training)
    seen = []

    def stop(label, done, total):
        seen.append(done)
        if len(seen) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(recipe=recipe).fit(training, folder=tmp_path / "run", progress=stop)
    again = made(recipe=recipe).fit(training, folder=tmp_path / "run")
    found, expected = again.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_decoder_that_it_starts_from_belongs_to_what_a_training_is(saved, tmp_path):
    training, other = training_of("subj01"), tmp_path / "other"
    made(recipe=replace(RECIPE, steps=5)).fit(training_of(*N_VOXELS)).save_pretrained(other)

    def first_step(pretrained):
        done = []
        made().fit(
            training,
            folder=tmp_path / "here",
            progress=lambda label, step, total: done.append(step),
            pretrained=pretrained,
        )
        return done[0]

    assert [first_step(pretrained) for pretrained in (saved, saved, other, None, None)] == [0, 12, 0, 0, 12]


# What is refused


def test_mistakes_are_told(fitted, saved, training, tmp_path):
    patterns = training.responses["subj01"][:2]
    with pytest.raises(InputError, match="fitted on subj01, subj02, subj05 but patterns of subj03 were given"):
        fitted.predict_blocks(patterns, subject="subj03")
    with pytest.raises(InputError, match="fitted on subj01, subj02, subj05 but nobody .* pass subject='subj01'"):
        fitted.predict_blocks(patterns)
    with pytest.raises(InputError, match="Patterns have 30 voxels but the decoder was fitted on 17"):
        fitted.predict_blocks(patterns, subject="subj02")
    with pytest.raises(InputError, match="one subject but 3 were given"):
        made(TwoHeads).fit(training)
    with pytest.raises(InputError, match="one subject but 0 were given"):
        made().fit(Training({}, {}, training.features))
    with pytest.raises(InputError, match="batch of 14 samples cannot be shared by 3 subjects; .* 3: .*batch_size = 15"):
        made(recipe=replace(RECIPE, batch_size=14)).fit(training)
    with pytest.raises(InputError, match="24 samples cannot be shared by 3 subjects in 6 parts each; .* 18: .* = 18"):
        made(recipe=replace(RECIPE, accumulate=6, batch_size=24)).fit(training)
    empty = training.responses | {"subj02": np.empty((0, 17), np.float32)}
    rows = training.stimulus_rows | {"subj02": np.empty(0, int)}
    with pytest.raises(InputError, match="subj02 has 0 trials, .* none is left to learn from"):
        made().fit(replace(training, responses=empty, stimulus_rows=rows))
    with pytest.raises(InputError, match="responses of subj05 but no stimulus_rows"):
        without = {subject: rows for subject, rows in training.stimulus_rows.items() if subject != "subj05"}
        made().fit(replace(training, stimulus_rows=without))
    with pytest.raises(InputError, match="hold no stimulus twice but there are 3 stimuli"):
        few = training_of("subj01", epoch_of="trials apart")
        few = replace(few, stimulus_rows={"subj01": few.stimulus_rows["subj01"] % 3})
        made(recipe=replace(RECIPE, validation=0.0)).fit(few)


@pytest.mark.parametrize("name", ["../subj01", "a/b", "..", "", "con", "subj\n01"])
def test_a_name_that_no_file_can_have_is_refused_before_it_trains(name):
    training = training_of("subj01")
    with pytest.raises(InputError, match="cannot have a file of its name because"):
        made().fit(
            replace(
                training,
                responses={name: training.responses["subj01"]},
                stimulus_rows={name: training.stimulus_rows["subj01"]},
            ),
            progress=lambda *told: pytest.fail("it trained"),
        )


def test_folders_that_do_not_fit_are_refused(saved, fitted, training, tmp_path):
    def copied(name):
        return shutil.copytree(saved, tmp_path / name)

    (copied("lost") / "subjects/subj02.safetensors").unlink()
    with pytest.raises(InputError, match="subj02.safetensors is absent"):
        TrainedDecoder.from_pretrained(tmp_path / "lost")
    shutil.copy(saved / "subjects/subj01.safetensors", copied("swapped") / "subjects/subj02.safetensors")
    with pytest.raises(InputError, match="misshapen"):
        TrainedDecoder.from_pretrained(tmp_path / "swapped")
    config = json.loads((copied("leading") / "config.json").read_text())
    config["n_voxels"] = {"../../subj01": 30}
    (tmp_path / "leading/config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="cannot be the name of a file"):
        TrainedDecoder.from_pretrained(tmp_path / "leading")
    config["n_voxels"] = 30
    (tmp_path / "leading/config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="No decoder can be opened"):
        TrainedDecoder.from_pretrained(tmp_path / "leading")
    with pytest.raises(InputError, match="one subject, of which nothing can be gone on with"):
        one = training_of("subj01")
        made(TwoHeads).fit(one, pretrained=saved)
    with pytest.raises(InputError, match="knows 17 voxels of subj02, but there are 30"):
        one = training_of("subj01")
        other = replace(
            one, responses={"subj02": one.responses["subj01"]}, stimulus_rows={"subj02": np.arange(80) // 2}
        )
        made().fit(other, pretrained=saved)
    with pytest.raises(InputError, match="cannot go on from the decoder in .*misshapen"):
        made(arguments={"width": 9}).fit(training_of("subj01"), pretrained=saved)
    with pytest.raises(InputError, match="cannot go on from the decoder in .*absent"):
        made().fit(training_of("subj01"), pretrained=tmp_path / "nowhere")


def test_the_cost_is_counted_of_all_subjects():
    gives = {"clip": (5, 1), "vdvae": (3,)}
    cost = made().cost(N_VOXELS, gives)
    linear = sum(8 * n + 8 for n in N_VOXELS.values())
    heads = 8 * 16 + 16 + 16 * 5 + 5 + 16 * 3 + 3
    assert cost.parameters == linear + heads and cost.operations > 0


# What others have released


def test_a_released_file_has_the_inputs_of_subjects_by_their_places(fitted, training, tmp_path):
    tensors = {name.removeprefix("network."): value for name, value in fitted.network.state_dict().items()}
    save_file({name: value for name, value in tensors.items() if "_voxels" not in name}, tmp_path / "model.safetensors")
    released = Released("linears.{}.weight")
    gives = {"clip": (5, 1), "vdvae": (3,)}
    taken = made().take(tmp_path, "somebody's", released, N_VOXELS, gives)
    for subject, patterns in training.responses.items():
        voxels = fitted.network.voxels(subject)
        # Voxels are read as they are: who released it has standardised them before.
        own = (patterns[:4] - voxels.mean.numpy()) / voxels.scale.numpy()
        expected = predicted(fitted, patterns[:4], subject)["clip"]
        np.testing.assert_allclose(predicted(taken, own, subject)["clip"], expected, atol=1e-4 * expected.std())
    taken.save_pretrained(tmp_path / "written")
    again = TrainedDecoder.from_pretrained(tmp_path / "written")
    assert again.network.n_voxels == N_VOXELS and again.notes() == taken.notes()
    # Their subjects may come before a new one.
    new = made(recipe=replace(RECIPE, steps=1)).fit(training_of("subj02"), pretrained=tmp_path / "written")
    assert list(new.network.n_voxels) == ["subj02"]
    with pytest.raises(InputError, match="reads 17 voxels but the responses have 18"):
        made().take(tmp_path, "somebody's", released, N_VOXELS | {"subj02": 18}, gives)
    with pytest.raises(InputError, match="linears.2"):
        made().take(tmp_path, "somebody's", released, {"subj01": 30, "subj02": 17}, gives)

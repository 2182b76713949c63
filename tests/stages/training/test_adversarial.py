"""Training end to end: losses and steps against the formulas written out, interruption, balance, several processes."""

import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.judges.comparators import load_comparator
from stages.networks.voxel_gan import GANDiscriminator, GANGenerator
from stages.objectives.adversarial_balance import Balance
from stages.training import adversarial as gan_training
from stages.training.adversarial import Samples, train_generator
from stages.training.adversarial_settings import LossWeights, TrainingSettings
from stages.training.state import FILE

STUDY = LossWeights(image=100, feature=100, adversarial=10_000, brightness=255)
SHORT = TrainingSettings(iterations=6, batch_size=4, learning_rate=1e-3, validate_every=2, dropout=0.0, milestones=(3,))


def samples(n=10, margin=3, seed=0):
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, (5, 64 + margin, 64 + margin, 3), dtype=np.uint8)
    return Samples(random.standard_normal((n, 12), dtype=np.float32), pictures, np.arange(n) % 5)


@cache
def alexnet():
    """A comparator, made once: it is frozen, and of its 60 million random weights most belong to layers that are left out."""
    return load_comparator("alexnet")


def trained(settings=SHORT, losses=STUDY, given=None, validation=None, seed=1, **options):
    generator = GANGenerator(12, 64, 8, brightness=losses.brightness, seed=seed)
    comparator = alexnet() if losses.feature else None
    history = train_generator(generator, comparator, given or samples(), validation, losses, settings, **options)
    return generator, history


def weights(generator):
    return torch.cat([value.flatten() for value in generator.state_dict().values()])


def by_hand(given, losses, settings, learning=((True, True),) * 6):
    """The same training as loops over the formulas: Caffe's distances, two players, Adam written out.

    `learning` says for each step whether the discriminator is updated, and whether the generator is.
    """
    generator = GANGenerator(12, 64, 8, brightness=losses.brightness, seed=1)
    judge = GANDiscriminator(8, 0.0, settings.seed).train()
    comparator = alexnet()
    moments, applied = {}, {generator: 0, judge: 0}

    def adam(network, gradients, step, decay):
        applied[network] += 1
        if settings.adam == "caffe":
            # The solver's count is raised before an update is applied, and its formula has one more.
            count = applied[network]
            rate = settings.learning_rate * (0.5 if count >= 3 else 1)
            rate, small = rate * np.sqrt(1 - 0.999 ** (count + 1)) / (1 - 0.9 ** (count + 1)), 1e-8
        else:
            count = applied[network]
            rate = settings.learning_rate * (0.5 if step >= 3 else 1)
            rate, small = rate * np.sqrt(1 - 0.999**count) / (1 - 0.9**count), 1e-8 * np.sqrt(1 - 0.999**count)
        for parameter, gradient in zip(network.parameters(), gradients):
            gradient = gradient + decay * parameter.detach()
            first, second = moments.get(parameter, (0.0, 0.0))
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            moments[parameter] = first, second
            with torch.no_grad():
                parameter -= rate * first / (second.sqrt() + small)

    lines = []
    for step, (judge_learns, generator_learns) in zip(range(settings.iterations), learning):
        rows = []
        for number in range(step * 4, step * 4 + 4):
            epoch, place = divmod(number, len(given.responses))
            rows.append(np.random.default_rng([settings.seed, epoch, 0]).permutation(len(given.responses))[place])
        cuts = np.random.default_rng([settings.seed, step, 1])
        tops, lefts = cuts.integers(0, 4, 4), cuts.integers(0, 4, 4)
        shown = np.stack(
            [given.pictures[given.stimuli[r], t : t + 64, x : x + 64] for r, t, x in zip(rows, tops, lefts)]
        ).transpose(0, 3, 1, 2)
        shown = torch.from_numpy(shown.astype(np.float32))
        drawn = generator(torch.from_numpy(given.responses[rows]))
        real, fake = torch.softmax(judge(shown / losses.brightness), 1), torch.softmax(judge(drawn.detach()), 1)
        found_out = -real[:, 0].log().mean() - fake[:, 1].log().mean()
        of_judge = torch.autograd.grad(losses.adversarial * found_out, list(judge.parameters()))
        if settings.turns == "discriminator_first" and judge_learns:
            adam(judge, of_judge, step, settings.discriminator_decay)
        image = ((drawn - shown / losses.brightness) ** 2).sum() / 8
        feature = ((comparator(drawn * losses.brightness) - comparator(shown)) ** 2).sum() / 8
        fooled = -torch.softmax(judge(drawn), 1)[:, 0].log().mean()
        total = losses.image * image + losses.feature * feature + losses.adversarial * fooled
        if generator_learns:
            adam(generator, torch.autograd.grad(total, list(generator.parameters())), step, 0.0)
        if settings.turns == "together" and judge_learns:
            adam(judge, of_judge, step, settings.discriminator_decay)
        lines.append({"image": image.item(), "feature": feature.item(), "adversarial": fooled.item()})
    return generator, judge, lines


@pytest.fixture
def judges(monkeypatch):
    """Discriminators in the order in which they are made."""
    found, made = [], GANDiscriminator.__init__

    def remembered(self, *args, **options):
        made(self, *args, **options)
        found.append(self)

    monkeypatch.setattr(GANDiscriminator, "__init__", remembered)
    return found


# The discriminator waits in the third step, the generator in the fourth and fifth.
TURNS = ((True, True), (True, True), (False, True), (True, False), (True, False), (True, True))


WAYS = [{}, {"turns": "together"}, {"adam": "standard"}, {"turns": "together", "adam": "standard"}]


# A step of Adam is as long as the rate where a gradient is next to nothing, and its sign then a matter of rounding, which the
# next steps carry on. After one step the order of turns makes 5e-8 of a mean difference, after six the kind of Adam 6e-4.
@pytest.mark.parametrize(("iterations", "loss", "weight"), [(1, 1e-5, 1e-9), (6, 1e-3, 5e-6)])
@pytest.mark.parametrize("ways", WAYS, ids=str)
def test_training_vs_the_formulas_written_out(monkeypatch, judges, ways, iterations, loss, weight):
    # Who learns is settled here: the balance has tests of its own.
    steps = iter(TURNS[1:])

    def settled(self, *losses):
        self.discriminator, self.generator = next(steps, (True, True))

    monkeypatch.setattr(Balance, "update", settled)
    given, settings = samples(), replace(SHORT, iterations=iterations, validate_every=1, **ways)
    generator, history = trained(settings, given=given)
    expected, judge, lines = by_hand(given, STUDY, settings, TURNS)
    assert len(history) == len(lines) == iterations
    for line, wanted in zip(history, lines):
        for name, value in wanted.items():
            assert line[name] == pytest.approx(value, rel=loss), (line["step"], name)
    for found, one in ((generator, expected), (judges[0], judge)):
        assert (weights(found) - weights(one)).abs().mean() < weight


@pytest.mark.parametrize("ways", [{"turns": "together"}, {"adam": "standard"}], ids=str)
def test_ways_to_take_a_step_are_told_apart(ways):
    published, _ = trained()
    other, _ = trained(replace(SHORT, **ways))
    assert (weights(published) - weights(other)).abs().max() > 1e-4


def test_the_better_player_waits():
    balance = Balance()
    balance.update(0.3, 0.3, 1.0)
    assert (balance.discriminator, balance.generator) == (True, True)
    balance.update(0.02, 0.03, 1.0)  # 0.05: the discriminator sees through everything
    assert (balance.discriminator, balance.generator) == (False, True)
    balance.update(0.2, 0.2, 1.0)  # 0.4: not yet
    assert (balance.discriminator, balance.generator) == (False, True)
    balance.update(0.4, 0.2, 1.0)
    assert (balance.discriminator, balance.generator) == (True, True)
    balance.update(6.0, 5.0, 1.0)  # 11: it is fooled by everything
    assert (balance.discriminator, balance.generator) == (True, False)
    balance.update(3.0, 2.0, 1.0)
    assert (balance.discriminator, balance.generator) == (True, False)
    balance.update(0.02, 0.02, 1.0)
    assert (balance.discriminator, balance.generator) == (False, True)


@pytest.mark.parametrize("waits", ["discriminator", "generator"])
def test_who_waits_does_not_change(monkeypatch, judges, waits):
    start = {"discriminator": (False, True), "generator": (True, False)}[waits]
    monkeypatch.setattr(gan_training, "Balance", lambda *flags: Balance(*(flags or start)))
    monkeypatch.setattr(Balance, "update", lambda self, *losses: None)
    generator, _ = trained()
    changed = {
        "generator": not torch.equal(weights(generator), weights(GANGenerator(12, 64, 8, seed=1))),
        "discriminator": not torch.equal(weights(judges[0]), weights(GANDiscriminator(8, 0.0, 0))),
    }
    assert changed == {"generator": waits != "generator", "discriminator": waits != "discriminator"}


class Stopped(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("after", [1, 3, 5])
def test_an_interrupted_training_ends_in_the_same_weights(tmp_path, after):
    settings = replace(SHORT, dropout=0.5, validation=0.2)
    validation = samples(5, seed=3)
    undisturbed, history = trained(settings, validation=validation)

    def stop(label, done, total):
        if done == after:
            raise Stopped

    options = {"validation": validation, "folder": tmp_path, "seconds_between_checkpoints": 0.0}
    with pytest.raises(Stopped):
        trained(settings, progress=stop, **options)
    assert (tmp_path / FILE).exists()
    # Other initial weights: all that counts is in the checkpoint.
    seen = []
    resumed, again = trained(settings, progress=lambda label, done, total: seen.append(done), **options)
    assert torch.equal(weights(resumed), weights(undisturbed)) and again == history
    assert seen[0] == after + 1


def test_a_checkpoint_of_something_else_is_not_gone_on_with(tmp_path):
    trained(folder=tmp_path, seconds_between_checkpoints=0.0, identity="these responses")
    seen = []
    count = {"progress": lambda label, done, total: seen.append(done), "folder": tmp_path}
    trained(identity="those responses", **count)
    assert seen[0] == 1
    seen.clear()
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-9])
    trained(identity="those responses", **count)
    assert seen[0] == 1


def test_validation_keeps_the_best_weights_and_stops():
    # Noise cannot be learned: validation gets worse as training goes on.
    settings = replace(SHORT, iterations=400, validate_every=5, patience=3, learning_rate=3e-3)
    losses = LossWeights(image=1, feature=0, adversarial=0, brightness=255)
    validation = samples(5, seed=3)
    generator, history = trained(settings, losses, validation=validation)
    values = [line["validation"] for line in history]
    best = int(np.argmax(values))
    assert history[-1]["step"] < 400 and len(values) - 1 - best == 3
    until_then, _ = trained(replace(settings, iterations=history[best]["step"]), losses, validation=validation)
    assert torch.equal(weights(generator), weights(until_then))
    with torch.no_grad():
        drawn = generator.greys(generator(torch.from_numpy(validation.responses))).permute(0, 2, 3, 1).numpy()
    shown = validation.pictures[validation.stimuli][:, 1:65, 1:65]
    correlations = [np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in zip(drawn, shown)]
    assert max(values) == pytest.approx(np.mean(correlations), abs=1e-5)


@pytest.mark.parametrize("left_out", ["image", "feature", "adversarial"])
def test_losses_can_be_left_out(left_out):
    _, history = trained(losses=replace(STUDY, **{left_out: 0}))
    present = {"image", "feature", "adversarial"} - {left_out}
    assert history[-1][left_out] is None and all(history[-1][name] > 0 for name in present)
    assert (history[-1]["shown"] is None) == (left_out == "adversarial")


def test_a_pattern_is_learned():
    """Four responses and four pictures: the network can tell them apart after some steps."""
    random = np.random.default_rng(0)
    colours = np.repeat(np.repeat(random.integers(0, 256, (4, 2, 2, 3), dtype=np.uint8), 32, axis=1), 32, axis=2)
    given = Samples(random.standard_normal((4, 12), dtype=np.float32), colours, np.arange(4))
    generator, _ = trained(replace(SHORT, iterations=400, milestones=()), LossWeights(1, 0, 0, 255.0), given)
    with torch.no_grad():
        drawn = generator.greys(generator(torch.from_numpy(given.responses))).permute(0, 2, 3, 1).numpy()
    errors = np.array([[np.abs(one - other).mean() for other in colours.astype(float)] for one in drawn])
    assert (errors.argmin(axis=1) == np.arange(4)).all() and np.diag(errors).mean() < 0.8 * errors.mean()


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (LossWeights, {"image": -1.0}, "losses.image is -1.0"),
        (LossWeights, {"image": float("nan")}, "losses.image is nan"),
        (LossWeights, {"image": 0, "feature": 0, "adversarial": 0}, "all 0"),
        (LossWeights, {"brightness": 2.0}, "brightness is 2.0"),
        (TrainingSettings, {"batch_size": 0}, "batch_size is 0"),
        (TrainingSettings, {"validation": 0.9}, "validation is 0.9"),
        (TrainingSettings, {"learning_rate": 0.0}, "learning_rate is 0.0"),
        (TrainingSettings, {"turns": "both"}, "turns is 'both'"),
        (TrainingSettings, {"adam": "amsgrad"}, "adam is 'amsgrad'"),
        (TrainingSettings, {"precision": "fp8"}, "precision is 'fp8'"),
        (TrainingSettings, {"seed": -1}, "seed is -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind, options, said):
    with pytest.raises(InputError, match=said):
        kind(**options)


def test_precisions_may_follow_one_another():
    losses = LossWeights(image=1, feature=0, adversarial=0, brightness=255)
    results = [trained(replace(SHORT, precision=precision), losses)[0] for precision in ("no", "bf16", "no")]
    assert torch.equal(weights(results[0]), weights(results[2])) and not torch.equal(
        weights(results[0]), weights(results[1])
    )
    # Once trained, it draws in full precision.
    with torch.no_grad():
        assert results[1](torch.zeros(1, 12)).dtype == torch.float32
        hidden = results[1].defc7(torch.ones(1, 12))
    assert hidden.dtype == torch.float32


SCRIPT = """
import sys, numpy as np, torch
torch.set_num_threads(1)
from stages.networks.voxel_gan import GANGenerator
from stages.training.adversarial_settings import LossWeights, TrainingSettings
from stages.training.adversarial import Samples, train_generator
from stages.judges.comparators import load_comparator
random = np.random.default_rng(0)
pictures = random.integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
given = Samples(random.standard_normal((10, 12), dtype=np.float32), pictures, np.arange(10) % 5)
generator = GANGenerator(12, 64, 8, seed=1)
steps = int(sys.argv[2])
settings = TrainingSettings(
    iterations=steps, batch_size=4, learning_rate=1e-3, dropout=0.0, validate_every=max(steps // 10, 1), validation=0.1
)
train_generator(
    generator, load_comparator("alexnet"), given, given, LossWeights(100, 100, 10000, 255.0), settings,
    folder=sys.argv[1] + "-folder", seconds_between_checkpoints=0.05,
)
from accelerate import PartialState
assert PartialState().num_processes == int(sys.argv[3]), PartialState()
if PartialState().is_main_process:
    np.save(sys.argv[1], torch.cat([value.flatten() for value in generator.state_dict().values()]).numpy())
"""


def in_processes(tmp_path, n, steps):
    """Weights after a training by n processes."""
    script, path = tmp_path / "script.py", tmp_path / f"{n}-{steps}.npy"
    script.write_text(SCRIPT)
    launch = [] if n == 1 else ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(n)]
    subprocess.run([sys.executable, *launch, str(script), str(path), str(steps), str(n)], check=True, timeout=400)
    return np.load(path)


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path):
    one, two = in_processes(tmp_path, 1, 3), in_processes(tmp_path, 2, 3)
    assert np.abs(one - two).max() < 1e-4 < 1e-3 < np.abs(one).max()


@pytest.mark.slow
def test_two_processes_agree_about_who_waits_and_when_to_stop(tmp_path):
    # Long enough for the balance to change, and checkpoints as often as can be: nobody waits for somebody else for ever.
    assert np.isfinite(in_processes(tmp_path, 2, 400)).all()


def test_a_batch_that_processes_cannot_share_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match="batch_size is 4 but there are 3 processes"):
        trained()


def test_training_that_diverges_is_told(tmp_path):
    given = samples()
    wild = Samples(given.responses * 1e30, given.pictures, given.stimuli)
    with pytest.raises(InputError, match="loss is (inf|nan) at step 2 .* lower training.learning_rate"):
        trained(given=wild, folder=tmp_path)


@pytest.mark.slow
def test_a_step_at_the_published_size():
    """227 x 227 pixels, three layers of 4,096 values, CaffeNet, the published losses; 11,726 voxels, two samples."""
    random = np.random.default_rng(0)
    given = Samples(
        random.standard_normal((2, 11726), dtype=np.float32),
        random.integers(0, 256, (2, 248, 248, 3), dtype=np.uint8),
        np.arange(2),
    )
    generator = GANGenerator(11726, brightness=1.0, offset=(123.0, 117.0, 104.0))
    before = generator.defc5.weight.clone()
    settings = TrainingSettings(iterations=1, batch_size=2, validate_every=1)
    (line,) = train_generator(generator, load_comparator("caffenet"), given, None, LossWeights(), settings)
    assert all(
        np.isfinite(line[name]) and line[name] > 0 for name in ("image", "feature", "adversarial", "shown", "drawn")
    )
    step = (generator.defc5.weight - before).abs()
    assert 0 < step.max() <= 2.1e-4
    with torch.no_grad():
        assert generator(torch.zeros(1, 11726)).shape == (1, 3, 227, 227)

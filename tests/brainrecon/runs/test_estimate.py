"""What is told before long work: operations counted without weights, time by a rate, memory as the doctor reckons it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import with_weights
from brainrecon.assembly.targets import TargetSource, operations_of_one
from brainrecon.assembly.values import Machine
from brainrecon.cli import doctor
from brainrecon.runs import estimate
from stages.decoders.ridge.kfold_ridge import KFoldRidgeDecoder
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.generators.diffusion.memory import LIBRARIES, memory_need, peak
from stages.generators.diffusion.published_sizes import PUBLISHED_SIZES
from weights import store


def run_of(method, weights=None, n_test=10, device="cpu", **settings):
    """As much of a run as an estimate asks for; nothing is drawn or fitted yet."""
    kind = system_class(method)
    system = kind(with_weights(settings, kind, weights))
    chain = Chain(system, Machine(device))
    pictures = np.zeros((30, 425, 425, 3), dtype=np.uint8)
    train = SimpleNamespace(n_stimuli=30, n_trials=90, n_voxels=50, images=pictures)
    test = SimpleNamespace(stimulus_ids=[f"s{number}" for number in range(n_test)])
    subject = SimpleNamespace(train=train, test=test, splits={"train": train})
    run = SimpleNamespace(
        config=SimpleNamespace(system=system, samples=2, decoder_from=()),
        machine=chain.machine,
        unfitted=chain,
        subject=subject,
        cohort=SimpleNamespace(train=train, values=lambda: [subject]),
        pretraining=None,
        is_fitted=False,
        image_path=lambda name, stimulus_id, sample: SimpleNamespace(exists=lambda: stimulus_id == "s0"),
    )
    run.parts = [run]
    return run


@pytest.fixture(autouse=True)
def a_hundred_billion_a_second(monkeypatch):
    monkeypatch.setattr(estimate, "rate", lambda device: 1e11)


def test_drawing_is_told_by_pictures_steps_and_rows():
    run = run_of("brain-diffuser")
    size = PUBLISHED_SIZES["versatile-diffusion"]
    (line,) = estimate.of_drawing(run, batch_size=1)
    # s0 is there; 9 stimuli in two samples, 37 of 50 steps, two rows each under guidance.
    operations = 18 * (37 * 2 * size.unet_operations + size.vae_operations)
    assert line.startswith(
        f"Drawing 18 pictures in 37 steps each: {operations:.1e} operations, about {operations / 1e11 / 3600:.0f} h on cpu"
    )
    assert line.endswith(f"{peak(size, batch_size=1) / 1e9:.1f} GB of memory, 1 at a time.")
    # A control has one sample of each stimulus; one that the last step does not draw adds nothing.
    asked = ("reconstruction", "shuffled_responses", "stage_one", "nearest_training_picture")
    assert estimate.of_drawing(run, asked, batch_size=1)[0].startswith("Drawing 27 pictures")
    assert estimate.of_drawing(run_of("brain-diffuser", "tiny")) == []
    assert estimate.of_drawing(run_of("mean-image")) == []


def test_the_doctor_reckons_the_same_memory(monkeypatch):
    run = run_of("brain-diffuser")
    free = 14e9
    monkeypatch.setattr(doctor, "roomiest_device", lambda: ("cpu", int(free)))
    monkeypatch.setattr("stages.generators.diffusion.acceleration.free_memory", lambda device="cpu": int(free))
    told = next(one.detail for one in doctor.examine_generators() if one.detail.startswith("versatile-diffusion"))
    need, batch = estimate.memory_of_drawing(run, 100)
    assert batch > 1 and f"at most {batch} pictures at a time: {need / 1e9:.1f} of" in told
    assert need == memory_need(PUBLISHED_SIZES["versatile-diffusion"], batch_size=batch).total + LIBRARIES


def test_encoding_is_counted_on_outlines_alone(monkeypatch):
    run = run_of("brain-diffuser", "tiny")
    monkeypatch.setattr(estimate, "OPERATIONS_WORTH_SAYING", 1)
    lines = estimate.of_fitting(run)
    assert lines[0].startswith("Encoding 30 stimuli by vdvae, clip_image, clip_text: ")
    assert lines[1].startswith("Fitting vdvae, clip_image, clip_text (")
    assert not any(source.is_loaded for source in run.unfitted.targets.values())
    run.is_fitted = True
    assert estimate.of_fitting(run) == []


def test_operations_of_an_outline_are_those_of_the_loaded_network():
    from torch.utils.flop_counter import FlopCounterMode

    run = run_of("brain-diffuser", "tiny")
    for name, source in run.unfitted.targets.items():
        counted = estimate.operations_of_one_stimulus(source, run.subject.train)
        stimulus = [["a caption"]] if source.target.takes == "captions" else run.subject.train.images[:1]
        with FlopCounterMode(display=False) as counter:
            source.target.encode(stimulus)
        # torch does not count attention on a CPU.
        assert counter.get_total_flops() <= counted < 2 * counter.get_total_flops(), name
        assert name != "vdvae" or counted == counter.get_total_flops()


def test_absent_checkpoints_are_left_to_who_loads_them(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path))
    assert estimate.of_fitting(run_of("brain-diffuser")) == []


@pytest.mark.parametrize("decoder", [RidgeDecoder(held_out="none", penalty="group"), KFoldRidgeDecoder(folds=2)])
def test_fits_grow_as_their_arithmetic_says(decoder):
    few, many = (decoder.operations(100, 5000, {"a": columns}) for columns in (10**6, 2 * 10**6))
    assert many == pytest.approx(2 * few, rel=0.1)
    few, many = (decoder.operations(n, 10**6, {"a": 1}) for n in (1000, 2000))
    assert many == pytest.approx(4 * few, rel=0.1)


def test_takagis_decoding_is_told():
    run = run_of("takagi2023")
    step = run.unfitted.steps[0]
    step.targets = {"sd_latent": SimpleNamespace(outline=SimpleNamespace(n_targets=6400))}
    ((what, operations),) = step.operations(SimpleNamespace(n_stimuli=8859, n_trials=24980, n_voxels=5917)).items()
    assert what == "Fitting sd_latent (6,400 columns) to 24,980 rows of 5,917 voxels" and operations > 1e12


@pytest.mark.parametrize(
    "seconds, words",
    [(0.2, "1 s"), (40, "40 s"), (119, "119 s"), (720, "12 min"), (4 * 3600 + 99, "4 h"), (11.2 * 86400, "11 days")],
)
def test_times_are_told_in_few_digits(seconds, words):
    assert estimate.in_words(seconds) == words


def test_the_rate_is_that_of_a_convolution(monkeypatch):
    monkeypatch.undo()
    assert 1e8 < estimate.rate("cpu") < 1e14


@pytest.mark.parametrize("name", PUBLISHED_SIZES)
def test_every_published_generator_has_its_operations(name):
    size = PUBLISHED_SIZES[name]
    # A network does two operations for each parameter and place at least; few parameters see all places.
    assert size.unet_operations > 2 * size.unet_parameters and size.vae_operations > 5e11


def test_sketches_of_one_origin_are_made_once_and_counted_once():
    sketched, counted = [], []

    class Squares:
        takes = "images"

        def encode(self, images):
            _, height, width, _ = images.shape
            counted.append(height)
            return torch.empty(height, width, device="meta") @ torch.empty(width, 5, device="meta")

    def source(*origin):
        def sketch():
            sketched.append(origin)
            return Squares()

        return TargetSource(None, (), sketch=sketch, sketched_from=lambda: origin)

    asked = [(("a", 1), 8), (("a", 1), 8), (("a", 1), 4), (("a", 2), 8)]
    counts = [operations_of_one(source(*origin), (size, size, 3)) for origin, size in asked]
    assert counts == [2 * size * size * 5 for _, size in asked]
    assert sketched == [("a", 1), ("a", 2)]
    assert counted == [8, 4, 8]


def test_a_checkpoint_that_was_replaced_is_counted_anew(tmp_path):
    (tmp_path / "clip").mkdir()
    folder = store.path("tiny-clip")
    for path in folder.iterdir():
        (tmp_path / "clip" / path.name).write_bytes(path.read_bytes())
    system = system_class("brain-diffuser")({"checkpoints": {"clip": str(tmp_path / "clip")}})
    source = system.target("stages.targets.clip:CLIPImageTokens", "clip", Machine())
    assert source.sketched_from() == source.sketched_from()
    before = source.sketched_from()
    config = tmp_path / "clip" / "open_clip_config.json"
    config.write_text(config.read_text() + "\n")
    assert source.sketched_from() != before

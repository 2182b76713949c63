"""Released decoders of MindEye2: every published name is read, a run starts from one, and what does not fit is refused.

No released file was read: files are made at random, in the published layout.
"""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from chains import chain_of
from released_mindeye import noise_tables, random_network, save_training
from safetensors.torch import load_file
from small_systems import SMALL

from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run
from stages.networks.mindeye2 import MindEye2Network
from weights import store
from weights.manifest import Checkpoint, CheckpointFile, read_manifest, write_manifest

METHOD, NAME, N_VOXELS = "mindeye2-2024", "small-subj01-1sess", 300
# Of several subjects, and none of them the one that is new.
SEVERAL = "small-multisubject-subj01"
BOTH = ("weight", "bias")
PRIOR, BACKBONE = "diffusion_prior", "backbone"


def tables(n_steps=100):
    return {f"{PRIOR}.{name}": value for name, value in noise_tables(n_steps).items()}


def published_shapes(n_voxels, hidden=4096, n_tokens=256, width=1664, side=28, heads=32, head=52, depth=6):
    """Names and shapes of the file's model_state_dict from the published description, but for the inside of its decoder."""
    outputs, places = n_tokens * width, 64 * (side // 4) ** 2
    shapes = {"ridge.linears.0.weight": (hidden, n_voxels), "ridge.linears.0.bias": (hidden,)}
    for blocks, values in (("mixer_blocks1", hidden), ("mixer_blocks2", 1)):
        for k in range(4):
            block = f"{BACKBONE}.{blocks}.{k}"
            shapes |= {f"{block}.0.{kind}": (values,) for kind in BOTH}
            shapes |= {f"{block}.1.{layer}.weight": (values, values) for layer in (0, 3)}
            shapes |= {f"{block}.1.{layer}.bias": (values,) for layer in (0, 3)}
    for name, rows in (("backbone_linear", outputs), ("blin1", places)):
        shapes |= {f"{BACKBONE}.{name}.weight": (rows, hidden), f"{BACKBONE}.{name}.bias": (rows,)}
    for layer in (0, 3, 6):
        shapes |= {f"{BACKBONE}.clip_proj.{layer}.{kind}": (width,) for kind in BOTH}
    for layer in (2, 5, 8):
        shapes |= {
            f"{BACKBONE}.clip_proj.{layer}.weight": (width, width),
            f"{BACKBONE}.clip_proj.{layer}.bias": (width,),
        }
    shapes |= {f"{BACKBONE}.bnorm.{kind}": (64,) for kind in BOTH}
    for layer, before in ((0, 64), (3, 512), (6, 512)):
        shapes[f"{BACKBONE}.b_maps_projector.{layer}.weight"] = (512, before, 1, 1)
    for name in ("1.weight", "1.bias", "4.weight", "4.bias", "6.bias"):
        shapes[f"{BACKBONE}.b_maps_projector.{name}"] = (512,)
    net = f"{PRIOR}.net"
    shapes |= {
        f"{net}.{name}": (n_tokens, width) for name in ("learned_query", "null_brain_embeds", "null_image_embed")
    }
    for layer, (rows, columns) in {"0.0": (2, 1), "1.0": (2, 2), "2": (1, 2)}.items():
        place = f"{net}.to_time_embeds.0.1.net.{layer}"
        shapes |= {f"{place}.weight": (rows * width, columns * width), f"{place}.bias": (rows * width,)}
    transformer = f"{net}.causal_transformer"
    shapes[f"{transformer}.rel_pos_bias.relative_attention_bias.weight"] = (32, heads)
    for layer in range(depth):
        attention, forward = f"{transformer}.layers.{layer}.0", f"{transformer}.layers.{layer}.1"
        shapes |= {f"{attention}.norm.g": (width,), f"{attention}.null_kv": (2, head)}
        shapes |= {f"{attention}.to_q.weight": (heads * head, width), f"{attention}.to_kv.weight": (2 * head, width)}
        shapes |= {f"{attention}.rotary_emb.freqs": (min(32, head) // 2,)}
        shapes |= {f"{attention}.to_out.0.weight": (width, heads * head), f"{attention}.to_out.1.g": (width,)}
        shapes |= {f"{forward}.0.g": (width,), f"{forward}.1.weight": (8 * width, width)}
        shapes |= {f"{forward}.5.weight": (width, 4 * width)}
    return shapes | {f"{transformer}.norm.g": (width,), f"{transformer}.project_out.weight": (width, width)}


def test_networks_of_seven_subjects_are_known_for_four_new_ones():
    entries = [
        store.entry(f"mindeye2-2024-multisubject-{subject}") for subject in ("subj01", "subj02", "subj05", "subj07")
    ]
    assert all(entry.subject is None and entry.parts == ("network",) for entry in entries)
    # Weights and two moments of each, of 2,162,885,244 parameters that are shared and a layer of seven subjects.
    voxels = np.array([15724, 14278, 15226, 13153, 13039, 17907, 12682, 14386])
    layers = 4096 * (np.delete(voxels, 0) + 1).sum()
    assert entries[0].files[0].reckoned == 12 * (2_227_294_844 - 64_409_600 + layers)


@pytest.mark.parametrize(
    "subject, n_voxels", [("subj01", 15724), ("subj02", 14278), ("subj05", 13039), ("subj07", 12682)]
)
def test_every_published_name_and_shape_is_read(subject, n_voxels):
    step = chain_of(METHOD).steps[0]
    for sessions in ("40sess", "1sess"):
        entry = store.entry(f"mindeye2-2024-{subject}-{sessions}")
        assert (entry.n_voxels, entry.subject, entry.parts) == (n_voxels, subject, (step.part,))
        assert entry.files[0].path == f"train_logs/final_{subject}_pretrained_{sessions}_24bs/last.pth"
    gives = dict.fromkeys(("clip_rough", "clip_retrieval"), (256, 1664)) | {"sd_latent": (4, 28, 28)}
    with torch.device("meta"):
        network = step.decoder.make({subject: n_voxels}, gives, **step.decoder.arguments)
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    published = published_shapes(n_voxels)
    assert {name: shape for name, shape in own.items() if ".bupsampler." not in name} == published
    # As the file holds them, but for the tables of the noise process, whose values are looked at.
    stored = {name: torch.empty(shape, device="meta") for name, shape in own.items()} | tables()
    read = step._released.tensors(stored)
    assert {name: tuple(value.shape) for name, value in read.items()} == own
    assert step._released.voxels.format(0) in read


# A small file


@pytest.fixture(scope="module")
def network():
    step = small_chain().steps[0]
    gives = {name: source.outline.shape for name, source in step.targets.items()}
    return random_network(MindEye2Network, {"subj01": N_VOXELS}, gives, step.decoder.arguments)


def small_chain():
    return chain_of(METHOD, SMALL[METHOD].nested(), "tiny")


def use_manifest(folder, monkeypatch):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny").symlink_to(store.MANIFEST.parent / "tiny", target_is_directory=True)
    entries = {name: entry for name, entry in read_manifest().items() if entry.embedded}
    file = CheckpointFile("last.pth", becomes="model.safetensors", entry="model_state_dict", reckoned=12_000_000)
    entries[NAME] = Checkpoint(
        *(NAME, "the network of subj01", "hub:datasets/somebody/weights@main", NAME, "MIT", (METHOD,), (file,)),
        subject="subj01",
        n_voxels=N_VOXELS,
        standardized="session",
        parts=("network",),
    )
    entries[SEVERAL] = replace(entries[NAME], name=SEVERAL, folder=SEVERAL, subject=None, n_voxels=None)
    write_manifest(entries, folder / "manifest.toml")
    monkeypatch.setattr(store, "MANIFEST", folder / "manifest.toml")


@pytest.fixture
def pull(tmp_path, monkeypatch):
    """Write tensors as the authors' script does, and pull them."""

    def pulled(state, name=NAME):
        monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "store"))
        use_manifest(tmp_path / "manifest", monkeypatch)
        save_training(state, tmp_path / "hand" / "last.pth", test_losses=[0.5])
        assert run_command(["weights", "pull", name, "--from", str(tmp_path / "hand"), "--remove-original"]) == 0

    return pulled


@pytest.fixture(scope="module")
def line(cohort):
    settings = [part for text in (*SMALL[METHOD].settings, "averages=outputs") for part in ("--set", text)]
    return [
        "fit",
        METHOD,
        f"nsd:{cohort}",
        "--weights",
        "tiny",
        *settings,
        "--option",
        "zscore=true",
        "--decoder",
        NAME,
    ]


def test_a_run_from_a_released_file_gives_what_its_network_gives(network, pull, line, features, tmp_path):
    """Of every trial by itself, averaged over three."""
    pull(dict(network.state_dict()) | tables())
    folder = tmp_path / "run"
    assert run_command([*line, "--out", str(folder), "--features", str(features)]) == 0
    run = Run(folder)
    test = run.subject.test
    trials = torch.from_numpy(np.asarray(test.betas[np.arange(test.n_trials)], dtype=np.float32))
    with torch.inference_mode():
        given = network({"subj01": trials})
    for name in ("clip_rough", "clip_retrieval", "sd_latent"):
        each = given[name].flatten(1).numpy()
        expected = [each[np.flatnonzero(test.positions == row)].mean(axis=0) for row in range(test.n_stimuli)]
        np.testing.assert_allclose(run.embeddings[name], expected, rtol=1e-4, atol=1e-5)
    described = json.loads((folder / "decoder" / "network" / "config.json").read_text())
    assert (described["released"], described["n_voxels"]) == (NAME, {"subj01": N_VOXELS})
    assert run.config.decoder_from == (NAME,)


def test_a_new_subject_goes_on_from_a_released_network_of_several(pull, line, features, tmp_path, capsys):
    step = small_chain().steps[0]
    gives = {name: source.outline.shape for name, source in step.targets.items()}
    several = random_network(MindEye2Network, {"one": 210, "another": 190}, gives, step.decoder.arguments)
    pull(dict(several.state_dict()) | tables(), SEVERAL)
    # So slowly that what was learned before is there to be seen.
    slow = ["--set", "decoder.learning_rate=1e-9", "--set", "decoder.epochs=1"]
    words = [*line[: line.index("--decoder")], "--features", str(features), *slow, "--new-subject", "subj01"]
    folder = tmp_path / "run"
    assert run_command([*words, "--pretrained", SEVERAL, "--out", str(folder)]) == 0, capsys.readouterr().err
    decoder = folder / "decoder" / "network"
    shared = load_file(decoder / "model.safetensors")
    assert not any("ridge" in name for name in shared) and [path.stem for path in (decoder / "subjects").iterdir()] == [
        "subj01"
    ]
    known = several.state_dict()
    for name, value in shared.items():
        torch.testing.assert_close(value, known[name.removeprefix("network.")], rtol=0, atol=1e-6)
    before = folder / "pretraining" / "decoder" / "network"
    assert sorted(path.stem for path in (before / "subjects").iterdir()) == ["0", "1"]
    capsys.readouterr()
    assert run_command([*words, "--pretrained", NAME, "--out", str(tmp_path / "other")]) == 2
    assert (
        f"{NAME} holds nothing that mindeye2-2024 learned from several subjects; expected {SEVERAL}"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda state: state.update({"backbone.surplus": torch.zeros(1)}), "unexpected: backbone.surplus"),
        (
            lambda state: state.pop(f"{PRIOR}.noise_scheduler.betas"),
            "holds no table diffusion_prior.noise_scheduler.betas",
        ),
        (lambda state: state.update(tables(50)), "a noise process of 50 steps, but is sampled with 100"),
        (lambda state: state.pop("ridge.linears.0.bias"), "missing: ridge.linears.0.bias"),
        (
            lambda state: state.update({"ridge.linears.0.weight": torch.zeros(32, 299)}),
            "reads 299 voxels but the responses have 300",
        ),
        (lambda state: state["backbone.bnorm.bias"][0].fill_(float("nan")), "backbone.bnorm.bias in .* holds NaN"),
    ],
)
def test_files_that_do_not_fit_are_refused_and_leave_nothing(network, pull, line, tmp_path, capsys, change, words):
    state = {name: value.clone() for name, value in network.state_dict().items()} | tables()
    change(state)
    pull(state)
    capsys.readouterr()
    assert run_command([*line, "--out", str(tmp_path / "run")]) == 2
    assert re.search(words, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()

"""Pickles become safetensors once, without running what they say."""

import io
import sys
import zipfile

import pytest
import torch
from pickled_weights import Harmful, same
from safetensors.torch import load_file

from weights import store
from weights.conversion import convert
from weights.manifest import CheckpointError, CheckpointFile
from weights.pull import pull

TENSORS = {
    "weight": torch.arange(6.0).reshape(2, 3),
    "half": torch.tensor([1.5, float("nan")], dtype=torch.float16),
    "count": torch.tensor(7),
    "empty": torch.zeros(0, 3),
}


@pytest.mark.parametrize("zipped", [True, False])
def test_a_dict_of_tensors_keeps_names_values_and_types(tmp_path, zipped):
    torch.save(TENSORS, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert same(load_file(tmp_path / "a.safetensors"), TENSORS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pth", "a.safetensors"]


def test_transposed_and_tied_tensors_are_written_out(tmp_path):
    tied = torch.arange(12.0).reshape(3, 4)
    state = {"a": tied, "b": tied, "part": tied[1:], "transposed": tied.T}
    torch.save(state, tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert same(load_file(tmp_path / "a.safetensors"), state)


def test_only_the_tensors_that_are_read_are_kept(tmp_path):
    state = {"blocks.0.attentions.0.weight": torch.ones(2), "blocks.0.resnets.0.weight": torch.ones(3)}
    torch.save(state, tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "a.safetensors", keeps="attentions")
    assert same(load_file(tmp_path / "a.safetensors"), {"blocks.0.attentions.0.weight": torch.ones(2)})
    with pytest.raises(CheckpointError, match="names with 'transformers' were expected"):
        convert(tmp_path / "a.pth", tmp_path / "b.safetensors", keeps="transformers")
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_the_dict_that_is_named_is_taken_out_of_a_checkpoint_of_a_training(tmp_path, zipped):
    stored = {"epoch": 3, "model": {"module.a": torch.ones(2)}, "optimizer": {"state": {0: {"step": 5}}}}
    torch.save(stored, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    convert(tmp_path / "a.pth", tmp_path / "a.safetensors", entry="model")
    assert same(load_file(tmp_path / "a.safetensors"), {"a": torch.ones(2)})
    for entry, said in (
        ("weights", "holds epoch, model, optimizer, but 'weights' with named"),
        ("epoch", "holds int"),
    ):
        with pytest.raises(CheckpointError, match=said):
            convert(tmp_path / "a.pth", tmp_path / "b.safetensors", entry=entry)
    with pytest.raises(CheckpointError, match="holds epoch, model, optimizer, but named tensors were expected"):
        convert(tmp_path / "a.pth", tmp_path / "b.safetensors")
    assert not (tmp_path / "b.safetensors").exists()


def test_the_prefix_of_parallel_training_goes_only_where_every_name_has_it(tmp_path):
    for state, names in (
        ({"module.a": torch.ones(1), "module.module.b": torch.ones(1)}, {"a", "module.b"}),
        ({"module.a": torch.ones(1), "b": torch.ones(1)}, {"module.a", "b"}),
    ):
        torch.save(state, tmp_path / "a.th")
        convert(tmp_path / "a.th", tmp_path / "a.safetensors")
        assert load_file(tmp_path / "a.safetensors").keys() == names


@pytest.mark.parametrize("zipped", [True, False])
def test_what_would_run_something_is_refused_and_not_run(tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    torch.save(TENSORS | {"more": Harmful()}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="a.pth cannot be read") as caught:
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value) and [path.name for path in tmp_path.iterdir()] == ["a.pth"]


# Conversion as a part of pulling


@pytest.fixture
def served(server, own_store, manifest):
    """Writer of a manifest whose file `name` holds an object as torch saves it."""

    def serve(content, name="model.pth", **fields):
        stream = io.BytesIO()
        torch.save(content, stream)
        server.files[f"/{name}"] = stream.getvalue()
        becomes = fields.pop("becomes", None)
        return manifest(f"{server.url}/", [CheckpointFile(name, becomes=becomes)], **fields)

    return serve


def test_a_pulled_pickle_is_converted_once_and_kept(served, server):
    file = served(TENSORS, writes={"config.json": {"preset": "small"}})
    folder = pull("model", manifest=file).folder
    assert same(load_file(folder / "model.safetensors"), TENSORS)
    assert (folder / "config.json").read_text() == '{\n  "preset": "small"\n}\n' and (folder / "model.pth").is_file()
    assert store.verify(manifest=file)[0].state == "verified"
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert pull("model", manifest=file).action == "present"
    assert (folder / "model.safetensors").stat().st_mtime_ns == made


def test_the_original_goes_when_asked_and_everything_still_holds(served, own_store, tmp_path):
    file = served(TENSORS)
    pull("model", manifest=file)
    before = store.fingerprint("model", manifest=file)
    shutil_stick = tmp_path / "stick"
    (own_store / "model").rename(shutil_stick)
    folder = pull("model", source=shutil_stick, remove_original=True, manifest=file).folder
    assert sorted(path.name for path in folder.iterdir()) == [".pulled.json", "model.safetensors"]
    assert store.verify(manifest=file)[0].state == "verified"
    assert store.path("model", manifest=file) == folder and store.fingerprint("model", manifest=file) == before
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    assert "model.safetensors has sha256" in store.verify(manifest=file)[0].detail
    (folder / "model.safetensors").unlink()
    assert store.verify(manifest=file)[0].state == "damaged"
    assert pull("model", manifest=file).action == "pulled"


def test_the_original_goes_when_asked_after_it_was_kept(served, server):
    file = served(TENSORS)
    folder = pull("model", manifest=file).folder
    fingerprint = store.fingerprint("model", manifest=file)
    server.asked.clear()
    assert pull("model", remove_original=True, manifest=file).action == "present" and server.asked == []
    assert sorted(path.name for path in folder.iterdir()) == [".pulled.json", "model.safetensors"]
    assert store.verify(manifest=file)[0].state == "verified"
    assert store.fingerprint("model", manifest=file) == fingerprint


def test_a_folder_without_its_original_can_be_carried_elsewhere(served, own_store, tmp_path, server):
    file = served(TENSORS, writes={"config.json": {"preset": "small"}})
    pull("model", remove_original=True, manifest=file).folder.rename(tmp_path / "stick")
    server.asked.clear()
    folder = pull("model", source=tmp_path / "stick", manifest=file).folder
    assert same(load_file(folder / "model.safetensors"), TENSORS) and server.asked == []
    assert store.verify(manifest=file)[0].state == "verified"


def test_a_pulled_pickle_that_would_run_something_is_refused(served, own_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = served({"weight": Harmful()})
    with pytest.raises(CheckpointError, match="model.pth cannot be read"):
        pull("model", manifest=file)
    assert not (own_store / "model").exists() and not (tmp_path / "harm-was-done").exists()
    assert not (own_store / ".model.partial" / "model.safetensors").exists()
    served(TENSORS)
    pull("model", manifest=file)


def test_a_pickle_that_lay_there_is_converted_without_the_network(served, server, own_store):
    file = served(TENSORS)
    (own_store / "model").mkdir(parents=True)
    (own_store / "model" / "model.pth").write_bytes(server.files["/model.pth"])
    assert pull("model", manifest=file).action == "converted" and server.asked == []
    assert same(load_file(own_store / "model" / "model.safetensors"), TENSORS)


# What the toolkit's own networks read


def test_a_published_vdvae_loads_from_the_pulled_folder(served, monkeypatch):
    from stages.networks import vdvae, vdvae_presets

    small = vdvae_presets.VDVAEConfig(
        image_size=8,
        encoder_blocks="8x1,8d2,4d4,1x1",
        decoder_blocks="1x1,4m1,8m4",
        width=8,
        input_mean=1.0,
        input_std=2.0,
    )
    monkeypatch.setitem(vdvae_presets.PRESETS, "small", small)
    torch.manual_seed(0)
    state = vdvae.VDVAE(small).state_dict()
    file = served(
        {f"module.{name}": value for name, value in state.items()},
        name="small-model-ema.th",
        becomes="model.safetensors",
        writes={"config.json": {"preset": "small"}},
    )
    model = vdvae.VDVAE.from_pretrained(pull("model", manifest=file).folder)
    assert model.config == small and same(dict(model.state_dict()), dict(state))


@pytest.mark.parametrize("text", ['{"preset": "huge"}', '{"preset": "cifar10", "width": 3}', '{"preset": ["cifar10"]}'])
def test_presets_that_are_none_are_refused(tmp_path, text):
    from stages.networks.vdvae_presets import read_config

    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="expected one of imagenet64"):
        read_config(tmp_path / "config.json")


def test_openais_clip_serves_the_judge_and_the_targets(server, own_store, manifest, tmp_path, save_archive):
    import numpy as np
    import open_clip

    from stages.checkpoints.open_clip_folder import load_open_clip
    from stages.judges.clip_visual import CLIPVisual

    config = {
        "embed_dim": 48,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 42, "layers": 2, "width": 128, "patch_size": 14},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
    }
    torch.manual_seed(0)
    model = open_clip.CLIP(**config).eval()
    for parameter in model.parameters():
        parameter.data = parameter.data.half().float()
    # As OpenAI's archives have them, beside the weights.
    facts = {
        "input_resolution": torch.tensor(42),
        "context_length": torch.tensor(77),
        "vocab_size": torch.tensor(49408),
    }
    save_archive(dict(model.state_dict()) | facts, tmp_path / "ViT.pt")
    server.files["/ViT.pt"] = (tmp_path / "ViT.pt").read_bytes()
    preprocessing = {"mean": [0.5] * 3, "std": [0.3] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    file = manifest(
        f"{server.url}/ViT.pt",
        [CheckpointFile("ViT.pt", becomes="open_clip_model.safetensors")],
        writes={"open_clip_config.json": {"model_cfg": config, "preprocess_cfg": preprocessing}},
    )
    batch = np.random.default_rng(0).standard_normal((2, 3, 42, 42)).astype(np.float32)
    with torch.no_grad():
        expected = model.encode_image(torch.from_numpy(batch)).numpy()
        words = model.encode_text(open_clip.SimpleTokenizer()(["a cat", "two dogs"]))
    for remove_original in (False, True):
        if remove_original:
            (own_store / "model").rename(tmp_path / "stick")
        source = tmp_path / "stick" if remove_original else None
        folder = pull("model", source=source, remove_original=remove_original, manifest=file).folder
        assert (folder / "ViT.pt").exists() is not remove_original
        np.testing.assert_allclose(CLIPVisual.from_pretrained(folder).embed(batch), expected, atol=1e-5)
        whole, _, tokenizer = load_open_clip(folder)
        with torch.no_grad():
            assert torch.allclose(whole.text(tokenizer(["a cat", "two dogs"]))[0], words, atol=1e-5)


def test_judging_networks_read_what_pulling_made_of_their_files(served):
    from stages.checkpoints.published_weights import read_weights, weights_file

    file = served({f"module.{name}": value for name, value in TENSORS.items()}, name="swav_800ep.pth.tar")
    folder = pull("model", manifest=file).folder
    assert weights_file(folder).name == "swav_800ep.safetensors" and same(read_weights(weights_file(folder)), TENSORS)


def test_pulling_without_pickles_loads_no_torch(server, own_store, manifest):
    import subprocess

    server.files["/a.json"] = b"{}"
    file = manifest(f"{server.url}/a.json", [CheckpointFile("a.json")])
    code = (
        f"import sys; sys.path.insert(0, {str(store.MANIFEST.parents[1])!r})\nfrom pathlib import Path\n"
        f"from weights.pull import pull; pull('model', manifest=Path({str(file)!r}))\n"
        "assert not {'torch', 'safetensors', 'huggingface_hub'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""


def _stored(path, tensors):
    torch.save(tensors, path)
    return path


def _repacked(path, change):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", change.get("compression", zipfile.ZIP_STORED)) as archive:
        for name, content in members.items():
            archive.writestr(name, change.get(name.rpartition("/")[2], content))
    return path


def test_a_deflated_archive_and_one_of_the_other_order_of_bytes_are_read_right(tmp_path):
    value = torch.arange(300, dtype=torch.float32)
    deflated = _repacked(_stored(tmp_path / "a.th", {"w": value}), {"compression": zipfile.ZIP_DEFLATED})
    turned = _repacked(
        _stored(tmp_path / "b.th", {"w": value}), {"byteorder": b"big", "0": value.numpy().astype(">f4").tobytes()}
    )
    for path in (deflated, turned):
        convert(path, tmp_path / "out.safetensors")
        assert torch.equal(load_file(tmp_path / "out.safetensors")["w"], value)


def test_a_wrong_checksum_is_found(tmp_path):
    path = _stored(tmp_path / "a.th", {"w": torch.arange(3000, dtype=torch.float32)})
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(1500, 1502, dtype=torch.float32).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="the checksum of .* is wrong"):
        convert(path, tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {1: torch.zeros(3)},
        {"w": torch.zeros(1).expand(10**11)},
        {"w": torch.eye(3).to_sparse()},
        {"w": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])},
    ],
    ids=["nothing", "numbers for names", "one value for many", "sparse", "nested"],
)
def test_what_is_no_dict_of_ordinary_tensors_is_refused_at_once(tmp_path, tensors):
    with pytest.raises(CheckpointError, match="named tensors were expected"):
        convert(_stored(tmp_path / "a.th", tensors), tmp_path / "out.safetensors")


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path):
    path = _repacked(
        _stored(tmp_path / "a.th", {"w": torch.zeros(3)}),
        {"compression": zipfile.ZIP_DEFLATED, "0": bytes(30_000_000)},
    )
    content = path.read_bytes()
    # A claim that no compression keeps.
    path.write_bytes(content.replace((30_000_000).to_bytes(4, "little"), (2_000_000_000).to_bytes(4, "little")))
    with pytest.raises(CheckpointError, match=r"claims 2,000,000,000 bytes"):
        convert(path, tmp_path / "out.safetensors")

"""What the manifest says of published checkpoints, compared with what installed libraries say of them."""

import json
from importlib.resources import files

import pytest

from weights import store
from weights.manifest import PICKLES, CheckpointFile, read_manifest, write_manifest
from weights.origins import Origin, parse_origin

PUBLISHED = {name: entry for name, entry in store.checkpoints().items() if not entry.embedded}


@pytest.mark.parametrize(
    "text, origin",
    [
        ("embedded", Origin("embedded")),
        ("hub:a-b/c.d_e@main", Origin("hub", "a-b/c.d_e", "main")),
        ("hub:a/b@refs/pr/3", Origin("hub", "a/b", "refs/pr/3")),
        ("https://x.org/a/b.th", Origin("web", address="https://x.org/a/b.th")),
        ("http://127.0.0.1:80/a/", Origin("web", address="http://127.0.0.1:80/a/")),
    ],
)
def test_origins_are_parsed(text, origin):
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    ["", "hub:a/b", "hub:a@main", "hub:a/b/c@main", "hub:a/b@", "http://x.org/a", "ftp://x.org/a", "https:///a", "a/b"],
)
def test_other_origins_are_refused(text):
    with pytest.raises(ValueError, match="is no origin; expected embedded, hub:OWNER"):
        parse_origin(text)


def test_the_address_of_a_file():
    assert parse_origin("https://x.org/a/").url("b/c d.th") == "https://x.org/a/b/c%20d.th"
    assert parse_origin("https://x.org/a.th").url("b.th") == "https://x.org/a.th"


@pytest.mark.parametrize(
    "path, converted",
    [
        ("a/x.th", "a/x.safetensors"),
        ("x.pth.tar", "x.safetensors"),
        ("a/pytorch_model.bin", "a/model.safetensors"),
        ("open_clip_pytorch_model.bin", "open_clip_model.safetensors"),
        ("unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.safetensors"),
        ("x.safetensors", None),
        ("x.json", None),
    ],
)
def test_what_a_file_is_converted_to(path, converted):
    assert CheckpointFile(path).converted == converted
    assert CheckpointFile(path, becomes="y").converted == (converted and "y")


def test_every_entry_survives_writing_and_reading(tmp_path):
    write_manifest(store.checkpoints(), tmp_path / "manifest.toml")
    assert read_manifest(tmp_path / "manifest.toml") == store.checkpoints()
    assert (tmp_path / "manifest.toml").read_bytes() == store.MANIFEST.read_bytes()


def test_no_two_entries_share_a_folder_and_no_two_files_a_name_after_conversion():
    assert len({entry.folder for entry in PUBLISHED.values()}) == len(PUBLISHED)
    for entry in PUBLISHED.values():
        names = [file.path for file in entry.files] + [file.converted for file in entry.files if file.converted]
        assert len(set(names) | set(entry.writes)) == len(names) + len(entry.writes), entry.name


def test_entries_have_a_revision_or_one_file_or_a_folder():
    for entry in PUBLISHED.values():
        origin = parse_origin(entry.origin)
        assert origin.kind == "hub" or len(entry.files) == 1 or origin.address.endswith("/"), entry.name


def test_diffusers_folders_list_a_configuration_for_all_weights():
    for entry in PUBLISHED.values():
        paths = {file.path for file in entry.files}
        if "model_index.json" in paths:
            for path in paths:
                folder, _, name = path.rpartition("/")
                if name.endswith((".safetensors", *PICKLES)):
                    assert f"{folder}/config.json" in paths, (entry.name, path)


def test_first_digits_of_hashes_are_those_in_torchvisions_addresses():
    source = "".join(
        (files("torchvision") / "models" / f"{name}.py").read_text()
        for name in ("alexnet", "inception", "efficientnet", "vgg")
    )
    entries = [entry for entry in PUBLISHED.values() if "download.pytorch.org" in entry.origin]
    assert len(entries) == 5
    for entry in entries:
        (file,) = entry.files
        assert f'url="{entry.origin}"' in source
        assert entry.origin.endswith(f"/{file.path}") and f"-{file.sha256_begins}.pth" in file.path


def test_clip_is_what_open_clip_says_it_is():
    from open_clip import constants
    from open_clip.pretrained import get_pretrained_cfg

    entry = PUBLISHED["clip-vit-l-14-quickgelu"]
    table = get_pretrained_cfg("ViT-L-14-quickgelu", "openai")
    assert entry.origin == table["url"] and entry.files[0].sha256 in table["url"]
    written = entry.writes["open_clip_config.json"]
    own = files("open_clip") / "model_configs" / "ViT-L-14-quickgelu.json"
    assert written["model_cfg"] == json.loads(own.read_text())
    assert tuple(written["preprocess_cfg"]["mean"]) == constants.OPENAI_DATASET_MEAN == table["mean"]
    assert tuple(written["preprocess_cfg"]["std"]) == constants.OPENAI_DATASET_STD == table["std"]
    assert all(written["preprocess_cfg"][key] == table[key] for key in ("interpolation", "resize_mode"))
    for name, model, tag in (
        ("clip-vit-l-14-openclip", "ViT-L-14-quickgelu", "openai"),
        ("clip-vit-h-14-laion2b", "ViT-H-14", "laion2b_s32b_b79k"),
        ("clip-vit-bigg-14-laion2b", "ViT-bigG-14", "laion2b_s39b_b160k"),
    ):
        repository = get_pretrained_cfg(model, tag)["hf_hub"].rstrip("/")
        assert parse_origin(PUBLISHED[name].origin).repository == repository
        weights_names = {file.path for file in PUBLISHED[name].files}
        assert weights_names == {constants.HF_CONFIG_NAME, constants.HF_SAFE_WEIGHTS_NAME}


def test_reckoned_sizes_are_those_of_the_networks():
    import torch
    from diffusers import UNet2DConditionModel
    from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import UNetFlatConditionModel
    from torchvision.models import alexnet

    with torch.device("meta"):
        shape = {"sample_size": 64, "cross_attention_dim": 768}
        flat = dict(
            **shape,
            in_channels=(768, 1, 1),
            out_channels=(768, 1, 1),
            down_block_types=(*("CrossAttnDownBlockFlat",) * 3, "DownBlockFlat"),
            up_block_types=("UpBlockFlat", *("CrossAttnUpBlockFlat",) * 3),
        )
        networks = {
            ("versatile-diffusion", "image_unet/diffusion_pytorch_model.bin"): UNet2DConditionModel(**shape),
            ("versatile-diffusion", "text_unet/diffusion_pytorch_model.bin"): UNetFlatConditionModel(**flat),
            ("alexnet-imagenet1k-v1", "alexnet-owt-7be5be79.pth"): alexnet(),
        }
    for (name, path), network in networks.items():
        (file,) = (each for each in PUBLISHED[name].files if each.path == path)
        assert file.reckoned == sum(4 * parameter.numel() for parameter in network.parameters()), path
    # 12.3 GB to fetch, and as much again for safetensors of what are pickles.
    entry = PUBLISHED["versatile-diffusion"]
    assert round((entry.reckoned_size + entry.converted_size) / 1e9, 1) == 24.6


def test_every_checkpoint_says_what_it_will_bring():
    unknown = [name for name, entry in PUBLISHED.items() if entry.reckoned_size is None]
    # An archive of several networks, and a checkpoint of a training with whatever else it holds.
    assert unknown == ["icgan-biggan-imagenet256", "vicregl-convnext-xl"]


def test_presets_are_the_networks_own():
    from stages.networks.vdvae_presets import PRESETS

    entries = {name: entry for name, entry in PUBLISHED.items() if name.startswith("vdvae-")}
    assert len(entries) == 4
    for name, entry in entries.items():
        preset = entry.writes["config.json"]["preset"]
        assert preset in PRESETS and name == f"vdvae-{preset}" and entry.files[0].path.startswith(preset)
        assert entry.files[0].converted == "model.safetensors"

"""What the manifest says of published checkpoints, compared with what installed libraries say of them."""

import json
from importlib.resources import files

import pytest

from weights import store
from weights.manifest import PICKLES, Checkpoint, CheckpointError, CheckpointFile, read_manifest, write_manifest
from weights.origins import Origin, parse_origin

PUBLISHED = {name: entry for name, entry in store.checkpoints().items() if not entry.embedded}


@pytest.mark.parametrize(
    "text, origin",
    [
        ("embedded", Origin("embedded")),
        ("hub:a-b/c.d_e@main", Origin("hub", "a-b/c.d_e", "main")),
        ("hub:a/b@refs/pr/3", Origin("hub", "a/b", "refs/pr/3")),
        ("hub:datasets/a/b@main", Origin("hub", "a/b", "main", of_dataset=True)),
        ("hub:datasets/b@main", Origin("hub", "datasets/b", "main")),
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
        for name in (
            "alexnet",
            "inception",
            "efficientnet",
            "vgg",
            "resnet",
            "segmentation/deeplabv3",
            "vision_transformer",
        )
    )
    entries = [entry for entry in PUBLISHED.values() if "download.pytorch.org" in entry.origin]
    assert len(entries) == 9
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


def test_reckoned_sizes_of_what_draws_from_depth():
    import torch
    from diffusers import UNet2DConditionModel
    from transformers import DPTConfig, DPTForDepthEstimation

    from stages.networks.dpt_depth import UNREAD

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=64,
            in_channels=5,
            cross_attention_dim=1024,
            attention_head_dim=(5, 10, 20, 20),
            use_linear_projection=True,
        )
        network = DPTForDepthEstimation(
            DPTConfig(
                hidden_size=1024,
                num_hidden_layers=24,
                num_attention_heads=16,
                intermediate_size=4096,
                neck_hidden_sizes=[256, 512, 1024, 1024],
                backbone_out_indices=[5, 11, 17, 23],
            )
        )
    depth, dpt = PUBLISHED["stable-diffusion-2-depth"], PUBLISHED["dpt-large"]
    (file,) = (each for each in depth.files if each.path.startswith("unet/diffusion"))
    assert file.reckoned == sum(4 * parameter.numel() for parameter in unet.parameters())
    read = [parameter for name, parameter in network.named_parameters() if not name.startswith(UNREAD)]
    assert dpt.reckoned_size == sum(4 * parameter.numel() for parameter in read)


def test_the_size_of_stable_diffusion_2_1():
    import torch
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=64, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
        )
    (file,) = (each for each in PUBLISHED["stable-diffusion-2-1-base"].files if each.path.startswith("unet/diffusion"))
    assert file.reckoned == sum(4 * parameter.numel() for parameter in unet.parameters())


def test_every_checkpoint_says_what_it_will_bring():
    unknown = [name for name, entry in PUBLISHED.items() if entry.reckoned_size is None]
    # Archives of several networks or of words, checkpoints of trainings with whatever else they hold, a prior whose configuration
    # lies with another checkpoint, and words without weights.
    assert unknown == [
        *(
            "icgan-biggan-imagenet256",
            "wordnet-3.0",
            "vicregl-convnext-xl",
            "mindeye2023-subj01-vector",
            "blip-base-capfilt",
            "gnet-multisubject",
        ),
        *("bert-base-uncased-tokenizer", "bert-base-cased-tokenizer", "gpt2-tokenizer"),
        *("neuropictor-ukb-autoencoder", "neuropictor-control-sd21"),
    ]


def test_presets_are_the_networks_own():
    from stages.networks.vdvae_presets import PRESETS

    entries = {name: entry for name, entry in PUBLISHED.items() if name.startswith("vdvae-")}
    assert len(entries) == 4
    for name, entry in entries.items():
        preset = entry.writes["config.json"]["preset"]
        assert preset in PRESETS and name == f"vdvae-{preset}" and entry.files[0].path.startswith(preset)
        assert entry.files[0].converted == "model.safetensors"


# Decoders that were released for one subject


def test_entries_of_one_subject_say_what_they_decode_and_hold():
    decoders = [entry for entry in PUBLISHED.values() if entry.parts and entry.subject]
    assert {entry.subject for entry in decoders} == {"subj01", "subj02", "subj05", "subj07"}
    for entry in decoders:
        (file,) = entry.files
        assert entry.subject in file.path and entry.n_voxels and entry.standardized == "session", entry.name
        assert file.entry == "model_state_dict" and file.converted == "model.safetensors"
        assert parse_origin(entry.origin).of_dataset and "no file was opened" in entry.note
        # Of MindEye the authors name the files of one subject.
        inferred = entry.needed_by == ("mindeye2023",) and entry.subject != "subj01"
        assert entry.note.startswith("inferred: the name of the file") == inferred, entry.name
    for subject in ("subj01", "subj07"):
        own = [entry.parts for entry in decoders if entry.subject == subject]
        assert own == [("tokens",), ("latent",), ("network",), ("network",)]


def test_reckoned_sizes_of_decoders_are_weights_and_two_moments_of_each():
    import torch

    from stages.networks.mindeye import MindEyeLatent, MindEyeTokens
    from stages.networks.mindeye2 import MindEye2Network

    names = ("clip_rough", "clip_retrieval")
    networks = {
        "tokens": lambda n_voxels: MindEyeTokens(n_voxels, dict.fromkeys(names, (257, 768))),
        "latent": lambda n_voxels: MindEyeLatent(n_voxels, {"z": (4, 64, 64)}),
        "network": lambda n_voxels: MindEye2Network(
            {"subject": n_voxels}, dict.fromkeys(names, (256, 1664)) | {"sd_latent": (4, 28, 28)}
        ),
    }
    for entry in (entry for entry in PUBLISHED.values() if entry.parts and entry.subject):
        (part,) = entry.parts
        with torch.device("meta"):
            network = networks[part](entry.n_voxels)
        assert entry.reckoned_size == 12 * sum(parameter.numel() for parameter in network.parameters()), entry.name


@pytest.mark.parametrize(
    "of, options, words",
    [
        ((), {"parts": ("tokens",)}, "holds tokens but says not of which method; give it needed_by"),
        (
            ("mindeye2023",),
            {"parts": ("tokens",), "n_voxels": 300},
            "reads 300 voxels but says not of whom; give it subject",
        ),
    ],
)
def test_an_entry_with_fitted_steps_says_of_what_they_are(tmp_path, of, options, words):
    entry = Checkpoint("a", "b", "embedded", "a", "MIT", of, **options)
    write_manifest({"a": entry}, tmp_path / "manifest.toml")
    with pytest.raises(CheckpointError, match=words):
        read_manifest(tmp_path / "manifest.toml")


def test_the_autoencoder_of_the_blurry_pictures_loads_as_it_is_published(tmp_path):
    """With attention under the names of diffusers 0.13, in the folder that a pull makes."""
    import torch
    from diffusers import AutoencoderKL
    from safetensors.torch import save_file

    from stages.checkpoints.outlines import outlines
    from stages.networks.latent_space import load_autoencoder

    entry = PUBLISHED["sd-image-variations-autoencoder"]
    (file,), config = entry.files, dict(entry.writes["vae/config.json"])
    with torch.device("meta"):
        network = AutoencoderKL.from_config(config)
    assert file.reckoned == 4 * sum(parameter.numel() for parameter in network.parameters())
    small = config | {"block_out_channels": [32, 32, 32, 32]}
    state = AutoencoderKL.from_config(small).state_dict()
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for today, before in old.items():
        state = {name.replace(f".{today}.", f".{before}."): value for name, value in state.items()}
    path = tmp_path / file.converted
    path.parent.mkdir()
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    (path.parent / "config.json").write_text(json.dumps(small))
    vae = load_autoencoder(tmp_path, torch.float32)
    assert torch.equal(
        vae.state_dict()["encoder.mid_block.attentions.0.to_q.weight"],
        state["encoder.mid_block.attentions.0.query.weight"],
    )
    with outlines():
        assert load_autoencoder(tmp_path, torch.float32).config.sample_size == 512

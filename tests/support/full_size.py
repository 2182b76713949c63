"""Random checkpoints of Brain-Diffuser's networks at their published size and in their published layout, and photographs."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from weights import store
from weights.examination import hash_file
from weights.records import Content, Record, write_record

CHECKPOINTS = ("vdvae-imagenet64", "clip-vit-l-14-quickgelu", "versatile-diffusion")
_PATTERN = 1 << 20


def random_tensors(network):
    """Values for every tensor of a network on the meta device: norms that leave things as they are, and small weights."""
    pattern = torch.randn(_PATTERN, generator=torch.Generator().manual_seed(0))
    filled = {}
    for name, empty in network.state_dict().items():
        if not empty.is_floating_point():
            filled[name] = torch.arange(empty.numel(), dtype=empty.dtype).reshape(empty.shape)
        elif empty.ndim < 2:
            filled[name] = torch.ones(empty.shape) if name.endswith("weight") else torch.zeros(empty.shape)
        else:
            copies = -(-empty.numel() // _PATTERN)
            spread = (empty.numel() // empty.shape[0]) ** -0.5
            filled[name] = (pattern.repeat(copies)[: empty.numel()] * spread).reshape(empty.shape)
    return filled


def write_checkpoints(folder):
    """Write the three as `weights pull --remove-original` leaves them; 8.7 GB."""
    with torch.device("meta"):
        _vdvae(folder / "vdvae-imagenet64")
        _clip(folder / "clip-vit-l-14-quickgelu")
        _versatile_diffusion(folder / "versatile-diffusion")
    for name in CHECKPOINTS:
        _note(store.checkpoints()[name], folder / name)


def _save(network, path, keeps=lambda name: True):
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.device("cpu"):
        tensors = {name: value for name, value in random_tensors(network).items() if keeps(name)}
        save_file(tensors, path, metadata={"format": "pt"})


def _vdvae(folder):
    from stages.networks.vdvae import VDVAE
    from stages.networks.vdvae_presets import IMAGENET64

    _save(VDVAE(IMAGENET64), folder / "model.safetensors")


def _clip(folder):
    import open_clip

    config = dict(store.checkpoints()[folder.name].writes["open_clip_config.json"]["model_cfg"])
    _save(open_clip.CLIP(**config), folder / "open_clip_model.safetensors")


def _versatile_diffusion(folder):
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import UNetFlatConditionModel
    from transformers import (
        CLIPTextConfig,
        CLIPTextModelWithProjection,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    shape = {"sample_size": 64, "cross_attention_dim": 768}
    flat = dict(
        **shape,
        in_channels=(768, 1, 1),
        out_channels=(768, 1, 1),
        down_block_types=(*("CrossAttnDownBlockFlat",) * 3, "DownBlockFlat"),
        up_block_types=("UpBlockFlat", *("CrossAttnUpBlockFlat",) * 3),
    )
    blocks = dict(down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)
    vae = dict(**blocks, block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4)
    parts = {
        "image_unet": UNet2DConditionModel(**shape),
        "text_unet": UNetFlatConditionModel(**flat),
        "vae": AutoencoderKL(**vae),
    }
    for name, network in parts.items():
        network.save_config(folder / name)
        used = (lambda tensor: "attentions" in tensor) if name == "text_unet" else (lambda tensor: True)
        _save(network, folder / name / "diffusion_pytorch_model.safetensors", used)
    sizes = dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, patch_size=14)
    vision = CLIPVisionConfig(projection_dim=768, **sizes)
    words = [
        *map(chr, range(33, 127)),
        *(f"{chr(each)}</w>" for each in range(33, 127)),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    sizes = dict(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, projection_dim=768
    )
    text = CLIPTextConfig(vocab_size=len(words), bos_token_id=len(words) - 2, eos_token_id=len(words) - 1, **sizes)
    for name, config, network in (
        ("image_encoder", vision, CLIPVisionModelWithProjection),
        ("text_encoder", text, CLIPTextModelWithProjection),
    ):
        config.save_pretrained(folder / name)
        _save(network(config), folder / name / "model.safetensors")
    with torch.device("cpu"):
        PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ).save_pretrained(folder / "scheduler")
    mean_and_std = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
    ends = {"bos_token": words[-2], "eos_token": words[-1], "pad_token": words[-1], "unk_token": words[-1]}
    for path, content in (
        ("model_index.json", {"_class_name": "VersatileDiffusionPipeline"}),
        ("image_feature_extractor/preprocessor_config.json", mean_and_std),
        ("tokenizer/vocab.json", {word: number for number, word in enumerate(words)}),
        ("tokenizer/tokenizer_config.json", ends | {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}),
        ("tokenizer/special_tokens_map.json", ends),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(content))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")


def _note(entry, folder):
    """The record of a pull whose pickles were removed."""
    record = Record(entry.origin)
    for path, content in entry.writes.items():
        (folder / path).write_text(json.dumps(content))
        record.made[path] = Content((folder / path).stat().st_size, hash_file(folder / path))
    for file in entry.files:
        made = folder / (file.converted or file.path)
        content = Content(made.stat().st_size, hash_file(made))
        # Of the removed pickle the record has what the manifest says, or anything.
        record.files[file.path] = Content(content.size, file.sha256 or content.sha256) if file.converted else content
        if file.converted:
            record.made[file.converted] = Content(content.size, content.sha256, source=file.path)
    write_record(record, folder)


def write_photographs(folder, n_train=20, n_test=2, n_voxels=60, size=425):
    """Write a subject whose pictures have what photographs have, gradients, edges and texture at all scales, as `arrays:`."""
    random = np.random.default_rng(0)
    for split, count in (("train", n_train), ("test", n_test)):
        part = Path(folder) / split
        part.mkdir(parents=True)
        pictures = np.stack([_picture(random, size) for _ in range(count)])
        ids = [f"{split}{number}" for number in range(count)]
        np.save(part / "images.npy", pictures)
        colours = pictures.reshape(count, -1, 3)[:, :: size * size // 20].reshape(count, -1)[:, :n_voxels] / 255.0
        np.save(part / "betas.npy", (colours + random.normal(0, 0.05, colours.shape)).astype(np.float32))
        (part / "trials.csv").write_text("\n".join(["stimulus_id", *ids]) + "\n")
        (part / "captions.json").write_text(json.dumps({one: ["a hill below a cloud"] for one in ids}))
    (Path(folder) / "subject.json").write_text(json.dumps({"name": "subj01", "pictures": "photographs"}))


def _picture(random, size):
    """Coloured noise with the spectrum of natural pictures, amplitude falling as 1 / frequency."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = 1
    noise = np.fft.rfft2(random.normal(size=(3, size, size))) / frequency
    values = np.fft.irfft2(noise, s=(size, size))
    values = (values - values.mean()) / values.std()
    return (255 * np.clip(0.5 + 0.2 * values, 0, 1)).astype(np.uint8).transpose(1, 2, 0)

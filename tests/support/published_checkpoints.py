"""Random checkpoints as their origins have them: every file that the manifest lists, pickles where pickles were published."""

import shutil

import random_optimus
import torch
from random_blip import save_authors_blip, save_bert_tokenizer, save_blip
from random_checkpoints import (
    adapter_plus_state,
    adapter_state,
    save_dpt,
    save_generator,
    save_open_clip,
    save_place_teacher,
    save_prior,
    save_vae,
    save_versatile_diffusion,
    versatile_diffusion_parts,
)
from random_git import save_git
from random_gpt2 import save_gpt2
from random_vgg19 import save_deepsim, save_vgg19
from safetensors.torch import load_file, save_file

from weights import store

# Name in the manifest -> kind of `save_generator`.
KINDS = {
    "stable-diffusion-1-4": "sd",
    "stable-diffusion-1-5": "sd",
    "stable-diffusion-2-depth": "depth",
    "stable-diffusion-xl-base": "sdxl",
    "stable-unclip-small": "unclip",
    "kandinsky-2-2-decoder": "kandinsky",
    "sd-image-variations": "variations",
    "realistic-vision-4-0": "sd",
}


def pickle_weights(folder):
    """Make pickles of the safetensors files below a folder, as some were published."""
    for path in folder.rglob("*.safetensors"):
        name_of_pickle = path.stem.replace("model", "pytorch_model", path.stem == "model") + ".bin"
        torch.save(load_file(path), path.with_name(name_of_pickle))
        path.unlink()


def save_versatile(folder):
    """Versatile Diffusion, its vocabulary within."""
    vocabulary = folder.with_name("vocabulary")
    save_versatile_diffusion(folder, versatile_diffusion_parts(vocabulary))
    shutil.copytree(vocabulary, folder / "tokenizer", dirs_exist_ok=True)


def save_text_flow(folder):
    """What Versatile Diffusion's repository has of its text flow."""
    parts = versatile_diffusion_parts(folder.with_name("vocabulary of the text flow"))
    parts["text_unet"].save_pretrained(folder / "text_unet")


def save_words(folder):
    """BERT's words alone."""
    folder.mkdir(parents=True)
    save_bert_tokenizer(folder)


# Name in the manifest -> ``save(folder)``.
SAVED = {
    "versatile-diffusion": save_versatile,
    "versatile-diffusion-text-flow": save_text_flow,
    "optimus": random_optimus.save_authors_optimus,
    "bert-base-cased-tokenizer": random_optimus.save_cased_tokenizer,
    "gpt2-tokenizer": random_optimus.save_gpt2_tokenizer,
    "kandinsky-2-2-prior": save_prior,
    "sd-vae-ft-mse": save_vae,
    "dpt-large": save_dpt,
    "vicregl-convnext-xl": save_place_teacher,
    "blip-base-capfilt": save_authors_blip,
    "blip-image-captioning-base": save_blip,
    "blip-image-captioning-large": save_blip,
    "vgg19-caffe": lambda folder: save_vgg19(folder, pickled=True),
    "deepsim-fc7": lambda folder: save_deepsim(folder, pickled=True),
    "gpt2": save_gpt2,
    "git-large-coco": save_git,
    "bert-base-uncased-tokenizer": save_words,
}


def write_published(name, folder, embed_dim):
    """A random checkpoint as its origin has it; what nothing reads of the listed files holds nothing."""
    files = [file.path for file in store.checkpoints()[name].files]
    if name in SAVED:
        SAVED[name](folder)
    elif name in KINDS:
        save_generator(KINDS[name], folder)
    elif name.startswith("ip-adapter"):
        (path,) = (path for path in files if "ip-adapter" in path)
        (folder / path).parent.mkdir(parents=True)
        save_file(adapter_plus_state() if "plus" in name else adapter_state(), folder / path)
    else:
        save_open_clip(folder, embed_dim)
    # What its author pickled, others than by themselves, lies here as safetensors.
    if any(path.endswith(".bin") for path in files):
        pickle_weights(folder)
    for path in files:
        if not (folder / path).exists():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text("{}")

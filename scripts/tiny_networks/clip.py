"""The embedded CLIP: an open_clip model of four layers a side, and a tokenizer of whole words.

It learns as CLIP did (Radford and others, 2021), picture against caption within a batch, except that pictures
which share a caption word for word count as right for one another: short captions fit many pictures here.
"""

import json
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch.nn import functional

from brainrecon.simulation.world.captions import VOCABULARY
from stages.checkpoints.open_clip_folder import CONFIG_FILE
from stages.targets.clip import CLIPImageEmbedding
from tiny_networks.pool import load_pool
from tiny_networks.training import averaged_weights, fit, record
from weights.whole_files import whole_file

NAME = "clip"
STEPS = 2400
BATCH_SIZE = 128
CONTEXT_LENGTH = 24
MEAN, STD = 0.5, 0.25
# The end token carries the largest number: the text tower pools there, as in the published models.
WORDS = ("<pad>", "<start>", "<unknown>", *VOCABULARY, "<end>")
MODEL = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "patch_size": 8, "layers": 4, "width": 128, "head_width": 32},
    "text_cfg": {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": len(WORDS),
        "hf_tokenizer_name": "tokenizer.json",
        "width": 128,
        "heads": 4,
        "layers": 4,
    },
}
# Spread of the initial position codes, against 0.09 in open_clip: patch tokens then tell their place to the end,
# which the generator needs to find the token of a place.
POSITION_SPREAD = 0.5
LARGEST_SCALE = np.log(100)
SHIFT = 4


def build():
    """Make the model with open_clip's own initial weights, except for the position codes of pictures."""
    text = {key: value for key, value in MODEL["text_cfg"].items() if key != "hf_tokenizer_name"}
    model = open_clip.model.CLIP(
        MODEL["embed_dim"],
        open_clip.model.CLIPVisionCfg(**MODEL["vision_cfg"]),
        open_clip.model.CLIPTextCfg(**text),
    )
    torch.nn.init.normal_(model.visual.positional_embedding, std=POSITION_SPREAD)
    return model


def tokenizer():
    """Make the word-level tokenizer: lower case, split at spaces and punctuation, start and end tokens."""
    numbers = {word: number for number, word in enumerate(WORDS)}
    made = Tokenizer(models.WordLevel(numbers, unk_token="<unknown>"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[(word, numbers[word]) for word in ("<start>", "<end>")]
    )
    made.add_special_tokens(["<pad>", "<start>", "<unknown>", "<end>"])
    return made


def tokenize(captions):
    """Token numbers (n, 24), int64, of captions; padded behind the end token."""
    made = tokenizer()
    made.enable_truncation(CONTEXT_LENGTH)
    made.enable_padding(length=CONTEXT_LENGTH, pad_id=0, pad_token="<pad>")
    return np.array([encoded.ids for encoded in made.encode_batch(list(captions))], dtype=np.int64)


def loss(model, batch, generator):
    """Contrastive loss both ways over pictures (n, 64, 64, 3) uint8 and token numbers (n, 24)."""
    images, tokens = batch
    pictures = images.permute(0, 3, 1, 2).float() / 255
    # Shifts by a few pixels, the border repeated.
    down, right = torch.randint(0, 2 * SHIFT + 1, (2,), generator=generator).tolist()
    size = pictures.shape[-1]
    pictures = functional.pad(pictures, (SHIFT,) * 4, mode="replicate")[..., down : down + size, right : right + size]
    image, text, _ = model((pictures - MEAN) / STD, tokens)
    similarity = model.logit_scale.clamp(max=LARGEST_SCALE).exp() * image.float() @ text.float().T
    same = (tokens[:, None] == tokens[None]).all(dim=-1).float()
    right = same / same.sum(dim=1, keepdim=True)
    total = (functional.cross_entropy(similarity, right) + functional.cross_entropy(similarity.T, right)) / 2
    found = same.gather(1, similarity.argmax(dim=1, keepdim=True)).mean()
    return total, {"found": found.item(), "scale": model.logit_scale.exp().item()}


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/clip``, continuing what is there, and return the averaged network."""
    pool = load_pool(workspace)
    n_captions = len(pool.captions[0])
    tokens = tokenize(caption for captions in pool.captions for caption in captions).reshape(len(pool), n_captions, -1)

    alike = _alike(pool)

    def batches(step):
        rows = _batch_rows(pool, alike, step)
        chosen = np.random.default_rng([NAME.encode()[0], step]).integers(n_captions, size=len(rows))
        # Meaning does not depend on the light: half of the pictures are seen under another one.
        relit = np.random.default_rng([NAME.encode()[1], step]).random(len(rows)) < 0.5
        images = np.where(relit[:, None, None, None], pool.relit[rows], pool.images[rows])
        return torch.from_numpy(images), torch.from_numpy(tokens[rows, chosen])

    torch.manual_seed(0)  # The initial weights; open_clip's constructors take no generator.
    return fit(
        NAME,
        build(),
        loss,
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=8e-3,
        weight_decay=0.02,
        warmup=150,
        ema_decay=0.995,
        save_seconds=120,
        device=device,
        threads=threads,
        channels_last=False,
        muon=True,
    )


def _alike(pool):
    """Rows of pictures that are hard to tell apart, group by group, in groups of a batch and more.

    Scenes of one background, scenes of one background and one colour, digits of one ink, patterns.
    """
    labels, groups = pool.labels, {}
    for row, (kind, background, colour) in enumerate(zip(labels["kind"], labels["background"], labels["colour"])):
        names = [(kind, colour)]
        if kind == "scene":
            names = [(kind, background), (kind, background, colour), (kind, background, colour, "once more")]
        for name in names:
            groups.setdefault(name, []).append(row)
    return [np.array(groups[name]) for name in sorted(groups) if len(groups[name]) >= BATCH_SIZE]


def _batch_rows(pool, alike, step):
    """Rows of one batch: every third from the whole pool, the others from a group of pictures that are alike.

    Among pictures of all kinds background and colour tell the right caption nearly always, and a short training
    never learns what the things are.
    """
    if step % 3 == 0 or not alike:
        return pool.batch_indices(step // 3, BATCH_SIZE)
    random = np.random.default_rng([NAME.encode()[2], step])
    return random.choice(alike[random.integers(len(alike))], BATCH_SIZE, replace=False)


def export(workspace, folder):
    """Write the open_clip folder: configuration, weights in float16, tokenizer, card."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.half().contiguous() for name, value in averaged_weights(workspace, NAME).items()}
    with whole_file(folder / "open_clip_model.safetensors") as partial:
        save_file(state, partial)
    preprocess = {"mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    config = {"model_cfg": MODEL, "preprocess_cfg": preprocess}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    tokenizer().save(str(folder / "tokenizer.json"))
    roles = {"pad_token": "<pad>", "bos_token": "<start>", "eos_token": "<end>", "unk_token": "<unknown>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT_LENGTH} | roles
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    held_out = figures(folder, load_pool(workspace, held_out=True))
    (folder / "card.md").write_text(_card(record(workspace, NAME), held_out), encoding="utf-8")
    return held_out


@torch.no_grad()
def figures(folder, pool, among=100):
    """Held-out retrieval: how often the right one among 100 is closest, both ways.

    Parameters
    ----------
    folder : path-like
        An exported model.
    pool : Pool
        Held-out pictures; each goes with its longest caption, and every hundred with different captions.
    among : int

    Returns
    -------
    figures : dict of str to float
        ``caption_of_picture`` and ``picture_of_caption``, in 0..1.
    """
    model = CLIPImageEmbedding.from_pretrained(folder)
    longest = [max(captions, key=len) for captions in pool.captions]
    _, rows = np.unique(longest, return_index=True)
    rows = np.random.default_rng(0).permutation(rows)
    rows = rows[: len(rows) // among * among]
    images = torch.from_numpy(model.embed(pool.images[np.sort(rows)])[np.argsort(np.argsort(rows))])
    texts, _ = model._text_tokens([longest[row] for row in rows])
    texts = functional.normalize(texts, dim=-1)
    found = {"caption_of_picture": [], "picture_of_caption": []}
    for start in range(0, len(rows), among):
        similarity = images[start : start + among] @ texts[start : start + among].T
        right = torch.arange(among)
        found["caption_of_picture"].append((similarity.argmax(1) == right).float().mean())
        found["picture_of_caption"].append((similarity.argmax(0) == right).float().mean())
    return {name: float(torch.stack(values).mean()) for name, values in found.items()}


def _card(training, held_out):
    return f"""# tiny-clip

An open_clip model (Radford and others, 2021) for the 64 x 64 pictures of brainrecon's simulated world and their
captions, with a tokenizer of {len(WORDS)} whole words of its own.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only clip`, from nothing |
| learned from | {training["pictures"]:,} pairs ({training["steps"]:,} steps of {BATCH_SIZE}) |
| time | {training["seconds"] / 60:.0f} minutes on {training["device"]}, {training["threads"]} thread(s) |
| parameters | {training["parameters"]:,}, stored as float16, computed in float32 |
| held out, right caption among 100 different ones | {100 * held_out["caption_of_picture"]:.1f} % |
| held out, right picture among 100 | {100 * held_out["picture_of_caption"]:.1f} % |
| licence | MIT, as the repository |

It knows the words of that world and no others, and nothing of photographs.
"""

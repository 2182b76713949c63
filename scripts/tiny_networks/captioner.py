"""The embedded captioner: BLIP's published layout at small size, with a vocabulary of whole words.

Its vision transformer is that of tiny-clip, which knows pictures and words already. Its text decoder learns in two parts to say
a picture's fullest caption: first from the states of the picture, then from states that were disturbed as those decoded from a
brain are.

Half of the sentences begin with "a picture of", which is given and not learned, the others with the caption.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from transformers import BlipConfig, BlipForConditionalGeneration

from brainrecon.simulation.world.captions import VOCABULARY
from stages.checkpoints.pretrained import CONFIG_FILE, WEIGHTS_FILE
from stages.checkpoints.transformers_loading import load_bert_tokenizer
from stages.targets.blip import MEAN, STD
from stages.targets.clip import CLIPImageTokens
from tiny_networks import clip
from tiny_networks.captioner_figures import figures
from tiny_networks.decoding_errors import DecodingErrors
from tiny_networks.pool import load_pool
from tiny_networks.training import averaged_weights, fit, record
from weights import store
from weights.whole_files import whole_file, write_text

NAME = "captioner"
DECODED = f"{NAME}/decoded"
STEPS = 1500
LATER = 0.3  # the second part's share of the steps
BATCH_SIZE = 32
LENGTH = 32
PROMPT = "a picture of "
# [DEC] and [ENC], BLIP's own two tokens, come behind all words and are not in the vocabulary.
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *VOCABULARY)
PAD, SEP, DEC = WORDS.index("[PAD]"), WORDS.index("[SEP]"), len(WORDS)
# The vision transformer has tiny-clip's sizes.
CONFIG = {
    "architectures": ["BlipForConditionalGeneration"],
    "model_type": "blip",
    "vision_config": {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": 64,
        "patch_size": 8,
        "layer_norm_eps": 1e-5,
    },
    "text_config": {
        "hidden_size": 96,
        "intermediate_size": 384,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "encoder_hidden_size": 128,
        "vocab_size": len(WORDS) + 2,
        "max_position_embeddings": LENGTH,
        "pad_token_id": PAD,
        "sep_token_id": SEP,
        "bos_token_id": DEC,
        "eos_token_id": WORDS.index("[CLS]"),
        "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0,
    },
}
SAMPLE = 1500  # pictures whose states tell what decoding errors look like


class Captioner(nn.Module):
    """What is trained: BLIP, which says how surprising a caption is."""

    def __init__(self):
        super().__init__()
        self.blip = BlipForConditionalGeneration(BlipConfig.from_dict(CONFIG))
        self.blip.vision_model.requires_grad_(False)

    @torch.no_grad()
    def states(self, images):
        """Of uint8 pictures (n, 64, 64, 3), as `stages.targets.blip.BLIPStates` makes them: (n, 65, width)."""
        mean, std = (torch.tensor(each, device=images.device)[:, None, None] for each in (MEAN, STD))
        pictures = (images.permute(0, 3, 1, 2).float() / 255 - mean) / std
        return self.blip.vision_model(pictures).last_hidden_state

    def forward(self, states, tokens, given):
        """Mean cross-entropy in nats of each token behind the `given` first ones, and the share that is guessed right."""
        seen = self.blip.text_decoder(
            input_ids=tokens,
            attention_mask=(tokens != PAD).long(),
            encoder_hidden_states=states,
            encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.long, device=states.device),
            use_cache=False,
        )
        logits, following = seen.logits[:, :-1].float(), tokens[:, 1:]
        places = torch.arange(1, tokens.shape[1], device=tokens.device)
        counted = (following != PAD) & (places >= given[:, None])
        right = (logits.argmax(-1) == following)[counted].float().mean()
        return functional.cross_entropy(logits[counted], following[counted]), right


@torch.no_grad()
def see_as_clip(vision, pictures):
    """Give BLIP's vision transformer the weights of tiny-clip's.

    CLIP has a layer norm before its blocks, and BLIP none. It is folded into patches and positions, as if all tokens had the
    deviation there that those of `pictures`, uint8 (n, 64, 64, 3), have in the mean.
    """
    own = CLIPImageTokens.from_pretrained(store.path("tiny-clip")).model.visual
    shown = (torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2) / 255 - clip.MEAN) / clip.STD
    patches = own.conv1(shown).flatten(2).transpose(1, 2)
    whole = torch.cat([own.class_embedding.expand(len(patches), 1, -1), patches], dim=1) + own.positional_embedding
    scale = own.ln_pre.weight / whole.std(dim=-1, unbiased=False).mean()
    embeddings, mean, std = vision.embeddings, torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    kernel = _centred(own.conv1.weight) * scale[:, None, None, None] / clip.STD
    embeddings.patch_embedding.weight.copy_(kernel * std)
    embeddings.patch_embedding.bias.copy_((kernel * (mean - clip.MEAN)).sum(dim=(1, 2, 3)))
    embeddings.class_embedding.copy_(_centred(own.class_embedding) * scale)
    embeddings.position_embedding.copy_(_centred(own.positional_embedding.T).T * scale + own.ln_pre.bias)
    for block, theirs in zip(vision.encoder.layers, own.transformer.resblocks, strict=True):
        block.self_attn.qkv.weight.copy_(theirs.attn.in_proj_weight)
        block.self_attn.qkv.bias.copy_(theirs.attn.in_proj_bias)
        for layer, their in (
            (block.self_attn.projection, theirs.attn.out_proj),
            (block.layer_norm1, theirs.ln_1),
            (block.layer_norm2, theirs.ln_2),
            (block.mlp.fc1, theirs.mlp.c_fc),
            (block.mlp.fc2, theirs.mlp.c_proj),
        ):
            layer.load_state_dict(their.state_dict())
    vision.post_layernorm.load_state_dict(own.ln_post.state_dict())


def _centred(values):
    """Values whose first axis is that of the channels, without their mean over it."""
    return values - values.mean(dim=0)


def sentences(captions, tokenizer):
    """Numbers (n, 2, length of the longest), int64, of the tokens of captions without a prompt and with it.

    With them, how many of the tokens are given either way.
    """
    found = [tokenizer([prompt + caption for caption in captions])["input_ids"] for prompt in ("", PROMPT)]
    numbers = np.full((len(captions), 2, max(map(len, found[1]))), PAD, dtype=np.int64)
    for way, own in enumerate(found):
        for row, tokens in enumerate(own):
            numbers[row, way, : len(tokens)] = [DEC, *tokens[1:]]
    return numbers, np.array([1, len(tokenizer(PROMPT)["input_ids"]) - 1])


def fullest(captions):
    """The caption of a picture that tells the most: its last."""
    return captions[-1]


def loss_under(errors=None):
    """Loss of the text decoder: surprise at captions. ``errors(states, generator)`` disturbs the states, if given."""

    def loss(model, batch, generator):
        images, tokens, given = batch
        states = model.states(images).float()
        nats, right = model(states if errors is None else errors(states, generator), tokens, given)
        return nats, {"right": right.item()}

    return loss


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/captioner`` and its folder ``decoded``, continuing what is there; returns the averaged network."""
    workspace, steps = Path(workspace), steps or STEPS
    later = max(1, round(LATER * steps))
    pool = load_pool(workspace)
    tokens, given = sentences([fullest(captions) for captions in pool.captions], tokenizer_of(workspace))

    def batch(step, part):
        rows = pool.batch_indices(step, BATCH_SIZE, seed=part)
        random = np.random.default_rng([NAME.encode()[part], step])
        # A caption does not depend on the light: half of the pictures are seen under another one.
        relit, way = random.random(len(rows)) < 0.5, random.integers(2, size=len(rows))
        images = np.where(relit[:, None, None, None], pool.relit[rows], pool.images[rows])
        return tuple(torch.from_numpy(each) for each in (images, tokens[rows, way], given[way]))

    same = {"workspace": workspace, "weight_decay": 0.02, "ema_decay": 0.995, "save_seconds": 120, "muon": True}
    same |= {"device": device, "threads": threads, "channels_last": False}
    torch.manual_seed(0)  # The initial weights; torch's constructors take no generator.
    model = Captioner()
    see_as_clip(model.blip.vision_model, pool.images[:200])
    fit(
        NAME,
        model,
        loss_under(),
        lambda step: batch(step, 0),
        steps=max(1, steps - later),
        learning_rate=8e-3,
        warmup=100,
        **same,
    )
    errors = DecodingErrors(sample_states(model, pool))
    return fit(
        DECODED,
        model,
        loss_under(errors),
        lambda step: batch(step, 1),
        steps=later,
        learning_rate=3e-3,
        warmup=50,
        **same,
    )


def sample_states(model, pool):
    """States of the first pictures of a pool (at most 1,500, 65, width), float32."""
    device = model.blip.device
    n = min(SAMPLE, len(pool))
    parts = (torch.from_numpy(np.array(pool.images[start : min(start + 100, n)])) for start in range(0, n, 100))
    return torch.cat([model.states(part.to(device)).cpu() for part in parts])


def tokenizer_of(folder):
    """Write the tokenizer's files into a folder and open it."""
    folder = Path(folder)
    write_text(folder / "vocab.txt", "".join(f"{word}\n" for word in WORDS))
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": LENGTH}
    write_text(folder / "tokenizer_config.json", json.dumps(config, indent=1) + "\n")
    return load_bert_tokenizer(folder)


def export(workspace, folder):
    """Write the folder of `stages.networks.blip.load_blip`: configuration, weights in float16, vocabulary, card."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = Captioner()
    model.load_state_dict(averaged_weights(workspace, DECODED))
    save_captioner(model.blip, folder)
    tokenizer_of(folder)
    held_out = figures(folder, load_pool(workspace, held_out=True))
    first, later = (record(workspace, name) for name in (NAME, DECODED))
    parameters = sum(each.numel() for each in model.blip.parameters())
    write_text(folder / "card.md", _card(first, later, parameters, held_out))
    return held_out


def save_captioner(network, folder):
    """Write configuration and weights, in float16; what the decoder's input and output share once."""
    stored = {
        name: value.half().contiguous() for name, value in network.state_dict().items() if ".decoder." not in name
    }
    with whole_file(folder / WEIGHTS_FILE) as partial:
        save_file(stored, partial)
    write_text(folder / CONFIG_FILE, json.dumps(CONFIG, indent=2) + "\n")


def _card(first, later, parameters, held_out):
    lines = "\n".join(
        f"| held out, {name.replace('_', ' ').replace('bleu', 'BLEU').replace('cider', 'CIDEr')} | {value:.3f} |"
        for name, value in held_out.items()
    )
    learned = f"{first['pictures']:,} pictures ({first['steps']:,} steps of {BATCH_SIZE})"
    return f"""# tiny-captioner

A BLIP (Li and others, 2022) for the 64 x 64 pictures of brainrecon's simulated world and their captions: the published layout
at small size, with transformers' names of its parameters and a vocabulary of {len(WORDS)} whole words.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only captioner`, the text decoder from nothing, the vision transformer from tiny-clip's |
| learned from | {learned}, then {later["pictures"]:,} under disturbed states |
| time | {(first["seconds"] + later["seconds"]) / 60:.0f} minutes on {first["device"]}, {first["threads"]} thread(s) |
| parameters | {parameters:,}, stored as float16, computed in float32 |
| pictures | 64 x 64, normalised as CLIP's (`normalise="CLIP"`) |
| states | 65 of {CONFIG["vision_config"]["hidden_size"]} values |
| caption | the fullest of a picture's five; half of the time behind "{PROMPT.strip()}" |
{lines}
| licence | MIT, as the repository |

The held-out figures are for drawn scenes and their five captions each, of a search over three sentences without a prompt: from
true states, and from states disturbed as those in training were (all of them, unlike there). Category and colour: the first that
is named is the main thing's. What knows nothing of the picture reaches this: the captions from true states, each given to another
scene, and the scenes' most frequent caption for all of them. Places and sizes are often wrong. It knows the words of that world
and no others, and nothing of photographs.
"""

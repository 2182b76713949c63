"""The embedded Optimus: BERT and GPT-2 around a latent, small, with the words of the drawn world.

A variational autoencoder of captions (Li et al. 2020). The divergence from a standard normal distribution counts little, and not
at all in a dimension until it has some (free bits); many words are hidden from the decoder, so that it asks the latent.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional

from brainrecon.evaluation.metrics.caption_metrics import corpus_bleu
from brainrecon.simulation.world.captions import VOCABULARY
from stages.checkpoints.pretrained import CONFIG_FILE, WEIGHTS_FILE
from stages.checkpoints.transformers_loading import load_gpt2_tokenizer
from stages.generators.language.latent_sentences import sentences
from stages.networks.optimus import BOS, EOS, PAD, Optimus, load_optimus
from stages.targets.optimus import OptimusLatents
from tiny_networks.generator_data import different_captions
from tiny_networks.pool import load_pool
from tiny_networks.training import averaged_weights, fit, record
from weights.whole_files import make_folder, whole_file, write_text

NAME = "optimus"
STEPS = 2200
BATCH_SIZE = 64
LATENT = 64
HIDDEN_WORDS = 0.3  # share of the words that the decoder does not see
DIVERGENCE, FREE = 0.05, 0.25  # weight of the divergence; nats of a dimension that count as none
MAX_LENGTH = 30
# What BERT reads; number 0 is no word.
READ = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *VOCABULARY)
END_OF_TEXT, SPACE = "<|endoftext|>", "Ġ"
WIDTH = 80
ENCODER = {
    "vocab_size": len(READ),
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 4 * WIDTH,
    "max_position_embeddings": 40,
    "type_vocab_size": 2,
    "attention_probs_dropout_prob": 0.0,
    "hidden_dropout_prob": 0.0,
}


def written():
    """What GPT-2 writes with: numbers of all tokens, words first, and the pairs that are merged, the first first."""
    words = [f" {word}" for word in VOCABULARY]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    # More merges than there are letters: training ends when every word is one token.
    made.train_from_iterator(words, trainers.BpeTrainer(vocab_size=10_000, min_frequency=1, show_progress=False))
    learned = json.loads(made.to_str())["model"]
    vocabulary = {SPACE + word: number for number, word in enumerate(VOCABULARY)}
    for piece in sorted(learned["vocab"], key=learned["vocab"].get):
        vocabulary.setdefault(piece, len(vocabulary))
    vocabulary[END_OF_TEXT] = len(vocabulary)
    return vocabulary, [tuple(pair) for pair in learned["merges"]]


def config():
    """What ``config.json`` says."""
    decoder = {"vocabulary": len(written()[0]) + 3, "width": WIDTH, "n_layers": 2, "n_heads": 4, "n_positions": 40}
    return {"model_type": "optimus", "latent": LATENT, "encoder": ENCODER, "decoder": decoder}


class Autoencoder(nn.Module):
    """What is trained: `stages.networks.optimus.Optimus`, whose words are one tensor at both ends of the decoder."""

    def __init__(self):
        super().__init__()
        told = config()
        self.optimus = Optimus(told["latent"], told["encoder"], told["decoder"])
        decoder = self.optimus.decoder
        # Of the size that GPT-2 begins with.
        nn.init.normal_(decoder.transformer.wte.weight, std=0.02)
        decoder.lm_head.weight = decoder.transformer.wte.weight
        self.hidden, _, self.end = decoder.lm_head.out_features - 3 + np.arange(3)

    def forward(self, read, said, generator, divergence):
        """Loss of captions, with their mean surprise in nats a token, the share of right tokens, and the divergence.

        Parameters
        ----------
        read, said : tensors of shape (n, n_tokens), int64
            As BERT and GPT-2 have them; rows of `said` begin and end with their marks, and go on with padding.
        """
        mean, logvar = self.optimus.encoder.posterior(read)
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        shown, following = said[:, :-1], said[:, 1:]
        dropped = torch.rand(shown.shape, generator=generator) < HIDDEN_WORDS
        # The beginning is always seen.
        dropped[:, 0] = False
        shown = torch.where(dropped.to(shown.device), int(self.hidden), shown)
        scores, _ = self.optimus.decoder(shown, mean.float() + noise * (logvar.float() / 2).exp())
        counted = following != self.hidden
        surprise = functional.cross_entropy(scores.float()[counted], following[counted], reduction="sum") / len(said)
        nats = (mean.float().square() + logvar.float().exp() - 1 - logvar.float()).mean(dim=0) / 2
        right = (scores.argmax(-1) == following)[counted].float().mean()
        return surprise + divergence * nats.clamp(min=FREE).sum(), {
            "surprise": surprise.item() / (counted.sum().item() / len(said)),
            "right": right.item(),
            "divergence": nats.sum().item(),
        }


def numbers(captions, folder):
    """Tokens of captions as BERT reads them and as GPT-2 writes them: two arrays (n, length of the longest), int64."""
    reads, writes = readers(folder)
    begin, end = writes.convert_tokens_to_ids([BOS, EOS])
    said = [[begin, *row, end] for row in writes([f" {one}" for one in captions])["input_ids"]]
    padding = writes.convert_tokens_to_ids(PAD)
    rows = np.full((len(said), max(map(len, said))), padding, dtype=np.int64)
    for row, tokens in zip(rows, said):
        row[: len(tokens)] = tokens
    number = {word: place for place, word in enumerate(reads)}
    # Whole words in both vocabularies: the two rows have one length.
    unknown = number["[UNK]"]
    read = np.zeros_like(rows)
    for row, caption in zip(read, captions):
        words = [number.get(word, unknown) for word in caption.split()]
        row[: len(words) + 2] = [number["[CLS]"], *words, number["[SEP]"]]
    return read, rows


def readers(folder):
    """Write the words of both ends into a folder; returns BERT's, and GPT-2's tokenizer."""
    folder = Path(folder)
    make_folder(folder)
    vocabulary, merges = written()
    write_text(folder / "vocab.txt", "".join(f"{word}\n" for word in READ))
    write_text(folder / "vocab.json", json.dumps(vocabulary, indent=0, ensure_ascii=False) + "\n")
    write_text(folder / "merges.txt", "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges))
    return READ, load_gpt2_tokenizer(folder, (PAD, BOS, EOS))


def loss(model, batch, generator):
    """Loss of a batch: read tokens, said tokens, and the weight of the divergence, once for each row."""
    read, said, divergence = batch
    return model(read, said, generator, divergence[0])


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/optimus``, continuing what is there; returns the averaged network."""
    workspace, steps = Path(workspace), steps or STEPS
    pool = load_pool(workspace)
    captions, rows_of = different_captions(pool.captions)
    read, said = numbers(captions, workspace / NAME / "words")

    def batches(step):
        random = np.random.default_rng([9, step])
        chosen = random.choice(len(rows_of), min(BATCH_SIZE, len(rows_of)), replace=False)
        rows = rows_of[chosen, random.integers(rows_of.shape[1], size=len(chosen))]
        length = int((said[rows] != said.max() - 2).sum(axis=1).max())
        # It grows over the first third, so that the latent is used before it costs.
        weight = np.full(len(rows), DIVERGENCE * min(1.0, 3 * step / steps), dtype=np.float32)
        return tuple(torch.from_numpy(each) for each in (read[rows, :length], said[rows, :length], weight))

    torch.manual_seed(0)  # The initial weights; torch's constructors take no generator.
    return fit(
        NAME,
        Autoencoder(),
        loss,
        batches,
        workspace=workspace,
        steps=steps,
        learning_rate=6e-3,
        warmup=100,
        ema_decay=0.995,
        save_seconds=60,
        device=device,
        threads=threads,
        autocast=False,
        channels_last=False,
        muon=True,
    )


def export(workspace, folder):
    """Write the folder of `stages.networks.optimus.load_optimus` in float16, the words of both ends, and a card."""
    folder = Path(folder)
    readers(folder)
    model = Autoencoder()
    model.load_state_dict(averaged_weights(workspace, NAME))
    # What the decoder's two ends share is stored once.
    stored = {name: value.half() for name, value in model.optimus.state_dict().items() if "lm_head" not in name}
    with whole_file(folder / WEIGHTS_FILE) as partial:
        save_file({name: value.contiguous() for name, value in stored.items() if "position_ids" not in name}, partial)
    write_text(folder / CONFIG_FILE, json.dumps(config(), indent=2) + "\n")
    held_out = figures(folder, load_pool(workspace, held_out=True))
    parameters = sum(each.numel() for each in model.optimus.parameters())
    write_text(folder / "card.md", _card(record(workspace, NAME), parameters, held_out))
    return held_out


def figures(folder, pool, n=300):
    """Judge an exported Optimus on the captions of held-out pictures, each written from its own latent.

    Parameters
    ----------
    folder : path
    pool : tiny_networks.pool.Pool
        Held-out pictures.
    n : int
        Of how many pictures.

    Returns
    -------
    figures : dict of str to float
        ``all_…``, of all five captions of a picture, and ``second_…``, of the second alone, which the text flow learns: share
        of captions that come back word for word (0..1), and of tokens at their place; BLEU-4 against the caption itself.
        ``another_bleu_4``: that of second captions against those of the next picture. ``spread``: root of the mean square of
        all latents' values.
    """
    target, network = OptimusLatents.from_pretrained(folder), load_optimus(folder)
    tokenizer = load_gpt2_tokenizer(folder, (PAD, BOS, EOS))
    ends = tokenizer.convert_tokens_to_ids([BOS, EOS])
    captions = [caption for own in pool.captions[:n] for caption in own]
    latents = torch.from_numpy(target.encode([[caption] for caption in captions]))
    said = [
        tokenizer.decode(tokens).strip()
        for start in range(0, len(latents), 100)
        for tokens in sentences(network.decoder, latents[start : start + 100], ends, max_length=MAX_LENGTH)
    ]
    found = {}
    for name, step in (("all", slice(None)), ("second", slice(1, None, len(pool.captions[0])))):
        true, own = captions[step], said[step]
        pairs = [_places(*pair) for pair in zip(true, own)]
        found |= {
            f"{name}_word_for_word": float(np.mean([one == other for one, other in zip(true, own)])),
            f"{name}_words_at_their_place": float(np.mean([one for pair in pairs for one in pair])),
            f"{name}_bleu_4": corpus_bleu([[one] for one in true], own),
        }
    found["another_bleu_4"] = corpus_bleu([[one] for one in true[1:] + true[:1]], own)
    return found | {"spread": float(latents.square().mean().sqrt())}


def _places(true, said):
    said = said.split()
    return [place < len(said) and said[place] == word for place, word in enumerate(true.split())]


def _card(training, parameters, held_out):
    lines = "\n".join(
        f"| held out, {name.replace('_', ' ').replace('bleu', 'BLEU')} | {value:.3f} |"
        for name, value in held_out.items()
    )
    return f"""# tiny-optimus

An Optimus (Li and others, 2020) for the captions of brainrecon's simulated world: BERT, a latent of {LATENT} values, and GPT-2,
under the names that Versatile Diffusion published, at small size. `vocab.txt` has the {len(READ)} words that it reads;
`vocab.json` and `merges.txt` are a tokenizer of GPT-2's kind whose tokens are whole words.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only optimus`, from nothing |
| learned from | {training["pictures"]:,} captions ({training["steps"]:,} steps of {BATCH_SIZE}) |
| objective | surprise at a caption, and {DIVERGENCE:g} of the divergence, {FREE:g} nats of each dimension free |
| hidden from the decoder | {HIDDEN_WORDS:.0%} of the words |
| time | {training["seconds"] / 60:.0f} minutes on {training["device"]}, {training["threads"]} thread(s) |
| parameters | {parameters:,}, stored as float16, computed in float32 |
{lines}
| licence | MIT, as the repository |

The held-out figures are for captions of pictures that it did not learn from, written again from their own latents, the most
probable word at a time. It knows the words of that world and no others.
"""

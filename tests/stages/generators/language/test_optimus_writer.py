"""Captions of Optimus' latents: written out by hand, the same as the text flow's at strength 0, and the laws of a generator."""

import numpy as np
import pytest
import random_checkpoints
import random_optimus
import torch

from stages.generators.generator import Item, in_order
from stages.generators.language.caption_text import tidy_spaces
from stages.generators.language.optimus_flow import OptimusFlowCaptioner
from stages.generators.language.optimus_writer import OptimusWriter
from stages.ground.errors import InputError
from stages.ground.not_finite import NotFinite
from stages.networks.optimus import BOS, EOS
from weights.manifest import CheckpointError

ITEMS = [Item(f"nsd{number:05d}") for number in range(6)]
LATENTS = np.random.default_rng(0).standard_normal((6, random_optimus.LATENT)).astype(np.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("optimus")
    random_optimus.convert_authors_optimus(root / "optimus")
    random_optimus.save_gpt2_tokenizer(root / "words")
    return root


@pytest.fixture(scope="module")
def writer(folders):
    return OptimusWriter.from_pretrained(folders / "optimus", folders / "words")


def written(writer, rows=slice(None), **options):
    return in_order(writer.draw({"optimus": LATENTS[rows]}, ITEMS[rows], **options))


@torch.inference_mode()
def by_hand(writer, latent, length):
    begin, end = writer.tokenizer.convert_tokens_to_ids([BOS, EOS])
    tokens = [begin]
    while len(tokens) < length - 1:
        scores, _ = writer.decoder(torch.tensor([tokens]), torch.from_numpy(latent)[None], None)
        tokens.append(int(scores[0, -1].argmax()))
        if tokens[-1] == end:
            return tidy_spaces(writer.tokenizer.decode(tokens[1:-1], clean_up_tokenization_spaces=False))
    return tidy_spaces(writer.tokenizer.decode(tokens[1:], clean_up_tokenization_spaces=False))


def test_each_word_is_the_most_probable(writer):
    found = written(writer, max_length=12, repetitions="kept")
    assert found == [by_hand(writer, latent, 12) for latent in LATENTS] and len(set(found)) > 2


def test_it_writes_what_the_text_flow_writes_of_a_latent_that_is_kept(writer, folders):
    random_checkpoints.save_versatile_diffusion(folders / "vd")
    flow = OptimusFlowCaptioner.from_pretrained(folders / "vd", folders / "vd", folders / "optimus", folders / "words")
    values = {"optimus": LATENTS, "clip_image": np.zeros((6, *flow.takes["clip_image"]), np.float32)}
    expected = in_order(flow.draw(values, ITEMS, strength=0.0, num_inference_steps=4, writing="greedy"))
    assert written(writer) == expected


def test_a_caption_depends_on_its_own_latent_alone(writer):
    whole = written(writer)
    assert written(writer, batch_size=4) == whole and written(writer, slice(2, 3)) == whole[2:3]
    assert written(writer, seed=5) == whole
    drawn = written(writer, writing="by lot", temperature=3.0)
    assert written(writer, slice(2, 3), writing="by lot", temperature=3.0) == drawn[2:3]
    assert written(writer, writing="by lot", temperature=3.0, seed=5) != drawn


def test_what_is_not_finite_is_named_after_all_others(writer):
    spoilt = LATENTS.copy()
    spoilt[1] = 3e38
    drawn, found = writer.draw({"optimus": spoilt}, ITEMS), {}
    with pytest.raises(NotFinite) as raised:
        for position, caption in drawn:
            found[position] = caption
    assert list(raised.value.positions) == [1] and sorted(found) == [0, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"writing": "beam"}, "writing is 'beam'"),
        ({"temperature": 0}, "temperature is 0"),
        ({"max_length": 1}, "max_length is 1"),
        ({"repetitions": "none"}, "repetitions is 'none'"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_what_makes_no_sense_is_refused(writer, options, said):
    with pytest.raises(InputError, match=said):
        written(writer, **options)


def test_words_of_another_network_are_refused(folders, tmp_path):
    random_optimus.save_gpt2_tokenizer(tmp_path)
    merges = (tmp_path / "merges.txt").read_text().splitlines()
    vocabulary = (tmp_path / "vocab.json").read_text().replace('"!": ', '"!?": 9999, "!": ')
    (tmp_path / "vocab.json").write_text(vocabulary)
    (tmp_path / "merges.txt").write_text("\n".join(merges) + "\n")
    with pytest.raises(CheckpointError, match=r"The tokenizer has .* tokens, .* but Optimus' decoder"):
        OptimusWriter.from_pretrained(folders / "optimus", tmp_path)

"""Captions as Optimus' latents: the authors' order of operations, written out."""

import numpy as np
import pytest
import torch
from random_optimus import BERT, LATENT, convert_authors_optimus, save_cased_tokenizer

from stages.checkpoints.transformers_loading import load_bert_tokenizer, load_gpt2_tokenizer
from stages.ground.errors import InputError
from stages.targets.optimus import OptimusLatents
from weights.manifest import CheckpointError


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("optimus")
    return convert_authors_optimus(root / "optimus"), root / "optimus", save_cased_tokenizer(root / "words")


@pytest.fixture(scope="module")
def target(folders):
    return OptimusLatents.from_pretrained(folders[1], tokenizer=folders[2])


def numbers(*pieces):
    return [2, *(BERT.index(piece) for piece in pieces), 3]


def test_captions_are_written_small_and_read_with_a_vocabulary_of_capitals(target):
    assert target.tokens(["A DOG"]).tolist() == [numbers("a", "dog")]
    # Capitals have numbers of their own, which a text in small letters never gets.
    assert target.tokenizer.tokenize("A DOG") == ["A", "D", "##O", "##G"]
    assert target.tokens(["cab", "é"]).tolist() == [numbers("c", "##a", "##b"), [2, 1, 3, 0, 0]]


def test_77_pieces_are_kept_and_the_two_ends_come_on_top(target):
    (row,) = target.tokens([" ".join(["dog"] * 90)]).tolist()
    assert row == numbers(*["dog"] * 77)


@torch.no_grad()
def test_latents_are_posterior_means_averaged_over_captions_and_not_scaled(folders, target):
    network = folders[0].encoder

    def mean(*pieces):
        states = network(input_ids=torch.tensor([numbers(*pieces)])).pooler_output
        return (states @ network.linear.weight[:LATENT].T)[0].numpy()

    found = target.encode([["a dog", "Two dog"], ["red", " "]])
    np.testing.assert_allclose(found[0], (mean("a", "dog") + mean("two", "dog")) / 2, atol=1e-5)
    np.testing.assert_allclose(found[1], mean("red"), atol=1e-5)
    assert target.shape == (LATENT,) and found.dtype == np.float32


def test_a_stimulus_without_a_caption_is_refused(target):
    with pytest.raises(InputError, match="stimulus number 1"):
        target.encode([["a dog"], [" "]])


def test_a_tokenizer_of_another_network_is_refused(folders, target, tmp_path):
    with pytest.raises(CheckpointError, match="neither tokenizer.json nor vocab.txt"):
        OptimusLatents.from_pretrained(folders[1], tokenizer=tmp_path)
    save_cased_tokenizer(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join([*BERT, "more"]))
    with pytest.raises(CheckpointError, match=rf"has {len(BERT) + 1} tokens.*has {len(BERT)}"):
        OptimusLatents.from_pretrained(folders[1], tokenizer=tmp_path)


def test_letters_of_berts_tokenizer_are_as_the_folder_says_unless_told_otherwise(folders):
    assert load_bert_tokenizer(folders[2]).tokenize("A") == ["A"]
    assert load_bert_tokenizer(folders[2], capitals=False).tokenize("A") == ["a"]


def test_a_folder_without_gpt2s_words_is_refused(folders):
    with pytest.raises(CheckpointError, match="neither tokenizer.json nor vocab.json and merges.txt"):
        load_gpt2_tokenizer(folders[2])


def test_an_outline_counts_the_operations_of_a_caption(folders):
    """Every matrix of the encoder once for each of 4 tokens, [CLS] and [SEP] among them, and attention's two products."""
    from stages.checkpoints.outlines import count_operations, outlines

    with outlines():
        outline = OptimusLatents.from_pretrained(folders[1], device="meta", tokenizer=folders[2])
    layer = 4 * 12 * 12 + 2 * 12 * 20
    attention = 2 * 4 * 4 * 12
    expected = 2 * (2 * (4 * layer + attention) + 12 * 12 + 12 * 2 * LATENT)
    assert count_operations(lambda: outline.encode([["a dog"]])) == expected

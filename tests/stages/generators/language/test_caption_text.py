"""Repetitions and spaces in what a language model wrote."""

import random

import pytest

from stages.generators.language.caption_text import tidy_spaces, without_repeated_sentences, without_repeated_words


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("a a a dog", "a dog"),
        ("a dog a", "a dog a"),
        ("on the on the grass", "on the grass"),
        ("a b. a b.", "a b."),
        ("a dog, a dog, a cat", "a dog, a cat"),
        ("a dog a dog.", "a dog."),
        # Marks are words: a word and the same word before a mark are a repetition.
        ("dog dog.", "dog."),
        ("a (red red) dog", "a (red) dog"),
        ("so red!!", "so red!"),
        ("", ""),
        ("dog", "dog"),
    ],
)
def test_words_that_stand_twice_in_a_row_stand_there_once(said, kept):
    assert without_repeated_words(said) == kept


def published(words):
    """The demonstration's algorithm on words without marks: lists of runs that grow by a word, thinned at each length."""
    runs, length = [(word,) for word in words], 1
    while len(runs) > 1:
        place = 0
        while place < len(runs) - length:
            if runs[place] == runs[place + length]:
                del runs[place + 1 : place + length + 1]
                place = 0
            else:
                place += 1
        if len(runs) > 1:
            runs = [run + (after[-1],) for run, after in zip(runs, runs[1:])]
            length += 1
    return list(runs[0]) if runs else []


def test_runs_of_any_length_vs_the_published_algorithm():
    draws = random.Random(0)
    for _ in range(300):
        words = [draws.choice("ab" if draws.random() < 0.5 else "abc") for _ in range(draws.randint(1, 12))]
        kept = without_repeated_words(" ".join(words)).split()
        assert kept == published(words), words
        assert not any(
            kept[i : i + n] == kept[i + n : i + 2 * n]
            for n in range(1, len(kept) // 2 + 1)
            for i in range(len(kept) - 2 * n + 1)
        )


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("a b. a b.", "a b."),
        ("A dog runs. It is red. a dog runs!", "A dog runs. It is red."),
        ("a dog. a cat. a dog. a cat", "a dog. a cat."),
        ("3.5 dogs run", "3.5 dogs run"),
        ("a dog", "a dog"),
        ("", ""),
    ],
)
def test_a_sentence_that_was_said_is_left_out_wherever_it_comes_again(said, kept):
    assert without_repeated_sentences(said) == kept


def test_spaces_before_marks_and_within_contractions():
    assert tidy_spaces("two dogs , which do n't run . he 's here ? yes ! they 've") == (
        "two dogs, which don't run. he's here? yes! they've"
    )
    assert tidy_spaces("the dogs ' boat") == "the dogs'boat"
    assert tidy_spaces("  a   dog ") == "a dog"

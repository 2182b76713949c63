"""Rewritten captions: by what, how often, from where they are taken again, and what the model is never told."""

import json
import shutil

import pytest
from random_gpt2 import save_gpt2

from brainrecon.assembly.refine_caption import RefineCaption, RefinementSettings
from brainrecon.assembly.values import Item, Machine
from stages.generators.language.instructed_rewriter import INSTRUCTION, InstructedRewriter
from stages.ground.errors import InputError

CAPTIONS = ["a red boat", "two dogs on the grass", "a red boat"]
ITEMS = [Item("subj01", f"nsd{row:05d}") for row in range(3)]


@pytest.fixture
def folder(tmp_path):
    save_gpt2(tmp_path / "llm")
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """What the model is told, in a list; it answers with the caption in capitals."""
    found = []

    def rewrite(self, caption, instruction, max_length):
        found.append((caption, instruction, max_length))
        return caption.upper()

    monkeypatch.setattr(InstructedRewriter, "rewrite", rewrite)
    return found


def step(folder, **settings):
    own = RefinementSettings(model=str(folder / "llm"), cache=str(folder / "cache"), **settings)
    return RefineCaption("decoded_caption", "caption", own, Machine())


def refined(one, captions=CAPTIONS):
    return one.run(ITEMS[: len(captions)], {"decoded_caption": captions})["caption"]


def test_the_model_reads_the_decoded_caption_alone_and_each_once(folder, asked):
    assert refined(step(folder)) == [caption.upper() for caption in CAPTIONS]
    assert asked == [("a red boat", INSTRUCTION, 60), ("two dogs on the grass", INSTRUCTION, 60)]
    one = step(folder)
    assert one.reads == ("decoded_caption",) and one.optional == () and not one.targets and not one.by_lot


def test_a_caption_that_was_rewritten_needs_no_model(folder, asked):
    refined(step(folder))
    shutil.rmtree(folder / "llm")
    asked.clear()
    assert refined(step(folder)) == [caption.upper() for caption in CAPTIONS] and not asked
    with pytest.raises(InputError, match=r"llm is no folder.*--set refinement.model="):
        refined(step(folder), ["a cat"])


@pytest.mark.parametrize("settings", [{"instruction": "Say it shorter."}, {"max_length": 9}])
def test_another_question_is_asked_anew(folder, asked, settings):
    refined(step(folder), CAPTIONS[:1])
    refined(step(folder, **settings), CAPTIONS[:1])
    assert len(asked) == 2 and asked[1] == (
        CAPTIONS[0],
        *{"instruction": INSTRUCTION, "max_length": 60, **settings}.values(),
    )


def test_another_model_under_the_same_name_is_asked_anew(folder, asked):
    refined(step(folder), CAPTIONS[:1])
    import random_gpt2

    # Of the same size to the byte.
    save_gpt2(folder / "llm", random_gpt2.gpt2(seed=6))
    refined(step(folder), CAPTIONS[:1])
    refined(step(folder), CAPTIONS[:1])
    assert len(asked) == 2


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"refined": 3}', "\x00"])
def test_a_damaged_file_is_as_none(folder, asked, text):
    refined(step(folder), CAPTIONS[:1])
    (path,) = (folder / "cache").iterdir()
    whole = json.loads(path.read_text())
    path.write_text(text)
    assert refined(step(folder), CAPTIONS[:1]) == ["A RED BOAT"] and len(asked) == 2
    assert json.loads(path.read_text()) == whole


def test_a_model_of_transformers_is_read_and_let_go(folder):
    one = step(folder, max_length=5)
    (found,) = refined(one, CAPTIONS[:1])
    rewriter = InstructedRewriter.from_pretrained(folder / "llm")
    assert found == rewriter.rewrite("a red boat", max_length=5) and isinstance(found, str)
    one.free()
    assert refined(one, CAPTIONS[:1]) == [found]
    assert one.told(frozenset()) == {"model": "llm", "instruction": INSTRUCTION}


def test_the_default_is_no_model_and_a_cache_of_the_users(monkeypatch, tmp_path):
    assert RefinementSettings().model == ""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert RefinementSettings().cache_folder == tmp_path / "brainrecon" / "rewritten-captions"


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"max_length": 0}, "refinement.max_length is 0"), ({"instruction": " "}, "refinement.instruction is ' '")],
)
def test_what_makes_no_sense_is_refused(settings, said):
    with pytest.raises(InputError, match=said):
        RefinementSettings(**settings)

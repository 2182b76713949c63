"""A caption behind an instruction: the prompt to the byte, words that greedy search by hand finds, and what is refused."""

import json

import pytest
import torch
from random_gpt2 import save_gpt2

from stages.generators.language.instructed_rewriter import INSTRUCTION, InstructedRewriter
from stages.ground.errors import InputError
from weights.manifest import CheckpointError

TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<answer>{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llm")
    save_gpt2(folder)
    return folder


@pytest.fixture(scope="module")
def rewriter(folder):
    return InstructedRewriter.from_pretrained(folder)


def by_hand(rewriter, text, length):
    tokens = rewriter.tokenizer(text)["input_ids"]
    n_read = len(tokens)
    for _ in range(length):
        with torch.no_grad():
            tokens.append(int(rewriter.network(torch.tensor([tokens])).logits[0, -1].argmax()))
    return rewriter.tokenizer.decode(tokens[n_read:], skip_special_tokens=True)


def test_words_are_the_most_probable_behind_instruction_and_caption(rewriter):
    found = rewriter.rewrite("a red boat", "Say it well.", max_length=6)
    expected = by_hand(rewriter, "Say it well.\n\na red boat\n\n", 6)
    lines = [line.strip().strip("\"'“”").strip() for line in expected.splitlines()]
    assert found == next(line for line in lines if line)
    assert rewriter.rewrite("a red boat", "Say it well.", max_length=6) == found


def test_a_chat_template_is_heeded(folder, tmp_path):
    save_gpt2(tmp_path)
    told = json.loads((tmp_path / "tokenizer_config.json").read_text()) | {"chat_template": TEMPLATE}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(told))
    rewriter = InstructedRewriter.from_pretrained(tmp_path)
    numbers = rewriter._prompt("a red boat", "Say it well.")
    assert rewriter.tokenizer.decode(numbers) == "<user>Say it well.\n\na red boat<answer>"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ('\n\n  "a boat on the sea" \nIt is red.', "a boat on the sea"),
        (" a boat", "a boat"),
        (" \n ''\n", "a red boat"),
    ],
)
def test_the_first_line_with_words_is_the_caption(rewriter, monkeypatch, said, kept):
    monkeypatch.setattr(type(rewriter.tokenizer), "decode", lambda self, *told, **how: said)
    assert rewriter.rewrite("a red boat", "Say it well.", max_length=2) == kept


def test_what_is_refused(rewriter, tmp_path):
    with pytest.raises(InputError, match="max_length is 0"):
        rewriter.rewrite("a boat", max_length=0)
    with pytest.raises(InputError, match=r"tokens and up to 60 are written, but the language model has 320 places"):
        rewriter.rewrite("a boat " * 300)
    with pytest.raises(InputError, match=r"nowhere is no folder"):
        InstructedRewriter.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="empty holds no AutoModelForCausalLM"):
        InstructedRewriter.from_pretrained(tmp_path / "empty")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_a_folder_is_not_run(tmp_path, name):
    save_gpt2(tmp_path)
    told = json.loads((tmp_path / name).read_text()) | {"auto_map": {"AutoModelForCausalLM": "own.Model"}}
    (tmp_path / name).write_text(json.dumps(told))
    with pytest.raises(InputError, match=rf"{name} names code of the folder's own"):
        InstructedRewriter.from_pretrained(tmp_path)


def test_the_instruction_says_that_nothing_is_to_be_added():
    assert "add nothing" in INSTRUCTION

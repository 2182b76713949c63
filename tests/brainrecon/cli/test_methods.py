"""The list of methods, and one of them with its settings."""

import pytest

from brainrecon.assembly.registry import system_names
from brainrecon.cli.main import run_command


def said(capsys, *words):
    assert run_command(["methods", *words]) == 0
    return capsys.readouterr().out


def test_every_method_is_listed_with_what_it_predicts_and_cites(capsys):
    lines = said(capsys).splitlines()
    assert [line.split()[0] for line in lines[1:]] == system_names()
    rows = {line.split()[0]: line for line in lines}
    assert "vdvae, clip_image, clip_text" in rows["brain-diffuser"] and "Ozcelik 2023" in rows["brain-diffuser"]
    assert "caption" in rows["nearest-training-caption"] and "the names of its targets" in rows["assembled"]


def test_one_method_tells_its_steps_needs_controls_and_settings(capsys):
    text = said(capsys, "brain-diffuser")
    assert "Decode: patterns -> vdvae, clip_image, clip_text" in text and "Show: vdvae -> first_picture" in text
    assert "first_picture (optional)" in text and "versatile-diffusion" in text and "10.1038" not in text
    assert "generator.strength = 0.75" in text and "text_context = true" in text
    assert "without_text_context" in text and "Scientific Reports" in text
    tiny = said(capsys, "brain-diffuser", "--weights", "tiny")
    assert "checkpoints.generator = 'tiny-generator'" in tiny
    assert "no published system" in said(capsys, "mean-image")
    assert "Released:" not in text
    assert "Released:    decoders of subj01, subj02" in said(capsys, "mindeye2023")


def test_a_setting_that_is_listed_can_be_typed(capsys):
    from brainrecon.runs.config import RunConfig

    for line in said(capsys, "brain-diffuser").splitlines():
        name, equals, value = line.strip().partition(" = ")
        if equals and " " not in name and name == "decoder.penalty":
            base = {"method": "brain-diffuser", "data": {"source": "nsd:x"}}
            config = RunConfig.from_dict(base | {"settings": {"decoder": {"penalty": value.strip("'")}}})
            assert config.settings.decoder.penalty == "group"
            return
    pytest.fail("decoder.penalty is not listed")


def test_a_broken_method_hides_no_other(capsys, monkeypatch):
    from brainrecon.assembly import registry
    from brainrecon.assembly.system import System

    class Broken(System):
        name, explanation = "broken", "nothing"

        def steps(self, machine):
            return []

    monkeypatch.setitem(registry._REGISTERED, "broken", Broken)
    text = said(capsys)
    assert "cannot be used: broken: its output is 'picture', which no step gives" in text and "brain-diffuser" in text


def test_an_unknown_method_is_told(capsys):
    assert run_command(["methods", "brain-difuser"]) == 2
    assert "did you mean 'brain-diffuser'" in capsys.readouterr().err

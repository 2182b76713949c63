"""A run that takes the decoder of another: the same decoder, drawn otherwise; and what has to agree."""

import json
import shutil
from pathlib import Path

import pytest

from brainrecon.cli.main import run_command
from brainrecon.runs.config import RunConfig
from brainrecon.runs.decoder_from import is_path, named, taken_parts
from brainrecon.runs.run import Run
from stages.ground.errors import InputError
from weights import store

METHOD, TINY = "brain-diffuser", ("--weights", "tiny")
FEW_STEPS = ("--set", "generator.num_inference_steps=4")


@pytest.fixture
def line(cohort, features):
    return ["fit", METHOD, *TINY, f"nsd:{cohort}", "--features", str(features)]


def refused(capsys, arguments):
    capsys.readouterr()
    assert run_command([str(one) for one in arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said, said
    return said


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_other_settings_of_drawing_may_differ(line, fitted, tmp_path, capsys):
    folder = tmp_path / "run"
    more = ["--set", "generator.strength=0.5", "--set", "generator.num_inference_steps=6", "--decoder", str(fitted)]
    assert run_command([*line, *more, "--out", str(folder)]) == 0
    assert f"Decoder: taken from {fitted}, not fitted here." in capsys.readouterr().out
    assert Run(folder).config.decoder_from == (str(fitted),)
    own, other = (contents(each / "decoder") for each in (folder, fitted))
    # What the whole was fitted with, of which drawing is a part, and the hash of that.
    described = {Path("method.json"), Path(".sealed.json")}
    assert own.keys() == other.keys()
    assert all(own[path] == other[path] for path in own.keys() - described)
    assert json.loads(own[Path("method.json")])["settings"]["generator"]["strength"] == 0.5
    for name, values in Run(folder).embeddings.items():
        assert (values == Run(fitted).embeddings[name]).all()
    # The folder is whole in itself.
    assert run_command([*line, *more, "--out", str(folder)]) == 0
    assert Run(folder).damage() is None


def test_a_plan_says_that_it_is_taken(line, fitted, tmp_path, capsys):
    assert run_command([*line, *FEW_STEPS, "--decoder", str(fitted), "--out", str(tmp_path / "run"), "--plan"]) == 0
    said = capsys.readouterr().out
    assert f"from {fitted}, nothing is fitted" in said and "encoding" not in said and "MB" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "more, words",
    [
        (["--set", "decoder.alpha=5"], "was fitted with settings.decoder.alpha = "),
        (
            ["--set", "checkpoints.clip=tiny-vdvae"],
            "was fitted with settings.checkpoints.clip = 'tiny-clip', but 'tiny-vdvae'",
        ),
        (["--roi", "V1"], "was fitted with data.roi = 'nsdgeneral', but 'V1' is asked for"),
        (["--option", "zscore=true"], "was fitted with data.options.zscore = None, but True"),
        (["--option", "sessions=1-2"], "was fitted with data.options.sessions = None"),
        (["--folds", "3"], "--folds 3 fits a decoder to each fold"),
        (["--split", "ids:IDS"], "was fitted with data.split = None"),
        (["--decoder", "released"], "No decoder of brain-diffuser is released for subj01; its authors released none"),
    ],
)
def test_what_was_learned_has_to_agree(line, fitted, cohort, tmp_path, capsys, more, words):
    import brainrecon

    names = brainrecon.load(f"nsd:{cohort}", subject="subj01").test.stimulus_ids[:5]
    (tmp_path / "ids.txt").write_text("\n".join(map(str, names)))
    more = [part.replace("IDS", str(tmp_path / "ids.txt")) for part in more]
    assert words in refused(capsys, [*line, *FEW_STEPS, "--decoder", fitted, *more, "--out", tmp_path / "run"])
    assert [path.name for path in tmp_path.iterdir()] == ["ids.txt"]


def test_other_folders_are_refused(line, run_folder, cohort, tmp_path, capsys, features):
    out = ["--out", tmp_path / "new"]
    assert "is no run folder: config.toml is missing" in refused(
        capsys, [*line, "--decoder", tmp_path / "a" / "b", *out]
    )
    assert "There is no decoder 'nothing'" in refused(capsys, [*line, "--decoder", "nothing", *out])
    message = refused(capsys, ["fit", "mean-image", f"nsd:{cohort}", "--decoder", run_folder, *out])
    assert f"is a run of {METHOD}, whose decoder mean-image cannot take; name a run of mean-image" in message
    twice = refused(capsys, [*line, *FEW_STEPS, "--decoder", run_folder, "--decoder", tmp_path, *out])
    assert "do not go together; name one" in twice
    model = next((run_folder / "decoder").rglob("model.safetensors"))
    whole = model.read_bytes()
    model.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    message = refused(capsys, [*line, *FEW_STEPS, "--decoder", run_folder, *out])
    assert "model.safetensors is not what was written; fit that run again" in message
    shutil.rmtree(run_folder / "decoder")
    message = refused(capsys, [*line, *FEW_STEPS, "--decoder", run_folder, *out])
    assert f"{run_folder} is not fitted yet; type `brainrecon fit --config" in message
    assert not (tmp_path / "new").exists()


def test_other_responses_are_refused(line, run_folder, tmp_path, capsys):
    path = run_folder / "environment.json"
    known = json.loads(path.read_text())
    for name in ("data", "responses"):
        path.write_text(json.dumps(known | {name: "0" * 64}))
        message = refused(capsys, [*line, *FEW_STEPS, "--decoder", run_folder, "--out", tmp_path / "new"])
        assert "was fitted on other stimuli or responses than are at nsd:" in message
    assert not (tmp_path / "new").exists()


def test_a_fitted_run_needs_its_source_no_more(line, run_folder, tmp_path, capsys, features):
    folder = tmp_path / "new"
    more = [*FEW_STEPS, "--decoder", str(run_folder), "--out", str(folder)]
    assert run_command([*line, *more]) == 0
    shutil.rmtree(run_folder)
    assert run_command([*line, *more]) == 0
    assert run_command(["predict", str(folder), "--out", str(tmp_path / "a.safetensors")]) == 0
    shutil.rmtree(folder / "decoder")
    assert "is no run folder: config.toml is missing" in refused(capsys, [*line, *more])


# The configuration


def test_a_configuration_says_it_and_is_read_again(tmp_path):
    plain = {"method": METHOD, "data": {"source": "nsd:x"}}
    config = RunConfig.from_dict(plain | {"decoder_from": ["a", "/b/run"]})
    config.write(tmp_path / "config.toml")
    assert RunConfig.read(tmp_path / "config.toml") == config and config.checkpoints_taken == ("a",)
    assert (
        "decoder_from" not in RunConfig.from_dict(plain).to_dict() and RunConfig.from_dict(plain).about_decoder() == []
    )
    with pytest.raises(InputError, match="decoder_from"):
        RunConfig.from_dict(plain | {"decoder_from": "released"})


def test_a_row_of_a_benchmark_may_start_from_released_decoders():
    from brainrecon.studies.plan import Plan

    rows = {"theirs": {"method": "mindeye2023", "decoder_from": ["released"]}, "ours": {"method": "mindeye2023"}}
    plan = Plan("nsd:/data", rows, ("subj01",))
    assert plan.config("theirs", "subj01", None).decoder_from == ("released",)
    assert plan.config("ours", "subj01", None).decoder_from == ()


def test_what_words_stand_for(fitted):
    config = Run(fitted).config
    assert named((), config.system, "subj01") == ()
    assert named([str(fitted), str(fitted / "decoder")], config.system, "subj01") == (str(fitted.resolve()),)
    assert is_path(str(fitted)) and not is_path("mindeye2023-subj01-tokens")
    taken = taken_parts(
        RunConfig(METHOD, config.data, config.settings, decoder_from=(str(fitted),)), Run(fitted).unfitted
    )
    assert taken == {"": str(fitted)}


def test_released_ones_are_found_by_method_and_subject():
    from brainrecon.assembly.registry import system_class

    known = [entry for entry in store.checkpoints().values() if entry.parts and entry.subject]
    for (method,), subject in {(entry.needed_by, entry.subject) for entry in known}:
        own = [entry for entry in known if entry.needed_by == (method,) and entry.subject == subject]
        parts = [part for entry in own for part in entry.parts]
        if len(set(parts)) == len(parts):
            names = named(["released"], system_class(method)(), subject)
            assert set(names) == {entry.name for entry in own}
        else:
            # Of some there are several, learned from more or fewer sessions: people say which.
            with pytest.raises(InputError, match=f"{own[0].name}, {own[1].name} are released; name one with --decoder"):
                named(["released"], system_class(method)(), subject)
            assert named([own[0].name], system_class(method)(), subject) == (own[0].name,)
        with pytest.raises(
            InputError, match=f"No decoder of {method} is released for subj99; there are some for subj01"
        ):
            named(["released"], system_class(method)(), "subj99")

"""A name that there is not is answered with the nearest one, wherever a name of a known set is refused."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from brainrecon.cli.main import run_command
from stages.ground.errors import InputError
from weights.manifest import CheckpointError
from weights.suggestions import did_you_mean

ROOT = Path(__file__).parents[2]
SOURCES = [path for top in ("brainrecon", "stages", "weights") for path in sorted((ROOT / top).rglob("*.py"))]

# What lists all names of a set: behind it stands the nearest.
LISTS_NAMES = re.compile(
    r"(?:expected|choose|pass) (?:one|some) of \{|known are \{|There (?:is|are) no [^.;{]*\{[^}]*!r\}; there are \{"
)

# They list names, and no single name was given.
NOBODY_NAMED_ONE = {
    "brainrecon/datasets/kamitani/deep_image_reconstruction.py",  # keys of a file that lacks all of them
    "brainrecon/evaluation/scores/published.py",  # a file of the project's own
    "brainrecon/runs/array_files.py",  # endings of file names
    "stages/checkpoints/mapped_tensors.py",  # types in a file's header
    "stages/generators/diffusion/schedulers.py",  # what a folder was written by
    "stages/networks/vdvae_presets.py",  # the content of a file
}


def refusals(path):
    """(line, source) of every error that a file makes whose sentence lists the names that there are."""
    text = path.read_text()
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("InputError", "CheckpointError"):
            sentence = re.sub(r'"\s*\n\s*f?"', "", ast.get_source_segment(text, node))
            if LISTS_NAMES.search(sentence):
                around = [f for f in functions if f.lineno <= node.lineno <= f.end_lineno]
                yield node.lineno, ast.get_source_segment(text, around[-1]) if around else sentence


def test_every_refusal_that_lists_names_suggests_one():
    found = [(path.relative_to(ROOT).as_posix(), *refusal) for path in SOURCES for refusal in refusals(path)]
    assert len(found) > 25
    silent = [
        f"{name}:{line}" for name, line, code in found if "did_you_mean" not in code and name not in NOBODY_NAMED_ONE
    ]
    assert not silent


RUN, DIFFUSER = ["run", "noise", "DATA"], ["run", "brain-diffuser", "DATA"]
BENCH, TO = ["benchmark", "DATA", "--methods", "noise"], ["--out", "OUT"]
LINES = {
    "verb": (["reconstrct", "RUN"], "reconstruct"),
    "method of run": (["run", "brain-difuser", "DATA", *TO], "brain-diffuser"),
    "method of fit": (["fit", "Ridge-To-Pixel", "DATA", *TO], "ridge-to-pixels"),
    "method of methods": (["methods", "mean-imag"], "mean-image"),
    "method of benchmark": ([*BENCH[:3], "nearest-trainig-picture", *TO], "nearest-training-picture"),
    "kind of data": (["data", "info", "aray:DIR"], "arrays"),
    "kind of data in capitals": (["data", "info", "NSD:DIR"], "nsd"),
    "kind of files": (["data", "files", "miyawak"], "miyawaki"),
    "subject of benchmark": ([*BENCH, "--subjects", "subjct", *TO], "subj01"),
    "region": (["data", "info", "DATA", "--roi", "ventrl"], "ventral"),
    "region in capitals": ([*RUN, "--roi", "VENTRAL + v1", *TO], "ventral"),
    "region of benchmark": ([*BENCH, "--rois", "V1,ventrall", *TO], "ventral"),
    "protocol": ([*RUN, "--protocol", "brainrecon1", *TO], "brainrecon-1"),
    "protocol of benchmark": ([*BENCH, "--protocols", "mind-eye-2023", *TO], "mindeye-2023"),
    "control": ([*RUN, "--controls", "shufled_responses", *TO], "shuffled_responses"),
    "control of benchmark": ([*BENCH, "--controls", "mean_respons", *TO], "mean_response"),
    "checkpoint to pull": (["weights", "pull", "vdvae-imagnet64"], "vdvae-imagenet64"),
    "checkpoint to find": (["weights", "path", "tiny_clip"], "tiny-clip"),
    "checkpoints of a method": (["weights", "list", "--for", "brain_diffuser"], "brain-diffuser"),
    "setting": ([*DIFFUSER, "--set", "decoder.alhpa=3", *TO], "decoder.alpha"),
    "value of a setting": ([*DIFFUSER, "--set", "decoder.voxels=noise_ceilin", *TO], "noise_ceiling"),
    "scheduler": ([*DIFFUSER, "--set", "generator.scheduler=ddmi", *TO], "ddim"),
    "weights": ([*DIFFUSER, "--weights", "publishd", *TO], "published"),
    "option of the data": (["data", "info", "nsd:DIR", "--option", "beta=b2"], "betas"),
    "study": (["simulate", "OUT", "--study", "miyawki"], "miyawaki"),
    "kinds of pictures": (["simulate", "OUT", "--kinds", "scene,digits"], "digit"),
    "preset": (["benchmark", "miyawaki:DIR", "--preset", "miyawaki-stdy", *TO], "miyawaki-study"),
    "target": (["features", "DATA", "--targets", "clip_imag", "--weights", "tiny", "--store", "OUT"], "clip_image"),
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Arrays of one's own with two regions, as kind:path."""
    path = tmp_path_factory.mktemp("study") / "mine.npz"
    arrays = {
        "betas": np.random.default_rng(0).normal(size=(12, 8)),
        "stimulus_ids": np.array([f"s{k}" for k in range(12)]),
    }
    pictures = np.random.default_rng(1).integers(0, 256, (12, 8, 8, 3), np.uint8)
    arrays |= {"images": pictures, "image_ids": arrays["stimulus_ids"]}
    split, half = np.array(["train"] * 8 + ["test"] * 4), np.arange(8) < 4
    np.savez(path, **arrays, split=split, roi_V1=half, roi_ventral=~half)
    return f"arrays:{path}"


@pytest.mark.parametrize("place", LINES)
def test_the_command_line_suggests_the_nearest(place, study, tmp_path, capsys):
    line, meant = LINES[place]
    places = {"DATA": study, "OUT": str(tmp_path / "out"), "RUN": str(tmp_path)}
    assert run_command([places.get(part, part.replace("DIR", str(tmp_path))) for part in line]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert re.search(rf"[Dd]id you mean '{re.escape(meant)}'", message), message
    assert not (tmp_path / "out").exists()


def test_nothing_is_suggested_for_what_resembles_nothing():
    assert did_you_mean("telepathy", ["nsd", "god"]) == "" and did_you_mean("nsd", []) == ""
    assert did_you_mean(None, ["nsd"]) == "" and did_you_mean(True, (True, False)) == " (did you mean 'True'?)"


def test_functions_suggest_the_nearest():
    from brainrecon.assembly.condition import condition
    from brainrecon.evaluation.metrics.metric import find_metric
    from brainrecon.evaluation.protocols.protocol import Protocol, load_protocol
    from brainrecon.evaluation.tasks.task import find_task
    from weights import store

    def protocol(**changed):
        content = load_protocol("brainrecon-1").content
        metrics = [dict(content["metrics"][4], **changed), *content["metrics"][:2]]
        return Protocol(content | {"metrics": metrics, "headline": metrics[0]["name"]})

    refused = {
        "pixel_correlation": lambda: find_metric("pixel_corelation"),
        "two_way_identification": lambda: protocol(measure="two_way_identificaton"),
        "pearson": lambda: protocol(similarity="person"),
        "stage_one": lambda: condition("stage-one"),
        "retrieval": lambda: find_task("retreival"),
        "tiny-clip": lambda: store.fingerprint("tiny-clp"),
    }
    for meant, call in refused.items():
        with pytest.raises((InputError, CheckpointError), match=re.escape(f"did you mean '{meant}'?")):
            call()

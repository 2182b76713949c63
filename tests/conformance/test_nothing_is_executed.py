"""Nothing that is read is executed: what can run code is called nowhere, or in the way that cannot."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("brainrecon", "stages", "weights")
# Programs that are started, and never one that data name: Stanford's tokeniser and METEOR for captions, and a reader of one's own
# that may crash in place of the command.
STARTS_PROGRAMS = {
    "brainrecon/evaluation/metrics/caption_words.py",
    "brainrecon/evaluation/metrics/coco_evaluation.py",
    "stages/ground/reading/trial.py",
}


def called(node):
    """The name of what a call calls, such as "torch.load"."""
    parts, one = [], node.func
    while isinstance(one, ast.Attribute):
        parts.append(one.attr)
        one = one.value
    return ".".join([one.id if isinstance(one, ast.Name) else "?", *reversed(parts)])


def given(node, name):
    """The constant that a call has for a keyword."""
    return next((getattr(one.value, "value", ...) for one in node.keywords if one.arg == name), None)


def trouble_with(node, place):
    """What is wrong with one node of a syntax tree, nothing if it is fine."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
        roots = {name.split(".")[0] for name in names}
        banned = roots & {"yaml", "marshal", "shelve", "dill", "cloudpickle", "runpy"}
        if "subprocess" in roots and place not in STARTS_PROGRAMS:
            banned.add("subprocess")
        return f"imports {', '.join(banned)}" if banned else ""
    if not isinstance(node, ast.Call):
        return ""
    name, last = called(node), called(node).split(".")[-1]
    if name in ("eval", "exec", "compile", "__import__") or name in ("os.system", "os.popen", "torch.jit.load"):
        return f"calls {name}"
    if name in (
        "joblib.load",
        "pickle.load",
        "pickle.loads",
        "pickle.Unpickler",
        "torch.hub.load",
        "pandas.read_pickle",
        "pd.read_pickle",
    ):
        return f"calls {name}"
    if name == "torch.load" and given(node, "weights_only") is not True:
        return "calls torch.load without weights_only=True"
    if given(node, "allow_pickle") not in (None, False):
        return "allows a pickle"
    if any(one.arg == "trust_remote_code" for one in node.keywords):
        return "speaks of trust_remote_code"
    if given(node, "shell") is True:
        return "starts a shell"
    if given(node, "verify") is False or last == "_create_unverified_context":
        return "does not look at a certificate"
    return ""


def troubles(text, place=""):
    return [found for node in ast.walk(ast.parse(text)) if (found := trouble_with(node, place))]


def test_no_file_calls_what_could_run_what_it_reads():
    found = []
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            found += [f"{place} {one}" for one in troubles(path.read_text(encoding="utf-8"), place)]
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        *("import yaml", "joblib.load(path)", "import subprocess", "eval(text)", "pickle.loads(content)"),
        *("torch.load(path)", "torch.load(path, weights_only=False)", "np.load(path, allow_pickle=True)"),
        *("AutoModel.from_pretrained(a, trust_remote_code=True)", "ssl._create_unverified_context()"),
        *("torch.jit.load(path)", "torch.load(path, weights_only=safe)"),
    ],
)
def test_what_could_is_found(text):
    assert troubles(text)


@pytest.mark.parametrize(
    "text", ["torch.load(path, weights_only=True)", "network.eval()", "np.load(a, allow_pickle=False)"]
)
def test_what_could_not_is_not(text):
    assert not troubles(text)


def test_every_address_is_secured():
    addresses = {
        (path.relative_to(ROOT).as_posix(), node.value)
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("http://")
    }
    assert not addresses
    assert "http://" not in (ROOT / "weights" / "manifest.toml").read_text(encoding="utf-8")

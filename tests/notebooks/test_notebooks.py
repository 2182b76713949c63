"""The notebooks run from top to bottom, the first one loads no generator, and what is stored is what they give, small."""

import ast
import base64
import importlib
import io
import re
from pathlib import Path

import nbformat
import pytest
from PIL import Image

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))

# What a method's settings say of a generator: plain dataclasses and arithmetic.
SETTINGS_OF_GENERATORS = {
    "stages.generators",
    "stages.generators.diffusion",
    "stages.generators.diffusion.acceleration",
    "stages.generators.diffusion.memory",
}
LOADED = "import sys; print(*(name for name in sys.modules if name.startswith(('stages.generators', 'diffusers'))))"

# Most of the time of the first and the third goes into a larger cohort and into more steps than it takes to run every cell;
# the smaller ones show the same kinds of outputs. As they are stored they run with --slow, and whenever they are stored.
SMALLER = {
    "01_embeddings.ipynb": {"sessions=4, shared=60": "sessions=2, trials_per_session=120, shared=12, voxels=300"},
    "03_your_data.ipynb": {
        '"brain-diffuser", "data"': '"brain-diffuser", "settings": {"generator": {"num_inference_steps": 4}}, "data"'
    },
}

LARGEST = 300_000
KERNEL = {"name": "python3", "display_name": "Python 3"}

# A folder of somebody's machine, a clock, a warning, an error, a bar.
OF_A_MACHINE = (
    r"/(home|Users|root|tmp|work|mnt|var|opt|usr)/|[A-Z]:\\|site-packages|\.venv|\bpid\b"
    r"|\d ?(ms|µs|s|min)\b(?! (of|each))|seconds?\b|\b20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d"
    r"|[Ww]arning|Traceback|\x1b|\r|it/s|\d+ ?%\|"
)


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")
    return importlib.import_module("store_notebooks")


def read(name):
    return nbformat.read(NOTEBOOKS / name, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds_of(cell):
    """What a cell has shown, in order: kinds of outputs, not their content, which differs with the processor."""
    return [output.get("name") or sorted(output.data)[0] for output in cell.outputs]


def made_smaller(notebook, changes):
    """Change the code of a notebook; each text that is replaced stands in it once."""
    for old, new in changes.items():
        (cell,) = [cell for cell in code_cells(notebook) if old in cell.source]
        assert cell.source.count(old) == 1
        cell.source = cell.source.replace(old, new)


@pytest.mark.parametrize(
    "name, changes",
    [
        (NAMES[0], SMALLER.get(NAMES[0], {})),
        *(pytest.param(name, SMALLER.get(name, {}), marks=pytest.mark.slow) for name in NAMES[1:]),
        *(pytest.param(name, {}, marks=pytest.mark.slow) for name in SMALLER),
    ],
    ids=[*NAMES, *(f"{name} as it is stored" for name in SMALLER)],
)
def test_notebook_runs_and_shows_what_is_stored(name, changes, tmp_path, monkeypatch, script):
    monkeypatch.setenv("BRAINRECON_NOTEBOOK_FOLDER", str(tmp_path))
    for variable in ("TQDM_DISABLE", "PYTHONWARNINGS"):  # the script sets them for what it starts
        monkeypatch.setenv(variable, "")
    notebook = read(name)
    stored = [kinds_of(cell) for cell in code_cells(notebook)]
    made_smaller(notebook, changes)
    if name == "01_embeddings.ipynb":
        notebook.cells.append(nbformat.v4.new_code_cell(LOADED))
    script.run(notebook, tmp_path)
    script.tidy(notebook, tmp_path)
    cells = code_cells(notebook)
    if name == "01_embeddings.ipynb":
        assert set(cells.pop().outputs[0].text.split()) <= SETTINGS_OF_GENERATORS
    assert [kinds_of(cell) for cell in cells] == stored


def test_from_arrays_to_a_picture_in_25_lines():
    cells = [cell.source for cell in code_cells(read("02_patterns.ipynb"))]
    until = next(place for place, source in enumerate(cells) if "imshow" in source)
    lines = [line for source in cells[: until + 1] for line in source.splitlines() if line.strip()]
    assert any(".fit(" in line for line in lines) and len(lines) <= 25


def shows_something(source):
    """Whether a cell prints, draws, or ends in a value."""
    last = ast.parse(source).body[-1]
    is_value = isinstance(last, ast.Expr) and not source.rstrip().endswith(";") and not isinstance(last.value, ast.Call)
    return is_value or "print(" in source or "subplots(" in source or "brainrecon.evaluate(" in source


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_is_stored_with_what_it_shows(name, script):
    notebook = read(name)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(bool(cell.outputs) == shows_something(cell.source) for cell in cells)
    for cell in cells:
        drawn = kinds_of(cell).count("image/png")
        assert drawn == cell.source.count("plt.subplots("), cell.id
        assert ("stdout" in kinds_of(cell)) == ("print(" in cell.source), cell.id
    # Whoever changes a cell runs scripts/store_notebooks.py again.
    assert notebook.metadata["outputs_of"] == script.source_digest(notebook)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stored_is_small_and_of_no_machine(name):
    path, notebook = NOTEBOOKS / name, read(name)
    assert path.stat().st_size < LARGEST
    assert set(notebook.metadata) == {"kernelspec", "language_info", "outputs_of"}
    assert notebook.metadata.language_info == {"name": "python"}
    for cell in code_cells(notebook):
        assert not cell.metadata
        for output in cell.outputs:
            assert output.output_type in ("stream", "display_data", "execute_result")
            if output.output_type == "stream":
                assert output.name == "stdout"
                texts = [output.text]
            else:
                assert set(output.data) <= {"image/png", "text/html", "text/plain"} and len(output.data) == 1
                texts = [text for kind, text in output.data.items() if kind.startswith("text")]
                if "image/png" in output.data:
                    picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
                    assert picture.format == "PNG" and picture.width <= 1200 and not picture.info.get("Software")
            for text in texts:
                found = re.search(OF_A_MACHINE, text)
                assert not found, (cell.id, found)


def test_a_path_a_warning_and_the_pieces_of_a_text_are_not_stored(script, tmp_path):
    new = nbformat.v4
    place = str(tmp_path.resolve())
    outputs = [new.new_output("stream", name="stdout", text=text) for text in (f"in {place}", "/cohort\n")]
    notebook = new.new_notebook(cells=[new.new_code_cell("print()", outputs=outputs)], metadata={"kernelspec": KERNEL})
    script.tidy(notebook, tmp_path)
    assert [output.text for output in notebook.cells[0].outputs] == ["in cohort\n"]
    notebook.cells[0].outputs.append(new.new_output("stream", name="stderr", text="UserWarning"))
    with pytest.raises(SystemExit, match="UserWarning"):
        script.tidy(notebook, tmp_path)

"""The notebooks run from top to bottom, and the first one loads no generator."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

# What a method's settings say of a generator: plain dataclasses and arithmetic.
SETTINGS_OF_GENERATORS = {
    "stages.generators",
    "stages.generators.diffusion",
    "stages.generators.diffusion.acceleration",
    "stages.generators.diffusion.memory",
}
LOADED = "import sys; print(*(name for name in sys.modules if name.startswith(('stages.generators', 'diffusers'))))"


@pytest.mark.parametrize("name", sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")))
def test_notebook_runs(name, tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINRECON_NOTEBOOK_FOLDER", str(tmp_path))
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    if name == "01_embeddings.ipynb":
        notebook.cells.append(nbformat.v4.new_code_cell(LOADED))
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    if name == "01_embeddings.ipynb":
        assert set(notebook.cells[-1].outputs[0].text.split()) <= SETTINGS_OF_GENERATORS


def test_from_arrays_to_a_picture_in_25_lines():
    notebook = nbformat.read(NOTEBOOKS / "02_miyawaki.ipynb", as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    until = next(place for place, source in enumerate(cells) if "imshow" in source)
    lines = [line for source in cells[: until + 1] for line in source.splitlines() if line.strip()]
    assert any(".fit(" in line for line in lines) and len(lines) <= 25


@pytest.mark.parametrize("name", sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")))
def test_notebook_is_stored_without_outputs(name):
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)

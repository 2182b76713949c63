"""Run the notebooks and store them with what they print and draw: small, and with nothing of this machine.

python scripts/store_notebooks.py                              all of them, some minutes
python scripts/store_notebooks.py notebooks/02_patterns.ipynb
"""

import argparse
import base64
import hashlib
import io
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"

KINDS = ("image/png", "text/html", "text/plain")
"""Of each output the first of these that it has is stored."""

COLOURS = 256
"""So many are told apart in a stored picture; with 64, skies have bands."""


def main(arguments=None):
    """Run and store all notebooks, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="all of the project by default")
    for path in parser.parse_args(arguments).notebooks or sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            run(notebook, folder)
            tidy(notebook, folder)
        nbformat.write(notebook, path)
        print(f"{path}: {path.stat().st_size / 1000:,.0f} kB")


def run(notebook, folder):
    """Run a notebook from top to bottom, its outputs into its cells.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
    folder : path
        Where it runs, and where what it writes goes.
    """
    # Bars of progress would be stored as they stood when they were last drawn; without ipywidgets tqdm warns of them.
    os.environ |= {"TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore:IProgress not found"}
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=place, record_timing=False).execute()


def tidy(notebook, folder):
    """Leave in the outputs of a notebook that was run what says the same on every machine, and make its pictures small.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
    folder : path
        Where it ran: what lies there is named as it is seen from there.

    Raises
    ------
    SystemExit
        A cell warned, or wrote anything else that is no result: mend it, nobody should read that.
    """
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata, outputs = {}, []
        for output in cell.outputs:
            if output.output_type != "stream":
                kind = next(kind for kind in KINDS if kind in output.data)
                output.data = {kind: smaller(output.data[kind]) if kind == "image/png" else output.data[kind]}
                output.metadata = {}
                outputs.append(output)
            elif output.name != "stdout":
                sys.exit(f"A cell wrote to standard error:\n{output.text}\nMend it: what is stored is read by users.")
            elif outputs and outputs[-1].output_type == "stream":
                # In how many pieces a text arrives is chance.
                outputs[-1].text += output.text
            else:
                outputs.append(output)
        for output in outputs:
            if output.output_type == "stream":
                output.text = seen_from(folder, output.text)
        cell.outputs = outputs
    notebook.metadata = {
        "kernelspec": notebook.metadata["kernelspec"],
        "language_info": {"name": "python"},
        "outputs_of": source_digest(notebook),
    }


def seen_from(folder, text):
    """Text in which no path leads through a folder of this machine.

    >>> seen_from("/home/me/work", "Simulated /home/me/work/cohort")
    'Simulated cohort'
    """
    for place in (str(Path(folder).resolve()), str(folder)):
        text = text.replace(f"{place}{os.sep}", "").replace(place, ".")
    return text


def smaller(picture):
    """A PNG picture in few colours, as base64 text."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    stream = io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def source_digest(notebook):
    """Digest of the code of a notebook, which tells whether its outputs are those of its cells: 64 hex characters."""
    code = "\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()


if __name__ == "__main__":
    main()

"""Sources of the documentation: every system and dataset has its page, tables are fresh, and what is dead or empty is found."""

import doctest
import importlib
import re
from pathlib import Path

import pytest
from documentation import links, staging
from documentation.datasets_table import dataset_page
from documentation.generated import pages
from documentation.markdown import table
from documentation.published_scores import published_scores
from documentation.readme import with_tables
from documentation.settings_table import settings_of
from documentation.system_page import system_page
from documentation.systems_table import authors, own_systems

from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import from_dict, to_dict
from brainrecon.datasets.dataset import MODULES
from brainrecon.evaluation.protocols.protocol import available
from brainrecon.evaluation.scores.published import published_values

ROOT = Path(__file__).parents[2]
SYSTEMS = pytest.mark.parametrize("name", own_systems())
DATASETS = pytest.mark.parametrize("kind", MODULES)


def written(folder, name):
    return (ROOT / "docs" / folder / f"{name}.md").read_text(encoding="utf-8")


def test_the_tables_of_the_readme_are_fresh():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_tables(text) == text, "run `python scripts/readme_tables.py`"
    assert all(f"docs/systems/{name}.md" in text for name in own_systems())
    # A row that is taken out comes back.
    stale = text.replace(next(line for line in text.splitlines() if "docs/systems/noise.md" in line), "")
    assert with_tables(stale) == text


def test_a_readme_without_the_place_of_a_table_is_told():
    with pytest.raises(SystemExit, match="no <!-- systems -->"):
        with_tables("# brainrecon\n")


@SYSTEMS
def test_a_system_says_what_is_known_of_its_fidelity(name):
    evidence = system_class(name).evidence
    assert evidence.fidelity and evidence.tested_on
    rows = [row.method for protocol in available() for row in published_values(protocol)]
    assert all(any(row.startswith(beginning) for row in rows) for beginning in evidence.published)
    if not system_class(name).citation:
        assert evidence.fidelity.startswith("no published system")


@SYSTEMS
def test_a_systems_page_says_what_was_shown_and_what_is_not_known(name):
    text = written("systems", name)
    assert text.startswith(f"# {name}: ")
    for heading in ("What was shown", "What is not known"):
        section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, flags=re.M | re.S)
        assert section and len(section[1].strip()) > 80


@SYSTEMS
def test_a_systems_page_has_every_setting_with_its_default_and_meaning(name):
    system, page = system_class(name)(), system_page(name, written("systems", name))
    settings = settings_of(system)
    for setting in settings:
        assert setting.meaning or setting.name.startswith("checkpoints."), f"{setting.name} has no description"
        assert f"| `{setting.name}` |" in page
    # Names and defaults, put together again, are the settings.
    nested = {}
    for setting in settings:
        *places, last = setting.name.split(".")
        inner = nested
        for place in places:
            inner = inner.setdefault(place, {})
        if setting.default is not None:
            inner[last] = list(setting.default) if isinstance(setting.default, tuple) else setting.default
    assert to_dict(from_dict(system.settings_class, nested)) == to_dict(system.settings)


def test_published_scores_stand_on_the_page_of_their_system_alone():
    page = system_page("mindeye2023", written("systems", "mindeye2023"))
    assert "| MindEye, subj01 |" in page and "MindEye2" not in page.split("## Published scores")[1].split("## All")[0]
    assert published_scores(()) == ""
    captions = "Takagi and Nishimoto, captions, subj01"
    assert captions in system_page("takagi2023-text", written("systems", "takagi2023-text"))
    assert captions not in system_page("takagi2023", written("systems", "takagi2023"))
    # Of two protocols with the same values the one with more columns is shown.
    shown = published_scores(("Brain-Diffuser",))
    assert "Under `brain-diffuser-2023-columns`" in shown and "Under `brain-diffuser-2023`," not in shown


@DATASETS
def test_a_datasets_page_has_its_options_and_layouts(kind):
    text = written("datasets", kind)
    assert text.startswith(f"# {kind}: ") and "## What was shown" in text
    page = dataset_page(kind, text)
    assert "<!-- layout" not in page
    assert all(
        f"`{option.name}`" in page for option in importlib.import_module("brainrecon.datasets").dataset_of(kind).options
    )


def test_every_generated_page_is_made_of_a_written_one():
    places = {place for _, place in staging.sources()}
    assert {name for name in pages() if name.startswith(("systems/", "datasets/"))} <= places


@pytest.mark.slow
def test_sources_are_gathered_and_what_is_gone_goes(tmp_path):
    stale, kept = tmp_path / "guide" / "stale.md", tmp_path / "gallery" / "01.rst"
    for path in (stale, kept):
        path.parent.mkdir(parents=True)
        path.write_text("old")
    staging.stage(tmp_path, pages())
    assert not stale.exists() and kept.exists()
    assert "## All settings" in (tmp_path / "systems" / "takagi2023.md").read_text(encoding="utf-8")
    moment = (tmp_path / "index.md").stat().st_mtime_ns
    staging.stage(tmp_path, pages())
    assert (tmp_path / "index.md").stat().st_mtime_ns == moment


def test_what_was_written_of_an_example_that_is_gone_goes(tmp_path):
    gallery, examples = tmp_path / "gallery", tmp_path / "examples"
    for path in (
        examples / "runs" / "02_maps.py",
        *(gallery / "runs" / f"02_maps.{kind}" for kind in ("rst", "py.md5")),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    gone = [gallery / "01_old.rst", gallery / "runs" / "03_moved.codeobj.json"]
    for path in (*gone, gallery / "index.rst"):
        path.touch()
    staging.forget_gone_examples(gallery, examples)
    assert not any(path.exists() for path in gone)
    assert {path.name for path in gallery.rglob("*.*")} == {"index.rst", "02_maps.rst", "02_maps.py.md5"}


def test_links_lead_to_the_staged_place_and_no_further():
    source = ROOT / "docs" / "guide" / "data.md"
    moved = staging.with_staged_links("[x](../../CONTRIBUTING.md#types) [y](decoding.md)", source, "guide/data.md")
    assert moved == "[x](../contributing.md#types) [y](decoding.md)"
    with pytest.raises(SystemExit, match="no page"):
        staging.with_staged_links("[x](../../scripts/demo)", source, "guide/data.md")


def test_dead_links_dead_anchors_and_empty_pages_are_found(tmp_path):
    long = "word " * 60
    (tmp_path / "a.html").write_text(
        f'<article><h1 id="top">A</h1>{long}<a href="b.html#there">b</a><a href="b.html#gone">b</a>'
        '<a href="c.html">c</a><a href="#top">up</a><a href="https://example.org/x">out</a></article>'
    )
    (tmp_path / "b.html").write_text('<article><p id="there">short</p></article>')
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "of-a-theme.html").write_text('<a href="{{ nowhere }}">x</a>')
    assert links.dead_links(tmp_path) == [
        "a.html links to b.html#gone, which has no such anchor.",
        "a.html links to c.html, which is not there.",
    ]
    assert links.empty_pages(tmp_path) == ["b.html is empty."]


@pytest.mark.parametrize(
    ("citation", "short"),
    [
        ("Ozcelik, F. & VanRullen, R. (2023). Natural scene reconstruction.", "Ozcelik & VanRullen 2023"),
        ("Kay, K. N. (2008). One.", "Kay 2008"),
        ("", ""),
    ],
)
def test_authors_in_short(citation, short):
    assert authors(citation) == short


def test_a_bar_in_a_cell_does_not_end_it():
    assert table(("a",), [("x | y",)]).splitlines()[-1] == "| x \\| y |"


@pytest.mark.parametrize("name", ["datasets_table", "markdown", "settings_table", "systems_table"])
def test_examples_run(name):
    assert not doctest.testmod(importlib.import_module(f"documentation.{name}")).failed


@pytest.mark.slow
def test_the_site_is_built_without_a_warning():
    """Pages alone; the gallery's examples run in `./scripts/docs`."""
    import subprocess

    result = subprocess.run(
        [ROOT / "scripts" / "docs", "--without-examples"], capture_output=True, text=True, timeout=900
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "no dead link, no empty page" in result.stdout

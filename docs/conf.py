"""Settings of the documentation; `scripts/docs` builds it from sources that are gathered in build/docs/source."""

import os
import shutil

import brainrecon

project = "brainrecon"
author = "The brainrecon developers"
copyright = author
version = release = brainrecon.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
root_doc = "index"
templates_path = ["_templates"]
exclude_patterns = [
    f"gallery/{depth}*.{kind}" for depth in ("", "**/") for kind in ("ipynb", "py", "md5", "json", "zip")
]

# Pages are Markdown. Notebooks are shown as they are stored: tests run them.
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
toc_object_entries_show_parents = "hide"
# A name in single backticks is a link if the reference lists it.
default_role = "py:obj"
autodoc_typehints = "none"
# A default is shown as it is written: the name of a long list of penalties, and not the list.
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# Examples run in a copy, so that what they write lies in the build: those of a section share what they simulate. The copy is made
# anew, for nothing of an older build may be gone on with; an example that has not changed does not run again.
examples, originals = "../examples", "../../../examples"
if not os.path.isdir(originals):
    # In docs itself, what lies at the place of the copy is the originals.
    raise RuntimeError(
        "The site is built of a copy of docs that ./scripts/docs makes; run that in place of sphinx-build."
    )
shutil.rmtree(examples, ignore_errors=True)
shutil.copytree(originals, examples, ignore=shutil.ignore_patterns("__pycache__"))
sphinx_gallery_conf = {
    "examples_dirs": examples,
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d\d_",
    "ignore_pattern": r"__init__\.py",
    "subsection_order": [f"{examples}/{section}" for section in ("decoding", "pictures", "scores", "parts", "runs")],
    "within_subsection_order": "FileNameSortKey",
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("brainrecon", "stages", "weights"),
    "reference_url": {"brainrecon": None, "stages": None, "weights": None},
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "min_reported_time": 1,
    # Tables, and not what the last call of a figure happens to return.
    "capture_repr": ("_repr_html_",),
    # It would be a page of one machine's times, with style sheets from elsewhere.
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "brainrecon"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "show_prev_next": True,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}

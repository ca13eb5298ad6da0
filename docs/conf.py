"""Settings of the documentation: sphinx-build -W --keep-going -n docs build/docs.

The build needs no network. Formulas become MathML. The notebooks of examples/ are executed, and
their output is cached in build/notebooks until a cell changes.
"""

import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import openmm_slm  # noqa: E402

project = "openmm_slm"
author = "openmm_slm developers"
copyright = author
version = release = openmm_slm.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "sphinx_click",
    "sphinx_copybutton",
    "mathml",
    "names",
]
exclude_patterns = ["_build", "README.md"]
html_theme = "pydata_sphinx_theme"
html_title = "openmm_slm"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_center": [],
    "footer_end": [],
}
html_sidebars = {"index": [], "quickstart": []}

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
# Model cards and the changelog are also read on their own, so their links are links to files.
myst_url_schemes = ["http", "https", "mailto"]

# Signatures have no annotations, because the docstrings give types, shapes and units.
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "member-order": "bysource"}
numpydoc_show_class_members = False
# Examples, cross-references and names of return values are optional in this project.
numpydoc_validation_checks = {
    "all",
    *("EX01", "SA01", "ES01", "PR01", "PR04", "PR07", "PR08", "RT01", "RT03", "RT04"),
    *("SS02", "SS05", "YD01", "GL02", "GL08"),
}
nitpicky = True
default_role = "name"  # of docs/_ext/names.py
toc_object_entries_show_parents = "hide"

# tools/make_notebooks.py makes the notebooks from the scripts in examples/. They are copied here,
# then executed.
shutil.rmtree(HERE / "examples", ignore_errors=True)
shutil.copytree(HERE.parent / "examples", HERE / "examples", ignore=shutil.ignore_patterns("*.py"))
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE.parent / "build" / "notebooks")
nb_execution_in_temp = True
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_output_stderr = "remove"  # progress bars
os.environ.setdefault("OMP_NUM_THREADS", "1")

copybutton_exclude = ".linenos, .gp, .go"

# Copyright (c) sskd_mm authors. All rights reserved.
"""How Sphinx builds the documentation.

sphinx-build -W docs docs/_build/html
"""
import sys
from pathlib import Path

from sphinx.addnodes import pending_xref

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from sskd_mm import __version__  # noqa: E402

project = 'sskd_mm'
author = 'sskd_mm authors'
copyright = author
release = version = __version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.autosummary',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx_copybutton',
]
# Absolute: for autosummary it would be seen from the pages, for HTML from the
# configuration, which for the Chinese pages are two folders.
templates_path = [str(DOCS / '_templates')]
exclude_patterns = ['_build', '_templates', 'zh_cn', 'README.md']

# Links to headings, as GitHub has them; ::: for notes, which show as plain
# text there.
myst_heading_anchors = 4
myst_enable_extensions = ['colon_fence']

# One page a class; see docs/_templates.
autosummary_generate = True
autodoc_member_order = 'bysource'
autodoc_typehints = 'none'  # the docstrings say more
toc_object_entries_show_parents = 'hide'
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

copybutton_prompt_text = r'>>> |\.\.\. |\$ '
copybutton_prompt_is_regexp = True

html_theme = 'sphinx_book_theme'
html_title = 'sskd_mm'
html_theme_options = dict(
    show_toc_level=2,
    navbar_persistent=[],  # the search stands in the sidebar
    use_download_button=False,
    use_fullscreen_button=False,
)


def search_all_modules(app, doctree) -> None:
    """Docstrings name classes of other modules without these."""
    for node in doctree.findall(pending_xref):
        if node['refdomain'] == 'py':
            node['refspecific'] = True


def setup(app) -> None:
    app.connect('doctree-read', search_all_modules)

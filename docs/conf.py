# Copyright (c) sskd_mm authors. All rights reserved.
"""How Sphinx builds the documentation.

sphinx-build -W docs docs/_build/html
"""
import posixpath
import sys
from pathlib import Path

from docutils import nodes
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
# Absolute, for the Chinese pages are built from a folder below this one.
templates_path = [str(DOCS / '_templates')]
html_static_path = [str(DOCS / '_static')]
html_css_files = ['site.css']
exclude_patterns = ['_build', '_templates', 'zh_cn', 'README.md']

#: The sidebar: captions and pages. It is not in index.md, where a forge that
#: renders Markdown would show it as code.
contents = {
    'Get started': ('get_started', 'method'),
    'User guides':
    ('user_guides/detection', 'user_guides/classification',
     'user_guides/faces', 'user_guides/stages_and_adapters',
     'user_guides/schedules', 'user_guides/training',
     'user_guides/distributed', 'user_guides/studies', 'user_guides/analysis',
     'troubleshooting'),
    'Advanced guides':
    ('advanced_guides/dataset', 'advanced_guides/network',
     'advanced_guides/loss', 'advanced_guides/scaling'),
    'Coming from':
    ('migration/mmrazor', 'migration/fgd_mgd', 'migration/torchdistill'),
    'Results':
    ('benchmarks', 'benchmarks/detection', 'benchmarks/classification',
     'benchmarks/faces', 'benchmarks/speed', 'model_zoo', 'matrix'),
    'Reference': ('api/index', 'design', 'changelog'),
}

# Links to headings, as GitHub has them.
myst_heading_anchors = 4

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
    article_header_end=['language.html', 'article-header-buttons.html'],
    use_download_button=False,
    use_fullscreen_button=False,
)


def add_what_a_forge_cannot_show(app, docname: str, source: list) -> None:
    """The contents of the site, and the changelog of the repository."""
    if docname == app.config.root_doc:
        for caption, names in app.config.contents.items():
            source[0] += '\n\n```{toctree}\n' + '\n'.join(
                [':hidden:', f':caption: {caption}', '', *names]) + '\n```'
    elif docname == 'changelog':
        changelog = DOCS.parent / 'CHANGELOG.md'
        source[0] = changelog.read_text()
        app.env.note_dependency(changelog)


def search_all_modules(app, doctree) -> None:
    """Docstrings name classes of other modules without these."""
    for node in doctree.findall(pending_xref):
        if node['refdomain'] == 'py':
            node['refspecific'] = True


def mark_short_cells(app, doctree) -> None:
    """Cells of tables that are not to be broken; see _static/site.css."""
    for cell in doctree.findall(nodes.entry):
        if len(cell.astext()) < 24:
            cell['classes'].append('short')


def find_translation(app, page: str, template, context: dict, doctree) -> None:
    """Where a page is in the other language. The Chinese site lies in the
    folder zh_cn of the English one."""
    if app.config.language == 'en':
        translated = (DOCS / 'zh_cn' / f'{page}.md').exists()
        target = f'zh_cn/{page if translated or page == "search" else "index"}'
        name, code = '中文', 'zh-CN'
    else:
        target, name, code = f'../{page}', 'English', 'en'
    context['translation'] = dict(
        name=name,
        code=code,
        href=posixpath.relpath(f'{target}.html',
                               posixpath.dirname(page) or '.'))


def setup(app) -> None:
    app.add_config_value('contents', {}, 'env')
    app.connect('source-read', add_what_a_forge_cannot_show)
    app.connect('doctree-read', search_all_modules)
    app.connect('doctree-read', mark_short_cells)
    app.connect('html-page-context', find_translation)

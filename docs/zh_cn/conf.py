# Copyright (c) sskd_mm authors. All rights reserved.
"""How Sphinx builds the Chinese pages, into a folder of the English site.

sphinx-build -W docs/zh_cn docs/_build/html/zh_cn
"""
import posixpath
import sys
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import conf  # noqa: E402
from chinese_search import ChineseSearch  # noqa: E402
from conf import *  # noqa: E402, F401, F403

language = 'zh_CN'
html_title = 'sskd_mm 中文文档'
contents = {
    '快速上手': conf.contents['Get started'],
    '使用指南': conf.contents['User guides'],
    '进阶指南': conf.contents['Advanced guides'],
    '迁移': conf.contents['Coming from'],
}


def link_to_english(app, doctree) -> None:
    """Pages that are not translated are those of the English site, around
    this one."""
    here = posixpath.dirname(app.env.docname) or '.'
    for node in list(doctree.findall(pending_xref)):
        page = Path(node['reftarget'])
        if node['refdomain'] == 'doc' and page.is_absolute():
            page = page.relative_to(app.srcdir.parent)
            anchor = node.get('reftargetid')
            link = posixpath.relpath(f'../{page.as_posix()}.html', here)
            node.replace_self(
                nodes.reference(
                    '',
                    '',
                    *node.children,
                    refuri=f'{link}#{anchor}' if anchor else link,
                    internal=True))


def setup(app) -> None:
    conf.setup(app)
    app.add_search_language(ChineseSearch)
    app.connect('doctree-read', link_to_english)

# Copyright (c) sskd_mm authors. All rights reserved.
"""How Sphinx builds the Chinese documentation: with the English pages beside
it, some of which are not translated.

sphinx-build -W -c docs/zh_cn docs docs/_build/zh_cn
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conf import *  # noqa: E402, F401, F403

language = 'zh_CN'
root_doc = 'zh_cn/index'
html_title = 'sskd_mm 中文文档'
exclude_patterns = ['_build', '_templates', 'README.md']

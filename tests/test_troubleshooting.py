# Copyright (c) sskd_mm authors. All rights reserved.
"""What docs/troubleshooting.md quotes is what the program says."""
import ast
import re

from markdown_it import MarkdownIt


def test_messages(root):
    said = []
    for folder in ('sskd_mm', 'tools'):
        for path in (root / folder).rglob('*.py'):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    said.append(''.join(
                        getattr(part, 'value', '') if isinstance(
                            part, ast.Constant) else '...'
                        for part in node.values))
                elif isinstance(node, ast.Constant) and isinstance(
                        node.value, str):
                    said.append(node.value)
    said = '\n\n'.join(said)

    page = (root / 'docs/troubleshooting.md').read_text()
    tokens = MarkdownIt('commonmark').enable('table').parse(page)
    cells = [
        (tokens[i - 1].type, tokens[i - 2].type, token)
        for i, token in enumerate(tokens) if token.type == 'inline'
    ]
    quoted, is_message = [], False
    for cell, row, token in cells:
        if row != 'tr_open':
            continue  # no first column
        if cell == 'th_open':
            is_message = token.content == 'message'
        elif is_message:
            quoted.append(token.children[0].content)
    assert len(quoted) > 40
    for message in quoted:
        # What stands between the variable parts is of one string.
        pattern = '(?:(?!\n\n).)*'.join(
            re.escape(part) for part in message.split('...'))
        assert re.search(pattern, said, re.DOTALL), message

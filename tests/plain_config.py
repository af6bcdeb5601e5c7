# Copyright (c) sskd_mm authors. All rights reserved.
import ast
from pathlib import Path


def plain_config(path: Path) -> Path:
    """The baseline that a shipped distillation inherits its student from."""
    while path.parent.name != 'baselines':
        bases = next(
            ast.literal_eval(node.value)
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.Assign)
            and node.targets[0].id == '_base_')
        bases = [bases] if isinstance(bases, str) else bases
        path = (path.parent / next(
            (base for base in bases if 'baselines' in base),
            bases[0])).resolve()
    return path

# Copyright (c) sskd_mm authors. All rights reserved.
import ast
from pathlib import Path
from typing import Any, Dict, Union


def read_dumped_config(file: Union[str, Path]) -> Dict[str, Any]:
    """Read a config written by ``Config.dump`` without running it.

    Such a file is Python, but only assigns plain data, so it can be read
    without being run.

    Args:
        file (str or Path): Path of the file.

    Returns:
        dict: The config. Classes and functions are strings such as
        ``'torch.optim.sgd.SGD'``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds more than plain data; the message names the line.

    Example:
        >>> read_dumped_config('work_dirs/my_run/my_config.py')['max_epochs']
        12
    """
    try:
        body = ast.parse(Path(file).read_text(encoding='utf-8')).body
        content = {}
        for statement in body:
            if not (isinstance(statement, ast.Assign)
                    and isinstance(statement.targets[0], ast.Name)):
                raise ValueError(
                    f'line {statement.lineno} is not an assignment')
            content[statement.targets[0].id] = _value(statement.value)
        return content
    except (SyntaxError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f'{file} is not a config written by Config.dump, the '
                         f'only kind read here: {error}.') from error


def _value(node: ast.AST) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List):
        return [_value(each) for each in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(each) for each in node.elts)
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_value(k): _value(v) for k, v in zip(node.keys, node.values)}
    if isinstance(node, ast.Call):
        names = [keyword.arg for keyword in node.keywords]
        # Keys that are not identifiers are written as dict({...}).
        if (isinstance(node.func, ast.Name) and node.func.id == 'dict'
                and None not in names and len(node.args) <= 1):
            content = dict(_value(node.args[0])) if node.args else {}
            return {
                **content,
                **{k.arg: _value(k.value)
                   for k in node.keywords}
            }
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.Name):
        # As str() writes them.
        return float(node.id) if node.id in ('inf', 'nan') else node.id
    if isinstance(node, ast.Attribute):
        return f'{_value(node.value)}.{node.attr}'
    raise ValueError(f'line {getattr(node, "lineno", "?")} is not plain data')

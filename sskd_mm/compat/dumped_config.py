# Copyright (c) sskd_mm authors. All rights reserved.
import ast
from pathlib import Path
from typing import Any, Dict, Union


def read_dumped_config(file: Union[str, Path]) -> Dict[str, Any]:
    """Read a config that ``Config.dump`` has written, without running it.

    Such a file is Python, but holds nothing other than assignments of plain
    data, so it need not be run to be read.

    Args:
        file (str or Path): Its path.

    Returns:
        dict: The config. A class or a function that it names is a string,
        as in ``'torch.optim.sgd.SGD'``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds more than plain data; it names the line.

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
                raise ValueError(f'line {statement.lineno} is no assignment')
            content[statement.targets[0].id] = _value(statement.value)
        return content
    except (SyntaxError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f'{file} is no config as Config.dump writes it, and '
                         f'no other is read: {error}.') from error


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
        # dict({...}) is how keys that are no identifiers are written.
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
    raise ValueError(f'line {getattr(node, "lineno", "?")} is no plain data')

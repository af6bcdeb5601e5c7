# Copyright (c) sskd_mm authors. All rights reserved.
"""Makes MMEngine read only plain data from YAML files.

MMEngine reads YAML by ``yaml.CLoader``, which runs functions named by tags
such as ``!!python/object/apply`` and expands aliases without limit. The
restriction covers studies, YAML configs and the bases of both.
"""
import copy
import os.path as osp
from functools import lru_cache
from typing import Any, Optional

import yaml
from mmengine.config import Config
from mmengine.fileio import YamlHandler, register_handler

#: Maximum nesting of collections. Configs have about ten levels.
MAX_DEPTH = 100
#: What aliases may add to a file: values, each with 64 characters of text.
MAX_ALIASED = 100_000

_mmengine_file2dict = Config._file2dict


class InvalidYamlError(ValueError):
    """A YAML file holds more than plain data, or is not valid YAML.

    Args:
        problem (str): What is wrong, where, and what to write instead.
        file (str, optional): The file, if known.
    """

    def __init__(self, problem: str, file: Optional[str] = None) -> None:
        super().__init__(f'{file}: {problem}' if file else problem)
        self.problem, self.file = problem, file


class _Loader(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):
    """Plain data, and the tuples that ``Config.dump`` writes."""


_Loader.add_constructor(
    'tag:yaml.org,2002:python/tuple',
    lambda loader, node: tuple(loader.construct_sequence(node, deep=True)))


def read_yaml(text: str) -> Any:
    """Read YAML as plain data.

    Args:
        text (str): The content of a file.

    Returns:
        Any: Mappings, lists, tuples and scalars.

    Raises:
        InvalidYamlError: It is not valid YAML, has a tag that names Python
            code, is nested more than :data:`MAX_DEPTH` deep, or has aliases
            that repeat more than :data:`MAX_ALIASED` values.

    Example:
        >>> read_yaml('options: {max_epochs: 10}')
        {'options': {'max_epochs': 10}}
    """
    return copy.deepcopy(_parse(text))


# For each base like 'mmpretrain::...' MMEngine reads all of mmpretrain's
# metafiles again, which takes a second.
@lru_cache(maxsize=512)
def _parse(text: str) -> Any:
    try:
        _check_size(text)
        return yaml.load(text, Loader=_Loader)
    except InvalidYamlError:
        raise
    except yaml.constructor.ConstructorError as error:
        if 'could not determine a constructor' not in str(error.problem):
            raise InvalidYamlError(str(error)) from error
        tag = error.problem.split("'")[1]
        raise InvalidYamlError(
            f'the tag {tag!r} in line {error.problem_mark.line + 1} is not '
            'read: it would run code. YAML holds plain data here, so write '
            'the value itself; what needs Python belongs in a config in '
            'Python (.py).') from error
    # ValueError and the like: an invalid date or number.
    except (yaml.YAMLError, ValueError, TypeError, KeyError,
            AttributeError) as error:
        raise InvalidYamlError(f'this is not valid YAML: {error}') from error


def _check_size(text: str) -> None:
    """Check nesting and the size with expanded aliases before loading."""
    sizes: dict = {}  # of the anchored values, aliases expanded
    inside: list = []  # anchor and size of each open collection
    aliased = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.CollectionStartEvent):
            sizes.pop(event.anchor, None)
            inside.append([event.anchor, 1])
            if len(inside) > MAX_DEPTH:
                raise InvalidYamlError(
                    f'in line {line} collections are nested more than '
                    f'{MAX_DEPTH} deep; no study or config needs that.')
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = inside.pop()
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1 + len(event.value) // 64
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise InvalidYamlError(
                    f'the alias *{event.anchor} in line {line} has no anchor '
                    f'&{event.anchor} before it, or is inside its own anchor. '
                    'Write the value itself.')
            anchor, size = None, sizes[event.anchor]
            aliased += size
            if aliased > MAX_ALIASED:
                raise InvalidYamlError(
                    f'up to the alias *{event.anchor} in line {line}, aliases '
                    f'repeat more than {MAX_ALIASED:,} values. Write the '
                    'values themselves.')
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        if inside:
            inside[-1][1] += size


class SafeYamlHandler(YamlHandler):
    """Reads YAML for ``mmengine.load`` and ``Config``, see
    :func:`read_yaml`."""

    def load_from_fileobj(self, file, **kwargs) -> Any:
        """Read a file; a caller can pass its own ``Loader``."""
        if kwargs:
            return super().load_from_fileobj(file, **kwargs)
        return read_yaml(file.read())


def _file2dict(filename: str, *args, **kwargs):
    """``Config._file2dict``, whose errors name the YAML file: MMEngine reads
    a copy."""
    if osp.splitext(filename)[1] not in ('.yaml', '.yml'):
        return _mmengine_file2dict(filename, *args, **kwargs)
    try:
        return _mmengine_file2dict(filename, *args, **kwargs)
    except InvalidYamlError as error:
        raise InvalidYamlError(error.problem, error.file
                               or filename) from error
    except UnicodeDecodeError as error:
        raise InvalidYamlError(f'this is not UTF-8 text: {error}',
                               filename) from error
    except AttributeError as error:
        # MMEngine expects a mapping.
        raise InvalidYamlError(
            'a study or a config is a mapping, with lines such as "title: '
            f'...". ({error})', filename) from error


def install() -> None:
    """Make MMEngine read YAML by :func:`read_yaml`."""
    register_handler(['yaml', 'yml'])(SafeYamlHandler)
    Config._file2dict = staticmethod(_file2dict)

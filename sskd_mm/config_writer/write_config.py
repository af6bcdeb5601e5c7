# Copyright (c) sskd_mm authors. All rights reserved.
import os.path as osp
import re
from typing import Any, Dict, List, Sequence

from mmengine.config import Config
from yapf.yapflib.yapf_api import FormatCode

from .recipe import Recipe
from .training_length import TrainingLength

#: What MMEngine's ``{{ fileDirname }}`` would break: it is put into the text
#: of a config as it is.
_UNSAFE = re.compile(r'[\'"\\]')


class Name(str):
    """A name in the written config, written without quotes."""

    __repr__ = str.__str__


def write_config(out: str,
                 student: str,
                 teacher: str,
                 checkpoint: str,
                 cfg: Config,
                 recipe: Recipe,
                 thawing: Dict[str, Any] = {},
                 imports: Sequence[str] = (),
                 pickled: Sequence[str] = ()) -> str:
    """Write the text of a distillation config in the style of the student's.

    It only uses names that a Runner reads, so that it overrides no other name
    of the student's config.

    Args:
        out (str): The file to be written.
        student (str): The student's config: a file or ``'mmdet::...'``.
        teacher (str): The teacher's config, likewise.
        checkpoint (str): The teacher's checkpoint: a path or URL.
        cfg (Config): The student's loaded config.
        recipe (Recipe): How to distil.
        thawing (dict): Settings that unfreeze the student's backbone.
        imports (Sequence[str]): Modules to import, beyond those that the
            student's config names.
        pickled (Sequence[str]): Checkpoints that are trusted to run code.

    Returns:
        str: The text, formatted like the shipped configs.

    Raises:
        ValueError: A new-style config (``read_base``) cannot be imported from
            the location of the written one.
    """
    lazy = '::' not in student and Config._is_lazy_import(student)
    base = Name('model' if lazy else '_base_.model')
    model = dict(
        _delete_=True,
        type='StageByStageDistiller',
        student=base,
        teacher=dict(
            cfg=_reachable(teacher, out, lazy),
            checkpoint=_reachable(checkpoint, out, lazy)),
        **recipe.model)
    train_cfg = dict(
        _delete_=True, type='StageByStageTrainLoop', **recipe.train_cfg)
    if lazy:
        for settings in (model, train_cfg):
            del settings['_delete_']
            settings['type'] = Name(settings['type'])
    length = TrainingLength.of(cfg.train_cfg)
    lines = [
        '# Written by tools/make_config.py of sskd_mm, with the recipe for '
        f'{recipe.kind}:',
        f'# configs/{recipe.file}.',
        *(_new_style(student, out) if lazy else _plain_style(
            student, out, cfg, imports))
    ]
    if pickled:
        files = [_reachable(file, out, lazy) for file in pickled]
        lines += [f'allow_pickle = {files!r}']
    lines += ['']
    if thawing:
        lines += [
            '# Every stage mimics the teacher, so none may be frozen.',
            f'{base}.backbone.update({_arguments(thawing)})'
        ]
    lines += [
        f'model = {_code(model)}', '',
        f'# {recipe.length} {length.unit} in all; the student\'s own config '
        f'has {length.number}.', f'train_cfg = {_code(train_cfg)}', ''
    ]
    style = dict(
        based_on_style='pep8', split_before_expression_after_opening_paren=1)
    return FormatCode('\n'.join(lines), style_config=style)[0]


def _plain_style(student: str, out: str, cfg: Config,
                 imports: Sequence[str]) -> List[str]:
    own = (cfg.get('custom_imports') or {}).get('imports') or []
    own = [own] if isinstance(own, str) else own
    # sskd_mm first: it provides operators that the others may need.
    names = list(dict.fromkeys(['sskd_mm', *own, *imports]))
    base = student
    if '::' not in student and not osp.isabs(student):
        base = _relative(student, out)
        base = base if base.startswith('.') else f'./{base}'
    return [
        f'_base_ = {base!r}', f'custom_imports = dict(imports={names!r})'
    ]


def _new_style(student: str, out: str) -> List[str]:
    path = osp.splitext(_relative(student, out))[0].split(osp.sep)
    ups = path.count(osp.pardir)
    names = path[ups:]
    if not all(name.isidentifier() for name in names):
        raise ValueError(
            f'{student} is a new-style config (read_base), which others '
            'import as a Python module, but '
            f'{next(n for n in names if not n.isidentifier())!r} is no name '
            f'of one. Rename it, or write beside it: -o '
            f'{osp.join(osp.dirname(student), osp.basename(out))}')
    return [
        'from mmengine.config import read_base', '',
        'from sskd_mm.distillers import StageByStageDistiller',
        'from sskd_mm.engine import StageByStageTrainLoop', '',
        'with read_base():',
        f'    from .{"." * ups}{".".join(names)} import *'
    ]


def _reachable(path: str, out: str, lazy: bool) -> str:
    """Write a teacher's path so that it is found from any directory."""
    if '::' in path or '://' in path:
        return path
    # A new-style config has no {{ fileDirname }}.
    if osp.isabs(path) or lazy or _UNSAFE.search(osp.abspath(out)):
        return osp.abspath(path)
    return '{{fileDirname}}/' + _relative(path, out)


def _relative(path: str, out: str) -> str:
    return osp.relpath(path, osp.dirname(osp.abspath(out)))


def _code(value: Any) -> str:
    """Write a value as source, with dicts as in configs."""
    if isinstance(value, dict):
        if all(str(key).isidentifier() for key in value):
            return f'dict({_arguments(value)})'
        items = (f'{key!r}: {_code(v)}' for key, v in value.items())
        return f'{{{", ".join(items)}}}'
    if isinstance(value, list):
        return f'[{", ".join(map(_code, value))}]'
    return repr(value)


def _arguments(value: dict) -> str:
    return ', '.join(f'{key}={_code(v)}' for key, v in value.items())

# Copyright (c) sskd_mm authors. All rights reserved.
import importlib
import inspect
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

import mmengine.registry
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import Registry
from mmengine.utils import get_object_from_string

#: Keys that a test Runner or an inferencer reads.
_KEPT = ('default_scope', 'custom_imports', 'data_preprocessor', 'model',
         'test_pipeline', 'val_dataloader', 'val_evaluator', 'val_cfg',
         'test_dataloader', 'test_evaluator', 'test_cfg', 'tta_model',
         'tta_pipeline', 'default_hooks', 'custom_hooks', 'env_cfg',
         'vis_backends', 'visualizer', 'log_processor', 'log_level')
#: mmdet's equivalents of sskd_mm's metrics, with the same results.
_PLAIN = dict(FasterCocoMetric='mmdet.CocoMetric')
_LOADERS = ('val_dataloader', 'test_dataloader')


def student_config(cfg: Config, metainfo: Optional[dict] = None) -> Config:
    """Derive the student's plain config from a distillation config.

    The result is for testing and deployment: it has the student's network and
    the test data, and nothing about training. ``init_detector``, the
    inferencers and plain ``tools/test.py`` take it together with any
    checkpoint of the run. It imports sskd_mm only if it uses one of its
    components, see :func:`sskd_mm_types`. It is a plain-style config,
    whatever the style of ``cfg``.

    Args:
        cfg (Config): The complete distillation config; it is not changed.
        metainfo (dict, optional): Metainfo of the training set. Its classes
            and palette are written into data sets that do not name their own.

    Returns:
        Config: The student's config. If there is no test set, the validation
        set takes its place.

    Raises:
        ValueError: ``cfg`` has no student.

    Example:
        >>> cfg = Config.fromfile('configs/sskd/faster_rcnn_r18_coco.py')
        >>> student_config(cfg).dump('student.py')
    """
    whole = _plain(cfg.to_dict())
    if 'student' not in whole.get('model', {}):
        raise ValueError(f'{cfg.filename} has no model.student, so it is not '
                         'a distillation config.')
    plain = {
        key: whole[key]
        for key in _KEPT if whole.get(key) is not None
    }
    plain['model'] = whole['model']['student']
    if whole['model'].get('data_preprocessor') is not None:
        plain['model'].setdefault('data_preprocessor',
                                  whole['model']['data_preprocessor'])
    if 'test_dataloader' not in plain and 'val_dataloader' in plain:
        plain.update(
            test_dataloader=_plain(plain['val_dataloader']),
            test_evaluator=_plain(plain['val_evaluator']),
            test_cfg={})
    own = _Types(plain.get('default_scope'))
    for key in _LOADERS:
        for dataset in _inmost(plain.get(key, {}).get('dataset')):
            _name_classes(dataset, metainfo or {}, own)
    _drop_hooks(plain, own)
    for settings, name in list(own.find(plain)):
        settings['type'] = _PLAIN.get(name, settings['type'])
    _choose_imports(plain, bool(list(own.find(plain))))
    return Config(plain)


def sskd_mm_types(cfg: Config) -> List[str]:
    """List the types in a config that only sskd_mm provides.

    Args:
        cfg (Config): A complete config.

    Returns:
        list[str]: Their names, e.g. ``['ResNetCIFAR']``.
    """
    own = _Types(cfg.get('default_scope'))
    return sorted({name for _, name in own.find(cfg.to_dict())})


class _Types:
    """Resolves the ``type`` of a config."""

    def __init__(self, scope: Optional[str]) -> None:
        self._scope = scope
        self._loaded: Set[str] = set()
        self._registries = [
            value for value in vars(mmengine.registry).values()
            if isinstance(value, Registry)
        ]

    def classes(self, name: str) -> Iterator[Any]:
        """Yield what a ``type`` may name: a registered ``name`` or
        ``scope.name``, or a Python import path."""
        scope, _, short = name.rpartition('.')
        self._load(scope or self._scope)
        if scope and not any(scope == root.scope or scope in root.children
                             for root in self._registries):
            found = get_object_from_string(name)
            if found is not None:
                yield found
            return
        for root in self._registries:
            child = root.children.get(scope or self._scope or '')
            for registry in filter(None, (child, root)):
                if short in registry.module_dict:
                    yield registry.module_dict[short]
                    break

    def _load(self, scope: Optional[str]) -> None:
        """Make a library register its components."""
        if not scope or scope in self._loaded:
            return
        self._loaded.add(scope)
        try:
            importlib.import_module(f'{scope}.registry')
        except ImportError:
            return  # Not the scope of a library.
        for root in self._registries:
            if scope in root.children:
                root.children[scope].import_from_location()

    def find(self, value: Any) -> Iterator[Tuple[dict, str]]:
        """Yield the dicts whose type is sskd_mm's, with its name."""
        if isinstance(value, dict):
            name = value.get('type')
            if isinstance(name, str) and self._is_own(name):
                yield value, name.rpartition('.')[2]
            for each in value.values():
                yield from self.find(each)
        elif isinstance(value, (list, tuple)):
            for each in value:
                yield from self.find(each)

    def _is_own(self, name: str) -> bool:
        return any(
            getattr(found, '__module__', '').startswith('sskd_mm.')
            for found in self.classes(name))


def _plain(value: Any) -> Any:
    """Copy, replacing classes and functions by the strings that name them."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    if inspect.isclass(value) or inspect.isroutine(value):
        return f'{value.__module__}.{value.__qualname__}'
    return value


def _inmost(dataset: Any) -> Iterator[dict]:
    """Yield the data sets inside wrappers such as RepeatDataset and
    ConcatDataset."""
    if not isinstance(dataset, dict):
        return
    inner = dataset.get('datasets', dataset.get('dataset'))
    if inner is None:
        yield dataset
    else:
        for each in inner if isinstance(inner, (list, tuple)) else [inner]:
            yield from _inmost(each)


def _name_classes(dataset: dict, metainfo: dict, own: _Types) -> None:
    if not metainfo.get('classes') or (dataset.get('metainfo')
                                       or {}).get('classes'):
        return
    if not any(map(_takes_metainfo, own.classes(dataset['type']))):
        return
    named = {
        key: metainfo[key]
        for key in ('classes', 'palette') if metainfo.get(key)
    }
    dataset['metainfo'] = {**(dataset.get('metainfo') or {}), **named}


def _takes_metainfo(found: Any) -> bool:
    if not (inspect.isclass(found) and issubclass(found, BaseDataset)):
        return False
    if found.__module__.startswith('sskd_mm.'):
        return False  # Ours know their classes; face pairs have none.
    parameters = inspect.signature(found).parameters.values()
    return any(p.name == 'metainfo' or p.kind == p.VAR_KEYWORD
               for p in parameters)


def _drop_hooks(plain: Dict[str, Any], own: _Types) -> None:
    """Drop sskd_mm's hooks, which are for its training."""
    plain['default_hooks'] = {
        name: hook
        for name, hook in plain.get('default_hooks', {}).items()
        if not list(own.find(hook))
    }
    plain['custom_hooks'] = [
        hook for hook in plain.get('custom_hooks', [])
        if not list(own.find(hook))
    ]
    for key in ('default_hooks', 'custom_hooks'):
        if not plain[key]:
            del plain[key]


def _choose_imports(plain: Dict[str, Any], needed: bool) -> None:
    imports = plain.pop('custom_imports', {})
    names = imports.get('imports') or []
    names = [
        name for name in ([names] if isinstance(names, str) else names)
        if name.partition('.')[0] != 'sskd_mm'
    ]
    if needed:
        names = ['sskd_mm', *names]
    if names:
        plain['custom_imports'] = {**imports, 'imports': names}

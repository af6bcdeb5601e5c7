# Copyright (c) sskd_mm authors. All rights reserved.
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import Any, Optional

from mmengine.registry import Registry, root
from mmengine.utils import get_object_from_string

_REGISTRIES = [r for r in vars(root).values() if isinstance(r, Registry)]


def class_name(type_: Any, scope: Optional[str] = None) -> str:
    """Resolve a config's ``type`` to the full name of the class.

    Plain configs contain ``'SGD'``, scoped ones ``'mmdet.ResNet'``, those with
    ``read_base`` the class itself, and their dumps ``'torch.optim.SGD'``. All
    spellings of a class get the same name.

    Args:
        type_ (str or type or Callable): The ``type`` of a config.
        scope (str, optional): The default scope. Defaults to ``'mmengine'``,
            as in MMEngine's Runner.

    Returns:
        str: Module and name of the class or function. An unregistered name is
        returned unchanged.

    Example:
        >>> class_name('SGD') == class_name(torch.optim.SGD)
        True
    """
    if isinstance(type_, str):
        return _look_up(type_, scope or 'mmengine')
    return f'{type_.__module__}.{type_.__qualname__}'


@lru_cache(maxsize=None)
def _look_up(name: str, scope: str) -> str:
    prefix, _, rest = name.partition('.')
    for each, key in ((scope, name), (prefix, rest)):
        with suppress(ImportError, AttributeError):  # as MMEngine does
            import_module(f'{each}.registry')
        for registry in _REGISTRIES:
            for found in (registry.children.get(each), registry):
                if found is None or each == prefix != found.scope:
                    continue
                found.import_from_location()
                if key in found.module_dict:
                    return class_name(found.module_dict[key])
    try:
        return class_name(get_object_from_string(name)) if rest else name
    except Exception:  # an import can raise anything
        return name

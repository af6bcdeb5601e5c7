# Copyright (c) sskd_mm authors. All rights reserved.
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import Any, Optional

from mmengine.registry import Registry, root
from mmengine.utils import get_object_from_string

_REGISTRIES = [r for r in vars(root).values() if isinstance(r, Registry)]


def class_name(type_: Any, scope: Optional[str] = None) -> str:
    """The full name of what a config's ``type`` stands for.

    Plain configs write ``'SGD'``, scoped ones ``'mmdet.ResNet'``, those with
    ``read_base`` the class itself, and their dumps ``'torch.optim.SGD'``.
    All that mean one class have one name here.

    Args:
        type_ (str or type or Callable): What stands there.
        scope (str, optional): The default scope. Defaults to ``'mmengine'``,
            as with MMEngine's Runner.

    Returns:
        str: Module and name of the class or function. What nobody has
        registered stays as it is.

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
    except Exception:  # whatever an import may raise
        return name

# Copyright (c) sskd_mm authors. All rights reserved.
from functools import lru_cache
from typing import Any, Optional

from mmengine.registry import DefaultScope, Registry, root
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
    for registry in _REGISTRIES:
        with registry.switch_scope_and_registry(scope) as found:
            while found is not None:
                found.import_from_location()
                if name in found.module_dict:
                    return class_name(found.module_dict[name])
                found = found.parent
        for child in (registry, *registry.children.values()):
            if rest and child.scope == prefix:
                child.import_from_location()
                if rest in child.module_dict:
                    return class_name(child.module_dict[rest])
    if not rest:
        return name
    try:
        with DefaultScope.overwrite_default_scope(scope):
            return class_name(get_object_from_string(name))
    except Exception:  # whatever an import may raise
        return name

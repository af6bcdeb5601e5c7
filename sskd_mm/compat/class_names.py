# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Optional, Set

from mmengine.registry import Registry


def find_class(kind: Any, registry: Registry) -> Optional[type]:
    """The class that a config means.

    Args:
        kind (str or type): What a config has as ``type``: the class, its
            name, or its name with a scope or a module before it.
        registry (Registry): Where it is registered, or the root of that one;
            names without a scope are looked for in the default scope first.

    Returns:
        type, optional: None of a name that is not registered.

    Example:
        >>> find_class('FaceVerification', METRICS).__name__
        'FaceVerification'
    """
    if not isinstance(kind, str):
        return kind
    with registry.switch_scope_and_registry(None) as found:
        return found.get(kind)


def class_names(kind: Any, registry: Registry) -> Set[str]:
    """The name of a class in a config, and of those that it inherits from.

    Args:
        kind (str or type): As of :func:`find_class`.
        registry (Registry): As of :func:`find_class`.

    Returns:
        set[str]: Of a name that is not registered that name alone.

    Example:
        >>> 'EmbeddingHead' in class_names('ArcFaceHead', MODELS)
        True
    """
    found = find_class(kind, registry)
    if found is None:
        return {kind.rpartition('.')[2]}
    return {base.__name__ for base in getattr(found, '__mro__', [])}

# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Optional, Set

from mmengine.registry import Registry


def find_class(kind: Any, registry: Registry) -> Optional[type]:
    """Find the class that a config means.

    Args:
        kind (str or type): The ``type`` of a config: the class, its name, or
            its name prefixed by a scope or a module.
        registry (Registry): The registry of the class, or its root; names
            without a scope are looked up in the default scope first.

    Returns:
        type, optional: The class; None if the name is not registered.

    Example:
        >>> find_class('FaceVerification', METRICS).__name__
        'FaceVerification'
    """
    if not isinstance(kind, str):
        return kind
    with registry.switch_scope_and_registry(None) as found:
        return found.get(kind)


def class_names(kind: Any, registry: Registry) -> Set[str]:
    """Get the name of a class in a config and those of its base classes.

    Args:
        kind (str or type): See :func:`find_class`.
        registry (Registry): See :func:`find_class`.

    Returns:
        set[str]: The names; only the given one if it is not registered.

    Example:
        >>> 'EmbeddingHead' in class_names('ArcFaceHead', MODELS)
        True
    """
    found = find_class(kind, registry)
    if found is None:
        return {kind.rpartition('.')[2]}
    return {base.__name__ for base in getattr(found, '__mro__', [])}

# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Union

from mmengine.registry import Registry


def config_type(cfg: dict, registry: Registry) -> Any:
    """What the ``type`` of a config builds, however it is written.

    Args:
        cfg (dict): A config; its ``type`` is a name (``'SGD'``), one with a
            scope or a module (``'mmdet.X'``, ``'torch.optim.SGD'``), as in
            plain and dumped configs, or the class itself, as in those that
            use ``read_base``.
        registry (Registry): Where a name is looked up.

    Returns:
        type or str or None: The class or function; the name where nobody has
        registered it; None without a ``type``.

    Example:
        >>> config_type(dict(type='torch.optim.SGD'), OPTIMIZERS)
        <class 'torch.optim.sgd.SGD'>
    """
    found: Union[str, type, None] = cfg.get('type')
    if not isinstance(found, str):
        return found
    return registry.get(found) or found

# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any


def is_a(instance: Any, name: str) -> bool:
    """Check for a class of a package that may not be installed.

    Args:
        instance (Any): The object to check.
        name (str): Name of its class or one of its base classes.

    Example:
        >>> is_a(model, 'BaseDetector')
        True
    """
    return name in [base.__name__ for base in type(instance).__mro__]

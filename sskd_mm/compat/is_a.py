# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any


def is_a(instance: Any, name: str) -> bool:
    """Whether something is of a class of a package that need not be there.

    Args:
        instance (Any): What is looked at.
        name (str): Of the class, or of one that it inherits from.

    Example:
        >>> is_a(model, 'BaseDetector')
        True
    """
    return name in [base.__name__ for base in type(instance).__mro__]

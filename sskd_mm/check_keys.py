# Copyright (c) sskd_mm authors. All rights reserved.
import difflib
import inspect
from typing import Iterable, List


def check_keys(where: str, keys: Iterable[str], valid: Iterable[str]) -> None:
    """Check that a config has no unknown key.

    Args:
        where (str): The place of the keys, as the user knows it.
        keys (Iterable[str]): The keys in the config.
        valid (Iterable[str]): The valid keys.

    Raises:
        ValueError: Names the first unknown key, the valid ones, and the
            closest of them.

    Example:
        >>> check_keys('train_cfg', ['mimc'], ['mimic', 'head'])
        ValueError: train_cfg has the key 'mimc', which is none of mimic,
        head. Did you mean 'mimic'?
    """
    valid = list(valid)
    for key in keys:
        if key not in valid:
            raise ValueError(f'{where} has the key {key!r}, which is none of '
                             f'{", ".join(valid)}.{did_you_mean(key, valid)}')


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Suggest the closest valid name.

    Args:
        name (str): The name in the config.
        valid (Iterable[str]): The valid names.

    Returns:
        str: A sentence to append to an error message; empty if none is close.
    """
    close = difflib.get_close_matches(str(name), list(valid), n=1)
    return f' Did you mean {close[0]!r}?' if close else ''


def arguments(cls: type, base: type) -> List[str]:
    """List the arguments of a class.

    Args:
        cls (type): The class.
        base (type): Its base class, or itself, that rejects unknown
            arguments.

    Returns:
        list[str]: Argument names of both and of the classes in between.
    """
    names = []
    for each in cls.__mro__[:cls.__mro__.index(base) + 1]:
        if '__init__' in vars(each):
            names += [
                p.name
                for p in inspect.signature(each.__init__).parameters.values()
                if p.name != 'self' and p.kind != p.VAR_KEYWORD
            ]
    return list(dict.fromkeys(names))

# Copyright (c) sskd_mm authors. All rights reserved.
import difflib
import inspect
from typing import Iterable, List


def check_keys(where: str, keys: Iterable[str], valid: Iterable[str]) -> None:
    """See that a config has no key that nobody reads.

    Args:
        where (str): What has the keys, as the user knows it.
        keys (Iterable[str]): Those that are there.
        valid (Iterable[str]): Those that may be there.

    Raises:
        ValueError: Names the first one that may not be there, those that
            may, and the nearest of them.

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
    """A sentence with the name that is nearest, or nothing if none is near.

    Args:
        name (str): What was written.
        valid (Iterable[str]): What could have been meant.

    Returns:
        str: To be put behind an error message.
    """
    close = difflib.get_close_matches(str(name), list(valid), n=1)
    return f' Did you mean {close[0]!r}?' if close else ''


def arguments(cls: type, base: type) -> List[str]:
    """What a class takes when it is built.

    Args:
        cls (type): The class.
        base (type): The one that it inherits from, or itself, which refuses
            what nobody has taken.

    Returns:
        list[str]: Names of the arguments of both and of what lies between.
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

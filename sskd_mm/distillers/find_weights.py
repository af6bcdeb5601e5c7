# Copyright (c) sskd_mm authors. All rights reserved.
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Tuple

import torch
from torch import Tensor


class Place(NamedTuple):
    """Where a module's weights are in a file.

    Attributes:
        key (str): Of a dict within the file, such as ``'model'``; nested keys
            are joined by ``'/'``. Empty for the file itself.
        prefix (str): Of the weights' names, such as ``'teacher.'``.
        fits (int): How many weights have the module's name and shape.
    """

    key: str
    prefix: str
    fits: int

    def __str__(self) -> str:
        # state_dict is where MMEngine expects weights.
        names = [
            f'the key {self.key!r}'
            if self.key not in ('', 'state_dict') else '',
            f'the prefix {self.prefix!r}' if self.prefix else ''
        ]
        return ' and '.join(filter(None, names)) or 'plain names'


def find_weights(file: Mapping[str, Any],
                 shapes: Mapping[str, torch.Size]) -> List[Place]:
    """Search a file of any layout for weights of these names and shapes.

    The network may be part of another one (``model.``, ``teacher.``,
    ``module.``), or one of several (``{'model': ..., 'ema': ...}``).

    Returns:
        list[Place]: Places with at least half of the weights, best first.

    Example:
        >>> find_weights(dict(model=net.state_dict()), shapes)
        [Place(key='model', prefix='', fits=62)]
    """
    places = []
    for key, state in _states(file):
        for prefix in _prefixes(state, list(shapes)):
            fits = sum(
                getattr(state.get(prefix + name), 'shape', None) == shape
                for name, shape in shapes.items())
            if 2 * fits >= len(shapes) > 0:
                places.append(Place(key, prefix, fits))
    return sorted(places, key=lambda place: -place.fits)


def weights_at(file: Mapping[str, Any], place: Place) -> Dict[str, Tensor]:
    """The weights at a place, by their names in the module."""
    state = dict(_states(file))[place.key]
    return {
        name[len(place.prefix):]: value
        for name, value in state.items() if name.startswith(place.prefix)
    }


def _states(file: Mapping[str, Any],
            key: str = '') -> Iterator[Tuple[str, Mapping[str, Any]]]:
    """The dicts of tensors in a file, at any depth."""
    if any(isinstance(value, Tensor) for value in file.values()):
        yield key, file
    for name, value in file.items():
        if isinstance(value, Mapping):
            yield from _states(value, f'{key}/{name}' if key else str(name))


def _prefixes(state: Mapping[str, Any], names: List[str]) -> List[str]:
    """Possible prefixes, from the module's first and last weight: a file may
    lack one of them, such as a head."""
    found = [
        key[:len(key) - len(name)] for name in {*names[:1], *names[-1:]}
        for key in state
        if isinstance(key, str) and (key == name or key.endswith(f'.{name}'))
    ]
    return list(dict.fromkeys(found))

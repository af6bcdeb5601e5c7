# Copyright (c) sskd_mm authors. All rights reserved.
import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union


@dataclass(frozen=True)
class Trial:
    """One training run of a study.

    Attributes:
        pair (str): Name of its pair of networks.
        method (str): Name of its method.
        seed (int): Its seed.
        value (float or str, optional): Value of the swept option, see
            :func:`value_label`.
    """

    pair: str
    method: str
    seed: int
    value: Optional[Union[float, str]] = None

    @property
    def name(self) -> str:
        """str: Name of its method in tables."""
        if self.value is None:
            return self.method
        if isinstance(self.value, str):
            return f'{self.method}, {self.value}'
        return f'{self.method}, {_number(self.value)}'

    @property
    def folder(self) -> Path:
        """Path: Its folder, relative to the study's folder."""
        method = ''.join(c if c.isalnum() else '_' for c in self.method)
        if isinstance(self.value, str):
            method += f'_{_folder_text(self.value)}'
        elif self.value is not None:
            method += f'_{_number(self.value)}'
        return Path(self.pair, method, f'seed_{self.seed}')


def value_label(value: Any) -> Union[float, str]:
    """Label a swept value: numbers and text are kept, other values become
    JSON.

    Example:
        >>> [value_label(v) for v in (0.1, 'joint', ['joint', 'last'], None)]
        [0.1, 'joint', '["joint", "last"]', 'null']
    """
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(
            value, bool) and math.isfinite(value):
        return value
    return json.dumps(value, sort_keys=True, default=str)


def _number(value: float) -> str:
    short = f'{value:g}'
    return short if float(short) == value else repr(value)


def _folder_text(text: str) -> str:
    """Make text safe for file names; if characters are dropped, append a
    digest of the whole text."""
    plain = re.sub(r'[^\w.+-]+', '_', text).strip('_.')[:40]
    if plain == text:
        return plain
    return f'{plain}-{hashlib.sha256(text.encode()).hexdigest()[:6]}'

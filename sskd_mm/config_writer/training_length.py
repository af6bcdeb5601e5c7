# Copyright (c) sskd_mm authors. All rights reserved.
from typing import NamedTuple, Optional


class TrainingLength(NamedTuple):
    """The length of a training run.

    Attributes:
        key (str): The key in ``train_cfg``: ``'max_epochs'`` or
            ``'max_iters'``.
        number (int): Number of epochs or iterations.

    Example:
        >>> TrainingLength.of(dict(type='IterBasedTrainLoop', max_iters=900))
        TrainingLength(key='max_iters', number=900)
    """

    key: str
    number: int

    @classmethod
    def of(cls, train_cfg: dict) -> Optional['TrainingLength']:
        """Read it from a plain ``train_cfg``; None if not given."""
        for key in ('max_epochs', 'max_iters'):
            if train_cfg.get(key) is not None:
                return cls(key, train_cfg[key])
        return None

    @property
    def unit(self) -> str:
        """str: ``'epochs'`` or ``'iterations'``."""
        return 'epochs' if self.key == 'max_epochs' else 'iterations'

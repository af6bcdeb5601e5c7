# Copyright (c) sskd_mm authors. All rights reserved.
import logging
from typing import Optional

from mmengine.logging import print_log


def refuse_classes(message: str, accepted: Optional[bool]) -> None:
    """Raise, or only warn, about classes that do not match.

    Args:
        message (str): What does not match, where, and what to write instead.
        accepted (bool, optional): ``train_cfg.accept_other_classes``: warn
            only. None if there is no such key.

    Raises:
        ValueError: The mismatch is not accepted.
    """
    if accepted is None:
        raise ValueError(message)
    if not accepted:
        raise ValueError(f'{message} If it is meant, go on with '
                         'train_cfg.accept_other_classes=True.')
    print_log(message, logger='current', level=logging.WARNING)

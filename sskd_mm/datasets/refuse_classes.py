# Copyright (c) sskd_mm authors. All rights reserved.
import logging

from mmengine.logging import print_log


def refuse_classes(message: str, accepted: bool) -> None:
    """Stop a run whose classes do not go together, or let it pass.

    Args:
        message (str): What does not fit, where, and what to write instead.
        accepted (bool): ``train_cfg.accept_other_classes``: warn only.

    Raises:
        ValueError: It is not accepted.
    """
    if not accepted:
        raise ValueError(f'{message} If it is meant, go on with '
                         'train_cfg.accept_other_classes=True.')
    print_log(message, logger='current', level=logging.WARNING)

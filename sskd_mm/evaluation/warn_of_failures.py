# Copyright (c) sskd_mm authors. All rights reserved.
import logging

from mmengine.logging import print_log
from torch import Tensor


def warn_of_failures(embeddings: Tensor) -> None:
    """Say how many faces could not be embedded, if any.

    Args:
        embeddings (Tensor): Of all faces, shape (N, D), zeros where it
            failed.
    """
    failed = int((~embeddings.any(1)).sum())
    if failed:
        print_log(
            f'{failed} of {len(embeddings)} faces have no embedding (zeros). '
            'Templates are those of their other faces; one that has no other '
            'is a miss wherever it is compared.',
            logger='current',
            level=logging.WARNING)

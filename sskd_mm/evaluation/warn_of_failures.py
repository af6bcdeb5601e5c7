# Copyright (c) sskd_mm authors. All rights reserved.
import logging

from mmengine.logging import print_log
from torch import Tensor


def warn_of_failures(embeddings: Tensor) -> None:
    """Warn if faces could not be embedded.

    Args:
        embeddings (Tensor): Embeddings of all faces, shape (N, D), zeros for
            failures.
    """
    failed = int((~embeddings.any(1)).sum())
    if failed:
        print_log(
            f'{failed} of {len(embeddings)} faces have no embedding (zeros). '
            'Their templates consist of the other faces; a template without '
            'other faces always counts as a miss.',
            logger='current',
            level=logging.WARNING)

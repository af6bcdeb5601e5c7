# Copyright (c) sskd_mm authors. All rights reserved.
from typing import NamedTuple, Tuple

from torch import Tensor


class Knowledge(NamedTuple):
    """What a classifier computes for a batch, as far as others learn from it.

    Attributes:
        features (tuple[Tensor]): The features of its taps, from the first
            stage to the last: maps (N, C, H, W).
        embedding (Tensor): What its linear classifier reads, (N, C).
        logits (Tensor): The classifier's output, (N, classes).
        names (tuple[str]): Names of the taps, where known.
    """

    features: Tuple[Tensor, ...]
    embedding: Tensor
    logits: Tensor
    names: Tuple[str, ...] = ()

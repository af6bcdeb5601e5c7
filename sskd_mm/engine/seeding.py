# Copyright (c) sskd_mm authors. All rights reserved.
import random

import numpy as np
import torch
from mmengine.dist import get_rank


def seed_everything(seed: int, *position: int) -> None:
    """Seed all random generators by the seed, the rank and a position in the
    run, such as pass and batch."""
    entropy = (seed, get_rank(), *position)
    value = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)

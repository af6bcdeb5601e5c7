# Copyright (c) sskd_mm authors. All rights reserved.
import random

import numpy as np
import torch
from mmengine.dist import get_rank


def seed_everything(seed: int, *position: int) -> None:
    """Let randomness follow from the seed and the position in a run alone,
    so that a resumed run goes on as one that was not stopped.

    Args:
        seed (int): The run's.
        position (int): Whatever tells this instant from others. Processes
            differ by their rank.
    """
    entropy = (seed, get_rank(), *position)
    value = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)

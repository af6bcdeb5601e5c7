# Copyright (c) sskd_mm authors. All rights reserved.
import pickle
from pathlib import Path

import numpy as np


def write_noise(root: Path) -> None:
    """Write 50,000 noise images with random labels in CIFAR-10's format."""
    folder = root / 'cifar-10-batches-py'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(1, 6):
        batch = dict(
            data=rng.integers(0, 256, (10000, 3072), np.uint8),
            labels=rng.integers(0, 10, 10000).tolist())
        (folder / f'data_batch_{number}').write_bytes(pickle.dumps(batch, 2))
    meta = dict(label_names=[f'class {i}' for i in range(10)])
    (folder / 'batches.meta').write_bytes(pickle.dumps(meta, 2))

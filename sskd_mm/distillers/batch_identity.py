# Copyright (c) sskd_mm authors. All rights reserved.
import io
import pickle
import random
import zlib
from typing import Any, Optional, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


class BatchIdentity:
    """Tells whether a batch is the same as one seen before.

    It digests what the loader returned, on the CPU before the transfer, and
    everything that decides the output of the data preprocessor: its settings,
    the random state and the output size. So batches differ if a hook has
    switched the pipeline or an augmentation, or if image files have changed.
    Nothing here waits for a device.

    Raises:
        ValueError: The batch has no images, or they are not on the CPU.

    Example:
        >>> identity = BatchIdentity(batch)
        >>> data = preprocessor(batch, True)
        >>> identity.digest(preprocessor, data['inputs'], sizes)
        2918473012
    """

    def __init__(self, batch: Any) -> None:
        self._loaded = _digest_images(batch)

    def digest(self, preprocessor: nn.Module, inputs: Tensor,
               sizes: Optional[Sequence[Sequence[int]]]) -> int:
        """A checksum of the batch and its preprocessing, right after it ran.
        ``sizes`` are those of the images without padding."""
        known = (tuple(inputs.shape), inputs.dtype, sizes)
        value = zlib.crc32(repr(known).encode(), self._loaded)
        value = zlib.crc32(_random_state(inputs.device), value)
        return zlib.crc32(_settings_of(preprocessor), value)


def _settings_of(preprocessor: nn.Module) -> bytes:
    """The pickled data preprocessor without the values of its tensors, as
    reading these might wait for a device."""
    buffer = io.BytesIO()
    try:
        _WithoutTensors(buffer).dump(preprocessor)
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise ValueError(
            'cached_passes needs to know whether the data preprocessor has '
            f'changed, but this {type(preprocessor).__name__} cannot be '
            f'pickled: {error}. Give it named functions instead of lambdas, '
            'or remove cached_passes.') from error
    return buffer.getvalue()


class _WithoutTensors(pickle.Pickler):

    def persistent_id(self, obj: Any) -> Optional[tuple]:
        if isinstance(obj, Tensor):
            return tuple(obj.shape), str(obj.dtype)
        return None


def _random_state(device: torch.device) -> bytes:
    numpy_state = np.random.get_state()
    state = repr((hash(random.getstate()), numpy_state[2:])).encode()
    state += numpy_state[1].tobytes() + torch.get_rng_state().numpy().tobytes()
    if device.type == 'cuda':
        # Seed and offset, held on the host.
        state += torch.cuda.get_rng_state(device).numpy().tobytes()
    return state


def _digest_images(batch: Any) -> int:
    value, found = 0, False
    for x in tree_leaves(batch):
        if isinstance(x, np.ndarray):
            x = torch.from_numpy(x)
        if not isinstance(x, Tensor):
            continue
        if x.device.type != 'cpu':
            raise ValueError(
                'cached_passes compares batches before they are moved to a '
                f'device, but the dataloader returns tensors on {x.device}. '
                'Let the data preprocessor move them, or remove '
                'cached_passes.')
        found = True
        value = zlib.crc32(repr((tuple(x.shape), x.dtype)).encode(), value)
        value = zlib.crc32(
            x.contiguous().reshape(-1).view(torch.uint8).numpy(), value)
    if not found:
        raise ValueError(
            'cached_passes compares the images of batches, but the dataloader '
            f'returns a {type(batch).__name__} without a tensor or array. '
            'Remove cached_passes.')
    return value

# Copyright (c) sskd_mm authors. All rights reserved.
import os
import os.path as osp
import pickle
from typing import Any, Callable, Dict
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch.hub import download_url_to_file, get_dir


class UntrustedCheckpointError(ValueError):
    """A checkpoint holds objects that loading it would have to run."""


class TruncatedCheckpointError(ValueError):
    """A checkpoint is cut off or no checkpoint at all."""


def mmengine_globals() -> list:
    """The harmless objects that MMEngine itself saves in a checkpoint.

    They are its message hub's: ``HistoryBuffer`` with numpy arrays in them.
    torch >= 2.6 refuses to load these unless they are declared harmless,
    which is why resuming fails there with mmengine 0.10.7.

    Returns:
        list: For ``torch.serialization.add_safe_globals``.
    """
    core = np._core if hasattr(np, '_core') else np.core
    codes = np.typecodes['AllInteger'] + np.typecodes['AllFloat']
    return [
        HistoryBuffer,
        (_history_statistic, 'builtins.getattr'),
        np.ndarray,
        np.dtype,
        *{type(np.dtype(code))
          for code in codes},
        (core.multiarray._reconstruct, 'numpy.core.multiarray._reconstruct'),
        (core.multiarray._reconstruct, 'numpy._core.multiarray._reconstruct'),
        (core.multiarray.scalar, 'numpy.core.multiarray.scalar'),
        (core.multiarray.scalar, 'numpy._core.multiarray.scalar'),
    ]


def _history_statistic(cls: type, name: str) -> Callable:
    """What ``getattr`` is pickled for in a ``HistoryBuffer``, and no more."""
    if cls is not HistoryBuffer or name not in ('min', 'max', 'current',
                                                'mean'):
        raise pickle.UnpicklingError(
            f'getattr({cls!r}, {name!r}) is not allowed in a checkpoint.')
    return getattr(cls, name)


def load_checkpoint_file(path: str) -> Dict[str, Any]:
    """Read a checkpoint without unpickling arbitrary objects.

    Args:
        path (str): A file, or an ``http(s)://`` address, which is downloaded
            once and kept where ``torch.hub`` keeps its checkpoints.

    Returns:
        dict: The checkpoint, its tensors on the CPU.

    Raises:
        FileNotFoundError: No such file, or the download failed.
        TruncatedCheckpointError: The file is cut off or no checkpoint.
        UntrustedCheckpointError: It holds objects other than tensors and
            plain data.
    """
    file = _download(path) if path.startswith(('http://', 'https://')) \
        else osp.expanduser(path)
    if not osp.isfile(file):
        raise FileNotFoundError(
            f'The checkpoint {path!r} is not there (looked for '
            f'{osp.abspath(file)!r}).')
    try:
        # Again, since mmengine 0.10.12 takes its own back after a load.
        torch.serialization.add_safe_globals(mmengine_globals())
        checkpoint = torch.load(file, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        raise UntrustedCheckpointError(
            f'The checkpoint {path!r} holds objects that are neither tensors '
            'nor plain data, so it was not read: a file from a stranger may '
            'run code. If you trust it, save its weights anew with '
            "torch.save({'state_dict': ...}).\n" + str(error)) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise TruncatedCheckpointError(
            f'The checkpoint {path!r} ({osp.getsize(file)} bytes) is '
            f'truncated or no checkpoint: {error}') from error
    if not isinstance(checkpoint, dict):
        raise TruncatedCheckpointError(
            f'The checkpoint {path!r} holds a {type(checkpoint).__name__}, '
            'not a dict of weights.')
    return checkpoint


def _download(url: str) -> str:
    file = osp.join(get_dir(), 'checkpoints', osp.basename(
        urlparse(url).path))
    if not osp.isfile(file):
        try:
            os.makedirs(osp.dirname(file), exist_ok=True)
            download_url_to_file(url, file)
        except OSError as error:
            raise FileNotFoundError(
                f'The checkpoint {url!r} could not be downloaded ({error}). '
                f'Put it at {file!r} yourself, or give the path of a local '
                'file.') from error
    return file

# Copyright (c) sskd_mm authors. All rights reserved.
import os.path as osp
import pickle
from typing import Any, Dict
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
from torch.hub import download_url_to_file, get_dir


def allow_mmengine_globals() -> None:
    """Let ``weights_only`` loading read what MMEngine itself saves.

    A checkpoint of MMEngine holds its message hub: ``HistoryBuffer`` objects
    with numpy arrays in them. torch >= 2.6 refuses these unless they are
    declared harmless, which is why resuming fails there with mmengine 0.10.7.
    """
    torch.serialization.add_safe_globals([
        HistoryBuffer,
        np.ndarray,
        np.dtype,
        np.core.multiarray._reconstruct
        if np.lib.NumpyVersion(np.__version__) < '2.0.0' else
        np._core.multiarray._reconstruct,
        np.core.multiarray.scalar
        if np.lib.NumpyVersion(np.__version__) < '2.0.0' else
        np._core.multiarray.scalar,
        *{type(np.dtype(code))
          for code in np.typecodes['All']},
    ])


def load_checkpoint_file(path: str) -> Dict[str, Any]:
    """Read a checkpoint without unpickling arbitrary objects.

    Args:
        path (str): A file, or an ``http(s)://`` address, which is downloaded
            once and kept where ``torch.hub`` keeps its checkpoints.

    Returns:
        dict: The checkpoint, its tensors on the CPU.

    Raises:
        FileNotFoundError: No such file, or the download failed.
        ValueError: The file is truncated, no checkpoint, or holds objects
            other than tensors and plain data.
    """
    file = _download(path) if path.startswith(('http://', 'https://')) \
        else osp.expanduser(path)
    if not osp.isfile(file):
        raise FileNotFoundError(
            f'The checkpoint {path!r} is not there (looked for '
            f'{osp.abspath(file)!r}).')
    try:
        checkpoint = torch.load(file, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f'The checkpoint {path!r} holds objects that are neither tensors '
            'nor plain data, so it was not read: a file from a stranger may '
            'run code. If you trust it, save its weights anew with '
            "torch.save({'state_dict': ...}).\n" + str(error)) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(
            f'The checkpoint {path!r} ({osp.getsize(file)} bytes) is '
            f'truncated or no checkpoint: {error}') from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f'The checkpoint {path!r} holds a '
                         f'{type(checkpoint).__name__}, not a dict of '
                         'weights.')
    return checkpoint


def _download(url: str) -> str:
    file = osp.join(get_dir(), 'checkpoints', osp.basename(
        urlparse(url).path))
    if not osp.isfile(file):
        try:
            torch.hub.os.makedirs(osp.dirname(file), exist_ok=True)
            download_url_to_file(url, file)
        except OSError as error:
            raise FileNotFoundError(
                f'The checkpoint {url!r} could not be downloaded ({error}). '
                f'Put it at {file!r} yourself, or give the path of a local '
                'file.') from error
    return file

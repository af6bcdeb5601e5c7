# Copyright (c) sskd_mm authors. All rights reserved.
import os
import os.path as osp
import pickle
from typing import IO, Any, Callable, Dict, Sequence, Set, Union
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch.hub import download_url_to_file, get_dir

# Kept because it is patched while MMEngine reads; see checkpoint_loader.
_torch_load = torch.load
_pickles: Set[str] = set()


class UntrustedCheckpointError(ValueError):
    """A checkpoint holds objects whose loading would run code."""


class TruncatedCheckpointError(ValueError):
    """A file is truncated or not a checkpoint."""


def mmengine_globals() -> list:
    """List the safe objects that MMEngine itself saves in a checkpoint.

    They belong to its message hub: ``HistoryBuffer`` with numpy arrays. torch
    refuses to load these unless they are declared safe.

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
    """Allow ``getattr`` only as pickled in a ``HistoryBuffer``."""
    if cls is not HistoryBuffer or name not in ('min', 'max', 'current',
                                                'mean'):
        raise pickle.UnpicklingError(
            f'getattr({cls!r}, {name!r}) is not allowed in a checkpoint.')
    return getattr(cls, name)


def allow_pickle(files: Sequence[str]) -> None:
    """Name the checkpoints that may run code when loaded.

    From now on only these are fully unpickled. The config key
    ``allow_pickle`` and the tools' option ``--allow-pickle`` call this.

    Args:
        files (Sequence[str]): Paths, or URLs exactly as written elsewhere in
            the config. An empty list revokes all permissions.

    Raises:
        TypeError: ``files`` is a single name.

    Example:
        >>> allow_pickle(['checkpoints/my_old_teacher.pth'])
    """
    if isinstance(files, str):
        raise TypeError(f'allow_pickle={files!r} must be a list: '
                        f'allow_pickle=[{files!r}].')
    _pickles.clear()
    _pickles.update(_identity(file) for file in files)


def load_checkpoint_file(path: Union[str, os.PathLike]) -> Dict[str, Any]:
    """Read a checkpoint without unpickling arbitrary objects.

    Args:
        path (str or Path): A file, or an ``http(s)://`` URL, which is
            downloaded once into the checkpoint cache of ``torch.hub``.

    Returns:
        dict: The checkpoint, its tensors on the CPU.

    Raises:
        FileNotFoundError: No such file, or the download failed.
        TruncatedCheckpointError: The file is truncated or not a checkpoint.
        UntrustedCheckpointError: It holds objects other than tensors and
            plain data, and :func:`allow_pickle` does not name it.
    """
    path = os.fspath(path)
    file = _download(path) if path.startswith(('http://', 'https://')) \
        else osp.expanduser(path)
    if not osp.isfile(file):
        raise FileNotFoundError(
            f'The checkpoint {path!r} is not there (looked for '
            f'{osp.abspath(file)!r}).')
    checkpoint = read_weights(file, path)
    if not isinstance(checkpoint, dict):
        raise TruncatedCheckpointError(
            f'The checkpoint {path!r} holds a {type(checkpoint).__name__}, '
            'not a dict of weights.')
    return checkpoint


def read_weights(file: Union[str, IO[bytes]],
                 name: str,
                 map_location: Any = 'cpu') -> Any:
    """Call ``torch.load``, but unpickle only tensors and plain data.

    Args:
        file (str or file object): The file to read.
        name (str): The path or URL that the user knows it by.
        map_location: See ``torch.load``. Defaults to ``'cpu'``.

    Returns:
        Any: The content of the file.

    Raises:
        TruncatedCheckpointError: The file is truncated or not a checkpoint.
        UntrustedCheckpointError: It holds objects other than tensors and
            plain data, and :func:`allow_pickle` does not name it.
    """
    trusted = _identity(name) in _pickles
    declared = torch.serialization.get_safe_globals()
    try:
        # mmengine 0.10.12 declares getattr itself safe while it reads, which
        # gives a pickle access to almost everything.
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(
            [d for d in declared if d is not getattr] + mmengine_globals())
        return _torch_load(
            file, map_location=map_location, weights_only=not trusted)
    except torch.OutOfMemoryError:
        raise
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        if isinstance(error, pickle.UnpicklingError) and not trusted:
            raise UntrustedCheckpointError(
                f'The checkpoint {name!r} holds objects that are neither '
                'tensors nor plain data, so it was not read: an untrusted '
                'file may run code. If you trust it, name it: '
                f'--allow-pickle {name} with the tools of sskd_mm, or '
                f'allow_pickle=[{name!r}] in the config.\n{error}') from error
        raise TruncatedCheckpointError(
            f'The checkpoint {name!r} is truncated or not a checkpoint: '
            f'{error}') from error
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(declared)


def _identity(name: str) -> str:
    return name if '://' in name else osp.realpath(osp.expanduser(name))


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

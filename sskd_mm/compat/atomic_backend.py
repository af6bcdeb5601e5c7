# Copyright (c) sskd_mm authors. All rights reserved.
import os
import os.path as osp
from pathlib import Path
from typing import Union

from mmengine.fileio import LocalBackend, register_backend


class AtomicLocalBackend(LocalBackend):
    """A local file backend with atomic writes.

    MMEngine overwrites a checkpoint in place: a kill or a full disk leaves a
    truncated file under a valid name. This backend writes to ``.NAME.part``
    and renames it. A part file left by a killed process is overwritten the
    next time, e.g. by the resumed run. As with MMEngine's own backend, a file
    has one writer at a time.
    """

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write bytes to a file.

        Args:
            obj (bytes): The content.
            filepath (str or Path): The file, which is replaced atomically.

        Raises:
            OSError: For example, the disk is full. Any previous file at
                ``filepath`` is intact.
        """
        folder, name = osp.split(osp.abspath(filepath))
        os.makedirs(folder, exist_ok=True)
        part = osp.join(folder, f'.{name}.part')
        try:
            with open(part, 'wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, filepath)
        except BaseException:
            if osp.lexists(part):
                os.unlink(part)
            raise

    def put_text(self,
                 obj: str,
                 filepath: Union[str, Path],
                 encoding: str = 'utf-8') -> None:
        """Write text to a file, as :meth:`put` does; MMEngine's ``dump``
        calls this for JSON.

        Args:
            obj (str): The content.
            filepath (str or Path): The file, which is replaced atomically.
            encoding (str): Encoding of the text. Defaults to ``'utf-8'``.
        """
        self.put(obj.encode(encoding), filepath)


def install() -> None:
    """Make MMEngine write local files atomically."""
    register_backend(
        'local', AtomicLocalBackend, prefixes='', force=True)

# Copyright (c) sskd_mm authors. All rights reserved.
import os
import os.path as osp
from pathlib import Path
from typing import Union

from mmengine.fileio import LocalBackend, register_backend


class AtomicLocalBackend(LocalBackend):
    """Local files that are there whole or not at all.

    MMEngine writes a checkpoint straight into its place: a kill or a full
    disk half-way leaves a truncated file under a good name, over what may
    have been there. This backend writes beside it, to ``.NAME.part``, and
    renames. What a killed process leaves there is written over when the file
    is written again, as a resumed run does. As with MMEngine's own backend, a
    file has one writer at a time.
    """

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write bytes to a file.

        Args:
            obj (bytes): What to write.
            filepath (str or Path): The file, which is replaced in one step.

        Raises:
            OSError: The disk is full, for example. What was at ``filepath``
                before is intact then.
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
            obj (str): What to write.
            filepath (str or Path): The file, which is replaced in one step.
            encoding (str): Of the text. Defaults to ``'utf-8'``.
        """
        self.put(obj.encode(encoding), filepath)


def install() -> None:
    """Let MMEngine write local files like this."""
    register_backend(
        'local', AtomicLocalBackend, prefixes='', force=True)

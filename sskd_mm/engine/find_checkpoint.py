# Copyright (c) sskd_mm authors. All rights reserved.
from pathlib import Path
from typing import Iterator, Optional, Tuple

from mmengine.logging import MMLogger

from ..compat import TruncatedCheckpointError, load_checkpoint_file


def find_checkpoint(work_dir: str,
                    path: Optional[str] = None) -> Tuple[Optional[str], dict]:
    """Find the checkpoint to resume from: the given one, else the one named by
    ``last_checkpoint``, else the readable one that was trained longest.

    Only the file name in ``last_checkpoint`` counts, so a work directory may
    have been copied.

    Returns:
        tuple: Its path and content; None and an empty dict without any.

    Raises:
        TruncatedCheckpointError: The given one, or all found, are truncated.
        UntrustedCheckpointError: It holds more than tensors and plain data.
    """
    if path is not None:
        return path, load_checkpoint_file(path)
    for file in _named(Path(work_dir)):
        try:
            return str(file), load_checkpoint_file(str(file))
        except TruncatedCheckpointError as error:
            _skip(error)
    found, failed = (None, {}), None
    for file in sorted([
            *Path(work_dir).glob('epoch_*.pth'),
            *Path(work_dir).glob('iter_*.pth')
    ]):
        try:
            checkpoint = load_checkpoint_file(str(file))
        except TruncatedCheckpointError as error:
            _skip(error)
            failed = error
            continue
        if _trained(checkpoint) > _trained(found[1]):
            found = str(file), checkpoint
    if found[0] is None and failed is not None:
        raise failed
    return found


def _named(work_dir: Path) -> Iterator[Path]:
    name = work_dir / 'last_checkpoint'
    if name.is_file():
        text = name.read_text(errors='replace').strip()
        # It may be elsewhere, in CheckpointHook's out_dir.
        for file in (work_dir / Path(text).name, Path(text)):
            if text and file.is_file():
                yield file
                return


def _trained(checkpoint: dict) -> Tuple[int, int]:
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict):
        return (0, 0) if checkpoint else (-1, -1)
    return meta.get('iter', 0), meta.get('epoch', 0)


def _skip(error: Exception) -> None:
    MMLogger.get_current_instance().warning(
        f'Skipped, resuming from an earlier checkpoint: {error}')

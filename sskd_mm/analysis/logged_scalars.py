# Copyright (c) sskd_mm authors. All rights reserved.
import json
import logging
from pathlib import Path
from typing import Any, Dict, List, Union

from mmengine.logging import print_log


def read_scalars(work_dir: Union[str, Path]) -> List[Dict[str, float]]:
    """Read the log of MMEngine's ``LocalVisBackend``.

    A killed run may leave a truncated line, which is skipped with a warning.

    Args:
        work_dir (str or Path): Work directory of a run, resumed or not.

    Returns:
        list[dict]: The lines of all ``*/vis_data/scalars.json``, oldest
        first.

    Example:
        >>> [p['loss'] for p in read_scalars('work_dirs/x') if 'loss' in p]
    """
    points = []
    for file in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        lines = file.read_text(encoding='utf-8', errors='replace').split('\n')
        for number, line in enumerate(lines, 1):
            if line.strip():
                point = read_json(line, f'line {number} of {file}')
                if point is not None:
                    points.append(point)
    return points


def read_json(text: str, what: str) -> Any:
    """Parse JSON that a killed run may have left incomplete.

    Args:
        text (str): The JSON.
        what (str): Description for warnings.

    Returns:
        The value, or None if it cannot be parsed.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        print_log(
            f'Skipped {what}, which is not complete JSON ({error}).',
            logger='current',
            level=logging.WARNING)
        return None

# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np


def take_templates(numbers: np.ndarray, wanted: np.ndarray,
                   what: str) -> np.ndarray:
    """Find the rows of templates by their numbers.

    Args:
        numbers (np.ndarray): All templates in ascending order, shape (T, ).
        wanted (np.ndarray): The templates to find, shape (M, ).
        what (str): What lists them, for error messages.

    Returns:
        np.ndarray: Rows, shape (M, ), int.

    Raises:
        ValueError: A template has no face; the message names the first few.
    """
    rows = np.searchsorted(numbers, wanted).clip(max=len(numbers) - 1)
    lost = np.unique(np.asarray(wanted)[numbers[rows] != wanted])
    if len(lost):
        raise ValueError(
            f'{len(lost)} templates of the {what} have no face, e.g. '
            f'{", ".join(map(str, lost[:5]))}. The metadata files do not '
            'match: take all from the same release.')
    return rows

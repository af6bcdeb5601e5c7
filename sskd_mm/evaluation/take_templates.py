# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np


def take_templates(numbers: np.ndarray, wanted: np.ndarray,
                   what: str) -> np.ndarray:
    """Rows of templates by their numbers.

    Args:
        numbers (np.ndarray): All templates in rising order, shape (T, ).
        wanted (np.ndarray): The templates to find, shape (M, ).
        what (str): What names them, for the error message.

    Returns:
        np.ndarray: Rows, shape (M, ), int.

    Raises:
        ValueError: A template has no face; the first few are named.
    """
    rows = np.searchsorted(numbers, wanted).clip(max=len(numbers) - 1)
    lost = np.unique(np.asarray(wanted)[numbers[rows] != wanted])
    if len(lost):
        raise ValueError(
            f'{len(lost)} templates of the {what} have no face, as '
            f'{", ".join(map(str, lost[:5]))}. The metadata files do not go '
            'together: take all of one release.')
    return rows

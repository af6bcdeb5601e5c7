# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List


def read_lines(file: str) -> List[str]:
    """Read the lines of a UTF-8 text file, with or without a BOM.

    Args:
        file (str): The file.

    Returns:
        list[str]: Its lines, including line ends.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not UTF-8 text.
    """
    try:
        with open(file, encoding='utf-8-sig') as lines:
            return list(lines)
    except UnicodeDecodeError as error:
        raise ValueError(f'{file!r} is not UTF-8 text ({error}). Save it as '
                         'UTF-8.') from error

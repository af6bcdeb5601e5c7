# Copyright (c) sskd_mm authors. All rights reserved.
from typing import List


def read_lines(file: str) -> List[str]:
    """The lines of a text file in UTF-8, with or without a byte order mark.

    Args:
        file (str): The file.

    Returns:
        list[str]: Its lines, with their ends.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no text in UTF-8.
    """
    try:
        with open(file, encoding='utf-8-sig') as lines:
            return list(lines)
    except UnicodeDecodeError as error:
        raise ValueError(f'{file!r} is no text in UTF-8 ({error}). Save it as '
                         'UTF-8.') from error

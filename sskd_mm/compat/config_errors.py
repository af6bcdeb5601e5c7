# Copyright (c) sskd_mm authors. All rights reserved.
"""Makes MMEngine's errors name the config that is missing or has a typo.

MMEngine parses a config first and passes on Python's error, which does not
name the file.
"""
from mmengine.config import Config

_mmengine_is_lazy_import = Config._is_lazy_import


def _is_lazy_import(filename: str) -> bool:
    try:
        return _mmengine_is_lazy_import(filename)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'The config {filename!r} is not there.') from error
    except SyntaxError as error:
        raise SyntaxError(
            f'{filename!r}, line {error.lineno}: {error.msg}') from error


def install() -> None:
    """Make MMEngine name the file."""
    Config._is_lazy_import = staticmethod(_is_lazy_import)

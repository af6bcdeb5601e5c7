# Copyright (c) sskd_mm authors. All rights reserved.
"""Lets MMEngine find the configs of this package by ``sskd_mm::``.

MMEngine has a list of the packages whose configs it looks for, and takes the
package's name for the registry scope of what it finds. The components of
sskd_mm are in the root registries, and its configs name a ``default_scope``.
"""
from typing import Optional, Tuple

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

_mmengine_get_cfg_path = Config._get_cfg_path


def _get_cfg_path(cfg_path: str, filename: str) -> Tuple[str, Optional[str]]:
    """``Config._get_cfg_path``, without a scope for configs of sskd_mm."""
    path, scope = _mmengine_get_cfg_path(cfg_path, filename)
    return path, None if scope == 'sskd_mm' else scope


def install() -> None:
    """Let MMEngine find ``sskd_mm::CONFIG`` as a base and a teacher."""
    MODULE2PACKAGE['sskd_mm'] = 'sskd_mm'
    Config._get_cfg_path = staticmethod(_get_cfg_path)

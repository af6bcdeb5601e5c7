# Copyright (c) sskd_mm authors. All rights reserved.
"""Lets MMEngine find the configs of this package by ``sskd_mm::``.

MMEngine has a list of the packages whose configs it looks for, and takes the
package's name for the registry scope of what it finds. The components of
sskd_mm are in the root registries, and its configs name a ``default_scope``.
"""
import os.path as osp
from typing import Optional, Tuple

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

#: As ``setup.py`` lays them.
CONFIGS = osp.join(osp.dirname(osp.dirname(__file__)), '.mim', 'configs')

_mmengine_get_cfg_path = Config._get_cfg_path


def find_shipped_config(path: str) -> str:
    """The file of a config of this package.

    Args:
        path (str): Below ``configs/``.

    Raises:
        FileNotFoundError: It is not there.

    Example:
        >>> find_shipped_config('_base_/sskd_detection.py')
    """
    file = osp.join(CONFIGS, path)
    if not osp.isfile(file):
        raise FileNotFoundError(
            f"'sskd_mm::{path}': {file} is not there. docs/model_zoo.md lists "
            'the configs. If there is no folder .mim, install sskd_mm with '
            'pip.')
    return file


def _get_cfg_path(cfg_path: str, filename: str) -> Tuple[str, Optional[str]]:
    """``Config._get_cfg_path``, without a scope for configs of sskd_mm.

    They are looked for beside this file: MMEngine 0.10.7 does not find a
    package in an editable install.
    """
    scope, _, path = cfg_path.partition('::')
    if scope != 'sskd_mm':
        return _mmengine_get_cfg_path(cfg_path, filename)
    return find_shipped_config(path), None


def install() -> None:
    """Let MMEngine find ``sskd_mm::CONFIG`` as a base and a teacher."""
    MODULE2PACKAGE['sskd_mm'] = 'sskd_mm'
    Config._get_cfg_path = staticmethod(_get_cfg_path)

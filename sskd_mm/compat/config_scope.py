# Copyright (c) sskd_mm authors. All rights reserved.
"""Makes MMEngine find the configs of this package by ``sskd_mm::``.

MMEngine only looks for configs of a fixed list of packages, and uses the
package name as the registry scope. The components of sskd_mm are in the root
registries, and its configs name a ``default_scope``.
"""
import os.path as osp
from typing import Optional, Tuple

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

#: Where ``setup.py`` puts them.
CONFIGS = osp.join(osp.dirname(osp.dirname(__file__)), '.mim', 'configs')

_mmengine_get_cfg_path = Config._get_cfg_path


def find_shipped_config(path: str) -> str:
    """Find the file of a config of this package.

    Args:
        path (str): Path relative to ``configs/``.

    Raises:
        FileNotFoundError: The file does not exist.

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

    They are located relative to this file, because MMEngine 0.10.7 does not
    find a package in an editable install.
    """
    scope, _, path = cfg_path.partition('::')
    if scope != 'sskd_mm':
        return _mmengine_get_cfg_path(cfg_path, filename)
    return find_shipped_config(path), None


def install() -> None:
    """Make MMEngine find ``sskd_mm::CONFIG`` as a base and a teacher."""
    MODULE2PACKAGE['sskd_mm'] = 'sskd_mm'
    Config._get_cfg_path = staticmethod(_get_cfg_path)

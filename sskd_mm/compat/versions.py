# Copyright (c) sskd_mm authors. All rights reserved.
import os.path as osp
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from runpy import run_path
from typing import Dict, Optional

from mmengine.utils import digit_version

#: The oldest supported version of each package, and the first that is too new.
SUPPORTED = dict(
    torch=('2.6.0', None),
    torchvision=('0.21.0', None),
    mmengine=('0.10.0', '1.0.0'),
    mmcv=('2.0.0', '2.4.0'),
    mmdet=('3.0.0', '4.0.0'),
    mmpretrain=('1.0.0', '2.0.0'))

#: Packages that only some configs need.
OPTIONAL = ('mmdet', 'mmpretrain')

#: The two stacks share import names and differ only by distribution.
DISTRIBUTIONS = dict(
    mmengine=('onedl-mmengine', 'mmengine', 'mmengine-lite'),
    mmcv=('onedl-mmcv', 'mmcv', 'mmcv-lite'),
    mmdet=('onedl-mmdetection', 'mmdet'),
    mmpretrain=('onedl-mmpretrain', 'mmpretrain'))

_INSTALL = ("pip install 'sskd-mm[onedl]' (maintained packages) or "
            "pip install 'sskd-mm[openmmlab]' (the original ones)")


def check_stack() -> None:
    """Check that sskd_mm's requirements are installed in supported versions.

    Raises:
        ImportError: A package is missing, too old or too new; the message
            names it, its version and what to install.
    """
    for package, (oldest, too_new) in SUPPORTED.items():
        found = _version(package)
        if found is None:
            if package in OPTIONAL:
                continue
            raise ImportError(f'sskd_mm needs {package}, which is not '
                              f'installed. Install it: {_INSTALL}.')
        if digit_version(found) < digit_version(oldest) or (
                too_new and digit_version(found) >= digit_version(too_new)):
            bound = f'>={oldest}' + (f',<{too_new}' if too_new else '')
            raise ImportError(f'sskd_mm needs {package}{bound}, but '
                              f'{package} {found} is installed. Install '
                              f'another: {_INSTALL}.')


def installed_distributions() -> Dict[str, str]:
    """Get the distribution that provides each OpenMMLab package.

    Returns:
        dict[str, str]: For example ``{'mmcv': 'onedl-mmcv 2.3.6'}``; only
        installed packages.
    """
    found = {}
    for package in DISTRIBUTIONS:
        module_version = _version(package)
        if module_version is not None:
            found[package] = _distribution(package, module_version)
    return found


def _distribution(package: str, module_version: str) -> str:
    for name in DISTRIBUTIONS[package]:
        try:
            # Both can be installed; the imported one counts.
            if version(name) == module_version:
                return f'{name} {module_version}'
        except PackageNotFoundError:
            continue
    return f'{package} {module_version}'


def _version(package: str) -> Optional[str]:
    if package not in DISTRIBUTIONS:
        try:
            return version(package)
        except PackageNotFoundError:
            return None
    spec = find_spec(package)
    if spec is None:
        return None
    # Only this file: importing mmdet or mmpretrain would take seconds, and
    # fail if mmcv has no compiled operators.
    file = osp.join(osp.dirname(spec.origin), 'version.py')
    return run_path(file)['__version__']

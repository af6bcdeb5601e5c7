# Copyright (c) sskd_mm authors. All rights reserved.
"""Stage-by-stage knowledge distillation as a plug-in for OpenMMLab.

An mmdet or mmpretrain project only needs
``custom_imports = dict(imports=['sskd_mm'])`` in its config: importing the
package registers its components in MMEngine's root registries.
"""
from . import compat
from .version import __version__

compat.check_stack()
compat.mmcv_ext.install()
compat.atomic_backend.install()
compat.checkpoint_loader.install()
compat.config_errors.install()
compat.config_scope.install()
compat.config_text.install()
compat.safe_yaml.install()

from . import (adapters, datasets, distillers, engine,  # noqa: E402, F401
               evaluation, losses, models)

__all__ = ['__version__']

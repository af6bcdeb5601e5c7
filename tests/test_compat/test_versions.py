# Copyright (c) sskd_mm authors. All rights reserved.
import subprocess
import sys

import pytest

from sskd_mm.compat import versions


def test_this_stack_is_supported():
    versions.check_stack()
    found = versions.installed_distributions()
    assert set(found) == {'mmengine', 'mmcv', 'mmdet', 'mmpretrain'}
    import mmcv
    import mmengine
    assert found['mmengine'].endswith(f'mmengine {mmengine.__version__}')
    assert found['mmcv'].endswith(f' {mmcv.__version__}')


@pytest.mark.parametrize('package, version, message', [
    ('mmengine', None, 'needs mmengine, which is not installed'),
    ('mmengine', '0.7.4', r'mmengine>=0.10.0,<1.0.0, but mmengine 0.7.4'),
    ('mmcv', '1.7.2', r'mmcv>=2.0.0,<2.4.0, but mmcv 1.7.2'),
    ('mmdet', '2.28.2', r'mmdet>=3.0.0,<4.0.0, but mmdet 2.28.2'),
    ('torch', '1.13.1', r'torch>=2.6.0, but torch 1.13.1'),
])
def test_missing_or_too_old(monkeypatch, package, version, message):
    real = versions._version
    monkeypatch.setattr(versions, '_version', lambda name: version
                        if name == package else real(name))
    with pytest.raises(ImportError, match=message) as error:
        versions.check_stack()
    assert "pip install 'sskd-mm[onedl]'" in str(error.value)


def test_mmdet_is_optional(monkeypatch):
    real = versions._version
    monkeypatch.setattr(versions, '_version', lambda name: None
                        if name == 'mmdet' else real(name))
    versions.check_stack()


def test_import_registers_everything_and_imports_no_detector():
    code = (
        'import sys, sskd_mm\n'
        'from mmengine.registry import LOOPS, MODELS\n'
        "assert MODELS.get('StageByStageDistiller')\n"
        "assert MODELS.get('L2MimicLoss') and MODELS.get('ConvAdapter')\n"
        "assert LOOPS.get('StageByStageTrainLoop')\n"
        "assert 'mmdet' not in sys.modules, 'it would cost seconds'\n")
    subprocess.run([sys.executable, '-c', code], check=True)

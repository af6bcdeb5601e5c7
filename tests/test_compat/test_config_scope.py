# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
from mmengine.config import Config

from sskd_mm.compat import config_scope


def test_base(root, tmp_path, monkeypatch):
    """As a file; tests/test_packaging.py has it of an installed package."""
    monkeypatch.setattr(config_scope, 'CONFIGS', str(root / 'configs'))
    mine = tmp_path / 'mine.py'

    def read(base):
        mine.write_text(f'_base_ = {base!r}\nmodel = dict(own=1)\n')
        return Config.fromfile(mine).model

    name = 'sskd/faster_rcnn_r18_digits.py'
    shipped = Config.fromfile(root / 'configs' / name).model
    assert read(f'sskd_mm::{name}') == dict(shipped, own=1)
    with pytest.raises(FileNotFoundError, match='nothing.py is not there'):
        read('sskd_mm::sskd/nothing.py')
    # Those of other packages are found as ever, in their scope.
    assert read('mmdet::_base_/models/faster-rcnn_r50_fpn.py')._scope_ == (
        'mmdet')

# Copyright (c) sskd_mm authors. All rights reserved.
from pathlib import Path

import pytest
from mmengine.config import Config

from sskd_mm.compat import read_dumped_config

HERE = Path(__file__).parents[2] / 'configs'
FILES = sorted(HERE.glob('sskd/**/*.py'))[::5]


@pytest.mark.parametrize('file', FILES, ids=lambda f: f.stem)
def test_what_was_dumped(file, tmp_path):
    cfg = Config.fromfile(file)
    cfg.odd = {'a-b': -1, 'c': [('x', ), {'d/e': 1e-9}], 'f': float('inf')}
    cfg.dump(tmp_path / 'dump.py')
    assert read_dumped_config(tmp_path / 'dump.py') == cfg.to_dict()


@pytest.mark.parametrize('text', [
    'import os', 'a = open("{}", "w")', 'a = dict(b=open("{}", "w"))',
    'a = [x for x in (1, )]', 'a = 1 + 1', 'a = -"x"', 'a = f"{{1}}"',
    'a = {{**{{}}}}', 'a = dict(**{{}})', 'a.b = 1', 'a =', 'a = dict([1, 2])'
])
def test_anything_else(text, tmp_path):
    file, ran = tmp_path / 'cfg.py', tmp_path / 'ran'
    file.write_text('x = 1\n' + text.format(ran))
    with pytest.raises(ValueError, match='cfg.py is not a config written'):
        read_dumped_config(file)
    assert not ran.exists()

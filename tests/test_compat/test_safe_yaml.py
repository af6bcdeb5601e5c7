# Copyright (c) sskd_mm authors. All rights reserved.
import time
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from mmengine.fileio import load

from sskd_mm.compat import InvalidYamlError, read_yaml

TAGS = [
    '!!python/object/apply:builtins.open [{}, w]',
    '!!python/object/new:builtins.open [{}, w]',
    '!!python/name:os.system', '!!python/module:this', '!!python/object:os.x'
]


def laughs(width: int, depth: int) -> str:
    """Lists of aliases of lists of aliases."""
    lines = ['l0: &l0 [ha]']
    for i in range(1, depth):
        lines.append(f'l{i}: &l{i} [{", ".join(width * [f"*l{i - 1}"])}]')
    return '\n'.join(lines)


@pytest.mark.parametrize('tag', TAGS)
@pytest.mark.parametrize('where', ['config', 'base', 'base of a .py'])
def test_a_tag_that_names_code(tag, where, tmp_path):
    ran, bad = tmp_path / 'ran', tmp_path / 'bad.yaml'
    bad.write_text('a: 1\nb: ' + tag.format(ran))
    file = bad
    if where != 'config':
        suffix = '.yml' if where == 'base' else '.py'
        file = (tmp_path / 'child').with_suffix(suffix)
        file.write_text(
            '_base_: bad.yaml' if suffix == '.yml' else "_base_ = 'bad.yaml'")
    with pytest.raises(InvalidYamlError, match='line 2.*Python') as error:
        Config.fromfile(file)
    assert error.value.file == str(bad) and str(bad) in str(error.value)
    assert not ran.exists()
    with pytest.raises(InvalidYamlError):
        load(str(bad))


@pytest.mark.parametrize('text, problem', [
    (laughs(10, 10), r'alias \*l\d in line'),
    ('a: &a [' + 'x, ' * 20000 + ']\n' + 'b: [' + '*a, ' * 20 + ']',
     r'alias \*a in line 2'),
    ('a: &a ' + 'x' * 10**6 + '\nb: [' + '*a, ' * 20 + ']', 'alias'),
    ('b0: &b0 {x: 1}\n' + '\n'.join(
        f'b{i}: &b{i} {{<<: [{", ".join(10 * [f"*b{i - 1}"])}]}}'
        for i in range(1, 9)), 'alias'),
    ('a: &a [*a]', 'inside its own anchor'),
    ('a: &a x\nb: &a [*a]', 'inside its own anchor'),
    ('a: *b', 'no anchor &b'),
    ('[' * 100000, 'nest'),
    ('{a: ' * 5000 + '1' + '}' * 5000, 'nested more than'),
    ('- ' * 5000 + 'x', 'nested more than'),
    ('a: [1', 'not valid YAML'),
    ('a: 2001-99-99', 'not valid YAML'),
    ('a: !!int x', 'not valid YAML'),
    ('? [a]\n: 1', 'unhashable'),
    ('a: 1\n---\nb: 1', 'single document'),
    ('a: "\x00"', 'not valid YAML'),
])
def test_a_file_that_would_grow_or_crash(text, problem):
    begin = time.monotonic()
    with pytest.raises(InvalidYamlError, match=problem):
        read_yaml(text)
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize('content, problem', [
    (b'- a', 'is a mapping'),
    (b'', 'is a mapping'),
    (b'just text', 'is a mapping'),
    (b'\xff\xfe\x00', 'UTF-8'),
])
def test_a_file_that_is_no_config(content, problem, tmp_path):
    file = tmp_path / 'study.yaml'
    file.write_bytes(content)
    with pytest.raises(InvalidYamlError, match=f'study.yaml: .*{problem}'):
        Config.fromfile(file)


def test_plain_data_is_read_as_before(tmp_path):
    content = dict(
        words='a', number=.5, none=None, nested=[dict(a=[True, (2, 3)])])
    cfg = Config(content)
    cfg.dump(tmp_path / 'cfg.yaml')  # with a tag for the tuple
    assert Config.fromfile(tmp_path / 'cfg.yaml').to_dict() == content
    (tmp_path / 'child.yaml').write_text(
        '_base_: cfg.yaml\nx: &x {b: 1}\ny: {<<: *x, c: 2}\nz: [*x, *x]')
    child = Config.fromfile(tmp_path / 'child.yaml')
    assert child.y == dict(b=1, c=2)
    assert child.z == [dict(b=1), dict(b=1)] and child.words == 'a'
    # What one reader does with it is none of another's business.
    child.z.append(1)
    assert len(Config.fromfile(tmp_path / 'child.yaml').z) == 2
    read_yaml('a: [1]')['a'].append(2)
    assert read_yaml('a: [1]') == dict(a=[1])


def test_every_yaml_file_here(root):
    files = [
        f for end in ('yml', 'yaml') for folder in ('configs', 'studies')
        for f in Path(root, folder).rglob(f'*.{end}')
    ]
    assert len(files) > 10
    for file in files:
        assert read_yaml(file.read_text()) == yaml.safe_load(file.read_text())

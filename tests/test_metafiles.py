# Copyright (c) sskd_mm authors. All rights reserved.
"""model-index.yml and the metafiles, and the page that is written of them."""
import re
import runpy
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ZOO = runpy.run_path(str(ROOT / 'docs/make_model_zoo.py'))
MODELS = ZOO['load_models']()


def _text(path):
    """Of a config, and of the config that it is a variant of."""
    text = re.sub(r"'\s*\n\s*'", '', path.read_text())
    base = re.search(r"^_base_ = '(.+)'$", text, re.MULTILINE)
    return text + (_text(path.parent / base[1]) if base else '')


def test_every_config_is_listed_once():
    configs = sorted(
        str(path.relative_to(ROOT)) for path in ROOT.glob('configs/**/*.py')
        if '_base_' not in path.parts)
    assert sorted(model['Config'] for model in MODELS) == configs
    assert len({model['Name'] for model in MODELS}) == len(configs)


def test_a_file_name_is_enough_for_mim():
    """It looks for ``mim train sskd_mm NAME.py`` in all folders."""
    names = Counter(path.name for path in ROOT.glob('configs/**/*.py'))
    assert not [
        model['Config'] for model in MODELS
        if names[Path(model['Config']).name] > 1
    ]


@pytest.mark.parametrize('model', MODELS, ids=lambda model: model['Name'])
def test_entry(model):
    config = Path(model['Config'])
    distils = config.parts[1] == 'sskd'
    assert model['Name'] == 'sskd_' * distils + config.stem
    assert model['In Collection'] == ('SSKD' if distils else 'Baselines')
    if distils:
        text = _text(ROOT / config)
        for key in ('Teacher', 'Student'):
            package, _, path = model['Metadata'][key].rpartition('::')
            assert package or (ROOT / path).is_file()
            assert '/' + Path(path).name in text, f'{key} is another'


def test_what_was_measured_is_in_the_benchmarks():
    benchmarks = ''.join(
        page.read_text() for page in ROOT.glob('docs/benchmarks/*.md'))
    for model in MODELS:
        figures = re.findall(r'\d+\.\d+(?: ± \d+\.\d+)?',
                             re.sub(r'FAR=\S+', '', ZOO['describe'](model)))
        assert bool(figures) == ('Results' in model)
        for figure in figures:
            assert figure in benchmarks, f'{model["Name"]}: {figure}'


def test_page_is_up_to_date():
    page = (ROOT / 'docs/model_zoo.md').read_text()
    assert page == ZOO['make_page'](), 'python docs/make_model_zoo.py'

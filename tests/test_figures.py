# Copyright (c) sskd_mm authors. All rights reserved.
"""The figures of docs/benchmarks.md."""
import html
import re
import runpy

import pytest
from matplotlib import pyplot as plt


@pytest.fixture(scope='module')
def script(root):
    return runpy.run_path(str(root / 'docs/make_figures.py'))


def test_figures_are_those_of_the_page(root, script):
    shown = re.findall(r'images/benchmarks/(\w+)\.svg',
                       (root / 'docs/benchmarks.md').read_text())
    drawn = [path.stem for path in root.glob('docs/images/benchmarks/*')]
    assert sorted(shown) == sorted(drawn) == sorted(script['FIGURES'])


def test_figures_show_the_rows(root, script):
    """They were drawn since the tables last changed."""
    for name, draw in script['FIGURES'].items():
        draw()
        figure = plt.gcf()
        words = [text.get_text() for ax in figure.axes for text in ax.texts]
        words += [
            text.get_text() for text in figure.axes[0].get_yticklabels()
        ]
        plt.close(figure)
        picture = root / f'docs/images/benchmarks/{name}.svg'
        lines = re.findall('>([^<>]+)</t(?:ext|span)>', picture.read_text())
        lines = set(map(html.unescape, lines))
        missing = set('\n'.join(words).split('\n')) - lines
        assert words and not missing, f'{name}: python docs/make_figures.py'


@pytest.mark.parametrize('cell, number, label', [
    ('413.7 (403.5 to 431.1)', 413.7, '413.7'),
    ('0.553 ± 0.007', .553, '0.553'),
    ('0.403, 0.901', .403, '0.403'),
    ('1,037', 1037, '1,037'),
])
def test_cells(script, cell, number, label):
    assert script['number'](cell) == number
    assert script['label'](cell) == label

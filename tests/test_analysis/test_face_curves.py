# Copyright (c) sskd_mm authors. All rights reserved.
import cv2
import matplotlib.figure
import numpy as np
import pytest
import torch

from sskd_mm.analysis import plot_faces
from sskd_mm.evaluation import Verification, all_pairs, identify


def results(noise):
    labels = np.repeat(np.arange(25), 4)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((25, 8))[labels]
    x = torch.as_tensor(x + noise * rng.standard_normal(x.shape))
    return Verification(x, *all_pairs(labels)), identify(x, labels)


@pytest.fixture
def figures(monkeypatch):
    """What is drawn, to look into."""
    made = []

    class Kept(matplotlib.figure.Figure):

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr('sskd_mm.analysis.face_curves.Figure', Kept)
    return made


def test_curves_are_those_of_the_figures(tmp_path, figures):
    names = {'teacher': 0.5, 'student': 1.}
    made = {name: results(noise) for name, noise in names.items()}
    file = tmp_path / 'x.png'
    plot_faces(file, {n: r[0] for n, r in made.items()},
               {n: r[1] for n, r in made.items()}, 'faces')
    assert cv2.imread(str(file)).std() > 5
    roc, det, histogram, cmc = figures[0].axes
    for number, (verification, identification) in enumerate(made.values()):
        far, tar = roc.lines[number].get_data()
        assert far[0] == pytest.approx(1 / verification.roc.impostors)
        for k in range(0, 1000, 50):
            assert tar[k] == verification.roc.tar_at_far(far[k])
        missed = det.lines[number].get_ydata()
        assert missed[tar < 1] == pytest.approx(1 - tar[tar < 1])
        assert (missed > 0).all()
        rates = cmc.lines[number].get_ydata()
        assert rates.tolist() == identification.cmc(len(rates)).tolist()
        # Up to where nothing more comes.
        assert len(rates) == 20 or (rates[-1] == 1 > rates[-3])
        # Whole curves are in view.
        for axes, values in ((roc, tar), (det, missed)):
            low, high = axes.get_ylim()
            assert low <= values.min() and values.max() <= high
    assert len(histogram.patches) == 4


def test_nothing_to_miss_and_no_identification(tmp_path, figures):
    verification, _ = results(0.001)
    assert verification.roc.tar.max() == 1 == verification.roc.auc
    plot_faces(tmp_path / 'x.png', {'perfect': verification})
    assert len(figures[0].axes) == 3

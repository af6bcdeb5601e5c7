# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
import torch

from sskd_mm.analysis import Alignment


def _reference(student, adapted, teacher):
    """The three figures from their definitions, in numpy."""

    def rows(x):
        return np.concatenate([
            image.reshape(image.shape[0], -1).T for image in x.double().numpy()
        ])

    s, a, t = rows(student), rows(adapted), rows(teacher)
    relative = np.linalg.norm(a - t) / np.linalg.norm(t)
    cosine = np.mean([
        x @ y / (np.linalg.norm(x) * np.linalg.norm(y)) for x, y in zip(a, t)
    ])
    # CKA by Gram matrices and HSIC, the other of its two forms.
    n = len(s)
    centre = np.eye(n) - 1 / n

    def hsic(x, y):
        return np.trace(centre @ x @ x.T @ centre @ y @ y.T)

    cka = hsic(s, t) / np.sqrt(hsic(s, s) * hsic(t, t))
    return dict(relative_l2=relative, cosine=cosine, cka=cka)


def test_against_definitions_over_batches():
    torch.manual_seed(0)
    student = torch.randn(6, 3, 4, 5)
    teacher = torch.randn(6, 7, 4, 5)
    adapted = teacher + 0.3 * torch.randn(6, 7, 4, 5)
    measure = Alignment()
    for part in (slice(0, 4), slice(4, 6)):
        measure.update(student[part], adapted[part], teacher[part])
    expected = _reference(student, adapted, teacher)
    assert measure.compute() == pytest.approx(expected, rel=1e-6)


def test_perfect_copy_and_rotation():
    torch.manual_seed(0)
    teacher = torch.randn(4, 5, 3, 3)
    rotation = torch.linalg.qr(torch.randn(5, 5))[0]
    rotated = 2 * torch.einsum('oi,nihw->nohw', rotation, teacher)
    measure = Alignment()
    measure.update(rotated, teacher, teacher)
    assert measure.compute() == pytest.approx(
        dict(relative_l2=0, cosine=1, cka=1), abs=1e-6)


def test_measuring_a_distiller(distill_cfg, tmp_path):
    from mmengine.runner import Runner

    from sskd_mm.analysis import measure_alignment
    runner = Runner.from_cfg(distill_cfg(tmp_path))
    distiller = runner.train_loop.distiller
    distiller.train()
    before = {k: v.clone() for k, v in distiller.state_dict().items()}
    result = measure_alignment(distiller, runner.val_dataloader,
                               ['layer1', 'neck'], 1)
    assert list(result) == ['layer1', 'neck']
    assert distiller.training
    for key, value in distiller.state_dict().items():
        assert torch.equal(value, before[key]), 'measuring must change nothing'
    # A student that is the teacher is aligned with it.
    distiller.student = distiller.teachers[0].model
    distiller.adapters['layer1'][0].conv = torch.nn.Identity()
    result = measure_alignment(distiller, runner.val_dataloader,
                               ['layer1', 'neck'], 1)
    for values in result.values():
        assert values == pytest.approx(
            dict(relative_l2=0, cosine=1, cka=1), abs=1e-4)

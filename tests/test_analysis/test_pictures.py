# Copyright (c) sskd_mm authors. All rights reserved.
import json
import re

import cv2
import matplotlib
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData
from torch import nn

from sskd_mm.analysis import draw_detections, plot_losses, read_losses


def _log(folder, points):
    file = folder / '20260101_000000' / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text('\n'.join(map(json.dumps, points)))


def test_losses_of_a_resumed_run_in_order(tmp_path):
    _log(tmp_path, [dict(iter=1, loss=3.), dict(iter=2, loss=2.)])
    again = tmp_path / '20260102_000000' / 'vis_data' / 'scalars.json'
    again.parent.mkdir(parents=True)
    again.write_text(
        json.dumps(dict(iter=2, loss=1.)) + '\n' +
        json.dumps({'coco/bbox_mAP': 0.1}))
    assert [(p['iter'], p['loss'])
            for p in read_losses(tmp_path)] == [(1, 3.), (2, 1.)]


def test_plot(tmp_path):
    _log(tmp_path / 'sskd', [
        dict(iter=1, loss=3., loss_mimic_layer1=3.),
        dict(iter=2, loss=2., loss_mimic_layer1=2.),
        dict(iter=3, loss=1., loss_cls=1.)
    ])
    _log(tmp_path / 'scratch', [dict(iter=1, loss=2.)])
    plot_losses(tmp_path / 'sskd', tmp_path / 'scratch', tmp_path / 'x.png')
    assert cv2.imread(str(tmp_path / 'x.png')).std() > 5


class _Images(list):
    metainfo = dict(classes=('zero', 'one'))


class _Detector(nn.Module):
    """Finds two boxes, in the size of the file."""

    def val_step(self, data):
        sample = data['data_samples'][0].clone()
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor([[10., 20., 30., 40.], [0., 0., 9., 9.]]),
            labels=torch.tensor([0, 1]),
            scores=torch.tensor([.87, .3]))
        return [sample]


def _sample(height, width, name):
    sample = DetDataSample(
        metainfo=dict(img_path=f'/data/{name}', scale_factor=(2., 2.)))
    sample.gt_instances = InstanceData(
        bboxes=HorizontalBoxes([[32., 64., 96., 112.]]),
        labels=torch.tensor([1]))
    # Magenta, so that nothing else in the picture has its colour.
    image = torch.tensor([255, 0, 255]).view(3, 1, 1).repeat(1, height, width)
    return dict(inputs=image, data_samples=sample)


def test_detections_have_titles_and_labels(tmp_path):
    images = _Images([_sample(128, 128, 'a.png'), _sample(90, 128, 'b.png')])
    file = tmp_path / 'x.svg'
    with matplotlib.rc_context({'svg.fonttype': 'none'}):
        draw_detections(images, dict(student=_Detector()), [0, 1], file)
    texts = re.findall('<text[^>]*>([^<]*)</text>', file.read_text())
    assert sorted(texts) == sorted([
        'a.png', 'b.png', 'ground truth', 'student', 'one', 'one',
        'zero 0.87', 'zero 0.87'
    ])


def test_boxes_are_where_objects_are(tmp_path):
    file = tmp_path / 'x.png'
    draw_detections(
        _Images([_sample(128, 128, 'a.png')]), dict(student=_Detector()), [0],
        file)
    picture = cv2.imread(str(file)).astype(int)
    magenta = np.flatnonzero(
        (abs(picture - (255, 0, 255)) < 9).all(-1).any(1))
    # The two panels, one above the other.
    gap = np.flatnonzero(np.diff(magenta) > 9)[0]
    panels = [(magenta[0], magenta[gap]), (magenta[gap + 1], magenta[-1])]
    lime, yellow = (0, 255, 0), (0, 255, 255)
    # The truth is of the input's size, what is found of the file's.
    boxes = (32, 64, 96, 112), (20, 40, 60, 80)
    for (top, bottom), colour, box in zip(panels, (lime, yellow), boxes):
        panel = picture[top:bottom + 1]
        left = np.flatnonzero(
            (abs(panel - (255, 0, 255)) < 9).all(-1).any(0))[0]
        line = (abs(panel - colour) < 60).all(-1)
        # The left, right and lower edges; the label lies on the upper one.
        side = (bottom - top + 1) / 128
        columns = np.flatnonzero(
            line[round((box[1] + 2) * side):round(
                (box[3] - 2) * side)].mean(0) > .9) - left
        rows = np.flatnonzero(line[:, left + round(
            (box[0] + 2) * side):left + round(
                (box[2] - 2) * side)].mean(1) > .9)
        assert columns[[0, -1]] / side == pytest.approx(box[::2], abs=1)
        assert rows[-1] / side == pytest.approx(box[3], abs=1)

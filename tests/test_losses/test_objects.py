# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData

from sskd_mm.losses.objects import Objects

SIZE = (48, 64)


def _sample(*boxes):
    boxes = torch.tensor(boxes, dtype=torch.float).view(-1, 4)
    return BaseDataElement(gt_instances=InstanceData(bboxes=boxes))


def _objects(*samples):
    return Objects.of(list(samples), torch.zeros(len(samples), 3, *SIZE))


def test_by_hand():
    # Cells of 16 x 16. The first box is columns 0 and 1, row 1; the second
    # touches no other cell than the last.
    mask = _objects(
        _sample((8, 16, 24, 32), (49, 33, 63, 47)), _sample()).mask((3, 4))
    assert mask.tolist() == [[[False] * 4, [True, True, False, False],
                              [False, False, False, True]],
                             [[False] * 4] * 3]


@pytest.mark.parametrize('size', [(48, 64), (6, 8), (5, 7), (1, 1)])
def test_against_overlaps(size):
    """A cell is foreground if it shares an area with a box."""
    torch.manual_seed(0)
    corners = torch.rand(5, 2, 2) * torch.tensor([64., 48.])
    boxes = torch.cat([corners.min(1).values, corners.max(1).values], 1)
    mask = _objects(_sample(*boxes.tolist())).mask(size)[0]
    height, width = SIZE[0] / size[0], SIZE[1] / size[1]
    for i in range(size[0]):
        for j in range(size[1]):
            inside = any(
                min(x2, (j + 1) * width) > max(x1, j * width)
                and min(y2, (i + 1) * height) > max(y1, i * height)
                for x1, y1, x2, y2 in boxes.tolist())
            assert mask[i, j] == inside


@pytest.mark.parametrize('box', [(10, 10, 10, 10), (64, 48, 64, 48),
                                 (-9, -9, -3, -2), (0, 47.99, 0.01, 48)])
def test_an_object_covers_a_cell_however_small(box):
    objects = _objects(_sample(box))
    for size in ((12, 16), (3, 4), (1, 1)):
        assert objects.mask(size).sum() == 1


def test_boxes_of_mmdet():
    from mmdet.structures.bbox import HorizontalBoxes
    sample = _sample()
    boxes = torch.tensor([[0., 0, 16, 16]])
    sample.gt_instances = InstanceData(bboxes=HorizontalBoxes(boxes))
    objects = _objects(sample)
    assert torch.equal(objects.boxes[0], boxes)
    assert objects.mask((3, 4)).sum() == 1


@pytest.mark.parametrize('samples', [
    None, [BaseDataElement()],
    [_sample(), BaseDataElement(gt_instances=InstanceData())]
])
def test_no_boxes(samples):
    with pytest.raises(ValueError, match='no gt_instances.bboxes. Use '
                       'a detection data set .*with_bbox=True'):
        Objects.of(samples, torch.zeros(2, 3, *SIZE))

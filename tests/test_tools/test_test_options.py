# Copyright (c) sskd_mm authors. All rights reserved.
"""--tta and --show-dir of tools/test.py with configs that say nothing of
either, as those of mmdet and mmpretrain."""
import json

import cv2
import pytest
import torch
from mmengine.config import Config

from sskd_mm.models import build_model

DETECTOR = 'configs/digits/small.py'


@pytest.fixture(autouse=True)
def in_project(own_project, monkeypatch):
    monkeypatch.chdir(own_project)


@pytest.fixture(scope='module')
def detector(own_project, tmp_path_factory):
    path = tmp_path_factory.mktemp('detector') / 'detector.pth'
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(own_project)
        model = build_model(Config.fromfile(DETECTOR))
    torch.manual_seed(0)
    model.init_weights()
    # A random one finds nothing above the usual threshold.
    torch.nn.init.normal_(model.bbox_head.retina_cls.weight, std=.5)
    torch.nn.init.zeros_(model.bbox_head.retina_cls.bias)
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


@pytest.fixture
def classifier(classifier_cfg, tmp_path):
    cfg = classifier_cfg(tmp_path, dict(type='CIFARResNet', depth=8), 64)
    cfg.test_dataloader, cfg.test_evaluator = (cfg.val_dataloader,
                                               cfg.val_evaluator)
    cfg.test_cfg = dict(type='TestLoop')
    cfg.dump(tmp_path / 'plain.py')
    torch.manual_seed(0)
    model = build_model(cfg)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'plain.pth')
    return tmp_path / 'plain.py', tmp_path / 'plain.pth'


@pytest.fixture
def test(call_tool, tmp_path):
    """Returns the metrics."""

    def test(*args):
        call_tool('tools/test.py', *args, '--work-dir', tmp_path / 'run')
        file = sorted((tmp_path / 'run').glob('*/*.json'))[-1]
        return json.loads(file.read_text())

    return test


def test_tta_of_a_detector(test, detector, monkeypatch):
    """Boxes of both views, mirrored back, go through one NMS."""
    from mmdet.models.test_time_augs import DetTTAModel
    seen = []
    merge = DetTTAModel.merge_aug_bboxes

    def keep(self, boxes, scores, metas):
        merged = merge(self, boxes, scores, metas)
        seen.append(([m['flip'] for m in metas], boxes, merged[0]))
        return merged

    monkeypatch.setattr(DetTTAModel, 'merge_aug_bboxes', keep)
    metrics = test(DETECTOR, detector, '--tta')
    assert 'coco/bbox_mAP' in metrics and len(seen) == 8
    for flips, (plain, mirrored), merged in seen:
        assert flips == [False, True] and len(plain) and len(mirrored)
        expected = mirrored[:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1])
        expected += torch.tensor([64, 0, 64, 0])
        torch.testing.assert_close(merged[len(plain):], expected)


def test_tta_of_few_meta_keys_and_wrapped_data(test, detector, tmp_path):
    """mmdet's own configs pack no 'flip'."""
    cfg = Config.fromfile(DETECTOR)
    dataset = cfg.test_dataloader.dataset
    dataset.pipeline[-1].meta_keys = ('img_id', 'img_path', 'ori_shape',
                                      'img_shape', 'scale_factor')
    cfg.dump(tmp_path / 'keys.py')
    metrics = test(tmp_path / 'keys.py', detector, '--tta')
    assert 'coco/bbox_mAP' in metrics
    cfg.test_dataloader.dataset = dict(
        type='RepeatDataset', dataset=dataset, times=1)
    cfg.dump(tmp_path / 'wrapped.py')
    assert test(tmp_path / 'wrapped.py', detector, '--tta') == {
        **metrics, **{k: pytest.approx(metrics[k], abs=9)
                      for k in ('data_time', 'time')}}


def test_tta_of_a_classifier(test, classifier, digit_images, monkeypatch):
    """Scores of both views are averaged."""
    from mmpretrain.models.tta.score_tta import AverageClsScoreTTA
    merge, seen = AverageClsScoreTTA.merge_preds, []

    def keep(self, samples):
        merged = merge(self, samples)
        seen.extend(zip(samples, merged))
        return merged

    monkeypatch.setattr(AverageClsScoreTTA, 'merge_preds', keep)
    assert 'accuracy/top1' in test(*classifier, '--tta')
    for (plain, mirrored), merged in seen:
        assert not plain.flip and mirrored.flip
        mean = (plain.pred_score + mirrored.pred_score) / 2
        torch.testing.assert_close(merged.pred_score, mean)
    assert len(seen) == len([*digit_images.glob('val/*/*.png')])


@pytest.mark.parametrize('hooks', ['none', 'no visualization', 'its own'])
def test_pictures_of_a_detector(test, detector, tmp_path, hooks):
    cfg = Config.fromfile(DETECTOR)
    if hooks != 'its own':
        for key in ('default_hooks', 'visualizer', 'vis_backends'):
            cfg.pop(key)
    else:
        # As in a process of its own, where no other has this name.
        cfg.visualizer.name = tmp_path.name
    if hooks == 'no visualization':
        cfg.default_hooks = dict(logger=dict(type='LoggerHook'))
    cfg.dump(tmp_path / 'config.py')
    test(tmp_path / 'config.py', detector, '--show-dir', tmp_path / 'shown')
    files = [*(tmp_path / 'shown').glob('*.jpg')] + [
        *(tmp_path / 'shown').glob('*.png')]
    assert len(files) == 8
    # The truth on the left, predictions on the right.
    assert {cv2.imread(str(file)).shape for file in files} == {(64, 128, 3)}


@pytest.mark.parametrize('own', [False, True])
def test_pictures_of_a_classifier(test, classifier, tmp_path, digit_images,
                                  own):
    cfg = Config.fromfile(classifier[0])
    cfg.pop('visualizer', None)
    cfg.default_hooks = dict(
        visualization=dict(type='VisualizationHook')) if own else {}
    cfg.dump(tmp_path / 'config.py')
    test(tmp_path / 'config.py', classifier[1], '--show-dir',
         tmp_path / 'shown')
    names = {file.name for file in (tmp_path / 'shown').iterdir()}
    assert names == {
        f'{file.name}_0.png' for file in digit_images.glob('val/*/*.png')}
    with pytest.raises(ValueError, match='Leave one of them out'):
        test(tmp_path / 'config.py', classifier[1], '--tta', '--show-dir',
             tmp_path / 'shown')

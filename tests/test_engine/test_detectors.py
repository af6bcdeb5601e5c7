# Copyright (c) sskd_mm authors. All rights reserved.
"""Detector families run all phases: the shipped configs, narrowed, on a few
small images."""
import copy
import itertools
import json
import math

import mmcv
import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from plain_config import plain_config

from sskd_mm.compat import load_checkpoint_file
from sskd_mm.datasets import make_digits_detection
from sskd_mm.datasets.digits_detection import CLASSES
from sskd_mm.distillers.teacher import read_teacher_config

FAMILIES = [
    'faster_rcnn_r18_coco', 'cascade_rcnn_r18_coco', 'mask_rcnn_r18_coco',
    'retinanet_r18_coco', 'fcos_r18_coco', 'atss_r18_coco', 'gfl_r18_coco',
    'rtmdet_tiny_coco', 'yolox_tiny_coco', 'dino_r18_coco',
    'retinanet_r18_coco_from_faster_rcnn', 'gfl_r18_coco_from_cascade_rcnn'
]
RUNS = itertools.count()
#: What a narrow network has instead, by the name of the setting.
SMALL = dict(
    init_cfg=None,
    num_classes=len(CLASSES),
    num_layers=1,
    num_queries=10,
    num_dn_queries=4,
    num_groups=4,
    stacked_convs=1,
    num_csp_blocks=1,
    num_convs=1,
    # Untrained, it finds nothing above the usual thresholds.
    score_thr=0.0,
    nms_pre=50,
    max_per_img=20)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """4 + 2 images of 64 x 64 from the embedded data set."""
    return make_digits_detection(
        tmp_path_factory.mktemp('digits') / 'digits',
        num_train=4,
        num_val=2,
        image_size=64)


def _narrow(settings, divisor):
    """Divide all widths, and replace settings that would be too large."""
    for key, value in settings.items():
        if key in SMALL:
            settings[key] = SMALL[key]
        elif key.endswith('channels') or key in ('embed_dims', 'num_feats'):
            settings[key] = [x // divisor for x in value] if isinstance(
                value, list) else value // divisor
        elif key == 'widen_factor':
            settings[key] = value / divisor
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(each, dict):
                _narrow(each, divisor)


def _shrink(value):
    """Divide sizes of hundreds of pixels by ten."""
    if isinstance(value, dict):
        return type(value)({k: _shrink(v) for k, v in value.items()})
    if isinstance(value, (list, tuple)):
        return type(value)(map(_shrink, value))
    is_size = type(value) is int and abs(value) >= 320
    return int(value / 10) if is_size else value


def _small_model(model):
    if model.backbone.type == 'ResNet':
        # A DINO of mmdet 3.3 has a fixed width of 256.
        _narrow(model, 1 if model.type == 'DINO' else 16)
        model.backbone.update(base_channels=4, stem_channels=4)
    else:
        _narrow(model, 8)
        model.backbone.deepen_factor = 0.33
    if model.type in ('FCOS', 'ATSS', 'GFL'):
        # The default is 32 groups.
        model.bbox_head.norm_cfg = dict(type='GN', num_groups=4)
    elif model.type == 'DINO':
        model.neck.in_channels = [x // 16 for x in model.neck.in_channels]
    return _shrink(model)


def _small_config(path, images, work_dir):
    cfg = Config.fromfile(path)
    for key in ('train', 'val', 'test'):
        cfg[f'{key}_dataloader'] = _shrink(cfg[f'{key}_dataloader'])
        loader = cfg[f'{key}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        split = 'train' if key == 'train' else 'val'
        loader.dataset.get('dataset', loader.dataset).update(
            data_root=f'{images}/',
            ann_file=f'annotations/instances_{split}.json',
            data_prefix=dict(img=f'{split}/'),
            metainfo=dict(classes=CLASSES))
    for key in ('val', 'test'):
        cfg[f'{key}_evaluator'].ann_file = (
            f'{images}/annotations/instances_val.json')
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f'detector{next(RUNS)}'
    cfg.log_level = 'WARNING'
    cfg.custom_hooks = _shrink(cfg.get('custom_hooks', []))
    return cfg


def _build(model):
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(copy.deepcopy(model))


def _distillation(name, root, images, work_dir):
    """The shipped config for three epochs, with an untrained teacher."""
    cfg = _small_config(root / f'configs/sskd/{name}.py', images, work_dir)
    cfg.model.student = _small_model(cfg.model.student)
    teacher = _small_model(read_teacher_config(cfg.model.teacher.cfg).model)
    torch.manual_seed(0)
    path = str(work_dir / 'teacher.pth')
    model = _build(teacher)
    if teacher.type == 'DINO':
        # Built with a parameter of uninitialised memory, maybe NaN.
        torch.nn.init.normal_(model.level_embed)
    torch.save(model.state_dict(), path)
    cfg.model.teacher = dict(cfg=teacher, checkpoint=path)
    for phase in ('mimic', 'head', 'finetune'):
        cfg.train_cfg[phase].max_epochs = 1
    # Phases are too short for a warm-up, and the teacher is untrained.
    optimizer = cfg.optim_wrapper.optimizer
    optimizer.lr = min(optimizer.lr, 1e-5)
    cfg.train_cfg.evaluate_teacher = False
    # A student without any detections has no metrics.
    cfg.randomness = dict(seed=0)
    for hook in cfg.custom_hooks:
        # As far before the end of these three epochs as in the 300.
        if 'switch_epoch' in hook:
            hook['switch_epoch'] = 2
        if 'num_last_epochs' in hook:
            hook['num_last_epochs'] = 1
    return cfg


def _assert_same_levels(distiller, dataset):
    """P3 to P6 of the student's P3 to P7 and the teacher's P2 to P6."""
    # An image of 80 x 80 is padded to 96 x 96.
    shapes = distiller.comparison.tap_shapes['neck']
    assert shapes == [((16, x, x), (16, x, x))
                      for x in (12, 6, 3, 2)]
    untaught = [k for k in distiller.partition.params['head'] if 'neck' in k]
    assert untaught == [f'neck.fpn_convs.4.conv.{k}'
                        for k in ('weight', 'bias')]


def _assert_l1(distiller, dataset):
    assert distiller.student.bbox_head.use_l1
    assert dataset._skip_type_keys == ('Mosaic', 'RandomAffine', 'MixUp')


def _assert_no_mosaic(distiller, dataset):
    names = [type(t).__name__ for t in dataset.pipeline.transforms]
    assert 'RandomCrop' in names and 'CachedMosaic' not in names


#: Additional checks.
CHECKS = {
    'retinanet_r18_coco_from_faster_rcnn': _assert_same_levels,
    'gfl_r18_coco_from_cascade_rcnn': _assert_same_levels,
    'yolox_tiny_coco': _assert_l1,
    'rtmdet_tiny_coco': _assert_no_mosaic,
}


@pytest.mark.parametrize('name', FAMILIES)
def test_all_phases(name, root, images, tmp_path):
    cfg = _distillation(name, root, images, tmp_path)
    cfg.val_evaluator.classwise = True
    runner = Runner.from_cfg(cfg)
    runner.train()

    result = json.loads((tmp_path / 'result.json').read_text())
    assert [phase['name'] for phase in result['phases']
            ] == ['mimic/neck', 'head', 'finetune']
    assert all(math.isfinite(p['loss_last']) for p in result['phases'])
    kinds = ['bbox', 'segm'] if name == 'mask_rcnn_r18_coco' else ['bbox']
    for key in (*(f'{kind}_{suffix}' for kind in kinds
                  for suffix in ('mAP', 'mAP_50', 'mAP_s', 'mAP_m', 'mAP_l')),
                *(f'{name}_precision' for name in CLASSES)):
        assert f'coco/{key}' in result['student']
    # Before any training, if it is inherited.
    inherited = result['inherited_head']
    assert (inherited is None) == ('inherit' not in cfg.model)
    assert inherited is None or 0 <= inherited['coco/bbox_mAP'] <= 1
    if name in CHECKS:
        CHECKS[name](runner.train_loop.distiller,
                     runner.train_dataloader.dataset)

    # The plain config has the trained weights and finds the same.
    plain = Config.fromfile(plain_config(root / f'configs/sskd/{name}.py'))
    plain = _build(_small_model(plain.model))
    checkpoint = load_checkpoint_file(
        (tmp_path / 'last_checkpoint').read_text())
    plain.load_state_dict(checkpoint['state_dict'])
    plain.eval()
    runner.model.eval()
    data = next(iter(runner.val_dataloader))
    with torch.no_grad():
        found = runner.model.val_step(copy.deepcopy(data))
        expected = plain.val_step(data)
    for one, other in zip(found, expected):
        one, other = one.pred_instances, other.pred_instances
        assert len(one) == len(other) > 0
        for key in one.keys():
            assert (one[key] == other[key]).all(), key


@pytest.fixture(scope='module')
def voc(images, tmp_path_factory):
    """The same images in Pascal VOC's format, in two years."""
    root = tmp_path_factory.mktemp('voc')
    for year in ('VOC2007', 'VOC2012'):
        for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
            (root / year / folder).mkdir(parents=True)
        for split, name in (('train', 'trainval'), ('val', 'test')):
            content = json.loads(
                (images / f'annotations/instances_{split}.json').read_text())
            names = []
            for image in content['images']:
                names.append(f'{split}{image["id"]}')
                source = images / split / image['file_name']
                mmcv.imwrite(
                    mmcv.imread(str(source)),
                    str(root / year / f'JPEGImages/{names[-1]}.jpg'))
                objects = ''
                for ann in content['annotations']:
                    if ann['image_id'] == image['id']:
                        x, y, w, h = ann['bbox']
                        objects += (
                            f'<object><name>{CLASSES[ann["category_id"] - 1]}'
                            '</name><difficult>0</difficult><bndbox>'
                            f'<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>'
                            f'<xmax>{x + w}</xmax><ymax>{y + h}</ymax>'
                            '</bndbox></object>')
                (root / year / f'Annotations/{names[-1]}.xml').write_text(
                    '<annotation><size><width>64</width><height>64</height>'
                    f'</size>{objects}</annotation>')
            (root / year / f'ImageSets/Main/{name}.txt').write_text(
                '\n'.join(names))
    return root


def test_voc(root, images, voc, tmp_path):
    """With mmdet's data config, and classes by ``metainfo``."""
    cfg = _distillation('retinanet_r18_coco', root, images, tmp_path)
    data = get_config('mmdet::_base_/datasets/voc0712.py')
    loaders = [f'{key}_dataloader' for key in ('train', 'val', 'test')]
    for key in loaders:
        cfg[key] = _shrink(data[key])
        cfg[key].update(batch_size=2, num_workers=0, persistent_workers=False)
    cfg.val_evaluator = cfg.test_evaluator = data.val_evaluator
    union = cfg.train_dataloader.dataset.dataset.datasets
    sets = [*union, *(cfg[key].dataset for key in loaders[1:])]
    for dataset in sets:
        dataset.data_root = f'{voc}/'
        dataset.pop('filter_cfg', None)
    with pytest.raises(
            ValueError,
            match=r'no object in the XML files of .*/VOC2007/.* is called '
            "'aeroplane'"):
        Runner.from_cfg(cfg).train()
    for dataset in sets:
        dataset.metainfo = dict(classes=CLASSES)
    cfg.experiment_name += '_metainfo'
    Runner.from_cfg(cfg).train()
    result = json.loads((tmp_path / 'result.json').read_text())
    for metrics in (result['student'], result['inherited_head']):
        assert 0 <= metrics['pascal_voc/mAP'] <= 1

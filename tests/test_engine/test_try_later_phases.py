# Copyright (c) sskd_mm authors. All rights reserved.
"""Later phases and the validation are tried before mimicking."""
import copy
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS, MODELS, TRANSFORMS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.models import ImageClassifier, ResNet_CIFAR

from sskd_mm.compat import load_checkpoint_file
from sskd_mm.engine.hooks import phase_hook

TRIED = 'Tried ahead of mimicking'
STUDENT = dict(
    type='ResNet_CIFAR',
    depth=18,
    base_channels=4,
    stem_channels=4,
    num_stages=2,
    strides=(1, 2),
    dilations=(1, 1),
    out_indices=(1, ))


def _edit(cfg, key, change):
    """Give a loader, or the evaluator, a modified copy of its file."""
    if key == 'val_evaluator':
        path, holder = cfg.val_evaluator.ann_file, cfg.val_evaluator
    else:
        holder = cfg[key].dataset
        path = holder.data_root + holder.ann_file
    with open(path) as file:
        content = json.load(file)
    change(content)
    # Beside the work directory, whose content is compared.
    new = f'{cfg.work_dir}_{key}.json'
    with open(new, 'w') as file:
        json.dump(content, file)
    holder.ann_file = new


def _drop(field, number=slice(None)):

    def change(content):
        for annotation in content['annotations'][number]:
            del annotation[field]

    return change


def _assert_refused(cfg, message):
    with pytest.raises(ValueError, match=f'(?s){message}'):
        Runner.from_cfg(cfg).train()
    assert not list(Path(cfg.work_dir).glob('*.pth'))


@pytest.mark.parametrize('field', ['area', 'iscrowd', 'bbox'])
@pytest.mark.parametrize('evaluate_teacher', [False, True])
def test_evaluator_lacks_a_field(distill_cfg, tmp_path, field,
                                 evaluate_teacher):
    """Changes one annotation, anywhere in its file."""
    cfg = distill_cfg(tmp_path / 'run')
    cfg.train_cfg.evaluate_teacher = evaluate_teacher
    _edit(cfg, 'val_evaluator', _drop(field, slice(-1, None)))
    _assert_refused(
        cfg, f"val_evaluator: CocoMetric cannot be .*KeyError: '{field}'"
        f'.*{TRIED}')


def _use_other_images(content):
    for item in content['images']:
        item['id'] += 1000
    for item in content['annotations']:
        item['image_id'] += 1000


def test_evaluator_lists_other_images(distill_cfg, tmp_path):
    cfg = distill_cfg(tmp_path / 'run')
    _edit(cfg, 'val_evaluator', _use_other_images)
    _assert_refused(cfg, 'val_evaluator: ann_file of CocoMetric has no image')


def _drop_step(cfg, key, name):
    pipeline = cfg[key].dataset.pipeline
    cfg[key].dataset.pipeline = [x for x in pipeline if x['type'] != name]


@METRICS.register_module(force=True)
class ReadsMasks(BaseMetric):

    def process(self, data_batch, data_samples):
        self.results += [x['pred_instances']['masks'] for x in data_samples]

    def compute_metrics(self, results):
        return dict(masks=len(results))


def _load_masks(cfg):
    """A key that one of the objects lacks."""
    _edit(cfg, 'train_dataloader', _drop('segmentation', slice(-1, None)))
    pipeline = cfg.train_dataloader.dataset.pipeline
    next(x for x in pipeline
         if x['type'] == 'LoadAnnotations')['with_mask'] = True


def _forget_annotations(cfg):
    _drop_step(cfg, 'train_dataloader', 'LoadAnnotations')


def _pack_less(cfg):
    cfg.val_dataloader.dataset.pipeline[-1].meta_keys = ('img_id', )


def _read_masks(cfg):
    cfg.val_evaluator = [cfg.val_evaluator, dict(type='ReadsMasks')]


def _evaluate_masks(cfg):
    cfg.val_evaluator.metric = 'segm'


@pytest.mark.parametrize('change, message', [
    (_load_masks, 'train_dataloader: .* no `segmentation`'),
    (_forget_annotations, 'train_dataloader: the loss of the student .* in '
     f"the phase 'head': AttributeError.*{TRIED}"),
    (_pack_less, 'val_dataloader: the student cannot predict .*'),
    (_read_masks,
     "val_evaluator: ReadsMasks cannot take .* KeyError: 'masks'"),
    (_evaluate_masks,
     "val_evaluator: CocoMetric cannot be computed.*segm is not in results"),
])
def test_a_detector(distill_cfg, tmp_path, change, message):
    cfg = distill_cfg(tmp_path / 'run')
    cfg.train_cfg.evaluate_teacher = False
    change(cfg)
    _assert_refused(cfg, message)


@MODELS.register_module(force=True)
class NotesClassifier(ImageClassifier):
    """Its loss draws random numbers and keeps state in Python."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen = []
        self.drop = torch.nn.Dropout(0.3)

    def loss(self, inputs, data_samples):
        self.seen.append(len(inputs))
        return super().loss(self.drop(inputs), data_samples)


@TRANSFORMS.register_module(force=True)
class Remembers:
    """Its output depends on all images before, as in a cached mosaic."""

    def __init__(self):
        self.last = 0

    def __call__(self, results):
        self.last = results['img'] + self.last // 2
        results['img'] = self.last
        return results


@METRICS.register_module(force=True)
class Sums(BaseMetric):
    """Keeps its own sums."""

    def __init__(self):
        super().__init__()
        self.sums = dict(images=0)

    def process(self, data_batch, data_samples):
        self.sums['images'] += len(data_samples)
        self.results += [x['pred_score'].cpu() for x in data_samples]

    def compute_metrics(self, results):
        images, self.sums['images'] = self.sums['images'], 0
        return dict(images=images, score=float(torch.stack(results).std()))


@pytest.fixture
def classifiers(classifier_cfg, tmp_path):
    """Returns a function that makes the config of a distillation."""
    weights = tmp_path / 'teacher.pth'

    def make(name, **train_cfg):
        cfg = classifier_cfg(tmp_path / name, STUDENT, 8, size=16)
        teacher = copy.deepcopy(cfg.model).to_dict()
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            torch.manual_seed(0)
            torch.save(
                dict(state_dict=MODELS.build(dict(
                    teacher,
                    data_preprocessor=cfg.data_preprocessor)).state_dict()),
                weights)
        teacher['data_preprocessor'] = cfg.data_preprocessor.to_dict()
        cfg.model = dict(
            type='StageByStageDistiller',
            student=dict(cfg.model, type='NotesClassifier'),
            teacher=dict(cfg=teacher, checkpoint=str(weights)),
            inherit=['head'])
        cfg.train_dataloader.dataset.pipeline[1:1] = [
            dict(type='RandomFlip', prob=0.5),
            dict(type='Remembers')
        ]
        cfg.train_cfg = dict(
            type='StageByStageTrainLoop',
            mimic=dict(max_epochs=1),
            head=dict(max_epochs=1),
            finetune=dict(max_epochs=1),
            accept_weak_teacher=True,
            **train_cfg)
        cfg.val_evaluator = [cfg.val_evaluator, dict(type='Sums')]
        cfg.custom_hooks = [dict(type='EMAHook', momentum=0.3)]
        return cfg

    return make


def _state(cfg):
    runner = Runner.from_cfg(cfg)
    runner.train()
    result = json.loads(Path(cfg.work_dir, 'result.json').read_text())
    for phase in result['phases']:
        del phase['seconds'], phase['peak_memory_mib']
    last = Path(cfg.work_dir, 'last_checkpoint').read_text()
    checkpoint = load_checkpoint_file(last)
    hub = runner.message_hub
    scalars = {
        key: buffer.data
        for key, buffer in hub.log_scalars.items() if 'time' not in key
    }
    ema = next(x for x in runner.hooks if hasattr(x, 'ema_model')).ema_model
    student = runner.train_loop.distiller.student
    return dict(
        result=result,
        weights=checkpoint['state_dict'],
        ema=ema.state_dict(),
        scalars=scalars,
        info=sorted(hub.runtime_info),
        seen=student.seen,
        random=(random.getstate(), np.random.get_state()[1],
                torch.get_rng_state()))


def _assert_equal(one, two, name=''):
    if isinstance(one, dict):
        assert one.keys() == two.keys(), name
        for key in one:
            _assert_equal(one[key], two[key], f'{name}.{key}')
    elif isinstance(one, (tuple, list)):
        assert len(one) == len(two), name
        for number, pair in enumerate(zip(one, two)):
            _assert_equal(*pair, f'{name}[{number}]')
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two), name
    else:
        np.testing.assert_array_equal(one, two, name)


@pytest.mark.parametrize('num_workers', [0, 1])
def test_run_is_left_as_it_is(classifiers, monkeypatch, num_workers):
    """Bit by bit: weights, averages, records, random states, Python values."""

    def config(name):
        cfg = classifiers(name)
        cfg.train_dataloader.num_workers = num_workers
        cfg.train_dataloader.persistent_workers = num_workers > 0
        return cfg

    tried = _state(config('tried'))
    with monkeypatch.context() as patched:
        calls = []
        patched.setattr(phase_hook, 'try_later_phases', calls.append)
        _assert_equal(tried, _state(config('untried')))
    assert len(calls) == 1 and tried['result']['student']['images'] == 10


@TRANSFORMS.register_module(force=True)
class Fails:

    def __call__(self, results):
        raise KeyError('depth')


@METRICS.register_module(force=True)
class FailsToo(Sums):

    def process(self, data_batch, data_samples):
        raise LookupError('no text')


def _own_data(cfg):
    pipeline = copy.deepcopy(cfg.train_dataloader.dataset.pipeline)
    cfg.train_cfg.head.dataloader = dict(
        dataset=dict(pipeline=[*pipeline, dict(type='Fails')]))


def _wrong_labels(cfg):
    """A head with fewer classes than it declares."""
    cfg.model.student.head.cal_acc = True
    cfg.model.student.head.topk = (1, 50)


def _val_pipeline(cfg):
    cfg.val_dataloader.dataset.pipeline[1:1] = [dict(type='Fails')]


def _val_metric(cfg):
    cfg.val_evaluator[1] = dict(type='FailsToo')


@pytest.mark.parametrize('change, message', [
    (_own_data, 'train_dataloader: images with annotations for the phase '
     "'head' cannot be loaded: KeyError: 'depth'"),
    (_wrong_labels, 'train_dataloader: the loss of the student cannot be '
     "computed from .* in the phase 'head': "),
    (_val_pipeline,
     "val_dataloader: its images cannot be loaded: KeyError: 'depth'"),
    (_val_metric, "val_evaluator: FailsToo cannot take the student's "
     'predictions: LookupError: no text'),
])
def test_a_classifier(classifiers, change, message):
    cfg = classifiers('run')
    change(cfg)
    _assert_refused(cfg, f'{message}.*{TRIED}')


def test_only_ahead_of_mimicking(classifiers):
    """A run resumed after mimicking fails when it gets there, and so does one
    without mimicking."""
    cfg = classifiers('run')
    Runner.from_cfg(cfg).train()
    phases = json.loads(Path(cfg.work_dir, 'result.json').read_text())[
        'phases']
    mimicking = sum(x['epochs'] for x in phases if 'mimic' in x['name'])
    cfg.load_from = f'{cfg.work_dir}/epoch_{mimicking}.pth'
    cfg.resume = True
    _val_metric(cfg)
    with pytest.raises(LookupError):
        Runner.from_cfg(cfg).train()
    cfg = classifiers('nothing')
    cfg.train_cfg.update(mimic=dict(max_epochs=0), evaluate_teacher=False)
    _val_metric(cfg)
    with pytest.raises(LookupError):
        Runner.from_cfg(cfg).train()


@METRICS.register_module(force=True)
class NeedsMany(Sums):
    """Like a metric of pairs or of neighbours."""

    def compute_metrics(self, results):
        assert len(results) == 10
        return super().compute_metrics(results)


def test_what_a_batch_cannot_judge(classifiers):
    """A metric that needs more images, and one that cannot be copied."""
    cfg = classifiers('run')
    cfg.val_evaluator[1] = dict(type='NeedsMany')
    runner = Runner.from_cfg(cfg)
    runner.val_evaluator.metrics[0].generator = (x for x in range(3))
    runner.train()


@MODELS.register_module()
class ChoosesForward(ResNet_CIFAR):
    """Sets its ``forward`` in the constructor, like VMamba's blocks."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.forward = self.run_first

    forward = torch.nn.Module.forward

    def run_first(self, inputs):
        return super().forward(inputs)


@pytest.mark.parametrize('compile', [False, dict(backend='eager')])
def test_forward_of_an_instance(classifiers, compile):
    cfg = classifiers('run')
    cfg.model.compile = compile
    if not compile:
        cfg.model.student.backbone.type = 'ChoosesForward'
    Runner.from_cfg(cfg).train()

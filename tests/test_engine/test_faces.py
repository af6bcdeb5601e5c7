# Copyright (c) sskd_mm authors. All rights reserved.
"""Face networks run all phases; digits stand in for people."""
import json
from functools import partial
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS, MODELS, DefaultScope
from mmengine.runner import Runner

from sskd_mm.compat import load_checkpoint_file
from sskd_mm.engine import check_plain_training

TEACHER = dict(type='IResNet', depth=18, embedding=16, input_size=32)
STUDENT = dict(
    type='MobileFaceNet',
    blocks=(1, 1, 1, 1),
    scale=1,
    embedding=16,
    input_size=32)
STAGES = ['auto', 'backbone.features']
ARCFACE = dict(
    type='ArcFaceHead', num_classes=10, in_channels=16, scale=8., margin=0.2)


@METRICS.register_module()
class CountEmbeddings(BaseMetric):
    """Counts the embeddings it gets."""

    default_prefix = 'face'

    def process(self, data_batch, data_samples):
        self.results += [
            int(sample['embedding'].shape == (16, ))
            for sample in data_samples
        ]

    def compute_metrics(self, results):
        return dict(embeddings=sum(results))


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    cfg = dict(type='ImageClassifier', backbone=TEACHER, head=ARCFACE)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        model = MODELS.build(cfg)
        model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), path)
    return dict(cfg=cfg, checkpoint=str(path))


@pytest.fixture
def distill_cfg(classifier_cfg, teacher, tmp_path):
    """Returns a function that makes the config of a distillation."""

    def make(head=ARCFACE, **model):
        cfg = classifier_cfg(tmp_path, STUDENT, 16, neck=None)
        cfg.model.head = head
        cfg.model = dict(
            type='StageByStageDistiller',
            student=cfg.model,
            teacher=teacher,
            stages=STAGES,
            **{
                # Features of an untrained IResNet are huge.
                'mimic_loss': dict(type='L2MimicLoss', normalize=True),
                **model
            })
        cfg.train_cfg = dict(
            type='StageByStageTrainLoop',
            schedule='joint',
            mimic=dict(max_epochs=1),
            head=dict(max_epochs=1))
        cfg.val_evaluator = dict(type='CountEmbeddings')
        return cfg

    return make


def _weights(folder, epoch):
    path = str(folder / f'epoch_{epoch}.pth')
    return load_checkpoint_file(path)['state_dict']


def test_all_phases(distill_cfg, tmp_path):
    """Stage by stage up to the embedding, by the cosine, then the centres."""
    cfg = distill_cfg(mimic_loss=dict(type='CosineMimicLoss'))
    cfg.train_cfg.schedule = 'sequential'
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.train_loop.distiller.comparison.tap_shapes == {
        'layer1': [((64, 16, 16), (64, 16, 16))],
        'layer2': [((64, 8, 8), (128, 8, 8))],
        'layer3': [((128, 4, 4), (256, 4, 4))],
        'layer4': [((512, 2, 2), (512, 2, 2))],
        'features': [((16, ), (16, ))]
    }
    result = json.loads((tmp_path / 'result.json').read_text())
    assert [phase['name'] for phase in result['phases']] == [
        'mimic/layer1', 'mimic/layer2', 'mimic/layer3', 'mimic/layer4',
        'mimic/features', 'head'
    ]
    alignment = result['phases'][4]['alignment']['features']
    assert -1 <= alignment['cosine'] <= 1
    assert result['student']['face/embeddings'] == 10
    # The head phase trained only the class centres.
    before, after = _weights(tmp_path, 5), _weights(tmp_path, 6)
    changed = [k for k in before if not torch.equal(before[k], after[k])]
    assert changed == ['head.fc.weight']
    # It is the plain student.
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        MODELS.build(
            dict(type='ImageClassifier', backbone=STUDENT,
                 head=ARCFACE)).load_state_dict(after, strict=True)


def test_centres_of_the_teacher(distill_cfg, teacher, tmp_path):
    """Inherited before mimicking, which does not change them."""
    cfg = distill_cfg(inherit=['head'])
    cfg.train_cfg.head.max_epochs = 0
    Runner.from_cfg(cfg).train()
    theirs = torch.load(teacher['checkpoint'])['state_dict']
    ours = _weights(tmp_path, 1)
    assert torch.equal(ours['head.fc.weight'], theirs['head.fc.weight'])
    assert len(json.loads(
        (tmp_path / 'result.json').read_text())['phases']) == 1


@pytest.mark.parametrize('kind', [
    'ArcFaceHead', 'AdaFaceHead', 'LinearClsHead', 'mmpretrain.ArcFaceClsHead'
])
@pytest.mark.parametrize('distils', [True, False])
def test_more_people_than_centres(distill_cfg, kind, distils, tmp_path):
    """Of a list, which names no classes: refused before an iteration, where
    torch would say 'index 9 is out of bounds' in the last phase."""
    cfg = distill_cfg(dict(type=kind, num_classes=9, in_channels=16))
    cfg.model.stages = ['backbone.features']
    dataset = cfg.train_dataloader.dataset
    images = sorted(Path(dataset.data_root).glob('*/*.*'))
    lines = [f'{image} {int(image.parent.name)}\n' for image in images]
    (tmp_path / 'train.txt').write_text(''.join(lines))
    dataset.ann_file = str(tmp_path / 'train.txt')
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset', times=2, dataset=dataset)
    if not distils:
        cfg.model = cfg.model.student
        cfg.train_cfg = dict(by_epoch=True, max_epochs=1)
    runner = Runner.from_cfg(cfg)
    start = runner.train if distils else partial(check_plain_training, runner)
    with pytest.raises(ValueError, match='makes 10 classes, but head.num_cl'
                       ) as error:
        start()
    assert ('accept_other_classes' in str(error.value)) == distils


def test_without_labels(distill_cfg, digit_images, tmp_path):
    """Mimicking only, on unlabelled images; the student has no centres."""
    cfg = distill_cfg(head=dict(type='EmbeddingHead'))
    cfg.train_dataloader.dataset.with_label = False
    cfg.train_cfg.head.max_epochs = 0
    runner = Runner.from_cfg(cfg)
    runner.train()
    dataset = runner.train_dataloader.dataset
    assert len(dataset) == 20 and 'classes' not in dataset.metainfo
    assert 'gt_label' not in dataset[0]['data_samples']
    result = json.loads((tmp_path / 'result.json').read_text())
    assert [phase['name'] for phase in result['phases']] == ['mimic/joint']
    # Nothing is left to train, so it is validated.
    assert result['student']['face/embeddings'] == 10
    assert set(_weights(tmp_path, 1)) == {
        f'backbone.{key}'
        for key in MODELS.build(STUDENT).state_dict()
    }


def test_label_free_with_a_head_phase(distill_cfg):
    cfg = distill_cfg(head=dict(type='EmbeddingHead'))
    with pytest.raises(ValueError, match=r'head=dict\(max_epochs=0\)'):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize('losses', [
    [
        dict(type='EmbeddingLoss', mimic_loss=dict(type='CosineMimicLoss')),
        dict(type='CCKDLoss')
    ],
    [dict(type='KDLoss', weight=1), dict(type='RKDLoss', weight=1)],
    [dict(type='AdaDistillLoss', weight=1)],
])
def test_joint(distill_cfg, losses, tmp_path):
    """The baseline, with a margin head on both sides."""
    cfg = distill_cfg()
    cfg.model.update(type='JointDistiller', losses=losses)
    cfg.train_cfg.mimic.max_epochs = cfg.train_cfg.head.max_epochs = 0
    cfg.train_cfg.finetune = dict(max_epochs=1)
    runner = Runner.from_cfg(cfg)
    runner.train()
    result = json.loads((tmp_path / 'result.json').read_text())
    assert [phase['name'] for phase in result['phases']] == ['finetune']
    distiller = runner.train_loop.distiller
    scalars = runner.message_hub.log_scalars
    for name in distiller.joint_losses:
        assert 0 < scalars[f'train/loss_{name}'].current() < 1e4
    if 'adadistill' in distiller.joint_losses:
        centres = distiller.joint_losses['adadistill'].centres
        assert (centres.norm(dim=1) > 0).all()

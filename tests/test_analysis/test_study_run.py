# Copyright (c) sskd_mm authors. All rights reserved.
"""What a study trains, keeps and refuses, with trainings that only say so."""
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from sskd_mm.analysis import Study, StudyRun

TEACHER = 'configs/baselines/cifar10/resnet20_cifar10.py'
KD = 'configs/_base_/methods/kd.py'


class Stopped(Exception):
    pass


class Workshop:
    """A folder for a study, and what has trained in it."""

    def __init__(self, folder, root, data):
        self.folder, self.out = folder, folder / 'out'
        self.trained, self.resumed, self.stop = [], [], False
        self.write_weights(folder / 'teacher.pth', seed=0)
        self.data = {
            f'{key}_dataloader.dataset.data_root': str(data)
            for key in ('train', 'val', 'test')
        }
        self.content = dict(
            title='Which?',
            seeds=[0],
            options={
                **self.data, 'train_dataloader.batch_size': 8,
                'model.teacher.cfg': str(root / TEACHER)
            },
            teachers=dict(
                big=dict(
                    config=TEACHER, checkpoint=str(folder / 'teacher.pth'))),
            pairs=dict(
                tiny=dict(
                    config='configs/sskd/cifar10/resnet56_resnet8_cifar10.py',
                    teacher='big',
                    options=dict(max_epochs=2))),
            methods=dict(KD=dict(method=KD)))
        # Its test has to read the data above, too.
        teacher = folder / 'teacher.py'
        teacher.write_text(
            f"_base_ = '{root / TEACHER}'\n" + '\n'.join(
                f'{key}_dataloader = dict(dataset=dict(data_root='
                f'{str(data)!r}))' for key in ('train', 'val', 'test')))
        self.content['teachers']['big']['config'] = str(teacher)

    def write_weights(self, file, seed):
        torch.manual_seed(seed)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = MODELS.build(Config.fromfile(TEACHER).model)
        torch.save(dict(state_dict=model.state_dict()), file)

    def run(self, changed=None, only=None, **changes):
        """Run the study with some of its keys changed; what trained."""
        self.content.update(changes)
        file = self.folder / 'study.yaml'
        file.write_text(yaml.safe_dump(self.content, sort_keys=False))
        study = Study.from_file(file)
        trials = [t for t in study.trials() if not only or t.method in only]
        self.trained, self.resumed = [], []
        run = StudyRun(study, trials, self.out, self.train, changed=changed)
        run.plan()
        run.train_teachers()
        run.train_students()
        return self.trained

    def train(self, cfg, work_dir, jobs):
        name = str(work_dir.relative_to(self.out))
        self.trained.append(name)
        self.resumed += [name] * (work_dir / 'last_checkpoint').exists()
        cfg.dump(work_dir / 'trial.py')
        self.write_weights(work_dir / 'last.pth', seed=len(name))
        (work_dir / 'last_checkpoint').write_text(str(work_dir / 'last.pth'))
        if self.stop:
            raise Stopped
        metrics = {'accuracy/top1': 50., 'accuracy/top5': 90.}
        (work_dir / 'result.json').write_text(
            json.dumps(dict(student_curve=[metrics], phases=[])))

    @property
    def table(self):
        return (self.out / 'table.md').read_text()


@pytest.fixture
def workshop(tmp_path, root, cifar, monkeypatch):
    monkeypatch.chdir(root)
    return Workshop(tmp_path, root, cifar)


KD_0 = 'tiny/KD/seed_0'
TRAINED = 'teachers/big'


def train_the_teacher(content):
    content['teachers']['big']['options'] = {'train_cfg.max_epochs': 1}


def files(folder):
    return {
        path: path.read_bytes()
        for path in folder.rglob('*') if path.is_file()
        and path.name not in ('table.md', 'tiny.png')
    }


def test_other_words_for_the_same_training(workshop, root):
    assert workshop.run() == [KD_0]
    content = workshop.content
    moved = workshop.folder / 'moved.pth'
    (workshop.folder / 'teacher.pth').rename(moved)
    content['teachers']['big']['checkpoint'] = str(moved)
    content['options'] = {
        'optim_wrapper.optimizer.type': 'torch.optim.SGD',
        'model.teacher.cfg': content['teachers']['big']['config'],
        'model.student.type': 'mmpretrain.ImageClassifier',
        'train_dataloader.num_workers': 1,
        'log_level': 'ERROR',
        'default_hooks.logger.interval': 7,
        **{k: v
           for k, v in reversed(content['options'].items())
           if k != 'model.teacher.cfg'}
    }
    content['methods']['KD']['options'] = {'model.losses.0.temperature': 4.0}
    assert workshop.run() == []
    # Other metrics are read from what is there.
    assert workshop.run(metric='accuracy/top5', also=['accuracy/top1']) == []
    assert '| KD | 90.00 | 90.00 | 50.00 |' in workshop.table


def set_option(**options):

    def change(content):
        content['options'].update(
            {k.replace('__', '.'): v
             for k, v in options.items()})

    return change


def other_weights(content):
    file = Path(content['teachers']['big']['checkpoint'])
    checkpoint = torch.load(file)
    checkpoint['state_dict']['backbone.conv1.weight'][0, 0, 0, 0] += 1e-6
    torch.save(checkpoint, file)


def other_teacher_config(content):
    file = Path(content['teachers']['big']['config'])
    file.write_text(
        file.read_text() + "\nmodel = dict(head=dict(cal_acc=True))")
    content['options']['model.teacher.cfg'] = str(file)


CHANGES = [
    (set_option(optim_wrapper__optimizer__lr=.5),
     'optim_wrapper.optimizer.lr was .*, is 0.5'),
    (lambda c: c['pairs']['tiny']['options'].update(max_epochs=3),
     'train_cfg.finetune.max_epochs was 2, is 3'),
    (lambda c: c['methods']['KD'].update(options={'model.task_weight': 2}),
     'model.task_weight was 0.1, is 2'),
    (other_weights, 'model.teacher.checkpoint was "weights'),
    (other_teacher_config, 'model.teacher.cfg.head.cal_acc was'),
]


@pytest.mark.parametrize('change, key', CHANGES)
def test_what_is_finished_with_other_settings(workshop, change, key):
    workshop.run()
    before = files(workshop.out)
    change(workshop.content)
    with pytest.raises(ValueError, match=f'(?s){KD_0}.*{key}.*--changed'):
        workshop.run()
    assert workshop.trained == [] and files(workshop.out) == before
    assert workshop.run(changed='retrain') == [KD_0]
    assert workshop.resumed == []
    moved = workshop.out / 'tiny/KD/seed_0.changed-1'
    for file in ('trial.py', 'trial.json', 'result.json', 'last.pth'):
        assert (moved / file).read_bytes() == before[workshop.out / KD_0 /
                                                     file]
    assert workshop.run() == []


def test_what_is_finished_is_kept_if_asked(workshop):
    workshop.run()
    before = files(workshop.out / KD_0)
    change, key = CHANGES[0]
    change(workshop.content)
    assert workshop.run(changed='keep') == []
    assert workshop.run() == []
    record = workshop.out / KD_0 / 'training.json'
    after = files(workshop.out / KD_0)
    assert after.pop(record) != before.pop(record)
    assert after == before
    # For these settings, not for any.
    set_option(optim_wrapper__optimizer__lr=.6)(workshop.content)
    with pytest.raises(ValueError, match=key.replace('.5', '.6')):
        workshop.run()


def test_what_is_half_finished(workshop):
    workshop.stop = True
    with pytest.raises(Stopped):
        workshop.run()
    with pytest.raises(Stopped):
        workshop.run()
    assert workshop.resumed == [KD_0]
    CHANGES[0][0](workshop.content)
    workshop.stop = False
    assert workshop.run() == [KD_0] and workshop.resumed == []
    assert (workshop.out / 'tiny/KD/seed_0.changed-1/last.pth').exists()


def test_a_teacher_with_other_options(workshop):
    train_the_teacher(workshop.content)
    assert workshop.run() == [TRAINED, KD_0]
    assert workshop.run() == []
    options = workshop.content['teachers']['big']['options']
    options['train_cfg.max_epochs'] = 2
    with pytest.raises(ValueError, match='train_cfg.max_epochs was 1, is 2'):
        workshop.run()
    assert workshop.trained == []
    assert workshop.run(changed='keep') == []
    options['train_cfg.max_epochs'] = 3
    options['randomness.seed'] = 7
    # What it has learned is the same here, so its students are, too.
    assert workshop.run(changed='retrain') == [TRAINED]
    # The weights that it starts from are its settings, too.
    other_weights(workshop.content)
    with pytest.raises(ValueError, match='load_from was'):
        workshop.run()


def test_students_of_a_teacher_that_was_trained_again(workshop):
    train_the_teacher(workshop.content)
    workshop.run()
    shutil.rmtree(workshop.out / 'teachers')
    write, workshop.write_weights = workshop.write_weights, (
        lambda file, seed: write(file, seed + 100))
    with pytest.raises(ValueError, match='model.teacher.checkpoint was'):
        workshop.run()
    assert workshop.trained == [TRAINED]
    assert workshop.run(changed='retrain') == [KD_0]


def test_a_teacher_is_scored_again_if_its_test_is_another(workshop, capsys):
    workshop.run()
    capsys.readouterr()
    workshop.run()
    assert 'Scoring' not in capsys.readouterr().out
    file = Path(workshop.content['teachers']['big']['config'])
    file.write_text(file.read_text() +
                    '\ntest_evaluator = dict(topk=(1, 2))')
    assert workshop.run() == []
    assert 'Scoring' in capsys.readouterr().out


@pytest.mark.parametrize('finished', [True, False])
def test_folders_without_a_record(workshop, finished):
    """As they were before there was one."""
    workshop.stop = not finished
    if finished:
        workshop.run()
    else:
        with pytest.raises(Stopped):
            workshop.run()
    record = workshop.out / KD_0 / 'training.json'
    record.unlink()
    workshop.stop = False
    assert workshop.run() == ([] if finished else [KD_0])
    assert workshop.resumed == ([] if finished else [KD_0])
    assert record.exists()
    record.unlink()
    CHANGES[0][0](workshop.content)
    with pytest.raises(ValueError, match=CHANGES[0][1]):
        workshop.run()
    (workshop.out / KD_0 / 'trial.py').unlink()
    with pytest.raises(ValueError, match='written nowhere'):
        workshop.run()
    assert workshop.run(changed='keep') == []


def test_the_table_has_all_that_is_finished(workshop, capsys):
    scratch = dict(method='configs/_base_/methods/scratch.py')
    both = {'from scratch': scratch, 'KD': dict(method=KD)}
    workshop.run(methods=both, equal_compute='from scratch')
    assert workshop.run(only=['KD'], seeds=[1]) == ['tiny/KD/seed_1']
    for row in ('| from scratch | 50.00 | 50.00 | 0 |',
                '| KD | 50.00 ± 0.00 | 50.00 ± 0.00 | 0, 1 |'):
        assert row in workshop.table
    # But not what the study no longer asks for.
    workshop.content['methods']['from scratch'] = dict(
        scratch, options={'model.pre_activation': True})
    workshop.run(only=['KD'])
    assert '| from scratch |' not in workshop.table
    assert 'from_scratch/seed_0 is left out of the table: model.pre_act' in \
        capsys.readouterr().out
    assert '| KD |' in workshop.table


SWEEPS = {
    'schedule': ('train_cfg.schedule', ['joint', ['joint', 'last']]),
    'flag': ('model.pre_activation', [True]),
    'none': ('model.teacher.input_transform',
             [None, dict(type='Resize', size=[24, 24])]),
    'number': ('optim_wrapper.optimizer.lr', [1e-6, 1.0000001e-6])
}


def test_sweeps_over_any_values(workshop):
    methods = {
        name: dict(sweep=dict(option=option, values=values))
        for name, (option, values) in SWEEPS.items()
    }
    for method in methods.values():
        method.setdefault('options', {})['model.stages'] = 'auto'
        method['options']['train_cfg.phases'] = dict(_delete_=True)
    trained = workshop.run(methods=methods)
    assert len({name.lower() for name in trained}) == 7
    assert workshop.run() == []
    for name, (option, values) in SWEEPS.items():
        built = []
        for file in sorted(workshop.out.glob(f'tiny/{name}_*/*/trial.py')):
            value = Config.fromfile(file)
            for key in option.split('.'):
                value = value[key]
            built.append(value)
        assert len(built) == len(values)
        assert all(value in built for value in values)
    for row in ('| schedule, joint |', '| schedule, ["joint", "last"] |',
                '| flag, true |', '| none, null |', '| number, 1e-06 |',
                '| number, 1.0000001e-06 |'):
        assert row in workshop.table
    assert (workshop.out / 'tiny.png').exists()


MISTAKES = {
    'wait': dict(
        sweep=dict(option='model.losses.0.wait', values=[1, 2])),
    'is a list of 1': dict(
        sweep=dict(option='model.losses.1.weight', values=[1, 2])),
    'build the same training': dict(
        sweep=dict(option='max_epochs', values=[1, 2])),
    "Did you mean 'model'": dict(options={'modle.task_weight': 1}),
    "key 'max_epoch'": dict(
        options={'train_cfg.finetune': dict(max_epoch=1)}),
    "'rate'": dict(options={'optim_wrapper.optimizer.rate': 1}),
    'nowhere.py': dict(options={'model.teacher.cfg': 'nowhere.py'}),
    "'layer9'": dict(options={'model.stages': ['layer9']}),
    '/no/where': dict(
        options={'train_dataloader.dataset.data_root': '/no/where'}),
    "'topq'": dict(options={'val_evaluator.topq': 1}),
    "has no list 'adapter'": dict(
        options={'model.adapter.0.type': 'ConvAdapter'}),
}


def test_mistakes_show_before_the_first_training(workshop):
    train_the_teacher(workshop.content)
    workshop.content['methods'].update({
        f'wrong {i}': dict(method=KD, **method)
        for i, method in enumerate(MISTAKES.values())
    })
    workshop.content['methods']['hot'] = dict(
        method=KD,
        sweep=dict(
            option='model.losses.0.temperature', values=[1, 'hot']))
    with pytest.raises(ValueError) as error:
        workshop.run()
    assert workshop.trained == [] and not workshop.out.exists()
    # All at once.
    problems = str(error.value).split('\n- ')
    for i, problem in enumerate(MISTAKES):
        assert any(
            p.startswith(f'wrong {i},') and problem in p for p in problems), (
                f'{problem} is not in {problems}')
    assert any(p.startswith('hot, hot, of the pair tiny') for p in problems)
    assert not any(p.startswith(('KD', 'hot, 1')) for p in problems)


@pytest.mark.parametrize('change, problem', [
    (lambda c: c.update(metric='acuracy/top1'), "'acuracy/top1' is not meas"),
    (lambda c: c.update(also=['coco/bbox_mAP']), "'coco/bbox_mAP' is not me"),
    (lambda c: c['teachers']['big']['options'].update(
        {'optim_wrapper.optimizer.rate': 1}), "teacher 'big'.*rate"),
    (lambda c: c['teachers']['big'].update(checkpoint='no.pth'), 'no.pth'),
    (lambda c: c['teachers']['big'].pop('options'), 'has neither|no file'),
    (lambda c: c['teachers']['big']['options'].update(
        {'model.head.num_classes': 100}), 'num_classes|[Oo]ther shape'),
])
def test_mistakes_about_teachers(workshop, change, problem):
    train_the_teacher(workshop.content)
    workshop.content['teachers']['big'].pop('checkpoint')
    change(workshop.content)
    with pytest.raises((ValueError, FileNotFoundError), match=problem):
        workshop.run()
    assert workshop.trained == []

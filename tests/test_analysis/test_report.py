# Copyright (c) sskd_mm authors. All rights reserved.
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from sklearn.metrics import recall_score

from sskd_mm.analysis import (WorkDir, build_test_loader, describe_cost,
                              load_distiller, measure_metrics, write_report)
from sskd_mm.analysis.comparison import compare_groups
from sskd_mm.analysis.run_group import RunGroup
from sskd_mm.models import build_model

RESNET = dict(type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4)
PARTS = ('facts', 'phases', 'curves', 'metrics', 'classes', 'features', 'cka',
         'detections', 'cost', 'loading')
VOID = ('meta', 'link', 'br', 'img', 'input')


class Page(HTMLParser):
    """The text of each part; sees that every tag is closed and that nothing
    is requested from outside."""

    def __init__(self, file):
        super().__init__()
        self.open, self.parts, self.ids, self.addresses = [], {}, [], []
        self.text = file.read_text(encoding='utf-8')
        self.feed(self.text)
        self.close()
        assert not self.open
        assert len(self.ids) == len(set(self.ids))
        for address in self.addresses:
            assert address.startswith(('data:', '#')), address
        assert '@import' not in self.text
        assert '<script' not in self.text
        assert re.findall(r'url\((?!#)', self.text) == []

    def handle_startendtag(self, tag, attrs):
        self.addresses += [
            value for name, value in attrs
            if name in ('src', 'href', 'xlink:href', 'srcset')
        ]
        self.ids += [value for name, value in attrs if name == 'id']
        # Also in pictures and styles of an element.
        return dict(attrs).get('class')

    def handle_starttag(self, tag, attrs):
        name = self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append((tag, name))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, name in self.open:
            if name in (*PARTS, 'comparison'):
                self.parts[name] = self.parts.get(name, '') + data + ' '


def _words(text):
    """Without line breaks and repeated blanks."""
    return ' '.join(text.split())


def _left_out(page):
    return [name for name in PARTS if 'Left out:' in page.parts[name]]


@pytest.fixture(scope='module')
def runs(classifier_cfg, tmp_path_factory):
    """A distilled classifier and the same from scratch."""
    root = tmp_path_factory.mktemp('runs')
    teacher = classifier_cfg(root, RESNET, 32)
    torch.manual_seed(1)
    torch.save(
        dict(state_dict=build_model(teacher).state_dict()),
        root / 'teacher.pth')
    for name in ('sskd', 'scratch'):
        cfg = classifier_cfg(root / name, RESNET, 32)
        cfg.test_dataloader = cfg.val_dataloader
        cfg.test_evaluator, cfg.test_cfg = cfg.val_evaluator, dict()
        cfg.default_hooks.logger = dict(type='LoggerHook', interval=1)
        cfg.visualizer = dict(
            type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
        if name == 'sskd':
            cfg.model = dict(
                type='StageByStageDistiller',
                student=cfg.model,
                stages=['backbone.layer2', 'backbone.layer4', 'neck'],
                teacher=dict(
                    cfg=teacher.model.to_dict(),
                    checkpoint=str(root / 'teacher.pth')))
            cfg.train_cfg = dict(
                type='StageByStageTrainLoop',
                schedule='cumulative',
                mimic=dict(max_epochs=1),
                head=dict(max_epochs=1),
                accept_weak_teacher=True)
        Runner.from_cfg(cfg).train()
    return root


@pytest.fixture(scope='module')
def report(runs):
    file = runs / 'report.html'
    write_report([runs / 'sskd', runs / 'scratch'], file, images=10)
    return file


def test_everything_is_on_the_page(runs, report):
    page = Page(report)
    # It is no detector.
    assert _left_out(page) == ['detections']
    assert page.text.count('<section') == 2  # the comparison and one of them
    for phase in ('mimic/layer2', 'mimic/layer4', 'mimic/neck', 'head'):
        assert phase in page.parts['phases']
    for words in ('Distance to the teacher', 'Mimic loss', 'layer4'):
        assert words in page.parts['curves']
    result = json.loads((runs / 'sskd/result.json').read_text())
    for role in ('teacher', 'student'):
        assert f'{result[role]["accuracy/top1"]:.2f}' in page.parts['metrics']
    assert 'all 10 test images' in page.parts['metrics']
    assert 'from scratch' in page.parts['cost']
    # Both colour schemes, and curves in the colour of the text.
    assert 'prefers-color-scheme: dark' in page.text
    assert 'currentColor' in page.text and '#010203' not in page.text


def test_comparison(runs, report):
    """It names the metric, the teacher's, and of every run epochs, time and
    seed, of the plain one, too, which has no result.json."""
    words = _words(Page(report).parts['comparison'])
    assert words.startswith('Comparison accuracy/top1 of each student')
    result = json.loads((runs / 'sskd/result.json').read_text())
    teacher = f'{result["teacher"]["accuracy/top1"]:.2f}'
    sskd, scratch = (WorkDir(runs / name) for name in ('sskd', 'scratch'))
    for run, epochs, iterations, score in ((sskd, 4, 12, teacher),
                                           (scratch, 1, 3, '–')):
        value = f'{run.metrics["accuracy/top1"]:.2f}'
        assert (f'{value} {value} {score} {epochs} {iterations} '
                f'{run.seconds:.1f} s 0') in words
    assert sskd.seconds == pytest.approx(
        sum(phase['seconds'] for phase in result['phases']))
    (log, ) = (runs / 'scratch').glob('*/vis_data/scalars.json')
    times = [json.loads(line) for line in log.read_text().splitlines()]
    assert scratch.seconds == pytest.approx(
        sum(point['time'] for point in times if 'loss' in point))


def test_a_choice_of_axes(report):
    """One picture is shown at a time; scripts are not needed for it."""
    text = report.read_text()
    for name in ('comparison', 'curves-1'):
        assert text.count(f'type="radio" name="{name}"') == 3
    for axis in ('iteration', 'seconds of training, without validations',
                 'FLOPs computed in training, in one process'):
        # In the comparison, and in four panels of the section.
        assert text.count(f'>{axis}</text>') == 5


def _with_seed(folder, copy, seed, **metrics):
    """The same run with another seed and score, without its networks."""
    shutil.copytree(folder, copy)
    (copy / 'last_checkpoint').unlink()
    (file, ) = copy.glob('*/vis_data/config.py')
    cfg = Config.fromfile(file)
    cfg.merge_from_dict({'work_dir': str(copy), 'randomness.seed': seed})
    cfg.dump(file)
    result = json.loads((copy / 'result.json').read_text())
    result.update(seed=seed)
    result['student_curve'][-1].update(metrics)
    (copy / 'result.json').write_text(json.dumps(result))
    return WorkDir(copy)


def test_several_seeds_are_one(runs, tmp_path):
    scores = {'kd/seed_3': 60., 'kd/seed_4': 64., 'kd/seed_5': 68.}
    students = {
        name: _with_seed(runs / 'sskd', tmp_path / name, int(name[-1]),
                         **{'accuracy/top1': score})
        for name, score in scores.items()
    }
    plain = WorkDir(runs / 'scratch')
    kd, scratch = groups = RunGroup.group(
        dict(list(students.items())[:2], plain=plain,
             **dict(list(students.items())[2:])))
    assert (kd.name, scratch.name) == ('kd', 'plain')
    assert kd.seeds == [3, 4, 5] and scratch.seeds == [0]
    curve = kd.curve(
        lambda run: [(p['iteration'], p['accuracy/top1'])
                     for p in run.validations], 'iterations')
    assert curve.x.tolist() == [12]
    assert (curve.low[-1], curve.mean[-1], curve.high[-1]) == (60, 64, 68)
    found = compare_groups(groups, dict(kd='', plain=''),
                           dict(kd='', plain=''), {})
    assert [row['last'] for row in found['rows']][0] == [60, 64, 68]
    file = tmp_path / 'x.html'
    write_report([run.path for run in students.values()], file, images=1)
    page = Page(file)
    # The deviation of a sample.
    assert '64.00 ± 4.00' in page.parts['comparison']
    assert '64.00 ± 4.00' in page.parts['metrics']
    assert page.text.count('id="run-') == 1


def test_flops_of_a_run(runs):
    """As many as the plan of the config has: images x its FLOPs of a step."""
    for name in ('sskd', 'scratch'):
        group = RunGroup({name: WorkDir(runs / name)})
        cost = describe_cost(group.first.config)
        # 20 images are three batches of 8.
        expected = 3 * 8 * sum(p['epochs'] * p['gflops'] for p in cost)
        assert group.places(group.first, [0, group.first.iterations],
                            'FLOPs') == [0, pytest.approx(expected * 1e9)]


def test_a_teacher_is_no_student_from_scratch(runs, tmp_path):
    """The plain run whose checkpoint has taught is shown as what it is."""
    shutil.copytree(runs / 'sskd', tmp_path / 'sskd')
    (tmp_path / 'sskd/last_checkpoint').unlink()
    (file, ) = (tmp_path / 'sskd').glob('*/vis_data/config.py')
    checkpoint = (runs / 'scratch/last_checkpoint').read_text()
    file.write_text(file.read_text().replace(
        str(runs / 'teacher.pth'), checkpoint))
    write_report([tmp_path / 'sskd', runs / 'scratch'], tmp_path / 'x.html',
                 images=1)
    page = Page(tmp_path / 'x.html')
    assert 'scratch teacher' in _words(page.parts['comparison'])
    assert 'from scratch' not in page.parts['metrics']


def test_what_a_killed_run_leaves(runs, tmp_path):
    """Cut files are passed over, with a word."""
    cut = tmp_path / 'cut'
    shutil.copytree(runs / 'scratch', cut)
    (log, ) = cut.glob('*/vis_data/scalars.json')
    lines = log.read_text().splitlines()
    log.write_text('\n'.join(lines[:2]) + '\n' + lines[2][:20])
    (cut / 'result.json').write_text('{"phases": [')
    (cut / 'last_checkpoint').write_text('')
    run = WorkDir(cut)
    assert [p['iter'] for p in run.losses] == [1, 2]
    assert run.validations == [] and run.phases == []
    assert run.checkpoint is None
    (config, ) = cut.glob('*/vis_data/config.py')
    config.write_text(config.read_text()[:-30])
    assert WorkDir(cut).config is None
    (cut / 'result.json').unlink()
    write_report([cut], tmp_path / 'x.html')
    Page(tmp_path / 'x.html')


def test_configs_are_not_run(runs, tmp_path):
    """Of a folder from elsewhere the config is read as data."""
    shutil.copytree(runs / 'scratch', tmp_path / 'run')
    (file, ) = (tmp_path / 'run').glob('*/vis_data/config.py')
    file.write_text(file.read_text() +
                    f"\nopen({str(tmp_path / 'run_it')!r}, 'w')\n")
    assert WorkDir(tmp_path / 'run').config is None
    assert not (tmp_path / 'run_it').exists()


def test_what_was_trained_how(runs):
    run, scratch = (WorkDir(runs / name) for name in ('sskd', 'scratch'))
    assert run.distils and run.method == 'stage by stage: cumulative'
    assert not scratch.distils and scratch.method == 'from scratch'
    # The plain run has no result.json, only its log.
    (log, ) = (runs / 'scratch').glob('*/vis_data/scalars.json')
    last = json.loads(log.read_text().splitlines()[-1])
    assert scratch.metrics == {'accuracy/top1': last['accuracy/top1']}
    assert [p['epoch'] for p in scratch.validations] == [1]


def test_the_student_loads_as_the_page_says(runs, report):
    (code, ) = re.findall('<pre class="python">(.*?)</pre>',
                          report.read_text(), re.S)
    names = {}
    exec(html.unescape(code), names)
    saved = torch.load(
        (runs / 'sskd/last_checkpoint').read_text(), weights_only=False)
    for key, value in names['student'].state_dict().items():
        assert torch.equal(value, saved['state_dict'][key])


def test_what_is_missing_is_told(runs, tmp_path):
    moved = tmp_path / 'moved'
    shutil.copytree(runs / 'sskd', moved)
    assert WorkDir(moved).checkpoint is not None
    (moved / 'last_checkpoint').unlink()
    write_report([moved], tmp_path / 'x.html', images=10)
    page = Page(tmp_path / 'x.html')
    assert _left_out(page) == [
        'metrics', 'classes', 'features', 'cka', 'detections', 'cost',
        'loading'
    ]
    assert 'holds no checkpoint' in page.parts['cost']
    # What was logged is there all the same.
    assert 'accuracy/top1' in page.parts['metrics']
    for file in moved.glob('*/vis_data/*'):
        file.unlink()
    write_report([moved], tmp_path / 'x.html')
    curves = Page(tmp_path / 'x.html').parts['curves']
    assert 'Distance to the teacher' in curves  # as result.json has it
    assert 'Mimic loss' not in curves
    with pytest.raises(FileNotFoundError, match='result.json'):
        write_report([tmp_path], tmp_path / 'y.html')


def test_without_its_teacher(runs, tmp_path):
    moved = tmp_path / 'moved'
    shutil.copytree(runs / 'sskd', moved)
    (file, ) = moved.glob('*/vis_data/config.py')
    file.write_text(file.read_text().replace('teacher.pth', 'gone.pth'))
    write_report([moved], tmp_path / 'x.html', images=10)
    page = Page(tmp_path / 'x.html')
    # A step's FLOPs are those of both networks.
    assert _left_out(page) == ['curves', 'features', 'cka', 'detections']
    assert 'gone.pth' in page.parts['cka']


def test_classes_of_a_classifier(runs):
    run = WorkDir(runs / 'sskd')
    loader = build_test_loader(run.config, 4)
    student = load_distiller(run.config, loader, str(run.checkpoint)).student
    measured = measure_metrics(run.config, dict(student=student.val_step),
                               loader, 10)['student']
    samples = [s for batch in loader for s in student.val_step(batch)]
    expected = 100 * recall_score([int(s.gt_label) for s in samples],
                                  [int(s.pred_label) for s in samples],
                                  average=None)
    assert list(measured.classes) == list(loader.dataset.metainfo['classes'])
    assert list(measured.classes.values()) == pytest.approx(list(expected))
    assert measured.metrics['accuracy/top1'] == pytest.approx(
        expected.mean())  # as many images of each class


@pytest.fixture(scope='module')
def detector(distill_cfg, tmp_path_factory):
    """The work directory of a detector that has not learned anything."""
    folder = tmp_path_factory.mktemp('detector')
    cfg = distill_cfg(folder)
    file = folder / '20260101_000000' / 'vis_data' / 'config.py'
    file.parent.mkdir(parents=True)
    cfg.dump(file)
    torch.manual_seed(0)
    torch.save(
        dict(state_dict=build_model(cfg).state_dict()), folder / 'x.pth')
    (folder / 'last_checkpoint').write_text('/elsewhere/x.pth')
    return folder


def test_classes_of_a_detector(detector):
    """Who finds everything has an AP of 1, also on a part of the images."""
    cfg = WorkDir(detector).config
    loader = build_test_loader(cfg, 2)

    def cheat(batch):
        for sample in batch['data_samples']:
            found = sample.gt_instances.clone()
            boxes = found.pop('bboxes').tensor
            # Predictions are in the size of the file.
            found.bboxes = boxes / boxes.new_tensor(
                sample.scale_factor).repeat(2)
            found.scores = torch.ones(len(boxes))
            sample.pred_instances = found
        return batch['data_samples']

    measured = measure_metrics(cfg, dict(cheat=cheat), loader, 2)['cheat']
    assert measured.metrics['coco/bbox_mAP'] == pytest.approx(1, abs=1e-3)
    values = [v for v in measured.classes.values() if v == v]
    assert 0 < len(values) < 10  # a digit that is on neither image has none
    assert values == pytest.approx([1] * len(values), abs=1e-3)


def test_a_detector(detector, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('sskd_mm.analysis.report_section.REPEATS', 2)
    capsys.readouterr()
    write_report([detector], tmp_path / 'x.html', images=2)
    # Nobody has asked for the tables of COCO, or for what pycocotools does.
    out = ''.join(capsys.readouterr())
    for words in ('Average Precision', 'annotations', 'bbox', 'DONE',
                  'Loads checkpoint'):
        assert words not in out
    page = Page(tmp_path / 'x.html')
    assert _left_out(page) == ['phases', 'curves', 'metrics']
    assert page.parts['detections'].count('truth, teacher, student') == 1
    assert page.text.count('data:image/jpeg') == 5  # 4 and the features
    assert 'FasterRCNN' in page.parts['cost']


def test_in_a_browser(browser, report, tmp_path):
    """It is drawn in both schemes: the page behind all, and text on it."""
    colours = dict(light=(251, 251, 250), dark=(20, 23, 27))
    # By their number in Chromium's settings.
    for number, scheme in enumerate(('dark', 'light')):
        colour = colours[scheme]
        file = tmp_path / f'{scheme}.png'
        subprocess.run([
            *browser, '--hide-scrollbars',
            f'--user-data-dir={tmp_path / scheme}',
            f'--blink-settings=preferredColorScheme={number}',
            '--window-size=1100,2500', f'--screenshot={file}',
            report.as_uri()
        ],
                       check=True,
                       capture_output=True,
                       timeout=120)
        picture = cv2.imread(str(file))[..., ::-1].astype(int)
        assert tuple(picture[5, 5]) == colour
        far = abs(picture - colour).sum(-1) > 300
        assert far[:120].any() and far[1000:2000].mean() > .01

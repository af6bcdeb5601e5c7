# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
from torch import nn

from sskd_mm.stages import Stage, parse_stages


def _net(*names):
    net = nn.Module()
    net.backbone = nn.Module()
    net.backbone.out_indices = (len(names) - 1, )
    for name in names:
        net.backbone.add_module(name, nn.Conv2d(3, 3, 1))
    return net


def test_auto_pairs_by_order():
    student, teacher = _net('layer1', 'layer2'), _net('stage0', 'stage1')
    teacher.neck, student.neck = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    assert parse_stages('auto', student, [teacher]) == [
        Stage('layer1', 'backbone.layer1', ('backbone.stage0', )),
        Stage('layer2', 'backbone.layer2', ('backbone.stage1', )),
        Stage('neck', 'neck', ('neck', ))
    ]


def test_auto_in_a_list():
    student, teacher = (_net('layer1', 'layer2') for _ in range(2))
    for net in (student, teacher):
        net.neck = nn.AdaptiveAvgPool2d(1)
    auto = parse_stages('auto', student, [teacher])
    assert parse_stages(['auto', 'neck'], student, [teacher]) == [
        *auto, Stage('neck', 'neck', ('neck', ))
    ]


def test_auto_sorts_by_number():
    net = _net(*[f'layer{i}' for i in (2, 1, 10)])
    stages = parse_stages('auto', net, [net])
    assert [s.name for s in stages] == ['layer1', 'layer2', 'layer10']


def test_auto_stops_at_the_last_output():
    net = _net('layer1', 'layer2', 'layer3')
    net.backbone.out_indices = (0, 1)
    assert [s.name for s in parse_stages('auto', net, [net])
            ] == ['layer1', 'layer2']


def test_neck_without_weights_is_no_stage():
    net = _net('layer1')
    net.neck = nn.AdaptiveAvgPool2d(1)
    assert [s.name for s in parse_stages('auto', net, [net])] == ['layer1']


def test_different_numbers_are_refused_with_a_table():
    with pytest.raises(ValueError) as error:
        parse_stages('auto', _net('layer1', 'layer2'), [_net('layer1')])
    assert 'backbone.layer2' in str(error.value)
    assert 'stages=[dict(student=' in str(error.value)


def test_explicit_stages():
    student, teacher = _net('layer1', 'layer2'), _net('stage0', 'stage1')
    assert parse_stages(
        [dict(student='backbone.layer2', teacher='backbone.stage1', name='x')],
        student, [teacher]) == [
            Stage('x', 'backbone.layer2', ('backbone.stage1', ))
        ]
    assert parse_stages(['backbone.layer1'], student,
                        [student])[0].name == 'layer1'


@pytest.mark.parametrize('stages, message', [
    (['backbone.layr1'], "no module 'backbone.layr1'. Similar ones: .*layer1"),
    ([dict(student='backbone.layer1')], 'keys student and teacher'),
    ([dict(student='a', teacher='b', nme='c')],
     "has the key 'nme'.*Did you mean 'name'"),
    (['backbone.layer1', 'backbone.layer1'], 'used twice'),
    ([dict(student='backbone', teacher='backbone', name='head')], 'reserved'),
    ('backbone.layer1', "give 'auto' or a list"),
    ([], "give 'auto' or a list"),
])
def test_errors_say_what_to_write(stages, message):
    net = _net('layer1', 'layer2')
    with pytest.raises(ValueError, match=message):
        parse_stages(stages, net, [net])


def test_unknown_backbone():
    net = nn.Module()
    net.backbone = nn.Sequential(nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match="Write them as a list.*'backbone.0'"):
        parse_stages('auto', net, [net])
    with pytest.raises(ValueError, match='needs a model with a backbone'):
        parse_stages('auto', nn.Sequential(), [nn.Sequential()])


def test_several_teachers():
    student, other = _net('layer1', 'layer2'), _net('stage0', 'stage1')
    assert parse_stages('auto', student, [student, other]) == [
        Stage('layer1', 'backbone.layer1',
              ('backbone.layer1', 'backbone.stage0')),
        Stage('layer2', 'backbone.layer2',
              ('backbone.layer2', 'backbone.stage1'))
    ]
    stage, = parse_stages(
        [dict(student='backbone.layer2', teacher=[None, 'backbone.stage1'])],
        student, [student, other])
    assert stage.teachers == (None, 'backbone.stage1')
    for paths in (['backbone.stage1'], [None, None]):
        with pytest.raises(ValueError, match='for each of the 2 teachers'):
            parse_stages([dict(student='backbone.layer2', teacher=paths)],
                         student, [student, other])


def test_layouts():
    net = _net('layer1')

    def parse(layout, teachers=1):
        entry = dict(
            student='backbone.layer1',
            teacher='backbone.layer1',
            layout=layout)
        return parse_stages([entry], net, [net] * teachers)[0].layouts

    assert parse('NHWC') == ('NHWC', 'NHWC')
    assert parse(dict(student='NHWC')) == ('NHWC', None)
    assert parse(dict(teacher='NLC'), 2) == (None, 'NLC', 'NLC')
    assert parse(dict(teacher=[None, 'NHWC']), 2) == (None, None, 'NHWC')
    for layout in ('HWC', 'NHWD', 'nhwc', 'NNHWC'):
        with pytest.raises(ValueError, match=f"layout='{layout}'.*'NHWC'"):
            parse(layout)
    with pytest.raises(ValueError, match='each of the 2 teachers'):
        parse(dict(teacher=['NHWC']), 2)
    with pytest.raises(ValueError, match="key 'techer'.*'teacher'"):
        parse(dict(techer='NHWC'))

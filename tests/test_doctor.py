# Copyright (c) sskd_mm authors. All rights reserved.
import json
import os
import runpy
import shutil
import sys
from collections import namedtuple
from importlib.metadata import version

import pytest
import torch

from sskd_mm import doctor
from sskd_mm.compat import installed_distributions, mmcv_ext


@pytest.fixture
def examine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda: {finding.name: finding for finding in doctor.examine()}


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['doctor', '--json'])
    monkeypatch.delitem(sys.modules, 'sskd_mm.doctor')
    with pytest.raises(SystemExit) as end:
        runpy.run_module('sskd_mm.doctor', run_name='__main__')
    found = {
        finding['name']: finding
        for finding in json.loads(capsys.readouterr().out)
    }
    assert end.value.code == any(f['status'] == 'problem'
                                 for f in found.values())
    for name in installed_distributions().values():
        assert name in found['stack']['found']
    assert version('torchvision') in found['torch']['found']
    assert all(f['remedy'] for f in found.values() if f['status'] != 'ok')


def test_stand_ins(examine):
    if mmcv_ext.has_compiled_ops():
        pytest.skip('mmcv has compiled operators')
    findings = examine()
    served = findings['operators of mmcv'].found
    assert 'nms' in served and 'roi_align_forward' in served
    lacking = findings['operators without a stand-in'].found.split(', ')
    assert {'deform_conv_forward', 'box_iou_rotated'} <= set(lacking)
    assert not {'nms', 'roi_align_forward', 'get_compiler_version'
                } & set(lacking)


def test_no_room(examine, monkeypatch):
    Usage = namedtuple('Usage', 'total used free')
    monkeypatch.setattr(shutil, 'disk_usage',
                        lambda path: Usage(2**33, 2**33, 2**20))
    findings = examine()
    name = f'disk, here ({os.getcwd()})'
    assert findings[name].found == '0.0 of 8.0 GiB free'
    assert findings[name].status == 'problem'
    assert '--work-dir' in findings[name].remedy


@pytest.mark.parametrize('cuda, message', [
    (None, 'built without CUDA'), ('13.0', 'driver is older than CUDA 13.0')])
def test_a_gpu_out_of_reach(examine, monkeypatch, cuda, message):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.version, 'cuda', cuda)
    monkeypatch.setattr(torch.version, 'hip', None)
    monkeypatch.setattr(shutil, 'which', lambda name: f'/usr/bin/{name}')
    finding = examine()['GPU']
    assert finding.status == 'problem'
    assert message in finding.found + finding.remedy


def test_mixed_packages(examine, monkeypatch):
    monkeypatch.setattr(
        doctor, 'installed_distributions',
        lambda: dict(mmengine='onedl-mmengine 0.10.12', mmcv='mmcv 2.1.0'))
    findings = examine()
    assert findings['stack'].status == 'problem'
    assert findings['mmdet'].remedy.endswith("'sskd-mm[onedl]'")


def test_data(examine, tmp_path):
    (tmp_path / 'data/coco/annotations').mkdir(parents=True)
    (tmp_path / 'data/cifar10').mkdir()
    findings = examine()
    assert [findings[f'data/{name}'].status for name in
            ('coco', 'cifar10', 'digits')] == ['ok', 'problem', 'note']


def test_table(monkeypatch, capsys):
    doctor.show([
        doctor.Finding('a', 'fine'),
        doctor.Finding('b', 'broken', 'problem', 'mend it')
    ])
    out = capsys.readouterr().out
    assert 'mend it' in out and '1 problem(s)' in out

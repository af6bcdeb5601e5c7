# Copyright (c) sskd_mm authors. All rights reserved.
"""tools/face_eval.py as a user calls it."""
import importlib.util
import json
import os
import pickle
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from sskd_mm import analysis
from sskd_mm.datasets.transforms.align_face import TEMPLATE
from sskd_mm.evaluation import RocCurve
from sskd_mm.models import build_model

pytestmark = pytest.mark.usefixtures('quick_garbage_collection')

CONFIG = '''
custom_imports = dict(imports=['sskd_mm'])
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(type='ResNet_CIFAR', depth=18, base_channels=8,
                  stem_channels=8, num_stages=2, out_indices=(1, ),
                  strides=(1, 2), dilations=(1, 1)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=7, in_channels=16))
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(16, 16)),
    dict(type='PackInputs')]))
'''


@pytest.fixture(scope='module')
def tool(root):
    spec = importlib.util.spec_from_file_location('face_eval',
                                                  root / 'tools/face_eval.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def call(tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plot = analysis.plot_faces

    def call(*args, plots=False):
        # It takes most of the time.
        monkeypatch.setattr(analysis, 'plot_faces',
                            plot if plots else lambda *args: None)
        monkeypatch.setattr(sys, 'argv', ['face_eval.py', *map(str, args)])
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            tool.main()

    return call


@pytest.fixture
def faces(tmp_path):
    """Three people, four noisy images each."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 1, 16, 16, 3)) * .3
    images = images + rng.integers(0, 178, (3, 4, 16, 16, 3))
    for who, k in np.ndindex(3, 4):
        file = tmp_path / f'faces/p{who}/{k}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), images[who, k].astype(np.uint8))
    return images.astype(np.uint8).reshape(12, 16, 16, 3)


@pytest.fixture
def model(tmp_path):
    (tmp_path / 'config.py').write_text(CONFIG)
    cfg = Config.fromfile(tmp_path / 'config.py')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
    torch.save(
        dict(state_dict=model.state_dict()), tmp_path / 'checkpoint.pth')
    return model.eval()


def embed(model, images):
    """Image and mirrored image, by hand."""
    x = torch.as_tensor(images[..., ::-1].copy()).permute(0, 3, 1, 2)
    x = (x.float() - 127.5) / 127.5
    with torch.no_grad():
        a, b = (model.neck(model.backbone(y))[-1] for y in (x, x.flip(-1)))
    x = (a + b).double().numpy()
    return x / np.linalg.norm(x, axis=1, keepdims=True)


MODEL = 'config.py', 'checkpoint.pth', '--num-workers', 0


def results(pattern):
    return sorted(Path('work_dirs/face_eval').glob(f'*/{pattern}'))


def read(name):
    file, = results(f'{name}.json')
    return json.loads(file.read_text())['figures']


def test_folder(call, faces, model, capsys):
    call(*MODEL, '--protocol', 'folder', '--data', 'faces', '--batch-size', 5,
         plots=True)
    x = embed(model, faces)
    who = np.arange(12) // 4
    i, j = np.triu_indices(12, 1)
    # An untrained network is right at times.
    curve = RocCurve((x @ x.T)[i, j], who[i] == who[j])
    figures = read('folder')['faces']
    assert figures['TAR@FAR=0.1'] == pytest.approx(100 *
                                                   curve.tar_at_far(0.1))
    assert figures['AUC'] == pytest.approx(100 * curve.auc, abs=1e-3)
    probes = np.flatnonzero(np.arange(12) % 4)
    first = np.argmax(x[probes] @ x[::4].T, 1) == who[probes]
    assert figures['rank-1'] == pytest.approx(100 * first.mean())
    assert 0 < first.mean() < 1 and 0.5 < curve.auc < 1
    assert 'TPIR@FPIR=0.1' in figures
    shown = capsys.readouterr().out
    assert f'{figures["AUC"]:.2f}' in shown and 'rank-1' in shown
    file, = results('folder.png')
    picture = cv2.imread(str(file))
    assert picture.std() > 5

    # The embeddings that were written give the same.
    file, = [f for f in results('*.npy') if 'done' not in f.name]
    call('--protocol', 'folder', '--data', 'faces', '--embeddings', file,
         '--work-dir', 'stored')
    stored = json.loads(Path('stored/folder.json').read_text())
    assert stored['figures']['faces'] == figures


def test_bin_and_pairs(call, faces, model, tmp_path):
    rng = np.random.default_rng(1)
    pairs = rng.integers(0, 12, (40, 2))
    same = pairs[:, 0] // 4 == pairs[:, 1] // 4
    encoded = [
        cv2.imencode('.png', faces[i])[1].tobytes() for i in pairs.ravel()
    ]
    for name in ('lfw', 'cfp_fp'):
        with open(f'{name}.bin', 'wb') as file:
            pickle.dump((encoded, same.tolist()), file)
    call(*MODEL, '--protocol', 'bin', '--data', 'lfw.bin', 'cfp_fp.bin')
    figures = read('bin')
    assert figures['lfw.bin'] == figures['cfp_fp.bin']

    with open('pairs.txt', 'w') as file:
        for (a, b), y in zip(pairs, same):
            file.write(f'p{a // 4}/{a % 4}.png p{b // 4}/{b % 4}.png '
                       f'{int(y)}\n')
    call(*MODEL, '--protocol', 'pairs', '--data', 'pairs.txt', '--image-root',
         'faces')
    assert read('pairs')['pairs.txt'] == pytest.approx(figures['lfw.bin'])

    x = embed(model, faces)
    distances = ((x[pairs[:, 0]] - x[pairs[:, 1]])**2).sum(1)
    accuracy = []
    for k in range(10):
        test = np.arange(40) // 4 == k
        right = [((distances < t / 100) == same)[~test].sum()
                 for t in range(400)]
        t = right.index(max(right)) / 100
        accuracy.append(np.mean((distances < t)[test] == same[test]))
    assert figures['lfw.bin']['accuracy'] == pytest.approx(
        100 * np.mean(accuracy))


def test_without_mirrored_images(call, faces, model):
    call(*MODEL, '--protocol', 'folder', '--data', 'faces', '--no-mirror')
    figures = read('folder')
    # They are not taken for those that were stored.
    call(*MODEL, '--protocol', 'folder', '--data', 'faces')
    assert read('folder') != figures


def test_models_of_one_name(call, faces, model):
    """Each has results of its own: that of another training, and this one
    once it has gone on."""
    for folder, factor in (('run', 1), ('other', 1), ('run', 2)):
        os.makedirs(folder, exist_ok=True)
        weights = dict(
            model.state_dict(), **{'head.fc.bias': torch.ones(7) * factor})
        torch.save(dict(state_dict=weights), f'{folder}/epoch_1.pth')
        call('config.py', f'{folder}/epoch_1.pth', '--num-workers', 0,
             '--protocol', 'folder', '--data', 'faces')
    names = [file.parent.name for file in results('folder.json')]
    assert [name.rpartition('-')[0] for name in names
            ] == ['other_epoch_1', 'run_epoch_1', 'run_epoch_1']
    assert names[0][-8:] in [name[-8:] for name in names[1:]]


def test_where_the_preprocessing_stands(call, faces, model, tmp_path):
    """In the model, beside it as mmpretrain has it, or of a distiller."""
    call(*MODEL, '--protocol', 'folder', '--data', 'faces')
    figures = read('folder')
    own = ('data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, '
           'to_rgb=True)')
    assert own in CONFIG
    beside = CONFIG.replace(f'{own},', '') + own
    distiller = beside + '''
model = dict(type='StageByStageDistiller', student=model, teacher=dict())
'''
    for number, text in enumerate((beside, distiller)):
        (tmp_path / 'config.py').write_text(text)
        call(*MODEL, '--protocol', 'folder', '--data', 'faces', '--work-dir',
             number)
        with open(f'{number}/folder.json') as file:
            assert json.load(file)['figures'] == figures


def test_other_weights(call, faces, model):
    weights = model.state_dict()
    name = next(iter(weights))
    less = {k: v for k, v in weights.items() if k != name}
    torch.save(dict(state_dict=less), 'checkpoint.pth')
    with pytest.raises(ValueError, match=f'1 weights are missing.*{name}'):
        call(*MODEL, '--protocol', 'folder', '--data', 'faces')
    # The head plays no part.
    torch.save(
        dict(state_dict={
            k: v
            for k, v in weights.items() if not k.startswith('head.')
        }), 'checkpoint.pth')
    call(*MODEL, '--protocol', 'folder', '--data', 'faces')


@pytest.mark.parametrize('args,message', [
    (('--protocol', 'bin', '--data', 'x'), 'CONFIG and a CHECKPOINT'),
    (('--protocol', 'bin', '--data', 'x', 'y', '--embeddings', 'z'),
     '1 files of --embeddings do not go with 2'),
    ((*MODEL, '--protocol', 'ijbc', '--data', 'x', 'y'), 'takes one folder'),
])
def test_arguments(call, args, message, capsys):
    with pytest.raises(SystemExit):
        call(*args)
    assert message in capsys.readouterr().err


def test_wrong_embeddings(call, faces):
    np.save('x.npy', np.ones((11, 4)))
    with pytest.raises(ValueError, match='but there are 12 images'):
        call('--protocol', 'folder', '--data', 'faces', '--embeddings',
             'x.npy')


def test_ijbc(call, tmp_path):
    """Stored embeddings, whose length may weigh or not."""
    rng = np.random.default_rng(0)
    meta = tmp_path / 'IJBC/meta'
    meta.mkdir(parents=True)
    template = np.repeat(np.arange(1, 41), 3)

    def write(file, lines):
        (meta / f'ijbc_{file}').write_text('\n'.join(lines) + '\n')

    def listed(templates):
        return ['TEMPLATE_ID,SUBJECT_ID'] + [
            f'{t},{t % 10}' for t in templates
        ]

    write('face_tid_mid.txt',
          [f'{i}.jpg {t} {i}' for i, t in enumerate(template)])
    write('name_5pts_score.txt', [
        f'{i}.jpg ' + '1.5 ' * 10 + f'{rng.random():.3f}' for i in range(120)
    ])
    write('template_pair_label.txt', [
        f'{a} {b} {int(a % 10 == b % 10)}' for a in range(1, 41)
        for b in range(a + 1, 41)
    ])
    write('1N_gallery_G1.csv', listed(range(1, 6)))
    write('1N_gallery_G2.csv', listed(range(6, 11)))
    write('1N_probe_mixed.csv', listed(range(11, 41)))
    x = rng.standard_normal((10, 6))[template % 10]
    x = (x + rng.standard_normal(x.shape)) * rng.random((120, 1))
    np.save('x.npy', x)
    figures = []
    for options in ((), ('--quality-weights', )):
        call('--protocol', 'ijbc', '--data', 'IJBC', '--embeddings', 'x.npy',
             '--work-dir', 'work', *options)
        with open('work/ijbc.json') as file:
            figures.append(json.load(file)['figures']['IJBC'])
    assert figures[0] != figures[1]
    np.save('x.npy', x / np.linalg.norm(x, axis=1, keepdims=True))
    call('--protocol', 'ijbc', '--data', 'IJBC', '--embeddings', 'x.npy',
         '--work-dir', 'work')
    with open('work/ijbc.json') as file:
        assert json.load(file)['figures']['IJBC'] == pytest.approx(figures[0])
    # Templates 11 to 40 are probes; a third of them could not be embedded.
    x[(template > 10) & (template % 3 == 0)] = 0
    np.save('x.npy', x)
    for options in ((), ('--quality-weights', )):
        call('--protocol', 'ijbc', '--data', 'IJBC', '--embeddings', 'x.npy',
             '--work-dir', 'work', *options)
        with open('work/ijbc.json') as file:
            found = json.load(file)['figures']['IJBC']
        assert found['rank-10'] == pytest.approx(200 / 3)


def _write(folder, name, lines):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(''.join(f'{line}\n' for line in lines))


def _faces_in_pictures(folder, count):
    """Faces of 112 x 112, each cut from a larger picture at (9, 20)."""
    pictures = np.random.default_rng(2).integers(
        0, 256, (count, 20, 18, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    folder.mkdir(parents=True)
    for k, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f'{k}.png'), picture)
    return pictures[:, 20:132, 9:121]


@pytest.mark.parametrize('name, galleries', [
    ('ijbb', ('gallery_S1', 'gallery_S2')),
    ('ijbc', ('gallery_G1', 'gallery_G2')),
])
def test_ijb_with_a_model(call, model, tmp_path, name, galleries):
    """From pictures and landmarks to figures: as of faces that were cut and
    embedded by hand."""
    faces = _faces_in_pictures(tmp_path / 'IJB/loose_crop', 24)
    meta = tmp_path / 'IJB/meta'
    template = np.arange(24) // 2  # of four people
    points = ' '.join(f'{x + 9} {y + 20}' for x, y in TEMPLATE)
    _write(meta, f'{name}_face_tid_mid.txt',
           [f'{i}.png {t} {i}' for i, t in enumerate(template)])
    _write(meta, f'{name}_name_5pts_score.txt',
           [f'{i}.png {points} 0.9' for i in range(24)])
    _write(meta, f'{name}_template_pair_label.txt', [
        f'{a} {b} {int(a % 4 == b % 4)}' for a in range(12)
        for b in range(a)
    ])
    for part, templates in zip((*galleries, 'probe_mixed'),
                               ((0, 1), (2, 3), range(4, 12))):
        _write(meta, f'{name}_1N_{part}.csv', ['TEMPLATE_ID,SUBJECT_ID'] +
               [f'{t},{t % 4}' for t in templates])
    call(*MODEL, '--protocol', name, '--data', 'IJB')
    figures = read(name)['IJB']
    assert 0 < figures['AUC'] < 100 and 'TPIR@FPIR=0.1' in figures

    small = np.stack([cv2.resize(face, (16, 16)) for face in faces])
    np.save('x.npy', embed(model, small))
    call('--protocol', name, '--data', 'IJB', '--embeddings', 'x.npy',
         '--work-dir', 'by_hand')
    with open(f'by_hand/{name}.json') as file:
        assert json.load(file)['figures']['IJB'] == pytest.approx(figures)


def test_ijba_with_a_model(call, model, tmp_path):
    """The same by boxes, over ten splits."""
    faces = _faces_in_pictures(tmp_path / 'images', 12)
    rows = [
        f'{t},{t % 3},{i}.png,{i},9,20,112,112'
        for i, t in enumerate(np.arange(12) // 2)
    ]
    header = ('TEMPLATE_ID,SUBJECT_ID,FILE,MEDIA_ID,FACE_X,FACE_Y,FACE_WIDTH,'
              'FACE_HEIGHT')
    for k in range(1, 11):
        sets = tmp_path / f'IJBA/IJB-A_11_sets/split{k}'
        _write(sets, f'verify_metadata_{k}.csv', [header, *rows])
        _write(sets, f'verify_comparisons_{k}.csv',
               [f'{a},{b}' for a in range(6) for b in range(a)])
        sets = tmp_path / f'IJBA/IJB-A_1N_sets/split{k}'
        # A gallery of two people, and probes of three.
        _write(sets, f'search_gallery_{k}.csv', [header, *rows[:4]])
        _write(sets, f'search_probe_{k}.csv', [header, *rows[6:]])
    call(*MODEL, '--protocol', 'ijba', '--data', 'IJBA', '--image-root',
         'images', plots=True)
    figures = read('ijba')['IJBA']
    assert 0 < figures['AUC'][0] < 100 and 'rank-1' in figures

    small = np.stack([cv2.resize(face, (16, 16)) for face in faces])
    np.save('x.npy', embed(model, small))
    call('--protocol', 'ijba', '--data', 'IJBA', '--embeddings', 'x.npy',
         '--work-dir', 'by_hand')
    with open('by_hand/ijba.json') as file:
        ours = json.load(file)['figures']['IJBA']
    assert {k: v[0] for k, v in ours.items()
            } == pytest.approx({k: v[0]
                                for k, v in figures.items()})


def test_other_sizes_than_112(call, tmp_path):
    """The config cuts faces of 32 pixels, for a network of that size."""
    (tmp_path / 'config.py').write_text('''
custom_imports = dict(imports=['sskd_mm'])
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(type='MobileFaceNet', blocks=(1, 1, 1, 1), scale=1,
                  embedding=16, input_size=32),
    head=dict(type='EmbeddingHead'))
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='AlignFace', size=32),
    dict(type='PackInputs')]))
''')
    model = build_model(Config.fromfile(tmp_path / 'config.py'))
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), 'checkpoint.pth')
    pictures = np.random.default_rng(0).integers(
        0, 256, (40, 112, 112, 3), dtype=np.uint8)
    for name, sizes in (('same', [112] * 40), ('mixed', [112, 96] * 20)):
        images = [
            cv2.imencode('.png', cv2.resize(x, (size, size)))[1].tobytes()
            for x, size in zip(pictures, sizes)
        ]
        with open(f'{name}.bin', 'wb') as file:
            pickle.dump((images, [True, False] * 10), file)
        call(*MODEL, '--protocol', 'bin', '--data', f'{name}.bin')
    text = (tmp_path / 'config.py').read_text()
    (tmp_path / 'config.py').write_text(
        text.replace("    dict(type='AlignFace', size=32),\n", ''))
    with pytest.raises(
            ValueError,
            match='input_size=32, but .* 112 x 112 pixels.*AlignFace'):
        call(*MODEL, '--protocol', 'bin', '--data', 'same.bin', '--work-dir',
             'other')


def test_embeddings_that_are_cut_off(call, faces):
    np.save('x.npy', np.ones((12, 4), np.float32))
    with open('x.npy', 'rb') as file:
        whole = file.read()
    np.savez('archive', np.ones((12, 4)))
    with open('archive.npz', 'rb') as file:
        archive = file.read()
    for content in (whole[:-1], whole[:20], b'', b'text', archive,
                    pickle.dumps([1])):
        with open('x.npy', 'wb') as file:
            file.write(content)
        with pytest.raises(
                ValueError, match="'x.npy' (cannot be read|has shape)"):
            call('--protocol', 'folder', '--data', 'faces', '--embeddings',
                 'x.npy')

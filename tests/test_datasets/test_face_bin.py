# Copyright (c) sskd_mm authors. All rights reserved.
import os
import pickle
import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from torch.utils.data import DataLoader

from sskd_mm.datasets import FaceBinError, RecordFileError, read_face_bin

pytestmark = pytest.mark.usefixtures('quick_garbage_collection')


def encode(image):
    return cv2.imencode('.png', image)[1].tobytes()


@pytest.fixture
def faces():
    return np.random.default_rng(0).integers(
        0, 256, (6, 8, 7, 3), dtype=np.uint8)


def write(file, content):
    file.write_bytes(pickle.dumps(content))
    return str(file)


@pytest.mark.parametrize('as_array', [False, True])
def test_read(tmp_path, faces, as_array):
    images = [encode(face) for face in faces]
    stored = [np.frombuffer(i, np.uint8) for i in images] if as_array \
        else images
    file = write(tmp_path / 'lfw.bin', (stored, [True, False, True]))
    found, same = read_face_bin(file)
    assert found == images
    assert same.tolist() == [True, False, True] and same.dtype == bool


@pytest.mark.parametrize('content,message', [
    (([b'x'] * 11, [True] * 6), 'has 11 images and 6 pairs, which need 12'),
    (([], []), 'has 0 images and 0 pairs'),
    (([b'x'] * 2, [True], 3), 'not a pair of lists'),
    ((b'xx', [True]), 'its images are a bytes'),
    (([b'x', 5], [True]), 'its image 1 is not bytes but int'),
    (([b'x'] * 2, [7]), 'not a list of bools'),
    (([b'x'] * 2, b'1'), 'not a list of bools'),
    (([b'x'] * 2, {}), 'more than plain data'),
])
def test_wrong_content(tmp_path, content, message):
    file = write(tmp_path / 'x.bin', content)
    with pytest.raises(FaceBinError, match=message) as error:
        read_face_bin(file)
    assert repr(file) in str(error.value)
    assert 'again' in str(error.value)


def test_cut_off(tmp_path, faces):
    file = tmp_path / 'x.bin'
    write(file, ([encode(face) for face in faces], [True] * 3))
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(FaceBinError, match='truncated .* copy it again'):
        read_face_bin(str(file))
    file.write_bytes(b'')
    with pytest.raises(FaceBinError, match='truncated or not a pickle'):
        read_face_bin(str(file))


def test_hostile(tmp_path):

    class Hostile:

        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'it_ran'), )

    file = write(tmp_path / 'x.bin', ([b'x', Hostile()], [True]))
    with pytest.raises(FaceBinError, match=r'uses \w+.mkdir'):
        read_face_bin(file)
    assert not (tmp_path / 'it_ran').exists()


def test_dataset_in_a_dataloader(tmp_path, faces):
    file = write(tmp_path / 'x.bin',
                 ([encode(face) for face in faces], [True, False, True]))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(
            dict(
                type='FaceBin',
                ann_file=file,
                pipeline=[dict(type='PackInputs')]))
    first, second, same = dataset.metainfo['pairs']
    assert first.tolist() == [0, 2, 4] and second.tolist() == [1, 3, 5]
    assert same.tolist() == [True, False, True]
    loader = DataLoader(
        dataset,
        batch_size=4,
        sampler=DefaultSampler(dataset, shuffle=False),
        num_workers=2,
        collate_fn=pseudo_collate)
    batches = list(loader)
    images = torch.stack([x for batch in batches for x in batch['inputs']])
    assert torch.equal(images,
                       torch.as_tensor(faces).permute(0, 3, 1, 2))
    assert [s.sample_idx for b in batches
            for s in b['data_samples']] == list(range(6))


@pytest.mark.parametrize('image', [b'', b'no image'])
def test_damaged_image(tmp_path, faces, image):
    file = write(tmp_path / 'x.bin', ([encode(faces[0]), image], [True]))
    dataset = DATASETS.build(dict(type='FaceBin', ann_file=file))
    with pytest.raises(FaceBinError, match='x.bin#1.*cannot be decoded'):
        dataset[1]


def huge_png(side):
    """Black, of one bit a pixel, which OpenCV decodes into three bytes."""
    rows = zlib.compressobj(9)
    data = b''.join(
        rows.compress(bytes(side // 8 + 1)) for _ in range(side))
    chunks = (b'IHDR', struct.pack('>2I5B', side, side, 1, 0, 0, 0, 0)), (
        b'IDAT', data + rows.flush()), (b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + name + data +
        struct.pack('>I', zlib.crc32(name + data)) for name, data in chunks)


@pytest.mark.parametrize('side', [8200, 11000, 20000])
def test_small_file_of_a_huge_image(tmp_path, side):
    image = huge_png(side)
    assert len(image) < 10**5
    dataset = DATASETS.build(
        dict(
            type='FaceBin',
            ann_file=write(tmp_path / 'x.bin', ([image] * 2, [True]))))
    with pytest.raises(FaceBinError, match='x.bin#0.* 67,108,864 pixels'):
        dataset[0]
    header = struct.pack('<IfQQ', 0, 0., 1, 0)
    frame = struct.pack('<II', 0xced7230a, len(header + image))
    (tmp_path / 'train.rec').write_bytes(frame + header + image + b'\0' * 3)
    (tmp_path / 'train.idx').write_text('1\t0\n')
    dataset = DATASETS.build(
        dict(type='FaceRecords', data_root=str(tmp_path)))
    with pytest.raises(RecordFileError, match='record 1 .* 67,108,864 pixels'):
        dataset[0]


def test_formats_of_opencv(tmp_path, faces):
    """Whether or not PIL knows them."""
    for extension in ('.jpg', '.png', '.bmp', '.webp', '.ppm', '.tiff',
                      '.ras', '.hdr'):
        image = cv2.imencode(extension, faces[0])[1].tobytes()
        dataset = DATASETS.build(
            dict(
                type='FaceBin',
                ann_file=write(tmp_path / 'x.bin', ([image] * 2, [True]))))
        assert np.array_equal(
            dataset[0]['img'],
            cv2.imdecode(np.frombuffer(image, np.uint8), 1)), extension

# Copyright (c) sskd_mm authors. All rights reserved.
"""Insightface's .rec and .idx, written here as MXNet writes them."""
import multiprocessing
import pickle
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from mmengine.registry import DATASETS, MODELS, DefaultScope
from torch.utils.data import DataLoader

from sskd_mm.datasets import RecordFile, RecordFileError, check_num_classes

MAGIC = struct.pack('<I', 0xced7230a)


def frame(data):
    """RecordIO: parted where the magic number stands at a multiple of 4."""
    parts, begin = [], 0
    for i in range(0, len(data) - 3, 4):
        if data[i:i + 4] == MAGIC:
            parts.append(data[begin:i])
            begin = i + 4
    parts.append(data[begin:])
    kinds = [0] if len(parts) == 1 else [1] + [2] * (len(parts) - 2) + [3]
    return b''.join(MAGIC + struct.pack('<I', kind << 29 | len(part)) + part +
                    b'\0' * (-len(part) % 4)
                    for kind, part in zip(kinds, parts))


def pack(label, data, key=0):
    """MXNet's header before the data."""
    if isinstance(label, tuple):
        labels = struct.pack(f'<{len(label)}f', *label)
        return struct.pack('<IfQQ', len(label), 0., key, 0) + labels + data
    return struct.pack('<IfQQ', 0, label, key, 0) + data


def write(folder, records, name='train'):
    """Write records, a list of (key, bytes); returns the path of the .rec."""
    lines, offset = [], 0
    with open(folder / f'{name}.rec', 'wb') as file:
        for key, data in records:
            lines.append(f'{key}\t{offset}\n')
            offset += file.write(frame(data))
    (folder / f'{name}.idx').write_text(''.join(lines))
    return str(folder / f'{name}.rec')


def image(number):
    rng = np.random.default_rng(number)
    img = np.full((12, 10, 3), rng.integers(0, 255, 3), np.uint8)
    return img, cv2.imencode('.png', img)[1].tobytes()


def face_set(folder, header=True):
    """Six faces of three people; with a header as MS1MV2 has it."""
    records = []
    if header:
        records.append((0, pack((7., 10.), b'')))
    for i in range(6):
        label = float(i // 2)
        # MS1MV2 has one label, others have two of which the first counts.
        label = (label, 5.) if i % 2 else label
        records.append((i + 1, pack(label, image(i)[1], i + 1)))
    if header:
        for i in range(3):
            first = float(2 * i + 1)
            records.append((7 + i, pack((first, first + 2), b'')))
    return write(folder, records)


def build(folder, **options):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return DATASETS.build(
            dict(type='FaceRecords', data_root=str(folder), **options))


@pytest.mark.parametrize('header', [True, False])
def test_faces(tmp_path, header):
    face_set(tmp_path, header)
    dataset = build(tmp_path)
    assert len(dataset) == 6
    assert dataset.metainfo.get('classes') == (('0', '1',
                                                '2') if header else None)
    for i in (5, 0, 3):
        info = dataset[i]
        assert np.array_equal(info['img'], image(i)[0])
        assert info['gt_label'] == i // 2 and info['sample_idx'] == i
        assert info['img_shape'] == (12, 10)
        assert info['img_path'] == f'{tmp_path}/train.rec#{i + 1}'
    assert dataset[-1]['sample_idx'] == 5


def test_options(tmp_path):
    face_set(tmp_path)
    unlabelled = build(tmp_path, with_label=False)
    assert 'gt_label' not in unlabelled[0]
    assert 'classes' not in unlabelled.metainfo
    assert len(build(tmp_path, indices=4)) == 4
    some = build(tmp_path, indices=[5, 1])
    assert [x['gt_label'] for x in some] == [2, 0]
    assert len(build(tmp_path, lazy_init=True)) == 6
    named = build(tmp_path, metainfo=dict(classes=('a', 'b', 'c')))
    assert named.metainfo['classes'] == ('a', 'b', 'c')


def test_number_of_identities_is_checked(tmp_path):
    face_set(tmp_path)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(
            dict(
                type='ImageClassifier',
                backbone=dict(type='MobileFaceNet', scale=1),
                head=dict(type='ArcFaceHead', num_classes=4)))
    with pytest.raises(ValueError, match='train.idx, which has 3'):
        check_num_classes(model, build(tmp_path))


@pytest.mark.parametrize('context', ['fork', 'forkserver'])
def test_workers(tmp_path, context):
    """Each reads by a handle of its own, whether or not the main process has
    read before."""
    face_set(tmp_path)
    pipeline = [dict(type='PackInputs')]
    dataset = build(tmp_path, pipeline=pipeline)
    before = dataset[2]['inputs']
    workers = 2 if context == 'fork' else 1
    loader = DataLoader(
        dataset,
        2,
        shuffle=True,
        num_workers=workers,
        collate_fn=list,
        multiprocessing_context=context)
    found = {
        x['data_samples'].sample_idx: x
        for batch in loader
        for x in batch
    }
    assert sorted(found) == list(range(6))
    for i, x in found.items():
        assert np.array_equal(x['inputs'].permute(1, 2, 0), image(i)[0])
        assert int(x['data_samples'].gt_label) == i // 2
    assert before.equal(dataset[2]['inputs'])


def test_copies_share_no_handle(tmp_path):
    file = RecordFile(face_set(tmp_path))
    expected = file.read(3)
    assert file._file is not None
    copy = pickle.loads(pickle.dumps(file))
    assert copy._file is None
    del file
    assert copy.read(3) == expected
    with ThreadPoolExecutor(4) as pool:
        records = pool.map(copy.read, [1, 2, 3, 4, 5, 6] * 9)
        for i, record in enumerate(records):
            assert record.data == image(i % 6)[1]
    # A forked process does not close what its parent reads by.
    process = multiprocessing.get_context('fork').Process(
        target=copy.__del__)
    process.start()
    process.join()
    assert process.exitcode == 0 and copy.read(3) == expected


@pytest.mark.parametrize('data', [
    MAGIC, b'abcd' + MAGIC, MAGIC + b'abc', MAGIC * 3, b'abcd' + MAGIC +
    b'efghijkl' + MAGIC + b'mn', b'ab' + MAGIC + b'cd', b''
])
def test_parted_records(tmp_path, data):
    """Whose data hold the magic number, which parts them."""
    path = write(tmp_path, [(1, pack(0., b'x')), (5, pack(1., data)),
                            (9, pack(2., b'y'))])
    file = RecordFile(path)
    assert file.keys.tolist() == [1, 5, 9] and len(file) == 3
    assert file.read(5) == ((1., ), data)
    assert file.read(9) == ((2., ), b'y')
    with pytest.raises(KeyError, match='no key 6'):
        file.read(6)
    with pytest.raises(KeyError, match='no key 10'):
        file.read(10)


def test_index_in_any_order(tmp_path):
    path = write(tmp_path, [(i, pack(float(i), b'x')) for i in (3, 1, 2)])
    file = RecordFile(path)
    assert file.keys.tolist() == [1, 2, 3]
    assert [file.read(i).label for i in (1, 2, 3)] == [(1., ), (2., ), (3., )]


# --- Damaged files ----------------------------------------------------------


def _offset(path, key):
    for line in open(path.replace('.rec', '.idx')):
        if line.split()[0] == str(key):
            return int(line.split()[1])


def _damage(path, offset, data):
    with open(path, 'r+b') as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize('length', [4, 8, 30, 60])
def test_cut_off(tmp_path, length):
    path = face_set(tmp_path, header=False)
    offset = _offset(path, 6)
    with open(path, 'r+b') as file:
        file.truncate(offset + length)
    dataset = build(tmp_path)
    assert dataset[4]['gt_label'] == 2
    with pytest.raises(
            RecordFileError,
            match=f"train.rec': record 6 at byte {offset}.*truncated"):
        dataset[5]


def test_became_shorter_while_open(tmp_path):
    path = face_set(tmp_path, header=False)
    dataset = build(tmp_path)
    with open(path, 'r+b') as file:
        file.truncate(_offset(path, 6) + 20)
    with pytest.raises(RecordFileError, match='record 6 .* shorter'):
        dataset[5]


@pytest.mark.parametrize('change, message', [
    ((0, b'\x00'), 'begins with 0xced72300 instead of 0xced7230a'),
    ((4, b'\xff\xff\xff\x1f'), 'would end at byte .* truncated or damaged'),
    ((7, b'\x40'), 'has a part of kind 2, expected'),
    ((7, b'\x20'), 'has a part of kind 0, expected one of'),
    ((8, b'\xff\xff\x00\x00'), 'too few for its 65535 labels'),
    ((4, b'\x08\x00\x00\x00'), 'has 8 bytes, too few for its header'),
])
def test_damaged(tmp_path, change, message):
    path = face_set(tmp_path)
    offset = _offset(path, 4)
    _damage(path, offset + change[0], change[1])
    dataset = build(tmp_path)
    dataset[2]
    with pytest.raises(RecordFileError, match=message) as error:
        dataset[3]
    assert f'{path!r}: record 4 at byte ' in str(error.value)
    dataset[4]


@pytest.mark.parametrize('label, data, message', [
    (0., b'no image', 'record 1 has 8 bytes that are not an image'),
    (0., b'', 'record 1 has 0 bytes that are not an image'),
    (0.5, None, 'record 1 has label 0.5'),
    (-1., None, 'record 1 has label -1.0'),
    (float('nan'), None, 'record 1 has label nan'),
    (float('inf'), None, 'record 1 has label inf'),
])
def test_no_face(tmp_path, label, data, message):
    data = image(0)[1] if data is None else data
    write(tmp_path, [(1, pack(label, data))])
    with pytest.raises(RecordFileError, match=message):
        build(tmp_path)[0]


@pytest.mark.parametrize('label', [(7., ), 3., (7.5, 10.), (-1., 3.),
                                   (float('nan'), 3.)])
def test_header_that_tells_nothing(tmp_path, label):
    write(tmp_path, [(0, pack(label, b'')), (1, pack(0., image(0)[1]))])
    with pytest.raises(RecordFileError, match='record 0 has no image'):
        build(tmp_path)


@pytest.mark.parametrize('text, message', [
    ('', 'is empty'),
    ('1\t0\n2\n', 'is not an index'),
    ('1\tx\n', 'is not an index'),
    ('1\t0.5\n', 'is not an index'),
    ('1\t99999999999999999999\n', 'is not an index'),
    ('1\t0\n1\t8\n', 'the key 1 twice'),
])
def test_damaged_index(tmp_path, text, message):
    face_set(tmp_path)
    (tmp_path / 'train.idx').write_text(text)
    with pytest.raises(RecordFileError, match=message):
        build(tmp_path)


@pytest.mark.parametrize('offset', [-8, 10**12])
def test_index_beyond_the_file(tmp_path, offset):
    face_set(tmp_path)
    with open(tmp_path / 'train.idx', 'a') as file:
        file.write(f'6000\t{offset}\n')
    file = RecordFile(str(tmp_path / 'train.rec'))
    with pytest.raises(RecordFileError, match=f'6000 at byte {offset}'):
        file.read(6000)


@pytest.mark.parametrize('missing', ['train.rec', 'train.idx'])
def test_missing(tmp_path, missing):
    face_set(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f'{missing}.*needs two files'):
        build(tmp_path)


# --- How many images and identities -----------------------------------------


def numbered(folder, labels, header, identities, first=1):
    """Images of these labels, a header and so many records of identities;
    without one the index ends with the images."""
    records = [(0, pack(header, b''))]
    records += [(first + i, pack(float(label), image(i)[1]))
                for i, label in enumerate(labels)]
    end = first + len(labels)
    records += [(end + i, pack((1., 2.), b'')) for i in range(identities)]
    return write(folder, records)


FIVE = [0, 0, 1, 2, 2, 3, 4]


@pytest.mark.parametrize('labels, header, identities', [
    (FIVE, (8., 13.), 5),
    # Rounded by float32, as the keys of Glint360K are.
    (FIVE, (8., 12.), 5),
    (FIVE, (8., 14.), 5),
    (FIVE, (8., 12.), 0),
    # Somebody has no image.
    (FIVE, (8., 14.), 6),
    (FIVE, (8., 20.), 12),
    # In any order the records tell, unless a label says otherwise.
    (FIVE[::-1], (8., 13.), 5),
    (FIVE[::-1], (8., 11.), 3),
])
def test_identities_are_counted(tmp_path, labels, header, identities):
    numbered(tmp_path, labels, header, identities)
    dataset = build(tmp_path)
    assert [x['gt_label'] for x in dataset] == labels
    assert len(dataset.metainfo['classes']) == 5
    # Those of the whole set, whichever images are chosen.
    assert len(build(tmp_path, indices=2).metainfo['classes']) == 5


@pytest.mark.parametrize('images', [
    2**24 - 3, 2**24 - 2, 2**24 - 1, 2**24, 2**24 + 1, 2**25 + 1, 2**25 + 2,
    2**25 + 3
])
@pytest.mark.parametrize('identities', [3, 1001])
def test_keys_that_float32_rounds(tmp_path, images, identities):
    """The last keys of a set as large as Glint360K."""
    first = images - 9
    end = first + 10
    numbered(tmp_path, [0] * 5 + [1] * 5,
             (float(end), float(end + identities)), identities, first)
    dataset = build(tmp_path, metainfo=dict(classes=['a'] * identities))
    assert dataset.image_keys.tolist() == list(range(first, end))
    assert len(dataset[9]['img']) == 12


@pytest.mark.parametrize('header', [
    (8., 1e8), (8., 3e38), (8., float('inf')), (float('inf'), ) * 2,
    (3e38, 3e38), (1e19, 1e19), (-float('inf'), 8.), (13., 8.)
])
@pytest.mark.parametrize('identities', [0, 5])
def test_header_that_claims_too_much(tmp_path, header, identities):
    numbered(tmp_path, FIVE, header, identities)
    tracemalloc.start()
    with pytest.raises(RecordFileError, match='record 0 (has no|claims)'):
        build(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 1e7
    tracemalloc.stop()


def test_header_of_other_images(tmp_path):
    numbered(tmp_path, FIVE, (5., 10.), 5)
    with pytest.raises(RecordFileError, match='record 5 is an image'):
        build(tmp_path)
    numbered(tmp_path, FIVE, (1., 2.), 0, first=2)
    with pytest.raises(RecordFileError, match='has no image'):
        build(tmp_path)


def test_label_beyond_the_identities(tmp_path):
    """Which would end in an index error on the device, in training."""
    numbered(tmp_path, [0, 1, 9, 1], (5., 7.), 2)
    dataset = build(tmp_path, metainfo=dict(classes=['a', 'b']))
    assert dataset[3]['gt_label'] == 1
    with pytest.raises(RecordFileError, match='record 3 has label 9.*2'):
        dataset[2]


@pytest.mark.parametrize('indices, expected', [
    (4, [0, 1, 2, 3]), (-2, [4, 5]), (0, []), (99, list(range(6))),
    ([5, 1], [5, 1]), ((5, 1), [5, 1]), (np.array([0, -1]), [0, 5]),
    (range(1, 6, 2), [1, 3, 5])
])
def test_subsets(tmp_path, indices, expected):
    """As MMEngine's BaseDataset takes them."""
    face_set(tmp_path)
    whole = build(tmp_path)
    copied = whole.get_subset(indices)
    changed = build(tmp_path)
    changed.get_subset_(indices)
    for dataset in (build(tmp_path, indices=indices), copied, changed):
        assert [x['img_path'].split('#')[1]
                for x in dataset] == [str(1 + i) for i in expected]
        assert [x['sample_idx'] for x in dataset] == list(
            range(len(expected)))
    assert len(whole) == 6


def test_index_with_a_byte_order_mark(tmp_path):
    path = face_set(tmp_path)
    index = tmp_path / 'train.idx'
    index.write_bytes(b'\xef\xbb\xbf' + index.read_bytes())
    assert RecordFile(path).keys.tolist() == list(range(10))

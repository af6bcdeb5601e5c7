# Copyright (c) sskd_mm authors. All rights reserved.
import multiprocessing
import os
import signal

import numpy as np
import pytest

from sskd_mm.evaluation import EmbeddingStore

KEY = dict(checkpoint='abc', data='def')


def test_write_and_read(tmp_path):
    file = str(tmp_path / 'deep/x.npy')
    store = EmbeddingStore(file, 5, 3, KEY)
    x = np.arange(15, dtype=np.float32).reshape(5, 3)
    store.write(np.array([3, 1]), x[[3, 1]])
    with pytest.raises(RuntimeError, match='3 of 5 embeddings .* missing'):
        store.read()
    again = EmbeddingStore(file, 5, 3, KEY)
    assert again.missing().tolist() == [0, 2, 4]
    again.write(again.missing(), x[again.missing()])
    np.testing.assert_array_equal(again.read(), x)
    np.testing.assert_array_equal(np.load(file), x)
    assert isinstance(again.read(), np.memmap)


def test_goes_on_after_a_kill(tmp_path):
    file = str(tmp_path / 'x.npy')

    def write_and_die():
        store = EmbeddingStore(file, 100, 4, KEY)
        for rows in np.array_split(store.missing(), 10):
            store.write(rows, rows[:, None] + np.arange(4))
            if len(store.missing()) <= 60:
                os.kill(os.getpid(), signal.SIGKILL)

    killed = multiprocessing.get_context('fork').Process(target=write_and_die)
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    store = EmbeddingStore(file, 100, 4, KEY)
    missing = store.missing()
    assert missing.tolist() == list(range(40, 100))
    store.write(missing, missing[:, None] + np.arange(4))
    np.testing.assert_array_equal(store.read(),
                                  np.arange(100)[:, None] + np.arange(4))


def test_killed_while_it_is_made(tmp_path):
    EmbeddingStore(str(tmp_path / 'x.npy'), 5, 3, KEY)
    # All but the last step.
    os.rename(tmp_path / 'x.npy', tmp_path / 'x.part.npy')
    store = EmbeddingStore(str(tmp_path / 'x.npy'), 5, 3, dict(other='key'))
    assert len(store.missing()) == 5


@pytest.mark.parametrize('change,message', [
    (dict(key=dict(KEY, checkpoint='xyz')), 'checkpoint was abc, now xyz'),
    (dict(key=dict(checkpoint='abc')), 'data was def, now None'),
    (dict(count=6), 'count was 5, now 6'),
    (dict(dim=4), 'dim was 3, now 4'),
])
def test_of_something_else(tmp_path, change, message):
    settings = dict(file=str(tmp_path / 'x.npy'), count=5, dim=3, key=KEY)
    EmbeddingStore(**settings)
    with pytest.raises(ValueError, match=message):
        EmbeddingStore(**{**settings, **change})


def test_unknown_file(tmp_path):
    np.save(tmp_path / 'x.npy', np.ones((5, 3)))
    with pytest.raises(ValueError, match='x.json.*says what'):
        EmbeddingStore(str(tmp_path / 'x.npy'), 5, 3, KEY)
    with pytest.raises(ValueError, match='must end in .npy'):
        EmbeddingStore(str(tmp_path / 'x.bin'), 5, 3, KEY)


@pytest.mark.parametrize('name', ['x.npy', 'x.done.npy', 'x.json'])
def test_damaged_files(tmp_path, name):
    """Finished embeddings: what is cut off must not read as zeros."""
    file = str(tmp_path / 'x.npy')
    store = EmbeddingStore(file, 50, 3, KEY)
    store.write(np.arange(50), np.ones((50, 3)))
    del store
    whole = (tmp_path / name).read_bytes()
    for damaged in (whole[:-1], whole[:len(whole) // 2], whole[:20], b'',
                    b'\x00' * len(whole), whole[:6] + b'\xff' + whole[7:],
                    b'[]', b'[1]'):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=f'{name}.*damaged'):
            EmbeddingStore(file, 50, 3, KEY)
        # It was left as it was.
        assert (tmp_path / name).read_bytes() == damaged
    (tmp_path / name).write_bytes(whole)
    assert EmbeddingStore(file, 50, 3, KEY).read().sum() == 150


def test_file_of_progress_that_is_missing(tmp_path):
    EmbeddingStore(str(tmp_path / 'x.npy'), 5, 3, KEY)
    (tmp_path / 'x.done.npy').unlink()
    with pytest.raises(ValueError, match='x.done.npy.*missing'):
        EmbeddingStore(str(tmp_path / 'x.npy'), 5, 3, KEY)


def test_other_array(tmp_path):
    EmbeddingStore(str(tmp_path / 'x.npy'), 5, 3, KEY)
    for array in (np.ones((4, 3), np.float32), np.ones((5, 3)),
                  np.array([KEY] * 5)):
        np.save(tmp_path / 'x.npy', array)
        with pytest.raises(ValueError, match='x.npy.*damaged'):
            EmbeddingStore(str(tmp_path / 'x.npy'), 5, 3, KEY)

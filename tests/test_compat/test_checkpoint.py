# Copyright (c) sskd_mm authors. All rights reserved.
import pickle

import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from tool_process import ToolProcess

from sskd_mm.compat import load_checkpoint_file


def test_what_mmengine_saves(tmp_path):
    hub = MessageHub('test')
    hub.update_scalar('train/loss', 0.5)
    hub.update_info('epoch', 3)
    path = tmp_path / 'x.pth'
    torch.save(
        dict(
            state_dict=dict(w=torch.ones(2)), message_hub=hub.state_dict()),
        path)
    loaded = load_checkpoint_file(str(path))
    assert torch.equal(loaded['state_dict']['w'], torch.ones(2))
    buffer = loaded['message_hub']['log_scalars']['train/loss']
    assert isinstance(buffer, HistoryBuffer) and buffer.current() == 0.5
    # In a new process no buffer has been made yet.
    script = tmp_path / 'load.py'
    script.write_text('import sys\n'
                      'from mmengine.logging import HistoryBuffer\n'
                      'from sskd_mm.compat import load_checkpoint_file\n'
                      'assert not HistoryBuffer._statistics_methods\n'
                      'load_checkpoint_file(sys.argv[1])')
    ToolProcess(script, path).finish()


class CallsGetattr:

    def __reduce__(self):
        return getattr, (str, 'format')


def test_getattr_is_allowed_for_history_buffers_only(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save(dict(x=CallsGetattr()), path)
    with pytest.raises(ValueError, match='was not read'):
        load_checkpoint_file(str(path))


@pytest.mark.parametrize('content, message', [
    (b'', 'truncated or not a checkpoint'),
    (b'<html>not found</html>', 'x.pth'),
    (pickle.dumps([1, 2]), 'x.pth'),
])
def test_other_files(tmp_path, content, message):
    path = tmp_path / 'x.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_checkpoint_file(str(path))


def test_list_of_tensors(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save([torch.ones(2)], path)
    with pytest.raises(ValueError, match='holds a list'):
        load_checkpoint_file(str(path))


def test_download_that_fails_says_where_to_put_the_file(monkeypatch,
                                                        tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))

    def refuse(url, file):
        raise OSError('no network')

    monkeypatch.setattr('sskd_mm.compat.checkpoint.download_url_to_file',
                        refuse)
    url = 'https://example.org/models/teacher.pth'
    with pytest.raises(FileNotFoundError) as error:
        load_checkpoint_file(url)
    place = tmp_path / 'hub/checkpoints/teacher.pth'
    assert str(place) in str(error.value)
    torch.save(dict(w=torch.ones(1)), place)
    assert 'w' in load_checkpoint_file(url)

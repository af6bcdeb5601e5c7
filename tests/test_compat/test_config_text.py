# Copyright (c) sskd_mm authors. All rights reserved.
from mmengine.config import Config
from yapf.yapflib import yapf_api

from sskd_mm.compat import config_text


def test_formatted_once_and_anew_where_it_changes(monkeypatch):
    texts = []

    def format_code(text, style_config, **options):
        assert style_config['based_on_style'] == 'pep8'
        texts.append(text)
        return f'# Formatted.\n{text}', True

    monkeypatch.setattr(yapf_api, 'FormatCode', format_code)
    monkeypatch.setattr(
        'mmengine.config.config.FormatCode', format_code, raising=False)
    config_text.install()  # taken back with the above
    cfg = Config(dict(model=dict(type='A', widths=[1, 2]), steps=(1, 2)))
    first, *others = [cfg.pretty_text for _ in range(3)]
    assert first.startswith('# Formatted.\nmodel=dict(')
    assert others == [first, first]
    assert len(texts) == 1
    cfg.steps = 3
    assert cfg.pretty_text == first.replace('(\n    1,\n    2,\n    )', '3')
    assert cfg.pretty_text != first
    assert len(texts) == 2

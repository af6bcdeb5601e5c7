# Copyright (c) sskd_mm authors. All rights reserved.
"""Write docs/model_zoo.md from the metafiles that model-index.yml names.

python docs/make_model_zoo.py
"""
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
INTRO = """\
# Model zoo

All shipped configs: the plain networks first, then their distillation.
Measured results come from the [benchmarks](benchmarks.md), which have the
commands, budgets and machines; "not run" means that nobody has trained it to
the end. There are no weights to download. `python docs/make_model_zoo.py`
writes this page from the metafiles beside the configs.

`sskd_mm::` plus the path below `configs/` names a config as a `_base_`, in
`mmengine.hub.get_config` and as a teacher's `cfg`, once sskd_mm is imported:
our tools import it, and `python -m sskd_mm` does it for other tools. MIM shows
an entry with `mim search sskd_mm --config NAME`, where the name of a
distillation starts with `sskd_`, and trains with `mim train sskd_mm CONFIG`,
where CONFIG is your own file or the file name of a config here. File names of
configs are unique.
"""


def load_models() -> list:
    """All entries, in the order of the index."""
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    return [
        model for path in index['Import']
        for model in yaml.safe_load((ROOT / path).read_text())['Models']
    ]


def link(config: str) -> str:
    """A config by its name, with a link to the file if it is here."""
    name = Path(config.rpartition('::')[2]).stem
    if '::' in config:
        return f'`{config.partition("::")[0]}::` {name}'
    return f'[{name}](../{config})'


def describe(model: dict) -> str:
    """What was measured, as in the benchmarks."""
    measured = []
    for result in model.get('Results', ()):
        metrics = result['Metrics']
        digits = 3 if 'mAP' in metrics else 2
        for name, value in metrics.items():
            if name.endswith(' deviation'):
                continue
            text = f'{name} {value:.{digits}f}'
            if f'{name} deviation' in metrics:
                text += f' ± {metrics[f"{name} deviation"]:.{digits}f}'
            measured.append(text)
        place = result['Dataset'].partition(' in ')[2]
        seeds = model['Metadata']['Seeds']
        measured[-1] += (f' ({seeds} seed{"s" * (seeds > 1)}'
                         f'{place and f", `{place}`"})')
    return ', '.join(measured) or 'not run'


def make_page() -> str:
    """The page in Markdown."""
    lines, folder = [INTRO], None
    for model in load_models():
        meta = model['Metadata']
        distils = 'Teacher' in meta
        if folder != Path(model['Config']).parent:
            folder = Path(model['Config']).parent
            lines.append(f'\n## {folder.relative_to("configs")}\n\n| config |'
                         f'{" teacher → student |" * distils} data | measured'
                         f' |\n| --- | --- | --- |{" --- |" * distils}\n')
        pair = (f' {link(meta["Teacher"])} → {link(meta["Student"])} |'
                if distils else '')
        lines.append(f'| {link(model["Config"])} |{pair}'
                     f' {meta["Training Data"]} | {describe(model)} |\n')
    return ''.join(lines)


if __name__ == '__main__':
    (ROOT / 'docs/model_zoo.md').write_text(make_page())

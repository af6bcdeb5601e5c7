# Copyright (c) sskd_mm authors. All rights reserved.
import re

import nbformat
import torch
from matplotlib import pyplot as plt

from sskd_mm.models import build_model

#: Instead of the cell that says how much to do.
LESS = '''
TRAIN_IMAGES, VAL_IMAGES = 16, 8
TEACHER_EPOCHS = 1
OPTIONS = {
    'train_cfg.mimic.max_epochs': 1,
    'train_cfg.finetune.max_epochs': 1,
    'train_cfg.accept_weak_teacher': True
}
'''


def test_tutorial(root, tmp_path, monkeypatch):
    """Its cells, in this process: that spares a kernel and its imports."""
    notebook = nbformat.read(root / 'demo/sskd_mm_tutorial.ipynb', 4)
    nbformat.validate(notebook)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sskd_mm.analysis.report_section.REPEATS', 2)
    shown = []
    monkeypatch.setattr(plt, 'show', lambda: shown.append(plt.gcf()))
    names = dict(__name__='notebook')
    cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
    parameters, = (
        cell for cell in cells
        if 'parameters' in cell.metadata.get('tags', ()))
    parameters.source = LESS
    for number, cell in enumerate(cells):
        exec(compile(cell.source, f'cell {number}', 'exec'), names)
    plt.close('all')
    assert len(shown) == 3
    assert [phase['name'] for phase in names['plan']['phases']
            ] == ['mimic/neck', 'head', 'finetune']
    student = build_model(names['student_cfg'])
    weights = torch.load(names['checkpoint'], weights_only=False)
    student.load_state_dict(weights['state_dict'], strict=True)
    assert 'Detections' in (tmp_path / 'report.html').read_text()


def test_outputs(root):
    """It is shipped as it was executed, from the first cell to the last."""
    notebook = nbformat.read(root / 'demo/sskd_mm_tutorial.ipynb', 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
    assert [c.execution_count for c in cells] == [*range(1, len(cells) + 1)]
    for cell in cells:
        shows = re.search(r'^\s*(print|print_plan|show)\(', cell.source, re.M)
        assert bool(cell.outputs) == bool(shows), cell.source
        for output in cell.outputs:
            assert output.output_type != 'error'
            text = output.get('text') or output.data['text/plain']
            assert not re.search(r'(^|[\s\'"(:])(~?/|[A-Z]:\\)\w', text), text
    pictures = [o for c in cells for o in c.outputs if 'image/png' in o.get(
        'data', ())]
    assert len(pictures) == 3

# Copyright (c) sskd_mm authors. All rights reserved.
import copy
import tempfile
import uuid
from contextlib import contextmanager
from typing import Any, Dict, Iterator

from mmengine.config import Config
from mmengine.runner import Runner

from ..datasets import check_run_files
from ..distillers.initial_weights import check_initial_weights
from .plan import describe_plan


@contextmanager
def dry_runner(cfg: Config) -> Iterator[Runner]:
    """Build the Runner of a config for inspection.

    It logs nothing, resumes nothing and leaves no file: its work directory is
    deleted when the context ends.

    Args:
        cfg (Config): Any training config; it is not changed.

    Yields:
        Runner: The Runner before training.
    """
    cfg = copy.deepcopy(cfg)
    cfg.log_level = 'WARNING'
    cfg.load_from, cfg.resume = None, False
    # A config's visualizer has a fixed name, so all runs would share it.
    cfg.visualizer = None
    # MMEngine identifies runs by name and second.
    cfg.experiment_name = uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as cfg.work_dir:
        yield Runner.from_cfg(cfg)


def dry_run(cfg: Config) -> Dict[str, Any]:
    """Plan a distillation: build everything, train nothing.

    This checks that every local file of the training run exists, and loads
    the student's initial weights.

    Args:
        cfg (Config): A distillation config. Data, teacher and its checkpoint
            must exist.

    Returns:
        dict: The plan, see :func:`describe_plan`.

    Raises:
        FileNotFoundError: Names every missing file.
        ValueError: The config has no phases, or ``load_from`` or an
            ``init_cfg`` does not fit the student.

    Example:
        >>> print_plan(dry_run(Config.fromfile('my_distillation.py')))
    """
    check_run_files(cfg)
    with dry_runner(cfg) as runner:
        loop = runner.train_loop
        if not hasattr(loop, 'phases'):
            raise ValueError(
                'A dry run shows the phases of a StageByStageTrainLoop, but '
                f'train_cfg of {cfg.filename} has '
                f'type={type(loop).__name__!r}.')
        loop.check_optimizers()
        check_initial_weights(loop.distiller.student, cfg.get('load_from'),
                              cfg.get('resume', False))
        return describe_plan(loop)

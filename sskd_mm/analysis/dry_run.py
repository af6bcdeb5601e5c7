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
    """The Runner of a config, built to be looked at.

    It says nothing, resumes nothing and leaves no file: its work directory
    is gone with this context.

    Args:
        cfg (Config): Of any training; it is left as it is.

    Yields:
        Runner: It has not trained.
    """
    cfg = copy.deepcopy(cfg)
    cfg.log_level = 'WARNING'
    cfg.load_from, cfg.resume = None, False
    # A config's has a name of its own, so it would be shared by all runs.
    cfg.visualizer = None
    # MMEngine tells runs apart by name and second.
    cfg.experiment_name = uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as cfg.work_dir:
        yield Runner.from_cfg(cfg)


def dry_run(cfg: Config) -> Dict[str, Any]:
    """Plan a distillation: everything is built, nothing is trained.

    Every file on this machine that the training will open is looked for, and
    what the student starts from is loaded.

    Args:
        cfg (Config): Of a distillation. Data, teacher and its checkpoint
            have to be there.

    Returns:
        dict: The plan, see :func:`describe_plan`.

    Raises:
        FileNotFoundError: Names each file that is not there.
        ValueError: The training has no phases, or ``load_from`` or an
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

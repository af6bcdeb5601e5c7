# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
from mmengine.logging import MMLogger


@pytest.fixture
def logged(caplog):
    """What MMEngine's logger, which keeps to itself, says."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)

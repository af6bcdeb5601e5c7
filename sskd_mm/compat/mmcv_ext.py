# Copyright (c) sskd_mm authors. All rights reserved.
"""Runs ``mmcv.ops`` and mmdet on an mmcv without compiled operators.

``import mmcv.ops``, and with it ``import mmdet.models``, needs the extension
module ``mmcv._ext``. mmcv wheels that contain it exist for few versions of
torch; ``mmcv-lite`` and an mmcv built in isolation lack it. :func:`install`
then puts a stand-in in its place. NMS, RoIAlign and the sigmoid focal loss,
which common detectors need, are computed by torch and torchvision, on any
device that they support. Any other operator can be imported, but raises
:class:`MissingOperatorError` when called.
"""
import importlib
import importlib.util
import sys
import types
import warnings
from functools import reduce
from importlib.machinery import ModuleSpec
from typing import Callable, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .versions import installed_distributions

EXT_NAME = 'mmcv._ext'


class MissingOperatorError(RuntimeError):
    """A compiled operator of mmcv without a stand-in was called."""


def has_compiled_ops() -> bool:
    """Tell whether mmcv has its own compiled operators.

    A compiled extension that cannot be loaded, for instance because it was
    built for another torch, counts as missing, with a warning.

    Returns:
        bool: True if ``mmcv._ext`` is a module other than the stand-in of
        :func:`install`.

    Raises:
        ModuleNotFoundError: If mmcv is not installed at all.

    Examples:
        >>> from sskd_mm.compat.mmcv_ext import has_compiled_ops
        >>> has_compiled_ops()  # with mmcv-lite
        False
    """
    loaded = sys.modules.get(EXT_NAME)
    if loaded is not None:
        return not isinstance(loaded, _StandIn)
    spec = importlib.util.find_spec(EXT_NAME)
    if spec is None:
        return False
    try:
        importlib.import_module(EXT_NAME)
    except Exception as error:  # a binary can fail to load in any way
        warnings.warn(
            f'The compiled operators of mmcv, {spec.origin}, cannot be loaded '
            f'and are treated as missing: {error!r}. Most likely they were '
            f'built for another torch than {torch.__version__}; reinstall '
            'mmcv to use them.')
        return False
    return True


def install() -> bool:
    """Install the stand-in as ``mmcv._ext`` if mmcv has no compiled operators.

    A compiled extension is never replaced, and calling this twice is safe. It
    is cheap, as it imports neither ``mmcv.ops`` nor torchvision. Call it
    before mmdet is imported: newer versions of mmdet otherwise keep
    placeholders for the operators. A warning says if it is too late.

    Returns:
        bool: True if the stand-in is in use, False if mmcv has its own
        compiled operators.

    Raises:
        ModuleNotFoundError: If mmcv is not installed at all.

    Examples:
        >>> import torch
        >>> from sskd_mm.compat.mmcv_ext import install
        >>> install()  # with mmcv-lite
        True
        >>> from mmcv.ops import nms
        >>> boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 8.]])
        >>> dets, keep = nms(boxes, torch.tensor([.6, .7]), iou_threshold=.5)
        >>> keep
        tensor([1])
    """
    if has_compiled_ops():
        return False
    if sys.modules.get(EXT_NAME) is None:
        import mmcv
        sys.modules[EXT_NAME] = mmcv._ext = _StandIn()
        _mend_earlier_imports()
    return True


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float,
        offset: int) -> Tensor:
    """Greedy non-maximum suppression.

    Args:
        boxes (Tensor): Boxes (x1, y1, x2, y2), shape (N, 4).
        scores (Tensor): Their scores, shape (N, ).
        iou_threshold (float): A box is dropped if its IoU with a kept box of
            higher score exceeds this.
        offset (int): 0 or 1; a box is ``x2 - x1 + offset`` wide.

    Returns:
        Tensor: Indices of the kept boxes by descending score, int64.
    """
    boxes, scores = _to_common_float(boxes, scores)
    # As in mmcv, the threshold has the precision of the boxes, so that a pair
    # exactly at it is kept however its IoU rounds.
    iou_threshold = torch.tensor(iou_threshold, dtype=boxes.dtype).item()
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return _torchvision_ops().nms(boxes, scores, iou_threshold)


def roi_align_forward(input: Tensor, rois: Tensor, output: Tensor,
                      argmax_y: Tensor, argmax_x: Tensor, aligned_height: int,
                      aligned_width: int, spatial_scale: float,
                      sampling_ratio: int, pool_mode: int,
                      aligned: bool) -> None:
    """RoIAlign with average pooling, written into ``output``.

    Args:
        input (Tensor): Feature maps, shape (B, C, H, W).
        rois (Tensor): RoIs (batch index, x1, y1, x2, y2), shape (N, 5).
        output (Tensor): Receives the result, shape
            (N, C, aligned_height, aligned_width).
        argmax_y (Tensor): For max pooling; not used.
        argmax_x (Tensor): For max pooling; not used.
        aligned_height (int): Height of the output.
        aligned_width (int): Width of the output.
        spatial_scale (float): Scale of the feature maps to the RoIs.
        sampling_ratio (int): Samples per bin and axis; 0 means one per pixel.
        pool_mode (int): 1 for average pooling.
        aligned (bool): Whether to shift the RoIs by half a pixel.

    Raises:
        MissingOperatorError: If ``pool_mode`` is 0, max pooling.
    """
    _check_pool_mode(pool_mode)
    input, rois = _to_common_float(input, rois)
    output.copy_(_torchvision_ops().roi_align(input, rois, spatial_scale,
                                              aligned_height, aligned_width,
                                              sampling_ratio, aligned))


def roi_align_backward(grad_output: Tensor, rois: Tensor, argmax_y: Tensor,
                       argmax_x: Tensor, grad_input: Tensor,
                       aligned_height: int, aligned_width: int,
                       spatial_scale: float, sampling_ratio: int,
                       pool_mode: int, aligned: bool) -> None:
    """Input gradient of :func:`roi_align_forward`, written to ``grad_input``.

    Args:
        grad_output (Tensor): Gradient of the output, shape
            (N, C, aligned_height, aligned_width).
        grad_input (Tensor): Receives the result, shape (B, C, H, W).

    The other arguments are those of :func:`roi_align_forward`.

    Raises:
        MissingOperatorError: If ``pool_mode`` is 0, max pooling.
        RuntimeError: On CUDA under ``torch.use_deterministic_algorithms``,
            because its order of summation varies.
    """
    _check_pool_mode(pool_mode)
    grad_output, rois = _to_common_float(grad_output, rois)
    grad_input.copy_(_torchvision_ops()._roi_align_backward(
        grad_output, rois, spatial_scale, aligned_height, aligned_width,
        *grad_input.shape, sampling_ratio, aligned))


def sigmoid_focal_loss_forward(input: Tensor, target: Tensor, weight: Tensor,
                               output: Tensor, gamma: float,
                               alpha: float) -> None:
    """Sigmoid focal loss of each logit, written into ``output``.

    Args:
        input (Tensor): Logits, shape (N, C).
        target (Tensor): Class of each row, shape (N, ), int64; a value out of
            range, such as C, means background.
        weight (Tensor): Class weights, shape (C, ), applied to rows by their
            target; empty for no weights.
        output (Tensor): Receives the result, shape (N, C).
        gamma (float): Exponent of the modulating factor.
        alpha (float): Weight of the positives.
    """
    logit, weight = _to_common_float(input, weight)
    p, q = torch.sigmoid(logit), torch.sigmoid(-logit)
    # `logsigmoid`, unlike the log in the compiled kernel, stays accurate
    # where the sigmoid rounds to 0 or 1.
    positive = -alpha * q**gamma * F.logsigmoid(logit)
    negative = (alpha - 1) * p**gamma * F.logsigmoid(-logit)
    output.copy_(_pick_by_target(positive, negative, target, weight))


def sigmoid_focal_loss_backward(input: Tensor, target: Tensor, weight: Tensor,
                                grad_input: Tensor, gamma: float,
                                alpha: float) -> None:
    """Derivative of each loss by its logit, written into ``grad_input``.

    Args:
        grad_input (Tensor): Receives the result, shape (N, C).

    The other arguments are those of :func:`sigmoid_focal_loss_forward`.
    """
    logit, weight = _to_common_float(input, weight)
    p, q = torch.sigmoid(logit), torch.sigmoid(-logit)
    positive = -alpha * q**gamma * (q - gamma * p * F.logsigmoid(logit))
    negative = (1 - alpha) * p**gamma * (p - gamma * q * F.logsigmoid(-logit))
    grad_input.copy_(_pick_by_target(positive, negative, target, weight))


def get_compiler_version() -> str:
    """Compiler of the operators, for ``mmcv.utils.collect_env``."""
    return 'n/a'


def get_compiling_cuda_version() -> str:
    """CUDA version of the operators, for ``mmcv.utils.collect_env``."""
    return 'n/a'


class _StandIn(types.ModuleType):
    """The module that is installed as ``mmcv._ext``."""

    def __init__(self) -> None:
        super().__init__(EXT_NAME, __doc__)
        # Without a spec, `importlib.util.find_spec`, by which mmengine looks
        # for the operators, raises ValueError.
        self.__spec__ = ModuleSpec(EXT_NAME, loader=None, origin=__name__)
        for operator in (nms, roi_align_forward, roi_align_backward,
                         sigmoid_focal_loss_forward,
                         sigmoid_focal_loss_backward, get_compiler_version,
                         get_compiling_cuda_version):
            setattr(self, operator.__name__, operator)

    def __getattr__(self, name: str) -> Callable:
        # mmcv.ops looks up all of its operators on import, so only a call may
        # fail. No operator has a leading underscore; such names are module
        # attributes, such as `__path__` or `__file__`.
        if name.startswith('_'):
            raise AttributeError(f'module {EXT_NAME} has no attribute {name}')

        def missing_operator(*args, **kwargs):
            raise _missing(name)

        return missing_operator


def _missing(operator: str) -> MissingOperatorError:
    name, version = installed_distributions()['mmcv'].split()
    if name == 'onedl-mmcv':
        full, mim = 'onedl-mmcv', 'onedl-mim'
    else:
        full, mim = 'mmcv', 'openmim'
    return MissingOperatorError(
        f'`{operator}` is a compiled operator of mmcv, and the mmcv here '
        f'({name} {version}) has no usable compiled operators. sskd_mm '
        "only replaces nms, roi_align with pool_mode='avg' and "
        f'sigmoid_focal_loss. To get all operators, `pip uninstall {name}` '
        'and install an mmcv that is prebuilt for your versions of torch and '
        'CUDA\n'
        f'    pip install {mim}\n'
        f'    mim install {full}=={version}\n'
        'or, if none is published, compile it for the torch that is '
        'installed\n'
        '    pip install --no-cache-dir --no-build-isolation '
        f'--no-binary {full} {full}=={version}')


def _mend_earlier_imports() -> None:
    """Fix modules that were imported without ``mmcv.ops``."""
    transformer = sys.modules.get('mmcv.cnn.bricks.transformer')
    if transformer and not hasattr(transformer,
                                   'MultiScaleDeformableAttention'):
        from mmcv.ops import MultiScaleDeformableAttention
        transformer.MultiScaleDeformableAttention = \
            MultiScaleDeformableAttention

    # All models and data sets of mmdet import this module.
    if 'mmdet.structures.mask.structures' in sys.modules:
        warnings.warn(
            'mmdet was imported before sskd_mm replaced the operators of '
            'mmcv, so the parts imported by now keep placeholders that raise. '
            'Import sskd_mm before mmdet.')


def _torchvision_ops():
    import torchvision  # noqa: F401, registers its operators in torch
    return torch.ops.torchvision


def _to_common_float(*tensors: Tensor) -> Tuple[Tensor, ...]:
    """Cast to a common dtype, at least float32.

    torchvision needs tensors of one dtype, and on the CPU not half precision;
    mmcv mixes half-precision features with float32 RoIs.
    """
    dtype = reduce(torch.promote_types, (t.dtype for t in tensors),
                   torch.float32)
    return tuple(t.to(dtype) for t in tensors)


def _check_pool_mode(pool_mode: int) -> None:
    if pool_mode != 1:
        raise _missing("roi_align with pool_mode='max'")


def _pick_by_target(positive: Tensor, negative: Tensor, target: Tensor,
                    weight: Tensor) -> Tensor:
    classes = torch.arange(positive.size(1), device=target.device)
    picked = torch.where(target[:, None] == classes, positive, negative)
    return picked * weight[target][:, None] if weight.numel() else picked

_base_ = 'mmpretrain::_base_/default_runtime.py'
custom_imports = dict(imports=['sskd_mm'])
# Keep only a few of 240 epochs.
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2))

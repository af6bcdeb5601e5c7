_base_ = 'mmpretrain::_base_/default_runtime.py'
custom_imports = dict(imports=['sskd_mm'])
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2))
# python tools/test.py CONFIG CHECKPOINT --tta
tta_model = dict(type='MirroredEmbeddingTTA')

# Adapters with a batch norm.
_base_ = './faster_rcnn_r18_digits_decoupled.py'

model = dict(adapter=dict(type='ConvAdapter', norm_cfg=dict(type='BN')))

#!/usr/bin/env python3
"""Writes op/testdata/differentiable.txt: the inputs that ONNX tags as differentiable, in the
newest version of every operator of the domain ai.onnx. Needs the PyPI package onnx==1.23.2:

    python3 testdata/onnx/differentiable.py > op/testdata/differentiable.txt
"""
import onnx
import onnx.defs as defs

newest = {}
for schema in defs.get_all_schemas_with_history():
    if schema.domain == "" and schema.since_version > getattr(newest.get(schema.name), "since_version", 0):
        newest[schema.name] = schema

print(f"# operator since-version input-index input-name; from onnx {onnx.__version__} (Apache-2.0), testdata/onnx/differentiable.py")
for name, schema in sorted(newest.items()):
    for i, value in enumerate(schema.inputs):
        if value.differentiation_category == defs.OpSchema.DifferentiationCategory.Differentiable:
            print(name, schema.since_version, i, value.name)

"""ONNX Runtime on the exported float and int8 files: the same answers as Muster's engine."""
import json
import subprocess
import sys

import numpy as np
import onnxruntime as ort

float_file, int8_file, muster = sys.argv[1:4]
for path, tol in ((float_file, 1e-4), (int8_file, 5e-2)):
    out = json.loads(subprocess.check_output([muster, "predict", path, "--data", "builtin:digits", "--json"]))
    x = np.asarray(out["x"], np.float32).reshape(out["x_shape"])
    want = np.asarray(out["logits"], np.float32).reshape(out["shape"])
    got = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"image": x})[0]
    diff = np.abs(got - want)
    agree = (got.argmax(1) == want.argmax(1)).mean()
    print(f"onnxruntime {ort.__version__}: {path}: {len(x)} rows, largest difference {diff.max():.2g}, mean {diff.mean():.2g}, same answer {agree:.4f}")
    assert diff.max() < tol * max(1, np.abs(want).max()), path
    assert agree == 1.0 if path == float_file else agree >= 0.995, path

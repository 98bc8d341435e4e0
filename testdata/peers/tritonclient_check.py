"""tritonclient[http], unmodified and with its defaults (binary tensors), against a running server."""
import sys

import numpy as np
import tritonclient.http as tc

url, key = sys.argv[1], sys.argv[2]
headers = {"Authorization": "Bearer " + key}
c = tc.InferenceServerClient(url=url)
assert c.is_server_live(), "not live"
assert c.is_server_ready(), "not ready"
assert c.is_model_ready("digits", headers=dict(headers)), "model not ready"
meta = c.get_server_metadata(headers=dict(headers))
assert meta["name"] == "muster" and "binary_tensor_data" in meta["extensions"], meta
m = c.get_model_metadata("digits", headers=dict(headers))
assert m["inputs"][0] == {"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}, m
assert c.get_model_config("digits", headers=dict(headers))["max_batch_size"] > 0
assert c.get_model_repository_index(headers=dict(headers))[0]["state"] == "READY"
assert c.get_inference_statistics("digits", headers=dict(headers))["model_stats"][0]["name"] == "digits"

x = np.random.default_rng(1).uniform(0, 16, (5, 1, 8, 8)).astype(np.float32)


def infer(binary):
    i = tc.InferInput("image", x.shape, "FP32")
    i.set_data_from_numpy(x, binary_data=binary)
    outs = None if binary else [tc.InferRequestedOutput(n, binary_data=False) for n in ("logits", "probabilities")]
    r = c.infer("digits", [i], outputs=outs, request_id="r-1", headers=dict(headers))
    assert r.get_response()["id"] == "r-1"
    return r.as_numpy("logits"), r.as_numpy("probabilities")


logits, probs = infer(True)
assert logits.shape == (5, 10) and np.allclose(probs.sum(1), 1, atol=1e-5)
j_logits, j_probs = infer(False)
assert np.array_equal(logits, j_logits) and np.array_equal(probs, j_probs), "JSON and binary tensors differ"
try:
    c.infer("digits", [tc.InferInput("image", [1], "FP32").set_data_from_numpy(np.zeros(1, np.float32))], headers=dict(headers))
    raise SystemExit("a wrong shape was accepted")
except tc.InferenceServerException as e:
    assert "shape" in e.message(), e
try:
    c.get_model_metadata("digits")
    raise SystemExit("a request without a key was accepted")
except tc.InferenceServerException as e:
    assert "key" in e.message(), e
print("tritonclient: live, ready, metadata, config, statistics, binary and JSON inference agree")

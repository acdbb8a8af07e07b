"""Rotary scalings as transformers computes them: logits of a tiny llama under each setting of rope_parameters.

Needs transformers 5, torch and safetensors; writes goldens/rotary: model.safetensors and cases.json (config and where its logits are),
expected.safetensors.
"""
import json
import os

import torch
import transformers
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

HERE = os.path.join(os.path.dirname(__file__), "..", "rotary")
THETA = {"rope_theta": 10000.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, **THETA}
CASES = {
    "default": {"rope_type": "default", **THETA},
    "linear": {"rope_type": "linear", "factor": 4.0, **THETA},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0, **THETA},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
        **THETA,
    },
    "yarn": YARN,
    "yarn, attention_factor": {**YARN, "attention_factor": 1.3},
    "yarn, mscale": {**YARN, "mscale": 1.0, "mscale_all_dim": 0.7},
    "yarn, betas": {**YARN, "beta_fast": 8.0, "beta_slow": 2.0},
    "yarn, not truncated": {**YARN, "truncate": False},
    "yarn, no original length": {"rope_type": "yarn", "factor": 2.0, **THETA},
    # Irori runs it within the original positions: 64 of 256
    "longrope": {
        "rope_type": "longrope",
        "original_max_position_embeddings": 64,
        "short_factor": [1.0, 1.05, 1.1, 1.3, 1.6, 2.0, 2.5, 3.0],
        "long_factor": [1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0],
        **THETA,
    },
}


def config(rope):
    return LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=256 if rope["rope_type"] == "longrope" else 64,
        rope_parameters=rope,
        tie_word_embeddings=True,
    )


torch.manual_seed(0)
model = LlamaForCausalLM(config(CASES["default"])).eval()
for parameter in model.parameters():
    # scores large enough that a wrong angle shows
    torch.nn.init.normal_(parameter, std=0.25) if parameter.dim() > 1 else torch.nn.init.normal_(parameter, 1, 0.1)
ids = torch.randint(0, 96, (1, 60))
expected, cases = {"input_ids": ids}, []
for i, (name, rope) in enumerate(CASES.items()):
    other = LlamaForCausalLM(config(dict(rope))).eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        expected[f"logits.{i}"] = other(ids).logits[0, ::6].contiguous()
    cases.append({"name": name, "config": json.loads(other.config.to_json_string())})
os.makedirs(HERE, exist_ok=True)
weights = {k: v.contiguous() for k, v in model.state_dict().items() if k != "lm_head.weight"}
save_file(weights, os.path.join(HERE, "model.safetensors"), metadata={"format": "pt"})
save_file(expected, os.path.join(HERE, "expected.safetensors"))
made = {"transformers": transformers.__version__, "torch": torch.__version__, "cases": cases}
with open(os.path.join(HERE, "cases.json"), "w", encoding="utf-8") as file:
    json.dump(made, file, indent=1)

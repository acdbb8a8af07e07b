"""Logits of adapters as peft loads them: peft_logits.py BASE OUT.safetensors IDS_JSON ADAPTER…"""
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

base, out, ids, *adapters = sys.argv[1:]
results = {}
for i, adapter in enumerate(adapters):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    model = PeftModel.from_pretrained(model, adapter).eval()
    with torch.no_grad():
        results[f"logits.{i}"] = model(torch.tensor(json.loads(ids))).logits.contiguous()
save_file(results, out)

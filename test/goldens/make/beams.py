"""Beam searches of the golden llama by transformers, with length penalties and each way of ending.

Needs transformers 5, torch and safetensors; writes goldens/beams.json.
"""
import json
import os

import torch
from transformers import AutoConfig, LlamaForCausalLM

HERE = os.path.join(os.path.dirname(__file__), "..")
FOLDER = os.path.join(HERE, "families", "llama")
model = LlamaForCausalLM.from_pretrained(FOLDER, config=AutoConfig.from_pretrained(FOLDER), attn_implementation="eager").eval()
cases = []
for prompt in ([5, 17, 3, 42, 42, 9], [2, 90, 11, 7], [60]):
    for beams in (1, 3, 5):
        for penalty in (1.0, 0.0, 2.0, -1.0):
            for early in (False, True, "never"):
                for eos in (None, [7, 33, 120], list(range(20, 60))):
                    with torch.no_grad():
                        out = model.generate(
                            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False,
                            num_beams=beams, num_return_sequences=beams, max_new_tokens=9, length_penalty=penalty,
                            early_stopping=early, eos_token_id=eos, pad_token_id=0, return_dict_in_generate=True,
                            output_scores=True, use_cache=True)
                    if beams == 1:
                        continue
                    lengths = (out.beam_indices >= 0).sum(1).tolist()
                    ids = [row[len(prompt):len(prompt) + n].tolist() for row, n in zip(out.sequences, lengths)]
                    cases.append({"prompt": prompt, "beams": beams, "lengthPenalty": penalty, "early": early, "ends": eos or [],
                                  "maxTokens": 9, "ids": ids, "scores": [round(s, 6) for s in out.sequences_scores.tolist()]})
with open(os.path.join(HERE, "beams.json"), "w") as file:
    json.dump({"source": "transformers 5.23, golden llama, float32", "cases": cases}, file, separators=(",", ":"))
print(len(cases))

"""Writes goldens/gguf-families/NAME-{f16,q8_0}.gguf and NAME-{f16,q8_0}.safetensors: the tiny checkpoints of goldens/families
as llama.cpp's converters write them, with the Python package `gguf` (names, keys, quantisation), and the logits of
transformers on the weights that the file holds (rounded to its type).

  pip install torch transformers gguf
  python make/gguf-families.py FAMILIES_FOLDER OUT_FOLDER

What GGUF has no key for (Gemma's factor of scores, the turned layers of SmolLM3) is set as in the published models.
"""
import copy
import json
import math
import sys

import gguf
import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

ARCH = gguf.MODEL_ARCH
FAMILIES = {
    "llama": ARCH.LLAMA, "llama3-rope": ARCH.LLAMA, "mistral": ARCH.LLAMA, "qwen2": ARCH.QWEN2, "qwen3": ARCH.QWEN3, "phi3": ARCH.PHI3,
    "gemma2": ARCH.GEMMA2, "gemma3": ARCH.GEMMA3, "olmo2": ARCH.OLMO2, "smollm3": ARCH.SMOLLM3, "gpt2": ARCH.GPT2,
}
INTERLEAVED = {"llama", "llama3-rope", "mistral", "smollm3"}


def changed(name, config):
    config = copy.deepcopy(config)
    if name.startswith("gemma"):
        config["query_pre_attn_scalar"] = config["head_dim"]
    return config


def keys(writer, name, c):
    window = c.get("sliding_window")
    rope = c.get("rope_parameters") or {}
    if name == "gpt2":
        writer.add_context_length(c["n_positions"])
        writer.add_embedding_length(c["n_embd"])
        writer.add_block_count(c["n_layer"])
        writer.add_feed_forward_length(c.get("n_inner") or 4 * c["n_embd"])
        writer.add_head_count(c["n_head"])
        writer.add_layer_norm_eps(c["layer_norm_epsilon"])
        return
    heads = c["num_attention_heads"]
    writer.add_context_length(c["max_position_embeddings"])
    writer.add_embedding_length(c["hidden_size"])
    writer.add_block_count(c["num_hidden_layers"])
    writer.add_feed_forward_length(c["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(c["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
    if c.get("head_dim"):
        writer.add_key_length(c["head_dim"])
        writer.add_value_length(c["head_dim"])
    if name == "gemma3":
        writer.add_rope_freq_base(rope["full_attention"]["rope_theta"])
        writer.add_sliding_window(window)
        # the golden's layers: two with a window, one without, one with
        writer.add_uint32("gemma3.attention.sliding_window_pattern", 3)
        return
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(c.get("head_dim") or c["hidden_size"] // heads)
    if name == "gemma2":
        writer.add_attn_logit_softcapping(c["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(c["final_logit_softcapping"])
    if window and name != "qwen2":
        writer.add_sliding_window(window)


def rope_factors(c):
    rope, size = c["rope_parameters"], c["head_dim"]
    low, high, factor, old = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"], rope["original_max_position_embeddings"]
    out = []
    for i in range(0, size, 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (i / size)
        if wavelength < old / high:
            out.append(1)
        elif wavelength > old / low:
            out.append(factor)
        else:
            smooth = (old / wavelength - low) / (high - low)
            out.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(out, dtype=np.float32)


def interleaved(weight, heads):
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def deinterleaved(weight, heads):
    return weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def main(families, out):
    for name, arch in FAMILIES.items():
        config = changed(name, json.load(open(f"{families}/{name}/config.json")))
        tensors = load_file(f"{families}/{name}/model.safetensors")
        golden = load_file(f"{families}/{name}/expected.safetensors")
        layers = config.get("num_hidden_layers") or config["n_layer"]
        names = gguf.get_tensor_name_map(arch, layers)
        kinds = {"f16": gguf.GGMLQuantizationType.F16, "q8_0": gguf.GGMLQuantizationType.Q8_0}
        for kind, wanted in kinds.items():
            writer = gguf.GGUFWriter(f"{out}/{name}-{kind}.gguf", gguf.MODEL_ARCH_NAMES[arch])
            keys(writer, name, config)
            rounded = {}
            for tensor, data in tensors.items():
                if name == "gpt2" and tensor.endswith((".attn.bias", ".attn.masked_bias")):
                    continue
                stored = data
                heads = {"q_proj": config.get("num_attention_heads"), "k_proj": config.get("num_key_value_heads")}
                turned = next((n for part, n in heads.items() if name in INTERLEAVED and tensor.endswith(f"{part}.weight")), None)
                is_conv = name == "gpt2" and tensor.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
                is_offset = name.startswith("gemma") and tensor.endswith("norm.weight")
                if turned:
                    stored = interleaved(stored, turned)
                if is_conv:
                    stored = stored.T
                if is_offset:
                    stored = stored + np.float32(1)
                stored = np.ascontiguousarray(stored)
                # as llama.cpp: vectors stay float32, rows that blocks do not divide stay float16
                type = gguf.GGMLQuantizationType.F32 if stored.ndim < 2 else wanted
                if type == gguf.GGMLQuantizationType.Q8_0 and stored.shape[-1] % 32:
                    type = gguf.GGMLQuantizationType.F16
                raw = gguf.quants.quantize(stored, type)
                target = names.get_name(tensor, try_suffixes=(".weight", ".bias"))
                writer.add_tensor(target, raw, raw_dtype=type)
                if name == "gpt2" and target == "token_embd.weight":
                    writer.add_tensor("output.weight", raw, raw_dtype=type)
                back = gguf.quants.dequantize(raw, type).reshape(stored.shape).astype(np.float32)
                if is_offset:
                    back = back - np.float32(1)
                if is_conv:
                    back = back.T
                if turned:
                    back = deinterleaved(back, turned)
                rounded[tensor] = torch.from_numpy(np.ascontiguousarray(back))
            if name == "llama3-rope":
                writer.add_tensor("rope_freqs.weight", rope_factors(config))
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), attn_implementation="eager").float().eval()
            missing, unexpected = model.load_state_dict(rounded, strict=False)
            assert not unexpected and set(missing) <= {"lm_head.weight"}, (name, missing, unexpected)
            model.tie_weights()
            inputs = {key: torch.from_numpy(golden[key]) for key in ("input_ids", "attention_mask", "position_ids") if key in golden}
            with torch.no_grad():
                logits = model(**inputs).logits
            logits = logits * inputs["attention_mask"][:, :, None]
            save_file({"logits": logits.numpy()}, f"{out}/{name}-{kind}.safetensors")
            print(name, kind, np.abs(logits.numpy() - golden["logits"]).max())


main(*sys.argv[1:])

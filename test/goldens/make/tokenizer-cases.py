"""Writes goldens/tokenizer/*: token ids by Hugging Face's `tokenizers` (the outside source), for Irori's tests.

  pip install tokenizers gguf
  python make/tokenizer-cases.py SmolLM2-135M-Instruct.Q4_1.gguf OUT_FOLDER [RANDOM_CASES_FILE]
"""
import importlib.util
import json
import os
import sys

import tokenizers
from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = r"[^\r\n\p{L}\p{N}]?%s*%s+{s}|[^\r\n\p{L}\p{N}]?%s+%s*{s}" % (UPPER, LOWER, UPPER, LOWER)

spec = importlib.util.spec_from_file_location("texts", os.path.join(os.path.dirname(__file__), "tokenizer-texts.py"))
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)
TRICKY, texts = shared.TRICKY, shared.texts


def cases(tokenizer, inputs):
    out = []
    for text in inputs:
        tokenizer.encode_special_tokens = True
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = False
        control = tokenizer.encode(text, add_special_tokens=False).ids
        case = {"text": text, "ids": plain, "decoded": tokenizer.decode(plain, skip_special_tokens=False)}
        if control != plain:
            case["controlIds"] = control
        if case["decoded"] == text:
            del case["decoded"]
        out.append(case)
    return out


def smollm(path):
    fields = GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    types = fields["tokenizer.ggml.token_type"].contents()
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([token for token, kind in zip(tokens, types) if kind == 3])
    return tokenizer


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def byte_level(prefix=False, regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


SEQ = pre_tokenizers.Sequence
# name → (pre-tokenizer, normalizer, ignore_merges, added tokens); a name that GGUF files use is checked by that name too
VARIANTS = {
    "gpt-2": (byte_level(regex=True), None, False, []),
    "smollm": (SEQ([pre_tokenizers.Digits(True), byte_level(regex=True)]), None, False, []),
    "command-r": (SEQ([pre_tokenizers.Digits(True), byte_level(regex=True)]), normalizers.NFC(), False, []),
    "llama-bpe": (SEQ([split("|".join([CONTRACTIONS, WORD, r"\p{N}{1,3}", SYMBOLS, SPACES])), byte_level()]), None, True, []),
    "dbrx": (SEQ([split("|".join([CONTRACTIONS, WORD, r"\p{N}{1,3}", SYMBOLS, SPACES])), byte_level()]), None, False, []),
    "qwen2": (SEQ([split("|".join([CONTRACTIONS, WORD, r"\p{N}", SYMBOLS, SPACES])), byte_level()]), normalizers.NFC(), False, []),
    "tekken": (
        SEQ([split("|".join([CASED.replace("{s}", ""), r"\p{N}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", SPACES])), byte_level()]),
        None, True, [],
    ),
    "gpt-4o": (
        SEQ([split("|".join([CASED.replace("{s}", CONTRACTIONS + "?"), r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", SPACES])), byte_level()]),
        None, False, [],
    ),
    "deepseek-v3": (
        SEQ([
            split(r"\p{N}{1,3}"),
            split("[一-龥぀-ゟ゠-ヿ]+"),
            split(r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|" + SPACES),
            byte_level(),
        ]),
        None, False, [],
    ),
    "possessive": (
        SEQ([split(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"), byte_level()]),
        None, False, [],
    ),
    "possessive-bites": (SEQ([split(r"\w++\w|\d+(?>a|ab)c|^x|y$|.z"), byte_level()]), None, False, []),
    "han-script": (SEQ([split(r"[\p{Han}]+|[\p{Latin}']+|\P{L}"), byte_level()]), None, False, []),
    "removed": (SEQ([split(r"\s+", "removed"), byte_level()]), None, False, []),
    "removed-inverted": (SEQ([split(r"[a-z]+", "removed", True), byte_level()]), None, False, []),
    "digit-runs": (SEQ([pre_tokenizers.Digits(False), byte_level(regex=True)]), None, False, []),
    "leading-space": (byte_level(prefix=True, regex=True), None, False, []),
    "added-rules": (
        byte_level(regex=True), normalizers.NFC(), False,
        [
            AddedToken("<left>", lstrip=True, normalized=False), AddedToken("<right>", rstrip=True, normalized=False),
            AddedToken("the", single_word=True, normalized=False), AddedToken("caf\u00e9", normalized=True),
            AddedToken("<both>", lstrip=True, rstrip=True, normalized=False), AddedToken("  ", normalized=False),
            AddedToken("ab", normalized=False), AddedToken("abc", normalized=False),
        ],
    ),
}
RULE_TEXTS = [
    "a <left> b", "a  <right>  b", "x <both> y", "<left><right><both>", "the other then the", "the", "_the the_", "the-the",
    "cafe\u0301 caf\u00e9 cafes", "   x    y", "abcab ababc", "  <left>  <right>   ", "éthe theé", "\n<both>\n", "the\u0301 the",
]


def synthetic():
    corpus = (TRICKY + ["the quick brown fox jumps over the lazy dog and then returns to the house of the fox"] * 20
              + ["def function(self, value): return self.value + value  # 2024 users hello world"] * 10) * 3
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = byte_level(regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=640, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    return json.loads(tokenizer.to_str())


def main(gguf_path, out, random_file=None):
    def write(name, value):
        with open(f"{out}/{name}", "w", encoding="utf-8") as file:
            json.dump(value, file, ensure_ascii=True, separators=(",", ":"))

    made_with = {"tokenizers": tokenizers.__version__}
    smol = smollm(gguf_path)
    write("smollm2-cases.json", {"madeWith": made_with, "cases": cases(smol, texts(150, 7))})
    base = synthetic()
    base["version"] = "1.0"
    write("synthetic.json", base)
    variants = {}
    for name, (pre, normalizer, ignore_merges, added) in VARIANTS.items():
        changed = json.loads(json.dumps(base))
        changed["model"]["ignore_merges"] = ignore_merges
        tokenizer = Tokenizer.from_str(json.dumps(changed))
        tokenizer.pre_tokenizer = pre
        if normalizer is not None:
            tokenizer.normalizer = normalizer
        tokenizer.add_tokens(added)
        full = json.loads(tokenizer.to_str())
        inputs = [text for text in texts(24, 11) if len(text) <= 120] + (RULE_TEXTS if added else [])
        variants[name] = {
            "pre_tokenizer": full["pre_tokenizer"], "normalizer": full["normalizer"], "ignore_merges": ignore_merges,
            "added_tokens": full["added_tokens"], "cases": cases(tokenizer, inputs),
        }
        if random_file:
            variants[name]["many"] = cases(tokenizer, texts(600, 13))
    if random_file:
        with open(random_file, "w", encoding="utf-8") as file:
            json.dump({"smollm": cases(smol, texts(4000, 99)), "variants": variants}, file)
        for variant in variants.values():
            del variant["many"]
    write("variants.json", {"madeWith": made_with, "variants": variants})


main(*sys.argv[1:])

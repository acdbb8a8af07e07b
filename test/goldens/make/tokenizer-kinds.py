"""Writes goldens/tokenizer/kinds.json and pieces.json: token ids by Hugging Face's `tokenizers` and by `sentencepiece`
(the outside sources) of small vocabularies of every kind, for Irori's tests.

  pip install tokenizers sentencepiece protobuf
  python make/tokenizer-kinds.py OUT_FOLDER [RANDOM_CASES_FOLDER]

kinds.json:  name -> tokenizer.json, cases (text, ids, decoded where it is not the text) and framed inputs.
pieces.json: name -> what a GGUF file would hold of a sentencepiece model, and cases by sentencepiece itself.
"""
import base64
import importlib.util
import io
import json
import os
import sys

import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

spec = importlib.util.spec_from_file_location("cases", os.path.join(os.path.dirname(__file__), "tokenizer-texts.py"))
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)
TRICKY, texts = shared.TRICKY, shared.texts

CORPUS = (
    TRICKY
    + ["the quick brown fox jumps over the lazy dog and then returns to the house of the fox"] * 20
    + ["def function(self, value): return self.value + value  # 2024 users hello world"] * 10
    + ["Questions, answers: what's a hearth? Ça marche. Größe, naïveté, Übermut!", "  two  spaces   three"] * 10
)
MORE = [
    "A hearth keeps the house warm.", "don't do not n't 's", "Hello , world ! How 's it ?", "[CLS] [SEP] [MASK] [UNK]",
    "<s> </s> <unk> <pad>", "<0x0A> <0x41>", "▁the▁ the ▁", "\u2581", "supercalifragilisticexpialidocious " * 3, "x" * 101, "é" * 101,
    "中文字符 mixed with English中文", "½ ﬁre ２０２４ Ａ", "ΣΑΣ ΌΔΟΣ İstanbul", "a\u0000b\u0007c\u200bd", "tab\there", "\n\n\n", "    four",
    "<table> <td>cell</td>", "<|user|>", "one\r\ntwo\r\n", "e\u0301\u0323 o\u0308", "👩‍👩‍👧‍👦 family", "  both ends  ",
]


def inputs(seed, most=160):
    return [text for text in MORE + texts(24, seed) if len(text) <= most]


def cases(tokenizer, inputs, isExcluded):
    out = []
    for text in inputs:
        if isExcluded(text):
            continue  # there the vocabulary's own control tokens would be matched as text, which Irori never does
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


PAIRS = [("what is a hearth", "the place of a fire in the house of the fox"), ("", ""), ("the fox", ""), ("the house of the fox", "a dog"), ("over and over and over", "the lazy dog jumps")]


def framed(tokenizer):
    out = []
    for first, second in PAIRS:
        for most in (None, 16, 9, 6):
            for pair in (None, second):
                if most is None:
                    tokenizer.no_truncation()
                else:
                    tokenizer.enable_truncation(most)
                found = tokenizer.encode(first, pair) if pair is not None else tokenizer.encode(first)
                case = {"text": first, "ids": found.ids, "types": found.type_ids}
                if pair is not None:
                    case["pair"] = pair
                if most is not None:
                    case["maxTokens"] = most
                out.append(case)
    tokenizer.no_truncation()
    return out


def kind(tokenizer, seed, isExcluded=lambda text: False, texts=None):
    file = json.loads(tokenizer.to_str())
    return {"json": file, "cases": cases(tokenizer, texts or inputs(seed), isExcluded), "framed": framed(tokenizer)}


def holds(*parts):
    return lambda text: any(part in text for part in parts)


def word_piece(lowercase):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=700, special_tokens=specials, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def rebuilt(tokenizer, model=None, **parts):
    """The same vocabulary with other components."""
    changed = Tokenizer.from_str(tokenizer.to_str())
    if model is not None:
        changed.model = model
    for name, part in parts.items():
        setattr(changed, name, part)
    return changed


def char_map_tsv(path):
    """A small normalization rule: NFKC of what the texts have, white space as spaces."""
    rules = {"ﬁ": "fi", "ﬂ": "fl", "½": "1⁄2", "²": "2", "①": "1", "\t": " ", "\n": " ", "\r": " ", "\u3000": " ", "\u00a0": " ", "\u200b": "", "e\u0301": "é",
             "Ａ": "A", "２": "2", "０": "0", "４": "4", "\ufeff": "", "\r\n": " ", "o\u0308": "ö", "\u0007": "", "한국": "韓國"}
    with open(path, "w", encoding="utf-8") as file:
        for source, target in rules.items():
            code = lambda text: " ".join(f"{ord(char):X}" for char in text)
            file.write(f"{code(source)}\t{code(target)}\n")


def piece_model(kind, size, **options):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=out, model_type=kind, vocab_size=size, character_coverage=0.98,
        max_sentencepiece_length=12, minloglevel=2, num_threads=1, hard_vocab_limit=False, **options,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(out.getvalue())
    return processor, proto


def merges_of(proto):
    """Every pair of pieces that makes a piece, best first, as transformers converts sentencepiece's BPE."""
    ids = {piece.piece: i for i, piece in enumerate(proto.pieces)}
    pairs = []
    for i, piece in enumerate(proto.pieces):
        if piece.type != 1:
            continue
        local = []
        for cut in range(1, len(piece.piece)):
            left, right = piece.piece[:cut], piece.piece[cut:]
            if left in ids and right in ids:
                local.append((left, right, piece.score))
        pairs.extend(sorted(local, key=lambda pair: (ids[pair[0]], ids[pair[1]])))
    return [(left, right) for left, right, _ in sorted(pairs, key=lambda pair: pair[2], reverse=True)]


SEQ = normalizers.Sequence


def like_unigram(proto, byte_fallback, normalizer, pre_tokenizer, decoder):
    tokenizer = Tokenizer(models.Unigram([(p.piece, p.score) for p in proto.pieces], unk_id=0, byte_fallback=byte_fallback))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizer, pre_tokenizer, decoder
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return tokenizer


def like_bpe(proto, normalizer, pre_tokenizer, decoder, added=()):
    vocab = {piece.piece: i for i, piece in enumerate(proto.pieces)}
    tokenizer = Tokenizer(models.BPE(vocab, merges_of(proto), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.add_tokens(list(added))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    return tokenizer


def as_gguf(processor, proto, kind):
    spec = proto.normalizer_spec
    metadata = {
        "tokenizer.ggml.model": kind,
        "tokenizer.ggml.tokens": [piece.piece for piece in proto.pieces],
        "tokenizer.ggml.scores": [piece.score for piece in proto.pieces],
        "tokenizer.ggml.token_type": [piece.type for piece in proto.pieces],
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_space_prefix": spec.add_dummy_prefix,
        "tokenizer.ggml.remove_extra_whitespaces": spec.remove_extra_whitespaces,
    }
    if spec.precompiled_charsmap:
        metadata["charsmap_base64"] = base64.b64encode(spec.precompiled_charsmap).decode()
    return metadata


def piece_cases(processor, inputs):
    out = []
    for text in inputs:
        if any(mark in text for mark in ("<s>", "</s>", "<unk>", "\u0000", "\u2581")):
            continue  # sentencepiece ends a text at a zero byte; ▁ is its own space
        ids = processor.encode(text)
        case = {"text": text, "ids": ids}
        decoded = processor.decode(ids)
        if decoded != text:
            case["decoded"] = decoded
        out.append(case)
    return out


def main(out, random_folder=None):
    tsv = os.path.join("/tmp", f"charsmap-{os.getpid()}.tsv")
    char_map_tsv(tsv)
    ws, meta = pre_tokenizers.WhitespaceSplit(), lambda **o: pre_tokenizers.Metaspace(**o)
    llama_decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    gemma_decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    identity = dict(normalization_rule_name="identity", remove_extra_whitespaces=False, byte_fallback=True)
    uni, uni_proto = piece_model("unigram", 400, normalization_rule_tsv=tsv)
    uni_bytes, uni_bytes_proto = piece_model("unigram", 620, byte_fallback=True, normalization_rule_tsv=tsv)
    bpe, bpe_proto = piece_model("bpe", 760, **identity)
    plain = dict(identity, add_dummy_prefix=False)
    gemma, gemma_proto = piece_model("bpe", 800, user_defined_symbols=["\n", "\n\n", "<table>", "<td>"], allow_whitespace_only_pieces=True, **plain)
    no_bytes, no_bytes_proto = piece_model("bpe", 500, **dict(identity, byte_fallback=False))
    os.remove(tsv)

    precompiled = normalizers.Precompiled(uni_proto.normalizer_spec.precompiled_charsmap)
    precompiled_bytes = normalizers.Precompiled(uni_bytes_proto.normalizer_spec.precompiled_charsmap)
    marks = holds("<s>", "</s>", "<unk>", "<0x")
    uncased = word_piece(True)
    llama_normalizer = SEQ([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    added = [AddedToken(text, normalized=False, special=False) for text in ["\n", "\n\n", "<table>", "<td>"]]
    byte_level = Tokenizer(models.BPE())
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=600, show_progress=False, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    byte_level.decoder = decoders.ByteLevel()
    byte_level.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    pieces = pre_tokenizers
    split = lambda behavior, invert=False: pieces.Split(Regex("[aeiou]"), behavior, invert)
    chars = Tokenizer(models.BPE({**{c: i for i, c in enumerate("abcdefghijklmnopqrstuvwxyz .,")}, "[UNK]": 29, "th": 30, "the": 31, "er": 32},
                                 [("t", "h"), ("th", "e"), ("e", "r")], unk_token="[UNK]"))
    kinds = {
        "word-piece": kind(uncased, 21),
        "word-piece-cased": kind(word_piece(False), 22),
        "word-piece-plain": kind(rebuilt(uncased, decoder=decoders.WordPiece(cleanup=False), pre_tokenizer=pieces.Whitespace(),
                                         normalizer=SEQ([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip()]),
                                         post_processor=processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))), 23),
        "unigram": kind(like_unigram(uni_proto, False, precompiled, pieces.Sequence([ws, meta()]), decoders.Metaspace()), 24, marks),
        "unigram-first": kind(like_unigram(uni_proto, False, SEQ([precompiled, normalizers.Strip(left=False), normalizers.Replace(Regex(" {2,}"), "▁")]),
                                           meta(prepend_scheme="first"), decoders.Metaspace(prepend_scheme="first")), 25, marks),
        "unigram-split-first": kind(like_unigram(uni_proto, False, precompiled, pieces.Sequence([ws, meta(prepend_scheme="first")]), decoders.Metaspace()), 34, marks),
        "unigram-bytes": kind(like_unigram(uni_bytes_proto, True, precompiled_bytes, meta(), decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])), 26, marks),
        "llama": kind(like_bpe(bpe_proto, llama_normalizer, None, llama_decoder), 27, marks),
        "llama-first": kind(like_bpe(bpe_proto, None, meta(prepend_scheme="first", split=False), llama_decoder), 28, marks),
        "gemma": kind(like_bpe(gemma_proto, normalizers.Replace(" ", "▁"), pieces.Split(" ", "merged_with_previous"), gemma_decoder, added), 29, marks),
        "roberta": kind(byte_level, 30),
        "characters": kind(chars, 31),
    }
    for name, pre in {
        "split-removed": split("removed"), "split-isolated": split("isolated"), "split-previous": split("merged_with_previous"),
        "split-next": split("merged_with_next"), "split-contiguous": split("contiguous"), "split-inverted": split("merged_with_next", True),
        "punctuation": pieces.Sequence([pieces.Punctuation("contiguous"), pieces.Digits(False)]), "delimiter": pieces.CharDelimiterSplit("o"),
    }.items():
        kinds[name] = kind(rebuilt(uncased, pre_tokenizer=pre, decoder=decoders.WordPiece(cleanup=False)), 32, texts=inputs(32, 60)[:30])
        kinds[name] = {"like": "word-piece", **{part: kinds[name]["json"][part] for part in ("pre_tokenizer", "decoder")}, "cases": kinds[name]["cases"], "framed": []}
    # components that differ from another kind's only
    for name, base in {"word-piece-plain": "word-piece", "unigram-first": "unigram", "unigram-split-first": "unigram", "llama-first": "llama"}.items():
        file = kinds[name].pop("json")
        kinds[name] = {"like": base, **{part: file[part] for part in ("normalizer", "pre_tokenizer", "decoder", "post_processor")}, **kinds[name]}

    sentencepieces = {
        "bpe": (bpe, bpe_proto, "llama"), "bpe-no-prefix": (gemma, gemma_proto, "llama"), "bpe-no-bytes": (no_bytes, no_bytes_proto, "llama"),
        "unigram": (uni, uni_proto, "t5"), "unigram-bytes": (uni_bytes, uni_bytes_proto, "t5"),
    }
    made_with = {"tokenizers": tokenizers.__version__, "sentencepiece": sentencepiece.__version__}

    def write(folder, file, value):
        with open(f"{folder}/{file}", "w", encoding="utf-8") as out:
            json.dump({"madeWith": made_with, **value}, out, ensure_ascii=True, separators=(",", ":"))

    write(out, "kinds.json", {"kinds": kinds})
    write(out, "pieces.json", {"pieces": {
        name: {"metadata": as_gguf(processor, proto, kind), "cases": piece_cases(processor, inputs(33))}
        for name, (processor, proto, kind) in sentencepieces.items()
    }})
    if random_folder:
        many = [text for text in texts(3000, 77)]
        whole = {}
        for name, each in kinds.items():
            file = dict(kinds[each["like"]]["json"], **{p: each[p] for p in ("normalizer", "pre_tokenizer", "decoder", "post_processor") if p in each}) if "like" in each else each["json"]
            whole[name] = {"json": file, "cases": cases(Tokenizer.from_str(json.dumps(file)), many, marks), "framed": []}
        write(random_folder, "kinds.json", {"kinds": whole})
        write(random_folder, "pieces.json", {"pieces": {
            name: {"metadata": as_gguf(processor, proto, kind), "cases": piece_cases(processor, many)}
            for name, (processor, proto, kind) in sentencepieces.items()
        }})


main(*sys.argv[1:])

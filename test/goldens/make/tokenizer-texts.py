"""Texts that tokenizers get wrong, and random ones of the same making, for the scripts beside this one."""
import random

TRICKY = [
    "", " ", "  ", "   x", "x   ", "\n", "\r\n", "\t\tif x:\n\t\t\treturn\n", " \n \n\n  a", "a\n\n\nb", "a \r\n b",
    "The capital of France is", "don't can't I'LL we'Ve it's 'S 's' ''s", "I'm he'd they're",
    "1234567890", " 12 345 6,789.00", "x1y22z333", "٠١٢٣ ४५६ Ⅷ ½ ² ①", "3.14e-10 0xFF 1_000",
    "naïve café Übermut façade", "cafe\u0301 A\u030a Å \u1e9b\u0323", "ﬁ ﬂ ſ 'ſ K Å",
    "囲炉裏は日本の伝統的な暖房", "你好，世界！", "안녕하세요 세계", "สวัสดีชาวโลก", "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया",
    "😀 👩‍👩‍👧 🇯🇵 ✈️ 👍🏽", "a😀b", "😀😀😀", "\u00a0nbsp\u2003em\u3000wide\u0085next\u2028line\ufeffbom", "\ufeff", "a\ufeffb",
    "zero\u200bwidth\u200djoiner\u2060", "\ufffd\ufffe\uffff\ufdd0", "\U0010ffff\U000e0001", "private \ue000\uf8ff",
    "<|im_end|>", "<|im_start|>user\nhello<|im_end|>\n", "a<|im_end|>b <|im_end|> c", "<|im_<|im_end|>end|>",
    "<|endoftext|><|endoftext|>", "<|im_END|>", "<repo_name>x<file_sep>",
    "def fibonacci(n):\n    if n <= 1:\n        return n\n    return fibonacci(n - 1) + fibonacci(n - 2)\n",
    "for (let i = 0; i < 10; ++i) { console.log(`${i}`); }", "SELECT name, COUNT(*) FROM users WHERE id IN (1, 2);",
    "https://example.com/a/b?c=d&e=f#g", "C:\\Users\\x\\y", "!!!???...---===", "((((((((((", "<<>><<>>", "a_b-c.d/e\\f", "$100 €50 ¥7",
    "CamelCaseWordsAndHTTPServerID42x", "HELLO hello Hello hELLO", "ΑΒΓ αβγ Ǆ ǅ ǆ", "a" * 300, "ab" * 200, " " * 200, "\n" * 100,
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "é" * 90, "the" * 60,
    "tab\tseparated\tvalues", "  leading", "trailing  ", " both  ", "a  b   c    d", "\u3000\u3000全角", "x\u0301\u0302\u0303",
]
ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz", "ABC abc ", "0123456789 ", " \n\t\r", " \u00a0\u2003\u3000\u0085\u2028", "'sStTrReEvVmMlLdD ",
    "éàüñçøåæœßÆ", "αβγДжЯابجשלם", "日本語の文章中国字漢カタカナ한국어", "😀👍🏽🇯🇵👩‍👧✈️", ".,;:!?()[]{}<>|/\\@#$%^&*-_=+`~\"'",
    "½²Ⅷ①٣४", "\u0301\u0308\u200d\ufe0f\u0903", "\ufeff\ufffd\u200b\u2060",
]
WORDS = "the of and to in hello world return function import def class self <|im_end|> <|im_start|> user I'll they've 2024 3.14 \n    \n\n".split(" ")


def random_text(chance):
    out = []
    for _ in range(chance.randint(1, 14)):
        kind = chance.random()
        if kind < 0.35:
            out.append(chance.choice(WORDS) + chance.choice(["", " ", "  ", "\n"]))
        elif kind < 0.95:
            alphabet = chance.choice(ALPHABETS)
            out.append("".join(chance.choice(alphabet) for _ in range(chance.randint(1, 8))))
        else:
            code = chance.randint(1, 0x10FFFF)
            out.append(chr(code) if not 0xD800 <= code <= 0xDFFF else "\ufffd")
    return "".join(out)


def texts(count, seed):
    chance = random.Random(seed)
    return TRICKY + [random_text(chance) for _ in range(count)]

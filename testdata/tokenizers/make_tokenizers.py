#!/usr/bin/env python3
"""Small tokenizers that together use every component the product reads, and the ids that the reference
implementation (PyPI `tokenizers`, 0.22.2) gives for corpus.json.

    python make_tokenizers.py OUT            # writes OUT/{corpus,long_runs}.json, OUT/<name>/{tokenizer,tokenizer_config,expected}.json
    python make_tokenizers.py OUT --random N # N more random strings in the corpus, for a wider comparison
"""
import argparse, json, os, random
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK_V3 = [r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
               r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""]
DEEPSEEK_V1 = [r"[\r\n]", r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-Ֆ]+",
               r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", r"[一-龥ࠀ-一가-퟿]+"]
UPPER, LOWER = (r"[\p{L%s}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]" % k for k in (r"u}\p{Lt", "l"))
SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
KIMI_K2 = (r"[\p{Han}]+" + rf"|[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SUFFIX}"
           + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
SPLIT, BYTES = pre_tokenizers.Split, pre_tokenizers.ByteLevel

SENTENCES = r"""All human beings are born free and equal in dignity and rights; they don't, won't, can't and WE'LL see.
Tous les êtres humains naissent libres et égaux en dignité et en droits. Où est le cœur ?
Alle Menschen sind frei und gleich an Würde und Rechten geboren. Straße, ÄÖÜ, größer!
Todos los seres humanos nacen libres e iguales. ¿Qué? ¡Señor!
Все люди рождаются свободными и равными в своём достоинстве и правах.
Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι. ΟΔΥΣΣΕΥΣ
人人生而自由,在尊严和权利上一律平等。
すべての人間は、生まれながらにして自由であり、カタカナもある。
모든 인간은 태어날 때부터 자유로우며 존엄하다.
सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता है।
যখন সকল মানুষ স্বাধীনভাবে সমান মর্যাদা
ทุกคนเกิดมามีอิสระและเสมอภาคกันในศักดิ์ศรี
يولد جميع الناس أحراراً متساوين في الكرامة والحقوق ١٢٣
כל בני אדם נולדו בני חורין ושווים בערכם ובזכויותיהם
ყველა ადამიანი იბადება თავისუფალი
Բոլոր մարդիկ ծնվում են ազատ ու հավասար
ሰው ሁሉ ነጻ ሆኖ ይወለዳል
எல்லா மனிதர்களும் சுதந்திரமாகவே பிறக்கின்றனர்
ప్రతి మానవుడు స్వేచ్ఛతో జన్మించును
മനുഷ്യരെല്ലാവരും തുല്യാവകാശങ്ങളോടെ
මිනිස්සු සියල්ලෝම නිදහස්ව උපත ලබා ඇත
ມະນຸດທຸກຄົນເກີດມາມີກຽດສັກສີ
မြန်မာဘာသာ လူတိုင်းသည်
Tất cả mọi người sinh ra đều được tự do và bình đẳng
İstanbul'da ışık, ĞÜŞİÖÇ
ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ᠮᠣᠩᠭᠣᠯ བོད་ཡིག ខ្មែរ
😀👍🏽👨‍👩‍👧‍👦 🇩🇪🇫🇷 ❤️ ☺ ©®™ emoji🎉mix
e\u0301 \u0041\u030a \u1e9b\u0323 \ufb01ligature \u2460\u00bd\u00b2 \u212b ＡＢＣ１２３ \uac00\u1100\u1161\u11a8
x = 3.14159; y=1234567890 # 12,345.67 0x1F 1e-9 ½ Ⅻ ٣٤٥ 一二三 ①
def f(a, b):\n\tif a != b:\n        return {'k': [a, b]}  # done\n\n\n
<div class="x">&amp;</div>\r\n<!-- c -->\r\n\r\n
    four spaces\n  two\n\n\ttab \t mixed \u00a0nbsp\u3000ideographic\u2003em\u180emongol\u200bzero
\u0000\u0001\u0007\u001b[0m\u007f\u0085\u2028\u2029 controls
word\u00adsoft a\u0300\u0301\u0302b \u0645\u064e \u093f\u094d \ufe0f\ufeffBOM
https://example.org/a?b=c&d=%20#e user@example.org C:\\path\\file_name.txt
don't DON'T I'm I'M you're YOU'RE 'tis 'S's''s 'll've
$100 €50 £7 ¥9 50% 1/2 a+b=c {[(<>)]} ... !!! ??? --- ___ ***
 leading space
trailing space 
   both   

\n
\n\n\n  \n x
hi<|end|>there <|end|> x   <|end|>   y<|end|><|end|>
<s>text</s> <s> a</s>b [INST] q [/INST]  <unk>
<|system|>\nYou are<|end|>\n<|user|>   \n Hi
the word yesterday yesterdays Yesterday xyesterday, yesterday
a  b   c    d     e        f                g
\u2581meta\u2581\u2581space \u2581 end\u2581
CamelCaseWords HTTPServer iPhone XMLHttpRequest ΑΒΓδεζ ЁлкаДОМ ǅ ǈa
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
the the the thethethethe THETHE
1 22 333 4444 55555 666666 7777777 88888888""".split("\n")

# Not in the training text: what tends to go wrong.
HARD = r"""\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466\U0001f469\U0001f3fd\u200d\U0001f680 \U0001f9d1\U0001f3ff\u200d\u2764\ufe0f\u200d\U0001f9d1\U0001f3fb x\U0001f44d\U0001f3feY
\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7\U0001f1ef \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f \U0001f3f3\ufe0f\u200d\U0001f308 1\ufe0f\u20e3#\ufe0f\u20e3
\U0001f31a\U0001fae8\U0001fa77 \U0001fabf\U0001faf7\U0001f3fc\U0001fae9 Unicode 15 and 16: \U00031350\U0002ebf0\u4eba\U000323af \U00016d70\U00011f50\U000116d0\u1c89\u1c8a\ua7cb \U0001cc00 \U0001ccf0
\u0301 \u0301\u0302 a\u0327\u0301\u0323 \u0323\u0307s \u20dd\u0b3e \u200d\u200d \u09cd\u0995 \u0e31
it'\u017f 'S'\u212a \u017ftop \u0131\u0130I don\u2019t \u02bcs
\u0000\u0000\u0001\u0002\u0008\u000b\u000c\u000e\u001f\u0080\u009f\u00ad\u2060\u206f\ufeff\ufff9\ufffd\uffff\U0010ffff
1\u00b2\u00b3\u00b9\u00bc x_1\u203f2 \u0967\u0968\u0969 \u2167\u3007\u5341 1,234,567.89 -0.5e-10 0b1010 1_000 12345678901234567890
for (int i = 0; i < n; ++i) { a[i] <<= 2; }  // \t\t\r\n\t\tif(x)\r\n\r\n\n\n  return&x;\n#define A(b) \\\n  b##_t
\u202e\u0645\u0631\u062d\u0628\u0627\u202c \u0661\u0662\u066b\u0663 abc\u200f \u05e9\u05b8\u05dc\u05d5\u05b9\u05dd
\u1100\u1161\u11a8\u1100 \uac01\u11a8 \ufb01\ufb03 \u01c4\u01c5\u01c6 \u1fb3\u1fbc \u0390 \u00c5\u212b \u2126\u03a9 \uff21\uff41\uff11 \u3300\ufdfa
<|end|><|end|> <|end|>\n<|begin|>x<|begin|> <| end|> <|en <s><s> </s> <unk><0x41> <0x0A>
\u2581 \u2581\u2581a \u2581\u2581\u2581 b\u2581  \u2581c  \u2581\u2581
ab-cd--ef -g- well-known [CLS] x [SEP] #hash @me $^`|~+<=>""".split("\n")
LONG = ["a", " ", "\n", "A", "9", "\u00e9", "\u4eba", "\u2581", "\U0001f600", "\u0301", "\u200d", "ab", "a ", " \n", "!?", "\U0001f1e9\U0001f1ea", "\t", "\ufffd"]


def fingerprint(ids):  # FNV-1a over the ids
    h = 0xcbf29ce484222325
    for i in ids:
        h = (h ^ i) * 0x100000001b3 % 2**64
    return [len(ids), f"{h:016x}"]


def corpus(extra):
    r = random.Random(7)
    lines = [s.encode("latin-1", "backslashreplace").decode("unicode_escape") for s in SENTENCES]
    lines += ["", " ", "\n", "a", "\u00e9", "  a", "a  ", "\n".join(lines[:3]), " ".join(lines[3:6]), "ab" * 300, "= " * 90, " " * 40, "9" * 50]
    alphabet = sorted({c for s in lines for c in s})
    marks = ["<|end|>", "<s>", "</s>", "yesterday", "   ", " ", " ", "\n", "'s", "[DAY]", "12", "\u180e"]
    for _ in range(40 + extra):
        lines.append("".join(r.choice(marks) if r.random() < 0.15 else r.choice(alphabet) for _ in range(r.randint(1, 60))))
    for _ in range(extra):      # any assigned code point of the first two planes
        lines.append("".join(chr(r.choice([r.randrange(0x20, 0x250), r.randrange(0x250, 0xd800), r.randrange(0xe000, 0x1ffff)]))
                             if r.random() < 0.7 else r.choice(" ' \n1a") for _ in range(r.randint(1, 30))))
    return lines


def train(texts, tok, size=560, specials=(), alphabet=None, **model):
    tok.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, special_tokens=list(specials), show_progress=False, min_frequency=2,
                                                       initial_alphabet=alphabet or []))
    doc = json.loads(tok.to_str())
    doc["model"].update(model)
    return doc


def byte_level(texts, pre, normalizer=None, **model):
    t = Tokenizer(models.BPE())
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer, t.decoder = pre, decoders.ByteLevel()
    return train(texts, t, specials=["<|begin|>", "<|end|>"], alphabet=BYTES.alphabet(), **model)


def sentencepiece(texts, fallback=True, unk="<unk>"):
    """Llama 2's layout: words with a marker in front, byte tokens <0x00>.. behind the specials."""
    t = Tokenizer(models.BPE(unk_token=unk))
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    specials = [unk, "<s>", "</s>"] + ([f"<0x{b:02X}>" for b in range(256)] if fallback else [])
    doc = train([s for s in texts[:1]] + ["\u2581\u2581 \u2581\u2581\u2581\u2581 \n é ü ß и о а е т \u4eba"] * 2, t, 600, specials, byte_fallback=fallback, fuse_unk=True)
    doc["added_tokens"] = [a for a in doc["added_tokens"] if not a["content"].startswith("<0x")]
    doc["pre_tokenizer"] = None
    return doc


def template(bos, id):
    return {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {bos: {"id": bos, "ids": [id], "tokens": [bos]}}}


def added(id, content, **flags):
    return dict(dict(id=id, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=False), **flags)


def build(texts):
    seq = pre_tokenizers.Sequence
    iso = lambda *rs: [SPLIT(Regex(x), "isolated") for x in rs]
    raw = BYTES(add_prefix_space=False, use_regex=False)
    gpt2 = byte_level(texts, BYTES(add_prefix_space=False))
    yield "gpt2", gpt2, None
    granite = byte_level(texts, seq([pre_tokenizers.Digits(individual_digits=True), BYTES(add_prefix_space=True)]))
    yield "granite", granite, None
    llama3 = byte_level(texts, seq(iso(LLAMA3) + [raw]), ignore_merges=True)
    llama3["post_processor"] = {"type": "Sequence", "processors": [{"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}, template("<|begin|>", 0)]}
    llama3["model"]["merges"] = [" ".join(m) for m in llama3["model"]["merges"]]
    n = max(llama3["model"]["vocab"].values()) + 1
    llama3["model"]["vocab"].update({"Ġyesterday": n, "ThisWordHasNoMerges": n + 1})
    yield "llama3", llama3, dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<|begin|>", eos_token="<|end|>", model_max_length=131072)
    yield "qwen", byte_level(texts, seq(iso(QWEN) + [raw]), normalizers.NFC()), dict(tokenizer_class="Qwen2Tokenizer", bos_token=None, eos_token="<|end|>", add_bos_token=False, model_max_length=1e30)
    yield "gpt_oss", byte_level(texts, seq(iso(O200K) + [raw]), ignore_merges=True), None
    v3 = byte_level(texts, seq(iso(*DEEPSEEK_V3) + [raw]), normalizers.Sequence([]))
    n = max(v3["model"]["vocab"].values()) + 1
    v3["added_tokens"] += [added(n, "[DAY]", normalized=True), added(n + 1, "yesterday", normalized=True, single_word=True)]
    v3["post_processor"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    yield "deepseek_v3", v3, dict(tokenizer_class="LlamaTokenizerFast", add_bos_token=True, add_eos_token=False, model_max_length=16384,
                                  bos_token={"__type": "AddedToken", "content": "<|begin|>"}, eos_token={"__type": "AddedToken", "content": "<|end|>"})
    yield "deepseek_v1", byte_level(texts, seq(iso(*DEEPSEEK_V1) + [pre_tokenizers.Digits(individual_digits=True), raw])), None
    olmoe = byte_level(texts, BYTES(add_prefix_space=False), normalizers.NFC())
    n = max(olmoe["model"]["vocab"].values()) + 1
    olmoe["added_tokens"] += [added(n + i, " " * (16 - i), normalized=True) for i in range(15)]
    yield "olmoe", olmoe, None
    llama2 = sentencepiece(texts)
    llama2["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}
    llama2["decoder"] = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
                                                          {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    llama2["post_processor"] = template("<s>", 1)
    yield "llama2", llama2, dict(tokenizer_class="LlamaTokenizer", bos_token="<s>", eos_token="</s>", unk_token="<unk>", add_bos_token=True)
    phi = json.loads(json.dumps(llama2))
    phi["post_processor"] = None
    n = max(phi["model"]["vocab"].values()) + 1
    phi["added_tokens"] += [added(n, "<|end|>", rstrip=True, special=True), added(n + 1, "<|user|>", lstrip=True, rstrip=True, special=True),
                            added(n + 2, "<|system|>", lstrip=True), added(n + 3, "yesterday", single_word=True), added(n + 4, "[DAY]", normalized=True, lstrip=True)]
    yield "phi", phi, dict(tokenizer_class="LlamaTokenizer", bos_token="<s>", eos_token="<|end|>", add_bos_token=False)
    first = sentencepiece(texts)
    first["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}
    first["decoder"] = llama2["decoder"]
    first["post_processor"] = template("<s>", 1)
    yield "mixtral", first, None
    always = sentencepiece(texts, fallback=False)
    always["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True}
    always["decoder"] = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    always["model"]["fuse_unk"] = False
    yield "metaspace", always, None
    odd = sentencepiece(texts, fallback=False)
    odd["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": True},
                                                             {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}]}
    odd["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"String": "e"}, "behavior": "MergedWithPrevious", "invert": False},
        {"type": "Split", "pattern": {"Regex": "[\\s,]"}, "behavior": "MergedWithNext", "invert": False},
        {"type": "Split", "pattern": {"Regex": "[a-m]"}, "behavior": "Contiguous", "invert": False},
        {"type": "Split", "pattern": {"Regex": "[^!?]+"}, "behavior": "Removed", "invert": True},
        {"type": "Digits", "individual_digits": False}]}
    odd["decoder"] = None
    yield "odd_splits", odd, None
    yield "kimi_k2", byte_level(texts, seq(iso(KIMI_K2) + [raw])), None
    yield "cl100k", byte_level(texts, seq(iso(CL100K) + [raw]), ignore_merges=True), None
    around = {"sep": ["</s>", 2], "cls": ["<s>", 1]}
    bert = sentencepiece(texts, fallback=False)
    bert["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]}
    bert["pre_tokenizer"], bert["decoder"] = {"type": "BertPreTokenizer"}, None
    bert["post_processor"] = dict(around, type="BertProcessing")
    yield "bert_words", bert, None
    words = sentencepiece(texts, fallback=False)
    words["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]}
    words["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "CharDelimiterSplit", "delimiter": "-"}, {"type": "Whitespace"}]}
    words["post_processor"], words["decoder"] = dict(around, type="RobertaProcessing", trim_offsets=True, add_prefix_space=True), None
    yield "words", words, None
    chunks = sentencepiece(texts, fallback=False)
    chunks["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Contiguous"}, {"type": "FixedLength", "length": 5}]}
    chunks["decoder"] = {"type": "Fuse"}
    yield "chunks", chunks, None


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("out")
    ap.add_argument("--random", type=int, default=0)
    a = ap.parse_args()
    lines = corpus(a.random) + [s.encode("latin-1", "backslashreplace").decode("unicode_escape") for s in HARD]
    os.makedirs(a.out, exist_ok=True)
    json.dump(lines, open(f"{a.out}/corpus.json", "w"), ensure_ascii=True, indent=0)
    json.dump([[s, 10000 // len(s)] for s in LONG], open(f"{a.out}/long_runs.json", "w"), indent=0)
    prose = open(f"{HERE}/../tiny_calibration.txt", encoding="utf-8").read()[:60000]
    tiny = json.load(open(f"{HERE}/../tiny-qwen2-moe/tokenizer.json"))
    for name, doc, config in list(build([prose, "\n".join(corpus(0))])) + [("tiny-qwen2-moe", tiny, None)]:
        folder = f"{a.out}/{name}"
        os.makedirs(folder, exist_ok=True)
        if name != "tiny-qwen2-moe":
            json.dump(doc, open(f"{folder}/tokenizer.json", "w"), ensure_ascii=False, separators=(",", ":"))
            if config:
                json.dump(config, open(f"{folder}/tokenizer_config.json", "w"), indent=1)
        if config and "Llama" in config["tokenizer_class"]:        # what transformers' LlamaTokenizerFast does with add_bos_token
            bos = config["bos_token"] if isinstance(config["bos_token"], str) else config["bos_token"]["content"]
            ids = {t["content"]: t["id"] for t in doc["added_tokens"]}
            doc["post_processor"] = template(bos, ids[bos]) if config["add_bos_token"] else None
        t = Tokenizer.from_str(json.dumps(doc))
        rows = [dict(ids=t.encode(s).ids, plain=t.encode(s, add_special_tokens=False).ids) for s in lines]
        for row in rows:
            row["text"] = t.decode(row["ids"], skip_special_tokens=False)
            row["clean"] = t.decode(row["ids"], skip_special_tokens=True)
            if row["plain"] == row["ids"]:
                del row["plain"]
            if row["clean"] == row["text"]:
                del row["clean"]
        with open(f"{folder}/expected.json", "w") as f:
            f.write("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]\n")
        with open(f"{folder}/long_runs.json", "w") as f:
            json.dump([fingerprint(t.encode(s * (10000 // len(s)), add_special_tokens=False).ids) for s in LONG], f)


if __name__ == "__main__":
    main()

"""Writes what transformers' BERT tokenizer makes of texts, for tests/data_text.rs.

    python make_token_goldens.py VQA_RAD_JSON BERT_DIR SLAKE_DIR OUT_DIR

- token_vocab.txt: a part of BERT_DIR's vocabulary, enough to spell most of the sample;
- token_texts.json: sampled VQA-RAD texts (CC0) and adversarial ones, their ids under that part of
  the vocabulary, and what those ids decode to;
- token_digests.json: SHA-256 over the ids of all VQA-RAD and SLAKE questions and answers under
  the whole vocabulary, for machines that have the data.
"""

import hashlib
import json
import random
import struct
import sys
import tempfile
from pathlib import Path

from transformers import BertTokenizerFast

ADVERSARIAL = [
    "", " ", "\t\n\r", "a\u00a0b\u2003c\u3000d", "zero\u200bwidth\u200djoin", "soft\u00adhyphen", "bom\ufeffinside",
    "null\x00byte", "bell\x07\x1b[31m", "replace\ufffdment", "private \ue000 use", "unassigned \u0378 here",
    "caf\u00e9 cafe\u0301 \u00c5ngstr\u00f6m A\u030angstro\u0308m", "\u0301 lonely accent", "na\u00efve \u0130stanbul \u0131",
    "Stra\u00dfe STRASSE \u1e9e", "\u03a3\u0391\u03a3 \u03c3\u03b1\u03c2", "\ufb01ne \ufb03 \ufb06", "\uff21\uff22\uff23 \uff11\uff12",
    "\u01c5 \u01c8 \u1f88", "\u13a0\u13a1 \uab70", "\u80ba\u90e8\u662f\u5426\u6b63\u5e38?", "MRI\u7684T2\u52a0\u6743", "\u3072\u3089\u304c\u306a \u30ab\u30bf\u30ab\u30ca \uff76\uff9e",
    "\ud55c\uad6d\uc5b4 \u1112\u1161\u11ab", "\U00020000\U0002a6df \uf900 \U0002f800", "\u0645\u064e\u0631\u0652\u062d\u064e\u0628\u064b\u0627", "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2764\ufe0f", "5\u00b5m \u00d7 2 \u2264 3 \u00b1 1\u00b0 \u2126 \u212b",
    "x\u00b2 H\u2082O \u00bd \u2167", "don't can't they've we're I'm it's o'clock ' a ' n't", "do not", "a.b,c;d:e!f?g", "...!!!???",
    "`~@#$%^&*()-_=+[]{}\\|;:'\",.<>/?", "\u2018\u2019\u201c\u201d \u2013\u2014 \u2026 \u00ab\u00bb \u3002\uff0c\u3001", "##ing # #s ##", "[CLS] a [SEP] b [MASK] [UNK] [PAD]",
    "[cls] [ SEP ] [DEC] [ENC] x[SEP]y", "T1/T2-weighted 3.5x4.2cm L4-L5", "a" * 100, "b" * 101, "\u00e9" * 100, "the " * 200,
    "\u200e\u200fmarks\u202e", "line\u2028sep\u2029par", "tab\tnew\nline", "\x85next", "\u180e\u2060\u2063", "\u0e33 \u0eb3 \u0f0b", "\U0001d400\U0001d7ce", "\ua9c0\u1b44", "\u20e3 1\ufe0f\u20e3",
]


def ids_of(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


def digest(tokenizer, texts):
    """SHA-256 over each text's number of ids and ids, as little-endian u32."""
    sha = hashlib.sha256()
    for text in texts:
        ids = ids_of(tokenizer, text)
        sha.update(struct.pack(f"<{len(ids) + 1}I", len(ids), *ids))
    return sha.hexdigest()


def main(vqa_rad, bert, slake, out):
    full = BertTokenizerFast.from_pretrained(bert)
    rad = [row[key] for row in json.loads(vqa_rad.read_text()) for key in ("question", "answer")]
    rad = [str(text) for text in rad]
    slake_rows = [r for s in ("train", "validate", "test") for r in json.loads((slake / f"{s}.json").read_text())]
    slake_texts = [row[key] for row in slake_rows for key in ("question", "answer")]
    digests = {"vqa-rad": digest(full, rad), "slake": digest(full, slake_texts)}
    (out / "token_digests.json").write_text(json.dumps(digests, indent=1) + "\n")

    sample = random.Random(0).sample(sorted(set(rad)), 260)
    texts = sample + ADVERSARIAL
    # Whole words are kept for three sampled texts in four: the others must be spelt from pieces.
    used = {i for n, text in enumerate(texts) if n % 4 for i in ids_of(full, text)}
    vocab = (bert / "vocab.txt").read_text().split("\n")[:30522]
    part = [t for i, t in enumerate(vocab) if i in used or len(t.removeprefix("##")) <= 2 and "unused" not in t]
    part = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [t for t in part if not t.startswith("[") or len(t) == 1]
    (out / "token_vocab.txt").write_text("\n".join(part) + "\n")
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "vocab.txt").write_text("\n".join(part) + "\n")
        tokenizer = BertTokenizerFast.from_pretrained(directory)
    rows = []
    for text in texts:
        ids = ids_of(tokenizer, text)
        rows.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=True)})
    lines = ",\n".join(json.dumps(row) for row in rows)
    (out / "token_texts.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

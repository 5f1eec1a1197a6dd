"""Writes what transformers and SentencePiece make of texts, for tests/data_causal.rs.

    python make_causal_token_goldens.py VQA_RAD_JSON MISTRAL_DIR SLAKE_DIR OUT_DIR

- causal/sp/tokenizer.model: a small SentencePiece model of LLaMA's kind, trained on VQA-RAD (CC0);
- causal/bytes/tokenizer.json: small byte-level pairs of Llama 3's kind, trained on the same;
- causal/texts.json: sampled and adversarial texts with the ids of both, of the first in its legacy
  and its later form, and what they decode to;
- causal/digests.json: SHA-256 over the ids of all VQA-RAD and SLAKE questions and answers, and of the
  adversarial texts, under Mistral's tokenizer, for machines that have it.
"""

import hashlib
import json
import random
import struct
import sys
from pathlib import Path

import sentencepiece
from make_token_goldens import ADVERSARIAL
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaTokenizer, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import LlamaConverter

MORE = [
    "a  b   c    d", "   ", "\n\n\n", " leading", "trailing ", "▁ itself ▁▁", "aaaaaaaaaaaaaaaaaaaaa", "a\n b\t\tc",
    "<s>", "x<s>y</s> z", "</s></s>", " <s> ", "<unk>", "<0x0A>", "<|begin_of_text|>no<|eot_id|>", "[INST] [/INST]",
    "\U0001fac1\U0001fa7b", "\u09ab\u09c1\u09b8\u09ab\u09c1\u09b8", "12345 3.14 1,000", "it's I'LL we'Ve",
]
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


SAMPLED = 120


class Slow:
    """What transformers' converter reads of a slow tokenizer."""

    def __init__(self, file, legacy):
        self.vocab_file, self.legacy, self.add_prefix_space = str(file), legacy, True

    def convert_ids_to_tokens(self, i):
        return ["<unk>", "<s>", "</s>"][i]


class Converter(LlamaConverter):
    """With merges by score, as transformers 4 takes them."""

    class SpmExtractor:
        def __init__(self, file):
            pass

        def extract(self, vocab_scores):
            from transformers.convert_slow_tokenizer import generate_merges

            vocab = {piece: i for i, (piece, _) in enumerate(vocab_scores)}
            return vocab, generate_merges(vocab, vocab_scores)


def converted(file, legacy):
    tokenizer = Converter(Slow(file, legacy)).converted()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def byte_level(texts):
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(special)
    begin = "<|begin_of_text|>"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, tokenizer.token_to_id(begin))]
    )
    return tokenizer


def ids_of(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


def digest(tokenizer, texts):
    sha = hashlib.sha256()
    for text in texts:
        ids = ids_of(tokenizer, text)
        sha.update(struct.pack(f"<{len(ids) + 1}I", len(ids), *ids))
    return sha.hexdigest()


def main(vqa_rad, mistral, slake, out):
    out = out / "causal"
    rad = [str(row[key]) for row in json.loads(vqa_rad.read_text()) for key in ("question", "answer")]
    slake_rows = [r for s in ("train", "validate", "test") for r in json.loads((slake / f"{s}.json").read_text())]
    slake_texts = [row[key] for row in slake_rows for key in ("question", "answer")]
    distinct = sorted(set(rad))
    (out / "sp").mkdir(parents=True, exist_ok=True)
    (out / "bytes").mkdir(exist_ok=True)

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(distinct), model_prefix=str(out / "sp/tokenizer"), vocab_size=700, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
        allow_whitespace_only_pieces=True, num_threads=1, minloglevel=2,
    )
    (out / "sp/tokenizer.vocab").unlink()
    model = out / "sp/tokenizer.model"
    legacy, later = converted(model, True), converted(model, False)
    byte_level(distinct).save(str(out / "bytes/tokenizer.json"))
    bytes_ = PreTrainedTokenizerFast(tokenizer_file=str(out / "bytes/tokenizer.json"))
    own = sentencepiece.SentencePieceProcessor(model_file=str(model))
    assert ids_of(later, "x<s>y") == ids_of(LlamaTokenizer.from_pretrained(out / "sp", legacy=False), "x<s>y")

    rows = []
    for text in random.Random(1).sample(distinct, SAMPLED) + ADVERSARIAL + MORE:
        row = {"text": text}
        for name, tokenizer in [("legacy", legacy), ("later", later), ("bytes", bytes_)]:
            ids = ids_of(tokenizer, text)
            row[name] = [ids, tokenizer.decode(ids, skip_special_tokens=True)]
        plain = not any(token in text for token in ("<s>", "</s>", "<unk>", "\x00"))
        if plain and own.encode(text) != row["legacy"][0]:
            print("SentencePiece itself differs:", repr(text))
        rows.append(row)
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    (out / "texts.json").write_text(f"[\n{lines}\n]\n")

    full = converted(mistral / "tokenizer.model.v1", True)
    given = PreTrainedTokenizerFast(tokenizer_file=str(mistral / "tokenizer.json"))
    texts = ADVERSARIAL + MORE
    for text in texts:
        if ids_of(full, text) != ids_of(given, text):
            print("the two files of Mistral differ:", repr(text))
    digests = {"vqa-rad": digest(given, rad), "slake": digest(given, slake_texts), "adversarial": digest(given, texts)}
    later = converted(mistral / "tokenizer.model.v1", False)
    digests |= {f"{key} later": digest(later, value) for key, value in [("vqa-rad", rad), ("adversarial", texts)]}
    (out / "digests.json").write_text(json.dumps(digests, indent=1) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

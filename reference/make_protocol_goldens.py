"""Writes answers that are hard to judge, and what each paper's own code makes of each of them, for
crates/normed/tests/protocols.rs.

    python reference/make_protocol_goldens.py crates/normed/tests/golden/protocols LLAVA_MED MISS VQA

LLAVA_MED, MISS and VQA are checkouts of microsoft/LLaVA-Med at v1.0.0, TIMMY-CHAN/MISS, and
GT-Vision-Lab/VQA. Their code is run where it lies: LLaVA-Med's `evaluate` and MISS's script one answer at a
time, the two normalizing functions of the VQA evaluation (Python 2: taken out of its class as they are).
"""

import io
import json
import random
import re
import sys
import textwrap
import types
from pathlib import Path

# Answer, true answer, whether it is open.
CRAFTED = [
    ("The lungs are normal", "No", False),
    ("normal", "no", False),
    ("Left", "Left", False),
    ("yes, left", "Left", False),
    ("no left", "left", False),
    ("Yes.", "Yes", False),
    ("yes", "YES", False),
    ("YES", "Yes", False),
    ("no", "No", False),
    ("not seen", "No", False),
    ("yes and no", "No", False),
    ("yesterday", "yes", False),
    ("", "no", False),
    ("n o", "no", False),
    ("Nope", "no", False),
    ("None", "none", False),
    ("0", "none", False),
    ("a", "no", False),
    ("lung lung lung", "lung mass", True),
    ("lung mass", "lung lung lung", True),
    ("the left lung", "left lung", True),
    ("left, lung", "left lung", True),
    ("X-ray", "x ray", True),
    ("x-ray - chest", "xray chest", True),
    ("1,000 ml", "1000 ml", True),
    ("5.5 cm.", "5.5 cm", True),
    ("two", "2", True),
    ("Ten lesions", "10 lesions", True),
    ("none", "0", True),
    ("", "lung", True),
    ("lung", "", True),
    ("the", "a", True),
    ("dont know", "don't know", True),
    ("somebody'd", "somebodyd", True),
    ("couldntve", "couldn't've", True),
    ("T2-weighted MRI", "t2 weighted", True),
    ("liver/spleen", "liver spleen", True),
    ("right;left", "right left", True),
    ("a_b", "ab", True),
    ("what's this?", "whats this", True),
    ("...", "", True),
    ("." * 40, "........", True),
    ("line\nbreak", "line break", True),
    ("\ttab ", "tab", True),
    ("Überlauf", "überlauf", True),
]

WORDS = (
    "yes no left right lung the a an normal none two ten 5.5 3, 1,000 x-ray T2-weighted dont it's ? . ! - ; "
    "mass/liver (seen) \"q\" @ > 10% isnt wheres No. Yes, 1.5T"
).split()


def drawn(n):
    rng = random.Random(5)

    def text():
        return rng.choice([" ", " ", ""]).join(rng.choice(WORDS) for _ in range(rng.randint(0, 5)))

    def nearly(answer):
        """What may be the same to one who forgives."""
        answer = re.sub(r"[^\w\s]", lambda mark: rng.choice(["", " ", mark[0]]), answer)
        answer = rng.choice([str.lower, str])(answer).replace("two", rng.choice(["two", "2"]))
        return re.sub(r"\b(the|a|an)\b", lambda word: rng.choice(["", word[0]]), answer)

    rows = []
    for _ in range(n):
        answer = text()
        target = rng.choice(["yes", "No", "Yes", "no", text(), nearly(answer), nearly(answer), nearly(answer)])
        rows.append((answer, target, rng.random() < 0.6))
    return rows


def llava_med(checkout, rows):
    sys.path.insert(0, str(checkout / "llava" / "eval"))
    # Of these it needs nothing that is used here.
    bleu = types.ModuleType("nltk.translate.bleu_score")
    bleu.sentence_bleu = lambda **_: 0.0
    tables = types.ModuleType("tabulate")
    tables.tabulate = lambda rows, headers: {name: value / 100 for name, value in rows}
    frames = types.ModuleType("pandas")
    fakes = {"nltk": types.ModuleType("nltk"), "nltk.translate": types.ModuleType("nltk.translate")}
    sys.modules.update({**fakes, bleu.__name__: bleu, "tabulate": tables, "pandas": frames})
    from run_eval import evaluate

    def item(answer, target, is_open):
        kind = "OPEN" if is_open else "CLOSED"
        truth = {"conversations": [{}, {"value": target}], "answer_type": kind}
        return truth, {"text": answer, "question_id": 0}

    scores = []
    for answer, target, is_open in rows:
        # An open question beside a closed one, as it divides by the number of open ones.
        pairs = [item(answer, target, is_open)] + ([] if is_open else [item("x", "x", True)])
        found = evaluate([t for t, _ in pairs], [p for _, p in pairs], {"0": ["x"]})
        if is_open:
            names = {"open_recall": "recall", "open_precision": "precision", "open_f1": "f1 score"}
            names["open_exact_match"] = "exact match score"
            scores.append({name: found[theirs] for name, theirs in names.items()})
        else:
            scores.append({"closed_accuracy": found["yes/no accuracy"]})
    return scores


def miss(checkout, rows):
    code = compile((checkout / "ACC.py").read_text(encoding="utf-8"), "ACC.py", "exec")
    scores = []
    for answer, target, _ in rows:
        # A second question, as it divides by the number of those that count.
        files = iter([[{"answer": target}, {"answer": "yes"}], [{"answer": answer}, {"answer": "yes"}]])
        opened = lambda path, mode="r", **_: io.StringIO(json.dumps(next(files)) if mode == "r" else "")
        names = {"open": opened, "print": lambda *_: None, "__name__": "acc"}
        exec(code, names)
        right, counted = names["j"] - 1, names["i"] - 1
        scores.append({"closed_accuracy": float(right)} if counted else {})
    return scores


def vqa(checkout, rows):
    path = checkout / "PythonEvaluationTools" / "vqaEvaluation" / "vqaEval.py"
    source = path.read_text(encoding="utf-8").expandtabs(4)
    setup = source[source.index("self.contractions") : source.index("def evaluate")]
    functions = source[source.index("def processPunctuation") : source.index("def setAccuracy")]
    self = types.SimpleNamespace()
    exec(textwrap.dedent(" " * 8 + setup), {"self": self, "re": re})
    names = {"re": re}
    exec(textwrap.dedent("    " + functions), names)

    def normalized(text):
        text = text.replace("\n", " ").replace("\t", " ").strip()
        return names["processDigitArticle"](self, names["processPunctuation"](self, text))

    scores = []
    for answer, target, is_open in rows:
        right = float(normalized(answer) == normalized(target))
        scores.append({"accuracy": right, ("open" if is_open else "closed") + "_accuracy": right})
    return scores


def main(out, checkouts):
    out.mkdir(parents=True, exist_ok=True)
    rows = CRAFTED + drawn(300)
    scores = [of(checkout, rows) for of, checkout in zip((llava_med, miss, vqa), checkouts)]
    lines = [
        json.dumps(
            {
                "id": str(i),
                "prediction": answer,
                "target": target,
                "answer_type": "OPEN" if is_open else "CLOSED",
                "expected": {"llava-med": of_llava_med, "miss": of_miss, "vqa": of_vqa},
            },
            ensure_ascii=False,
        )
        for i, ((answer, target, is_open), of_llava_med, of_miss, of_vqa) in enumerate(zip(rows, *scores))
    ]
    (out / "answers.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(path) for path in sys.argv[2:5]])

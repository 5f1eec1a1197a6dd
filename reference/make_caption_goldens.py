"""Writes texts that are hard to tokenize, and what pycocoevalcap 1.2 makes of them, for
crates/normed/tests/captions.rs. Needs `pip install pycocoevalcap==1.2` and Java.

    python reference/make_caption_goldens.py crates/normed/tests/golden/captions DATA

DATA holds vqa-rad and slake; of these, numbers alone are written.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

HARD = """\
The patient's (left) lung [right] {x} isn't clear... don't; cannot gonna can't won't
x-ray of T1-weighted MRI; 5.5 cm, 5.5cm 3x4 mm 1/2 10/12/2010 3,000 50% $5.00 #3 @foo
"quoted text" 'single' ``latex'' “unicode” ‘curly’ it’s don’t
tumour colour oedema haemorrhage anaemia leukaemia centre fibre grey programme
Dr. Smith vs. Mr. Jones etc. The end. U.S. army e.g. this i.e. that a.m. p.m. Inc. No. 5
a--b a - b a – b a — b --- ---- well-known post-op non-small-cell
½ cup 3½ cm ¼ 1 1/2 37°C 37 °C ±5 µm ≥ 3 → x
!! ?! ??? ... .... .. . . . , ; : :: :) :-( <3 <b>bold</b> <br/> < > <=
&amp; & AT&T R&D a/b and/or w/o he/she yes/no C/T
www.foo.com http://a.b/c foo@bar.com file.txt a.b.c A.B.C. 1. 2) (3) a)
1st 2nd L4-L5 L4/L5 C3/4 T2 T2/FLAIR 10:30 10-20 10–20 3.2x4.1 .5 0.5. 5. -5 +5 -0.5 2.5-3.0
'tis 'twas d'you y'all o'clock rock'n'roll '90s 'em John's. James' dogs' I'm I'd I'll we're we've
Where is the lesion? No. Is this no. Yes. hello.World hello,world (a)b [a]b
no. 5 No. 5 Nos. 5 no. five Fig. 5 fig. A approx. 5 cm. pp. 5-6 ca. 1990
I.V. i.v. p.o. q.d. Ph.D. M.D. A. The lung U.S. The J. Smith
512 512 256 (555) 123-4567 100 200 300 2019 2020 2021 5-6-7 123-45-6789
1.5-T 1.5T 3.0T 0.5-mm-thick 5x6cm 5mg/dl 5.5mg/dl 120/80mmHg L4-5/S1 AP/lateral T1-/T2
lung., x-ray.; 5cm.: heart... clear.. seen
cm² H₂O 10⁵ α-fetoprotein βHCG 5µm 肺部 café naïve
US$5 £5 €5 5¢ 100% * ** a*b _ __ a_b ~ ^ | \\ ` = + C++ A+B"""


# What the shell of METEOR's program takes for no function words at all.
NO_WORDS = tempfile.NamedTemporaryFile(suffix=".words")


class MeteorExactStem(Meteor):
    """METEOR without its tables."""

    def __init__(self):
        super().__init__()
        self.meteor_p.kill()
        command = [*self.meteor_cmd, "-m", "exact stem", "-s", NO_WORDS.name]
        where = Path(sys.modules[Meteor.__module__].__file__).parent
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.meteor_p = subprocess.Popen(command, cwd=where, **pipes)


def score(gts, res):
    """`gts` and `res` are lists of lists and of texts."""
    tokenizer = PTBTokenizer()
    named = lambda lists: {i: [{"caption": c} for c in texts] for i, texts in enumerate(lists)}
    gts, res = tokenizer.tokenize(named(gts)), tokenizer.tokenize(named([[r] for r in res]))
    bleu, bleus = Bleu(4).compute_score(gts, res, verbose=0)
    corpus = {f"bleu_{n + 1}": float(b) for n, b in enumerate(bleu)}
    items = {f"bleu_{n + 1}": [float(x) for x in b] for n, b in enumerate(bleus)}
    scorers = {"meteor": Meteor(), "meteor_exact_stem": MeteorExactStem(), "rouge_l": Rouge(), "cider": Cider()}
    for name, scorer in scorers.items():
        value, each = scorer.compute_score(gts, res)
        corpus[name], items[name] = float(value), [float(x) for x in each]
    return corpus, items, gts


def main(out, data):
    out.mkdir(parents=True, exist_ok=True)
    hard = HARD.split("\n")
    # The text itself, the next one, and its first words.
    rows = []
    for i, text in enumerate(hard):
        words = text.split()
        half = " ".join(words[: len(words) // 2 + 1])
        prediction = [half, text.lower(), text, hard[(i + 1) % len(hard)]][i % 4]
        rows.append({"id": str(i), "prediction": prediction, "references": [text, half + " " + words[0]]})
    rows.append({"id": "empty", "prediction": "", "references": ["The end."]})
    rows.append({"id": "marks", "prediction": "...", "references": ["!", "."]})
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (out / "hard.jsonl").write_text(text, encoding="utf-8")
    corpus, items, _ = score([r["references"] for r in rows], [r["prediction"] for r in rows])
    expected = {"hard": {"scores": corpus, "items": items}}

    rad = json.loads((data / "vqa-rad" / "VQA_RAD Dataset Public.json").read_text(encoding="utf-8"))
    pairs = [(r["question"], r.get("question_rephrase")) for r in rad]
    pairs = [(q, r) for q, r in pairs if isinstance(r, str) and r != "NULL"]
    corpus, _, _ = score([[r] for _, r in pairs], [q for q, _ in pairs])
    expected["vqa_rad"] = {"n": len(pairs), "scores": corpus}

    lines = (data / "slake" / "reports.jsonl").read_text(encoding="utf-8").splitlines()
    reports = [json.loads(line)["report"] for line in lines]
    corpus, _, _ = score([[r] for r in reports], reports[1:] + reports[:1])
    expected["reports"] = {"n": len(reports), "scores": corpus}
    (out / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""Writes made-up predictions and their scores, for crates/normed/tests/metrics.rs.

    python reference/make_metric_goldens.py crates/normed/tests/golden/metrics

An implementation of its own, in plain Python without packages: regular expressions and counters
where the library walks characters and sorted lists. Only the random stream of the bootstrap is
shared by design (ChaCha8, RFC 7539 with 8 rounds and a 64-bit counter), so that intervals must
agree to rounding.
"""

import json
import random
import re
import struct
import sys
from collections import Counter
from pathlib import Path

CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
# Unicode's White_Space; Python's \s has four control characters more.
BLANK = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"


def normalize(written):
    text = re.sub(f"{BLANK}+", " ", written.lower()).strip(" ")
    # Blanks go beside anything that is not a letter or digit, and beside CJK.
    text = re.sub(rf" (?=[^\w]|_|[{CJK}])", "", text)
    text = re.sub(rf"(?<=[^\w]) |(?<=_) |(?<=[{CJK}]) ", "", text)
    return re.sub(r"\.+$", "", text)


def tokens(text):
    return Counter(re.findall(rf"[{CJK}]|(?:(?![{CJK}_])\w)+", normalize(text)))


def exact(prediction, target):
    return float(normalize(prediction) == normalize(target))


def recall(prediction, target):
    p, t = tokens(prediction), tokens(target)
    if not p or not t:
        return float(not p and not t)
    return (p & t).total() / t.total()


def f1(prediction, target):
    p, t = tokens(prediction), tokens(target)
    if not p or not t:
        return float(not p and not t)
    common = (p & t).total()
    if common == 0:
        return 0.0
    precision, rec = common / p.total(), common / t.total()
    return 2 * precision * rec / (precision + rec)


def any_question(row):
    return True


def is_open(row):
    return row["answer_type"] == "OPEN"


def is_closed(row):
    return row["answer_type"] == "CLOSED"


def is_yes_no(row):
    return normalize(row["target"]) in ("yes", "no")


METRICS = {
    "exact_match": (any_question, exact),
    "open_exact_match": (is_open, exact),
    "open_token_recall": (is_open, recall),
    "open_token_f1": (is_open, f1),
    "closed_accuracy": (is_closed, exact),
    "yes_no_accuracy": (is_yes_no, exact),
    "nll_per_token": (any_question, None),
}


def chacha8_words(seed):
    """The stream of 32-bit words that `ChaCha8Rng::from_seed` gives."""
    key = struct.unpack("<8I", seed)
    counter = 0
    while True:
        start = [*struct.unpack("<4I", b"expand 32-byte k"), *key]
        start += [counter & 0xFFFFFFFF, counter >> 32, 0, 0]
        x = list(start)
        for _ in range(4):
            for a, b, c, d in (
                (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
            ):  # fmt: skip
                for into, other, turned, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                    x[into] = (x[into] + x[other]) & 0xFFFFFFFF
                    x[turned] ^= x[into]
                    x[turned] = ((x[turned] << by) | (x[turned] >> (32 - by))) & 0xFFFFFFFF
        yield from ((p + q) & 0xFFFFFFFF for p, q in zip(x, start))
        counter += 1


def interval(clusters, statistic):
    """`clusters`: name -> list of tuples, one an example."""
    groups = [clusters[name] for name in sorted(clusters, key=str.encode)]
    if len(groups) < 2:
        return None
    words = chacha8_words(b"normed: percentile bootstrap, 95")
    values = []
    for _ in range(2000):
        drawn = [groups[next(words) * len(groups) >> 32] for _ in groups]
        values.append(statistic([example for group in drawn for example in group]))
    values.sort()

    def percentile(q):
        place = q * (len(values) - 1)
        i = int(place)
        j = min(i + 1, len(values) - 1)
        return values[i] + (place - i) * (values[j] - values[i])

    return {"lo": percentile(0.025), "hi": percentile(0.975)}


def terms(metric, row):
    credit = METRICS[metric][1]
    if credit is None:
        return row["nll"], row["num_target_tokens"]
    return credit(row["prediction"], row["target"]), 1


def ratio(examples, k=0):
    return sum(e[k] for e in examples) / sum(e[k + 1] for e in examples)


def by_cluster(rows, examples):
    clusters = {}
    for row, example in zip(rows, examples):
        clusters.setdefault(row["cluster"], []).append(example)
    return clusters


def best_constant(metric, answers):
    of_kind, credit = METRICS[metric]
    if credit is None:
        return None
    counted = Counter(normalize(a["target"]) for a in answers if of_kind(a))
    earned = {c: sum(n * credit(c, t) for t, n in sorted(counted.items())) for c in counted}
    most = max(earned.values())
    return min(c for c, e in earned.items() if e > most - 1e-9)


def score(rows, answers):
    scores = {}
    for metric, (of_kind, credit) in METRICS.items():
        counted = [r for r in rows if of_kind(r)]
        examples = [terms(metric, r) for r in counted]
        said = best_constant(metric, answers)
        scores[metric] = {
            "value": ratio(examples),
            "interval": interval(by_cluster(counted, examples), ratio),
            "constant": said is not None
            and {"answer": said, "value": sum(credit(said, r["target"]) for r in counted) / len(counted)}
            or None,
            "n": len(counted),
            "clusters": len({r["cluster"] for r in counted}),
        }
    return scores


def compare(first, second):
    second = {r["id"]: r for r in second}
    differences = {}
    for metric, (of_kind, _) in METRICS.items():
        counted = [r for r in first if of_kind(r)]
        examples = [terms(metric, r) + terms(metric, second[r["id"]]) for r in counted]

        def gain(examples):
            return ratio(examples) - ratio(examples, 2)

        differences[metric] = {
            "value": gain(examples),
            "interval": interval(by_cluster(counted, examples), gain),
            "n": len(counted),
        }
    return differences


# (target, answer type, predictions that are hard to judge)
ANSWERS = [
    ("Yes", "CLOSED", ["yes", " YES. ", "yes yes", "y", "no", "Yes, it is"]),
    ("no", "CLOSED", ["No", "no...", "normal", "not", "yes", "", "N O"]),
    ("No.", "CLOSED", ["no", "no .", "nope"]),
    ("Left", "CLOSED", ["left", "the left", "right", "left."]),
    ("Yes", "OPEN", ["yes", "no"]),
    ("X-ray", "OPEN", ["x - ray", "xray", "x ray", "X-Ray.", "ray x"]),
    ("the right upper lobe", "OPEN", ["right upper lobe", "upper upper upper", "The right, upper lobe.", "lobe"]),
    ("Right lung, left lung", "OPEN", ["right lung , left lung", "lung", "lung lung lung", "left lung, right lung"]),
    ("5.5 cm", "OPEN", ["5 . 5 cm", "5.5cm", "55 cm", "5 cm"]),
    ("肺部", "OPEN", ["肺 部", "部肺", "肺", "lung 肺部"]),
    ("Ödème", "OPEN", ["ödème", "odeme", "ÖDÈME."]),
    ("T2_FLAIR", "OPEN", ["t2 _ flair", "t2 flair", "T2", "flair"]),
    ("?", "OPEN", ["", "?", "none"]),
    ("", "OPEN", ["", "...", "lung"]),
    ("\u3000Brain\u00a0 stem\t", "OPEN", ["brain stem", "brain\nstem", "brainstem", "stem brain"]),
    ("2", "OPEN", ["2", "two", "2.", "²"]),
]


def made_up(rng, n):
    rows, weaker, training = [], [], []
    for i in range(n):
        target, kind, hard = ANSWERS[min(rng.randrange(24), rng.randrange(len(ANSWERS)))]
        row = {
            "id": f"q{i}",
            "question": f"Question {i}?",
            "prediction": rng.choice([target, *hard]),
            "target": target,
            "answer_type": kind,
            "nll": round(rng.expovariate(0.2), 4),
            "num_target_tokens": rng.randrange(2, 9),
            "cluster": f"image {rng.randrange(n // 4)}",
        }
        rows.append(row)
        weaker.append({**row, "prediction": rng.choice(hard), "nll": round(row["nll"] + rng.random(), 4)})
    for _ in range(n):
        target, kind, _ = ANSWERS[rng.randrange(len(ANSWERS))]
        training.append({"target": target, "answer_type": kind})
    rng.shuffle(weaker)
    return rows, weaker, training


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    rows, weaker, training = made_up(random.Random(7), 200)
    for name, lines in (("first", rows), ("second", weaker), ("training", training)):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (out / f"{name}.jsonl").write_text(text, encoding="utf-8")
    expected = {
        "with_training_constants": score(rows, training),
        "with_own_constants": score(rows, rows),
        "first_less_second": compare(rows, weaker),
    }
    (out / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Writes small data sets as the Hugging Face hub publishes them, for tests/parquet.rs.

    python parquet_golden.py PICTURES OUT_DIR

PICTURES is tests/golden/image_files. The schema is that of flaviagiammarino/vqa-rad and path-vqa: image
(struct of bytes and path), question, answer, without answer types. The files differ in how they are
stored: a dictionary and several row groups, pages of few rows, no compression, columns that cannot be
null.

- vqa/: 7 rows to train with in two files, 4 to test; pictures recur, within a split and across;
- typed/: answer_type and group, image as plain bytes, a validation split;
- zstd/: one file that is compressed otherwise;
- rows.json: what pyarrow reads of vqa/, pictures by their SHA-256.
"""

import hashlib
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema([("image", IMAGE), ("question", pa.string()), ("answer", pa.string())])


def table(pictures, rows, schema=SCHEMA):
    columns = {
        "image": [{"bytes": pictures[name], "path": path} for name, path, _, _ in rows],
        "question": [question for _, _, question, _ in rows],
        "answer": [answer for _, _, _, answer in rows],
    }
    return pa.table(columns, schema=schema)


def vqa(pictures, folder):
    folder.mkdir(parents=True, exist_ok=True)
    first = [
        ("rgb.jpg", None, "is this a ct?", "yes"),
        ("gray.jpg", "synpic1.jpg", "where is the mass?", "left lobe"),
        ("rgb.jpg", None, "which organ is shown?", "the liver"),
        ("rgb.jpg", None, "is there a fracture?", "No"),
        ("cmyk.jpg", None, "what is seen?", "Fäden"),
    ]
    second = [
        ("palette.png", None, "what modality?", "mr"),
        ("gray.jpg", None, "is it normal?", "yes."),
    ]
    test = [
        ("alpha.png", None, "is it a ct?", "no"),
        ("rgb.jpg", None, "how many kidneys?", "2"),
        ("gray.png", None, "which plane?", ""),
        ("alpha.png", None, "what is bright?", "none"),
    ]
    name = "train-{:05}-of-00002-eb8844602202be60.parquet"
    pq.write_table(table(pictures, first), folder / name.format(0), row_group_size=3)
    pq.write_table(
        table(pictures, second), folder / name.format(1), use_dictionary=False, data_page_size=1, write_batch_size=1
    )
    pq.write_table(
        table(pictures, test),
        folder / "test-00000-of-00001-e5bc3d208bb4deeb.parquet",
        compression="none",
        use_dictionary=False,
        data_page_size=1,
        write_batch_size=1,
        write_page_index=True,
        data_page_version="2.0",
    )
    rows = []
    for split in ["train", "test"]:
        paths = sorted(folder.glob(f"{split}-*.parquet"))
        for row in pa.concat_tables(pq.read_table(path) for path in paths).to_pylist():
            digest = hashlib.sha256(row["image"]["bytes"]).hexdigest()
            rows.append({"split": split, "image": digest, "question": row["question"], "answer": row["answer"]})
    return rows


def typed(pictures, folder):
    for split in ["train", "validation"]:
        (folder / split).mkdir(parents=True, exist_ok=True)
        schema = pa.schema(
            [
                pa.field("question", pa.large_string(), nullable=False),
                pa.field("answer", pa.string(), nullable=False),
                pa.field("image", pa.binary(), nullable=False),
                ("answer_type", pa.string()),
                ("group", pa.string()),
                ("question_id", pa.int64()),
            ]
        )
        columns = {
            "question": ["is it a ct?", "left or right?"],
            "answer": ["yes", "left"],
            "image": [pictures["rgb.jpg"], pictures["gray.png"]],
            "answer_type": ["CLOSED", "CLOSED"],
            "group": [f"{split} patient", None],
            "question_id": [1, 2],
        }
        pq.write_table(pa.table(columns, schema=schema), folder / split / "0000.parquet")


def main(pictures, out):
    pictures = {path.name: path.read_bytes() for path in Path(pictures).iterdir()}
    out = Path(out)
    rows = vqa(pictures, out / "vqa/data")
    typed(pictures, out / "typed")
    (out / "zstd").mkdir(exist_ok=True)
    row = [("rgb.jpg", None, "is this a ct?", "yes")]
    pq.write_table(table(pictures, row), out / "zstd/train.parquet", compression="zstd")
    (out / "rows.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

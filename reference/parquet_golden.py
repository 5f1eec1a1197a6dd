"""Writes small data sets as the Hugging Face hub publishes them, for tests/parquet.rs.

    python parquet_golden.py PICTURES OUT_DIR

PICTURES is tests/golden/image_files. The schema is that of flaviagiammarino/vqa-rad and path-vqa: image
(struct of bytes and path), question, answer, without answer types. The files differ in how they are
stored: a dictionary and several row groups, pages of few rows, no compression, columns that cannot be
null.

- vqa/: 7 rows to train with in two files, 4 to test; pictures recur, within a split and across;
- typed/: answer_type and group, image as plain bytes, a validation split;
- stored/: one file a compression, encoding of texts and version of data pages, with a list of images, structs and
  columns without a value;
- images/: one file a form of images: bytes, paths, lists, data URIs;
- values/: answers of every type; features.parquet has the metadata of the datasets library;
- conversations/: `messages` and `conversations`, also as a struct of lists;
- encrypted/: files with a readable footer and one encrypted column, by keys that are drawn anew in every run;
- saved/: a folder of save_to_disk; feather/: the same rows as a Feather file with views, dictionaries and more, and polars' Arrow file;
- rows.json: what pyarrow reads of vqa/, pictures by their SHA-256.
"""

import base64
import hashlib
import io
import json
import sys
from pathlib import Path

import datasets
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
from PIL import Image
from pyarrow import feather

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


def tiny():
    """Three pictures of a few bytes."""
    for level in (0, 120, 240):
        file = io.BytesIO()
        Image.new("L", (2, 2), level).save(file, "PNG")
        yield file.getvalue()


QUESTIONS = ["is there a lesion in the left lobe?", "is there a lesion in the right lobe?", "which organ?"]
ANSWERS = ["yes", "no", None]


def write(path, columns, metadata=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = pa.table(columns)
    if metadata:
        rows = rows.replace_schema_metadata(metadata)
    pq.write_table(rows, path, **options)


def stored(folder):
    files = list(tiny())
    images = [[{"bytes": file, "path": None} for file in files[: n + 1]] for n in range(3)]
    columns = {
        "images": pa.array(images, pa.list_(IMAGE)),
        "question": QUESTIONS,
        "answer": ["yes", "no", "liver"],
        "site": pa.array(ANSWERS),
        "empty": pa.nulls(3),
    }
    texts = ["question", "answer", "site", "images.list.element.bytes"]
    for compression in ["none", "snappy", "gzip", "zstd", "lz4", "brotli"]:
        for version in ["1.0", "2.0"]:
            path = folder / f"test_{compression}_v{version[0]}.parquet"
            write(path, columns, compression=compression, data_page_version=version)
    for encoding in ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"]:
        for version in ["1.0", "2.0"]:
            options = {"column_encoding": dict.fromkeys(texts, encoding), "use_dictionary": False}
            path = folder / f"test_{encoding.lower()}_v{version[0]}.parquet"
            write(path, columns, compression="zstd", data_page_version=version, row_group_size=2, **options)


def images(folder):
    files = list(tiny())
    for number, file in enumerate(files):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(file)
    paths = [f"{number}.png" for number in range(3)]
    uris = ["data:image/png;base64," + base64.b64encode(file).decode() for file in files]
    structs = [{"bytes": file, "path": None} for file in files]
    forms = {
        "bytes": pa.array(files, pa.binary()),
        "large_bytes": pa.array(files, pa.large_binary()),
        "path": pa.array(paths),
        "path_category": pa.array(paths).dictionary_encode(),
        "struct": pa.array(structs, IMAGE),
        "struct_of_path": pa.array([{"bytes": None, "path": path} for path in paths], IMAGE),
        "path_alone": pa.array([{"path": path} for path in paths]),
        "mixed": pa.array([structs[0], {"bytes": None, "path": paths[1]}, structs[2]], IMAGE),
        "data_uri": pa.array(uris),
        "list_of_bytes": pa.array([[file] for file in files], pa.list_(pa.binary())),
        "list_of_paths": pa.array([[path] for path in paths]),
        "fixed_list": pa.array([[struct] for struct in structs], pa.list_(IMAGE, 1)),
    }
    for name, column in forms.items():
        columns = {"image": column, "question": QUESTIONS, "answer": ["yes", "no", "liver"]}
        write(folder / f"test_{name}.parquet", columns)


def values(folder):
    files = [{"bytes": file, "path": None} for file in tiny()]
    kinds = {
        "int8": pa.array([0, -1, 2], pa.int8()),
        "uint32": pa.array([0, 1, 2**32 - 1], pa.uint32()),
        "uint64": pa.array([0, 1, 2**64 - 1], pa.uint64()),
        "bool": pa.array([True, False, True]),
        "float32": pa.array([0.1, 3.0, -2.5], pa.float32()),
        "float64": pa.array([0.1, 3.0, -2.5]),
        "half": pa.array([np.float16(0.5), np.float16(3), np.float16(-2.5)], pa.float16()),
        "large_string": pa.array(["yes", "no", "liver"], pa.large_string()),
        "string_view": pa.array(["yes", "no", "liver"], pa.string_view()),
        "category": pa.array(["yes", "no", "liver"]).dictionary_encode(),
        "bytes": pa.array([b"yes", b"no", b"liver"]),
        "list": pa.array([["yes", "yes", "no"], ["no"], ["liver", "spleen"]]),
        "timestamp_ns": pa.array([0, 1, 2], pa.timestamp("ns")),
        "date": pa.array([0, 1, 2], pa.date32()),
        "decimal": pa.array([0, 1, 2], pa.decimal128(5, 2)),
        "nan": pa.array([0.5, float("nan"), 1.0]),
    }
    for name, column in kinds.items():
        write(folder / f"test_{name}.parquet", {"image": files, "question": QUESTIONS, "answer": column})
    columns = {"image": files, "question": QUESTIONS}
    split = {"use_dictionary": False, "use_byte_stream_split": ["answer"]}
    write(folder / "test_byte_stream_split.parquet", columns | {"answer": kinds["float32"]}, **split)
    packed = {"use_dictionary": False, "column_encoding": {"answer": "DELTA_BINARY_PACKED"}}
    write(folder / "test_delta_binary_packed.parquet", columns | {"answer": pa.array([7, -5, 2])}, **packed)
    runs = {"use_dictionary": False, "column_encoding": {"answer": "RLE"}}
    write(folder / "test_rle.parquet", columns | {"answer": kinds["bool"]}, **runs)
    features = {"answer": {"names": ["lung", "liver"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    write(folder / "test_features.parquet", columns | {"answer": pa.array([1, 0, 1])}, metadata)


def turns(user, assistant, role, content):
    texts = list(zip(QUESTIONS, ["yes", "no", "liver"]))
    return [[{role: user, content: "<image>\n" + q}, {role: assistant, content: a}] for q, a in texts]


def conversations(folder):
    files = [[{"bytes": file, "path": None}] for file in tiny()]
    files = pa.array(files, pa.list_(IMAGE))
    llava = turns("human", "gpt", "from", "value")
    columns = [{key: [turn[key] for turn in row] for key in row[0]} for row in llava]
    for name, rows in {
        "messages": {"messages": turns("user", "assistant", "role", "content")},
        "conversations": {"conversations": llava},
        "struct_of_lists": {"conversations": columns},
    }.items():
        write(folder / f"test_{name}.parquet", {"images": files} | rows)


class Keys(pe.KmsClient):
    """Keeps keys as they are."""

    def __init__(self, _config):
        super().__init__()

    def wrap_key(self, key, _name):
        return base64.b64encode(key)

    def unwrap_key(self, key, _name):
        return base64.b64decode(key)


def encrypted(folder):
    files = [{"bytes": file, "path": None} for file in tiny()]
    columns = {"image": files, "question": QUESTIONS, "answer": ["yes", "no", "liver"], "patient": ["a", "b", "c"]}
    for name, column in {"patient": "patient", "image": "image.bytes"}.items():
        keys = {"footer_key": "footer", "column_keys": {"column": [column]}, "plaintext_footer": True}
        factory = pe.CryptoFactory(Keys)
        properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), pe.EncryptionConfiguration(**keys))
        write(folder / f"test_{name}.parquet", columns, encryption_properties=properties)


def arrow(out):
    files = [{"bytes": file, "path": None} for file in tiny()]
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "question": datasets.Value("string"),
            "answer": datasets.ClassLabel(names=["yes", "no", "liver"]),
        }
    )
    rows = {"image": files, "question": QUESTIONS, "answer": [0, 1, 2]}
    split = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": split, "test": split.select([0])}).save_to_disk(out / "saved")
    columns = {
        "taken": pa.array([0, 1, 2], pa.timestamp("ns")),
        "counts": pa.array([[1], None, [2, 3]], pa.list_(pa.int64())),
        "note": pa.array(["short", "a text that is longer than twelve bytes", None], pa.string_view()),
        "images": pa.array([files[:1], files[1:], files[2:]], pa.list_(IMAGE)),
        "question": pa.array(QUESTIONS, pa.large_string()),
        "answer": pa.array(["yes", "no", "yes"]).dictionary_encode(),
        "dose": pa.array([0.1, None, 2.5], pa.float32()),
        "normal": pa.array([True, False, None]),
    }
    (out / "feather").mkdir(exist_ok=True)
    for name in ["uncompressed", "lz4"]:
        path = out / f"feather/test_{name}.arrow"
        feather.write_feather(pa.table(columns), path, compression=name, chunksize=2)
    rows = {"image": files, "question": QUESTIONS, "answer": ["yes", "no", "liver"]}
    rows = polars.DataFrame(rows, schema_overrides={"answer": polars.Categorical})
    rows.write_ipc(out / "feather/test_polars.arrow", record_batch_size=2)


def main(pictures, out):
    pictures = {path.name: path.read_bytes() for path in Path(pictures).iterdir()}
    out = Path(out)
    rows = vqa(pictures, out / "vqa/data")
    typed(pictures, out / "typed")
    stored(out / "stored")
    images(out / "images")
    values(out / "values")
    conversations(out / "conversations")
    encrypted(out / "encrypted")
    arrow(out)
    (out / "rows.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

//! The keys of `[data]` and `[data.image]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::field::{Field, KeyDescription, describe_fields, read_fields};
use super::parser::{
    Parser, ValueError, boolean, integer, list, number, one_of_names, pair, path, path_or_data,
    path_or_repo, seed, text, unknown, variant,
};
use super::section::Section;
use super::source::{Node, Value};
use crate::Range;
use crate::data::{
    ColumnNames, DataSection, DataSpec, ImageOptions, OnBadExample, PhantomDomain, RowFilter,
    SliceIndex, Task, Window,
};
use crate::hub::RepoKind;

/// The size of a split of the procedural data set.
const PHANTOM_SPLIT: Range<usize> = Range::from_to(0, 1_000_000);

/// The values of all keys that a data set can have; each data set has some of them.
#[derive(Default)]
pub(super) struct DataKeys {
    root: Option<PathBuf>,
    required_root: PathBuf,
    file: PathBuf,
    image_root: Option<PathBuf>,
    columns: ColumnNames,
    lang: Option<String>,
    impression: bool,
    split_seed: u64,
    domain: Option<PhantomDomain>,
    train: usize,
    validate: usize,
    test: usize,
    seed: u64,
    on_bad_example: OnBadExample,
}

/// A data set that recipes can name.
pub(super) struct DataSetReader {
    /// The name, as recipes write it.
    pub name: &'static str,
    /// What it is, in one sentence.
    pub summary: &'static str,
    fields: fn() -> Vec<Field<DataKeys>>,
    make: fn(DataKeys) -> DataSpec,
}

impl DataSetReader {
    /// Its keys as the reference shows them.
    pub fn keys(&self) -> Vec<KeyDescription> {
        describe_fields(&(self.fields)())
    }
}

/// Every data set. Whether its files exist is found out when it is opened.
pub(super) const DATA_SETS: [DataSetReader; 9] = [
    DataSetReader {
        name: "vqa_rad",
        summary: "VQA-RAD: questions about radiology images.",
        fields: || vec![root("$NORMED_DATA/vqa-rad"), on_bad_example()],
        make: |k| DataSpec::VqaRad { root: k.root, on_bad_example: k.on_bad_example },
    },
    DataSetReader {
        name: "slake",
        summary: "SLAKE: questions about radiology images, in English and Chinese.",
        fields: || vec![root("$NORMED_DATA/slake"), lang(), on_bad_example()],
        make: |k| DataSpec::Slake { root: k.root, lang: k.lang, on_bad_example: k.on_bad_example },
    },
    DataSetReader {
        name: "path_vqa",
        summary: "PathVQA: questions about pathology images.",
        fields: || vec![root("$NORMED_DATA/pvqa"), on_bad_example()],
        make: |k| DataSpec::PathVqa { root: k.root, on_bad_example: k.on_bad_example },
    },
    DataSetReader {
        name: "jsonl",
        summary: "A JSON list or JSON Lines: questions, conversations, or studies with reports.",
        fields: || vec![file(), image_root(), on_bad_example()],
        make: |k| DataSpec::Jsonl {
            file: k.file,
            image_root: k.image_root,
            on_bad_example: k.on_bad_example,
        },
    },
    DataSetReader {
        name: "parquet",
        summary: "Parquet files of the Hugging Face hub, or the Arrow files that `datasets` saves: with the images \
                  inside, or their paths.",
        fields: || vec![required_root(), columns(), table_image_root(), on_bad_example()],
        make: |k| DataSpec::Parquet {
            root: k.required_root,
            columns: k.columns,
            image_root: k.image_root,
            on_bad_example: k.on_bad_example,
        },
    },
    DataSetReader {
        name: "iu_xray",
        summary: "IU X-Ray in R2Gen's layout: reports of studies with two views.",
        fields: || vec![root("$NORMED_DATA/iu_xray"), on_bad_example()],
        make: |k| DataSpec::IuXray { root: k.root, on_bad_example: k.on_bad_example },
    },
    DataSetReader {
        name: "mimic_cxr",
        summary: "MIMIC-CXR in R2Gen's layout: reports.",
        fields: || vec![root("$NORMED_DATA/mimic_cxr"), on_bad_example()],
        make: |k| DataSpec::MimicCxr { root: k.root, on_bad_example: k.on_bad_example },
    },
    DataSetReader {
        name: "open_i",
        summary: "Open-i's two tables: the reports of IU X-Ray as they were written.",
        fields: || vec![root("$NORMED_DATA/open_i"), impression(), split_seed(), on_bad_example()],
        make: |k| DataSpec::OpenI {
            root: k.root,
            impression: k.impression,
            split_seed: k.split_seed,
            on_bad_example: k.on_bad_example,
        },
    },
    DataSetReader {
        name: "phantom",
        summary: "Computer-drawn images of an imaginary hospital, for examples and tests.",
        fields: phantom,
        make: |k| DataSpec::Phantom {
            domain: k.domain.unwrap_or(PhantomDomain::Source),
            train: k.train,
            validate: k.validate,
            test: k.test,
            seed: k.seed,
        },
    },
];

fn root(default: &str) -> Field<DataKeys> {
    let meaning = "Folder of the data set.";
    Field::optional("root", path(), &format!("`{default}`"), meaning, |k| &mut k.root)
}

fn required_root() -> Field<DataKeys> {
    let accepts = "a folder, a file, or the ORG/NAME of a fetched data set";
    let parser = path_or_repo(RepoKind::Dataset).accepting(accepts);
    Field::required("root", parser, "Where the parquet files are.", |k| &mut k.required_root)
}

fn file() -> Field<DataKeys> {
    Field::required("file", path_or_data(), "The file.", |k| &mut k.file)
}

fn image_root() -> Field<DataKeys> {
    let meaning = "Folder that image paths are relative to.";
    Field::optional("image_root", path(), "the file's folder", meaning, |k| &mut k.image_root)
}

fn table_image_root() -> Field<DataKeys> {
    let meaning = "Folder that image paths are relative to, where rows name files.";
    Field::optional("image_root", path(), "the file's folder, or `root`", meaning, |k| {
        &mut k.image_root
    })
}

fn columns() -> Field<DataKeys> {
    let roles = ColumnNames::ROLES;
    let accepts = format!("a table of names, for {}", roles.join(", "));
    let cause = format!("must be {accepts}");
    let parser = Parser::new(accepts, move |node| {
        let Value::Table(table) = &node.value else {
            return Err(ValueError::new(format!("{cause}, is {}", node.value)));
        };
        let name = |(role, node): &(String, Node)| match roles.contains(&role.as_str()) {
            true => Ok((role.clone(), text(node).map_err(|error| error.within(role))?)),
            false => Err(unknown(role, &roles)),
        };
        let names = table.iter().map(name).collect::<Result<BTreeMap<_, _>, ValueError>>()?;
        Ok(ColumnNames::new(names))
    });
    Field::new(
        "columns",
        parser,
        "Columns that have other names than usual.",
        |k: &mut DataKeys| &mut k.columns,
    )
    .with_default("the columns of these names")
}

fn lang() -> Field<DataKeys> {
    let parser = Parser::new("\"en\" or \"zh\"", text);
    Field::optional("lang", parser, "both", "Language of the questions.", |k| &mut k.lang)
}

fn impression() -> Field<DataKeys> {
    let meaning = "Whether a report's impression follows its findings.";
    Field::new("impression", Parser::new("true or false", boolean), meaning, |k: &mut DataKeys| {
        &mut k.impression
    })
}

fn split_seed() -> Field<DataKeys> {
    let meaning = "Random seed of the division into splits.";
    Field::new("split_seed", seed(), meaning, |k: &mut DataKeys| &mut k.split_seed)
}

fn on_bad_example() -> Field<DataKeys> {
    let meaning = "What happens to a row that cannot be used: the run stops with an error, or the row is \
                   skipped and listed.";
    Field::new("on_bad_example", variant(), meaning, |k: &mut DataKeys| &mut k.on_bad_example)
}

fn phantom() -> Vec<Field<DataKeys>> {
    let size = || integer(PHANTOM_SPLIT);
    vec![
        Field::required(
            "domain",
            variant::<PhantomDomain>().map(Some),
            "The hospital: the one that the base model knows, or another one.",
            |k: &mut DataKeys| &mut k.domain,
        ),
        Field::required("train", size(), "Examples in the training split.", |k| &mut k.train),
        Field::required("validate", size(), "Examples in the validation split.", |k| {
            &mut k.validate
        }),
        Field::required("test", size(), "Examples in the test split.", |k| &mut k.test),
        Field::new("seed", seed(), "Random seed of the images and questions.", |k| &mut k.seed),
    ]
}

/// Stands for a data set that could not be read.
const PLACEHOLDER: DataSpec =
    DataSpec::Phantom { domain: PhantomDomain::Source, train: 0, validate: 0, test: 0, seed: 0 };

/// Stands for a `[data]` section that is missing.
pub(super) fn placeholder() -> DataSection {
    PLACEHOLDER.into()
}

/// Reads `[data]`. If its `name` is wrong, its other keys are not read.
pub(super) fn data(s: &Section<'_>) -> DataSection {
    let names = DATA_SETS.map(|data_set| data_set.name);
    let data_set = s.require("name", |node| {
        let name = text(node)?;
        let known = DATA_SETS.iter().find(|data_set| data_set.name == name);
        known.ok_or_else(|| unknown(&name, &names))
    });
    let Some(data_set) = data_set else {
        s.ignore_unknown_keys();
        return placeholder();
    };
    let set = (data_set.make)(read_fields(s, &(data_set.fields)(), DataKeys::default()));
    let task = task(s, &set);
    let rows = s.parse("where", &row_filter()).unwrap_or_default();
    let image = s.section("image", |s| read_fields(s, &image_fields(), ImageOptions::default()));
    DataSection { set, task, rows, image: image.unwrap_or_default() }
}

/// The keys that every data set has.
pub(super) fn common_keys() -> Vec<KeyDescription> {
    let names = DATA_SETS.map(|data_set| data_set.name);
    vec![
        KeyDescription {
            name: "name",
            accepts: one_of_names(&names),
            default: "required".to_owned(),
            meaning: "The data set.",
        },
        KeyDescription {
            name: "task",
            accepts: one_of_names(&TASKS),
            default: "`\"vqa\"`; `\"report\"` if the data set has only reports".to_owned(),
            meaning: "Answer questions, or write a report per study.",
        },
        KeyDescription {
            name: "prompt",
            accepts: "text".to_owned(),
            default: format!("`\"{}\"`", Task::DEFAULT_REPORT_PROMPT),
            meaning: "Prompt for reports.",
        },
        KeyDescription {
            name: "where",
            accepts: row_filter().accepts().to_owned(),
            default: "all rows".to_owned(),
            meaning: "Rows to use, by the values of their columns.",
        },
    ]
}

const TASKS: [&str; 2] = ["vqa", "report"];

/// Reads `task` and `prompt`.
fn task(s: &Section<'_>, set: &DataSpec) -> Task {
    let (usual, other) = set.tasks();
    let name_of = |task: &Task| TASKS[usize::from(!task.is_vqa())];
    let named = |node: &Node| {
        let name = text(node)?;
        let mut offered = [&usual].into_iter().chain(&other);
        match offered.find(|task| name_of(task) == name) {
            Some(task) => Ok(task.clone()),
            None if TASKS.contains(&&*name) => Err(ValueError::new(match usual.is_vqa() {
                true => "this data set has questions, but no reports",
                false => "this data set has reports, but no questions",
            })),
            None => Err(unknown(&name, &TASKS)),
        }
    };
    let mut task = s.get("task", named).unwrap_or_else(|| usual.clone());
    let prompt = |node: &Node| match text(node)? {
        text if text.trim().is_empty() => Err(ValueError::new("must not be empty")),
        text => Ok(text),
    };
    match &mut task {
        Task::Report { prompt: own } => *own = s.get("prompt", prompt).unwrap_or(own.clone()),
        Task::Vqa if s.has("prompt") => {
            s.report("prompt", "is only used for reports: task = \"report\"");
        }
        Task::Vqa => {}
    }
    task
}

/// The keys of `[data.image]`.
pub(super) fn image_fields() -> Vec<Field<ImageOptions>> {
    vec![
        Field::new(
            "window",
            window(),
            "Images of more than 8 bits: the values that become black and white. A list is a center and a \
             width, in Hounsfield units for CT.",
            |v: &mut ImageOptions| &mut v.window,
        ),
        Field::new(
            "frame",
            slice_index(),
            "Frame of a DICOM file with several frames, page of a TIFF file (the first by default), or volume of \
             a NIfTI file with four dimensions.",
            |v: &mut ImageOptions| &mut v.frame,
        )
        .with_default("`\"middle\"`"),
        Field::new("axis", variant(), "Plane in which a volume is cut.", |v: &mut ImageOptions| {
            &mut v.axis
        }),
        Field::new(
            "slice",
            slice_index(),
            "Slice of a volume along the axis, counted from the feet, the back or the left.",
            |v: &mut ImageOptions| &mut v.slice,
        )
        .with_default("`\"middle\"`"),
        Field::new(
            "orientation",
            variant(),
            "Whether the EXIF orientation of JPEG, PNG and WebP files is applied.",
            |v: &mut ImageOptions| &mut v.orientation,
        ),
    ]
}

/// A window: a name, or a center and a width, as in `[40, 400]`.
fn window() -> Parser<Window> {
    const WIDTH: Range<f32> = Window::WIDTH;
    let at = pair(number(Range::any())).try_map(|(center, width)| match WIDTH.contains(width) {
        true => Ok(Window::At { center, width }),
        false => {
            Err(ValueError::new(format!("the window's width must be a number {WIDTH}, is {width}")))
        }
    });
    let names = Window::NAMED.map(|(name, _)| name);
    let accepts = format!(
        "{} or a list of a center and a width {WIDTH}",
        names.map(|name| format!("\"{name}\"")).join(", ")
    );
    Parser::new(accepts, move |node| match &node.value {
        Value::Text(name) => {
            let known = Window::NAMED.iter().find(|(known, _)| known == name);
            known.map(|(_, window)| *window).ok_or_else(|| unknown(name, &names))
        }
        _ => at.read(node),
    })
}

/// The middle one, or a number from 0.
fn slice_index() -> Parser<SliceIndex> {
    let accepts = format!("\"middle\" or a whole number {}", SliceIndex::NUMBERS);
    let cause = accepts.clone();
    let index = integer(SliceIndex::NUMBERS);
    Parser::new(accepts, move |node| match &node.value {
        Value::Text(name) if name == "middle" => Ok(SliceIndex::Middle),
        Value::Number(_) => index.read(node).map(SliceIndex::At),
        other => Err(ValueError::new(format!("must be {cause}, is {other}"))),
    })
}

/// Columns and the values they may have, as in `{ modality = ["CT", "MRI"], organ = "Lung" }`.
fn row_filter() -> Parser<RowFilter> {
    let values = |node: &Node| match &node.value {
        Value::List(_) => list(text)(node),
        _ => text(node).map(|value| vec![value]),
    };
    let accepts = "a table of columns, each with a value or a list of values";
    Parser::new(accepts, move |node| {
        let Value::Table(table) = &node.value else {
            return Err(ValueError::new(format!("must be {accepts}, is {}", node.value)));
        };
        let columns = table.iter().map(|(name, node)| {
            Ok((name.clone(), values(node).map_err(|error| error.within(name))?))
        });
        Ok(RowFilter::new(columns.collect::<Result<_, ValueError>>()?))
    })
}

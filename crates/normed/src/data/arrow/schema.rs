//! The columns of an Arrow file, as its schema describes them.

use super::flat::Table;

/// How deep columns may be nested.
const MAX_DEPTH: usize = 16;

/// How many columns and parts of columns a file may have.
const MAX_FIELDS: usize = 10_000;

/// A column, or a part of one.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub name: String,
    pub kind: Kind,
    /// The number of the dictionary that holds the values, if only their indices are in the column.
    pub dictionary: Option<Dictionary>,
}

/// The dictionary of a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dictionary {
    pub id: i64,
    /// Bytes of an index.
    pub index_width: usize,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Null,
    Bool,
    /// Numbers of `width` bytes.
    Int {
        width: usize,
        signed: bool,
    },
    Float {
        width: usize,
    },
    /// Texts or bytes, whose ends are numbers of 64 bits if they are `large`.
    Bytes {
        large: bool,
        text: bool,
    },
    /// Texts or bytes of which short ones are stored in place, others in one of several buffers.
    View {
        text: bool,
    },
    /// Values of `width` bytes.
    Fixed {
        width: usize,
    },
    List {
        large: bool,
        element: Box<Field>,
    },
    FixedList {
        size: usize,
        element: Box<Field>,
    },
    Struct(Vec<Field>),
    /// Values of one size that no field takes.
    Other(&'static str),
}

/// Reads the columns of a schema.
///
/// # Errors
///
/// If the schema is damaged, or has types that are not supported.
pub(super) fn read_fields(schema: Table<'_>) -> Result<Vec<Field>, String> {
    if schema.i16(0) != 0 {
        return Err("its numbers are big-endian, which is not supported".into());
    }
    let mut left = MAX_FIELDS;
    fields(schema, 1, MAX_DEPTH, &mut left)
}

/// The pairs of keys and values in a schema's metadata.
pub(super) fn read_metadata(schema: Table<'_>) -> Vec<(String, String)> {
    let pairs = schema.tables(2).into_iter().flatten().flatten();
    pairs.filter_map(|pair| Some((pair.text(0)?.to_owned(), pair.text(1)?.to_owned()))).collect()
}

fn damaged() -> String {
    "its schema is damaged".into()
}

fn fields(
    parent: Table<'_>,
    number: usize,
    depth: usize,
    left: &mut usize,
) -> Result<Vec<Field>, String> {
    let tables = parent.tables(number).ok_or_else(damaged)?;
    tables.map(|table| field(table.ok_or_else(damaged)?, depth, left)).collect()
}

fn field(table: Table<'_>, depth: usize, left: &mut usize) -> Result<Field, String> {
    let deeper = depth.checked_sub(1).ok_or("its columns are nested too deep")?;
    *left = left.checked_sub(1).ok_or("it has too many columns")?;
    let name = table.text(0).unwrap_or_default().to_owned();
    let mut children = fields(table, 5, deeper, left)?;
    let inner = || table.table(3).ok_or_else(damaged);
    let number =
        |kind: Table<'_>, field: usize| usize::try_from(kind.i32(field)).map_err(|_| damaged());
    let mut only = || match (children.pop(), children.is_empty()) {
        (Some(child), true) => Ok(Box::new(child)),
        _ => Err(damaged()),
    };
    let unsupported = |kind| format!("its column `{name}` is {kind}, which is not supported");
    let kind = match table.u8(2) {
        1 => Kind::Null,
        2 => {
            let (bits, signed) = int(inner()?)?;
            Kind::Int { width: bits, signed }
        }
        3 => Kind::Float { width: 2 << inner()?.i16(0).clamp(0, 2) },
        number @ (4 | 5) => Kind::Bytes { large: false, text: number == 5 },
        number @ (19 | 20) => Kind::Bytes { large: true, text: number == 20 },
        number @ (23 | 24) => Kind::View { text: number == 24 },
        6 => Kind::Bool,
        7 => Kind::Other("a decimal"),
        8 => Kind::Other("a date"),
        9 => Kind::Other("a time"),
        10 => Kind::Other("a timestamp"),
        11 => Kind::Other("an interval"),
        18 => Kind::Other("a duration"),
        // A map is a list of its entries.
        number @ (12 | 17 | 21) => Kind::List { large: number == 21, element: only()? },
        16 => Kind::FixedList { size: number(inner()?, 0)?, element: only()? },
        13 => Kind::Struct(std::mem::take(&mut children)),
        15 => Kind::Fixed { width: number(inner()?, 0)? },
        14 => return Err(unsupported("a union")),
        22 => return Err(unsupported("run-end encoded")),
        25 | 26 => return Err(unsupported("a view of lists")),
        _ => return Err(unsupported("of an unknown type")),
    };
    let dictionary = table.table(4).map(|dictionary| {
        // Indices are of 32 bits if nothing else is said.
        let index_width = dictionary.table(1).map_or(Ok(4), |index| Ok::<_, String>(int(index)?.0));
        Ok::<_, String>(Dictionary { id: dictionary.i64(0), index_width: index_width? })
    });
    Ok(Field { name, kind, dictionary: dictionary.transpose()? })
}

/// The bytes of an integer, and whether it has a sign.
fn int(table: Table<'_>) -> Result<(usize, bool), String> {
    match table.i32(0) {
        bits @ (8 | 16 | 32 | 64) => Ok((bits as usize / 8, table.u8(1) != 0)),
        _ => Err(damaged()),
    }
}

impl Field {
    /// Whether the values are texts, numbers, or true and false.
    pub fn is_plain(&self) -> bool {
        matches!(
            self.kind,
            Kind::Bool
                | Kind::Int { .. }
                | Kind::Float { .. }
                | Kind::Bytes { text: true, .. }
                | Kind::View { text: true }
        )
    }

    /// The type in words.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "null".into(),
            Kind::Bool => "true or false".into(),
            Kind::Int { .. } | Kind::Float { .. } => "a number".into(),
            Kind::Bytes { text: true, .. } | Kind::View { text: true } => "a text".into(),
            Kind::Bytes { .. } | Kind::View { .. } | Kind::Fixed { .. } => "bytes".into(),
            Kind::List { element, .. } | Kind::FixedList { element, .. } => {
                format!("a list, each {}", element.describe())
            }
            Kind::Struct(fields) => {
                let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
                format!("a struct of {}", names.join(" and "))
            }
            Kind::Other(kind) => (*kind).into(),
        }
    }
}

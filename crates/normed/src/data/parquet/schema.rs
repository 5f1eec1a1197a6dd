//! The columns of a parquet file as a tree: where values, lists and structs are, by the levels that mark them.
//!
//! A value comes with a definition level, which says how many of the optional and repeated nodes above it are there,
//! and a repetition level, which says at which list a new element begins.

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as PhysicalType};
use parquet::schema::types::Type;

/// How deep columns may be nested.
const MAX_DEPTH: usize = 16;

/// A node of the tree.
#[derive(Debug)]
pub(super) struct Node {
    pub name: String,
    /// The definition level from which on the node is not null.
    pub present: i16,
    /// The first column of values below it.
    pub first_leaf: usize,
    pub kind: NodeKind,
}

#[derive(Debug)]
pub(super) enum NodeKind {
    /// A value: the number of its column among all columns of values.
    Leaf(usize, LeafKind),
    Struct(Vec<Node>),
    List {
        /// The definition level from which on the list has elements.
        filled: i16,
        /// The repetition level of its elements but the first.
        repeated: i16,
        element: Box<Node>,
    },
}

/// The kind of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeafKind {
    Bool,
    Int,
    Unsigned,
    Float,
    /// A number of 16 bits in two bytes.
    Half,
    Text,
    Bytes,
    /// A value that no field takes.
    Other(&'static str),
}

impl Node {
    /// The nodes of the file's columns.
    ///
    /// # Errors
    ///
    /// If the schema is nested too deep or is not one of the format.
    pub fn columns(schema: &Type) -> Result<Vec<Self>, String> {
        let mut builder = Builder { leaves: 0 };
        let columns = schema.get_fields().iter();
        columns.map(|column| builder.node(column, (0, 0), MAX_DEPTH)).collect()
    }

    /// The numbers of the columns of values below this node.
    pub fn leaves(&self) -> Vec<usize> {
        match &self.kind {
            NodeKind::Leaf(leaf, _) => vec![*leaf],
            NodeKind::Struct(fields) => fields.iter().flat_map(Self::leaves).collect(),
            NodeKind::List { element, .. } => element.leaves(),
        }
    }

    /// The column of values that holds images or texts of them: bytes, text, or `bytes` of a struct; of a list, its
    /// elements'.
    pub fn image_leaf(&self) -> Option<usize> {
        match &self.kind {
            NodeKind::Leaf(leaf, LeafKind::Bytes | LeafKind::Text) => Some(*leaf),
            NodeKind::Leaf(..) => None,
            NodeKind::Struct(fields) => {
                let bytes = fields.iter().find(|field| field.name == "bytes");
                bytes.and_then(Self::image_leaf)
            }
            NodeKind::List { element, .. } => element.image_leaf(),
        }
    }

    /// The type in words.
    pub fn describe(&self) -> String {
        match &self.kind {
            NodeKind::Leaf(_, kind) => kind.describe().to_owned(),
            NodeKind::Struct(fields) => {
                let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
                format!("a struct of {}", names.join(" and "))
            }
            NodeKind::List { element, .. } => format!("a list, each {}", element.describe()),
        }
    }
}

impl LeafKind {
    fn describe(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Int | Self::Unsigned | Self::Float | Self::Half => "a number",
            Self::Text => "a text",
            Self::Bytes => "bytes",
            Self::Other(kind) => kind,
        }
    }

    /// The kind of a column of values. What it means is in the logical type, or in the older converted type.
    fn of(leaf: &Type) -> Self {
        let basic = leaf.get_basic_info();
        match basic.logical_type_ref() {
            Some(LogicalType::String | LogicalType::Enum | LogicalType::Json) => return Self::Text,
            Some(LogicalType::Float16) => return Self::Half,
            Some(LogicalType::Timestamp(..)) => return Self::Other("a timestamp"),
            Some(LogicalType::Date) => return Self::Other("a date"),
            Some(LogicalType::Time(..)) => return Self::Other("a time"),
            Some(LogicalType::Decimal(..)) => return Self::Other("a decimal"),
            Some(LogicalType::Uuid) => return Self::Other("a UUID"),
            _ => {}
        }
        match basic.converted_type() {
            ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON => Self::Text,
            ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS => {
                Self::Other("a timestamp")
            }
            ConvertedType::DATE => Self::Other("a date"),
            ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS => Self::Other("a time"),
            ConvertedType::DECIMAL => Self::Other("a decimal"),
            ConvertedType::INTERVAL => Self::Other("an interval"),
            ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64 => Self::Unsigned,
            _ => match leaf.get_physical_type() {
                PhysicalType::BOOLEAN => Self::Bool,
                PhysicalType::INT32 | PhysicalType::INT64 => Self::Int,
                PhysicalType::INT96 => Self::Other("a timestamp"),
                PhysicalType::FLOAT | PhysicalType::DOUBLE => Self::Float,
                PhysicalType::BYTE_ARRAY | PhysicalType::FIXED_LEN_BYTE_ARRAY => Self::Bytes,
            },
        }
    }
}

struct Builder {
    /// The number of columns of values so far.
    leaves: usize,
}

impl Builder {
    /// The node of `node`, whose parent has the levels `above`: definition and repetition.
    fn node(&mut self, node: &Type, above: (i16, i16), depth: usize) -> Result<Node, String> {
        let basic = node.get_basic_info();
        let repetition = basic.has_repetition().then(|| basic.repetition());
        let (defined, repeated) = above;
        match repetition {
            // A list without a node of its own: it cannot be null, nor can its elements.
            Some(Repetition::REPEATED) => {
                let levels = (defined + 1, repeated + 1);
                let element = self.content(node, levels, depth)?;
                Ok(list(node, defined, levels, element))
            }
            Some(Repetition::OPTIONAL) => self.content(node, (defined + 1, repeated), depth),
            _ => self.content(node, above, depth),
        }
    }

    /// The node of `node`, which has these levels itself and is not repeated.
    fn content(&mut self, node: &Type, levels: (i16, i16), depth: usize) -> Result<Node, String> {
        let name = node.name().to_owned();
        let deeper = depth.checked_sub(1).ok_or("its columns are nested too deep")?;
        if node.is_primitive() {
            self.leaves += 1;
            let first_leaf = self.leaves - 1;
            let kind = NodeKind::Leaf(first_leaf, LeafKind::of(node));
            return Ok(Node { name, present: levels.0, first_leaf, kind });
        }
        let fields = node.get_fields();
        let is_list = matches!(
            node.get_basic_info().converted_type(),
            ConvertedType::LIST | ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE
        ) || matches!(
            node.get_basic_info().logical_type_ref(),
            Some(LogicalType::List | LogicalType::Map)
        );
        if let ([inner], true) = (fields, is_list)
            && inner.get_basic_info().repetition() == Repetition::REPEATED
        {
            let inside = (levels.0 + 1, levels.1 + 1);
            let element = match inner.is_primitive() || is_element(node.name(), inner) {
                true => self.content(inner, inside, deeper)?,
                false => self.node(&inner.get_fields()[0], inside, deeper)?,
            };
            return Ok(list(node, levels.0, inside, element));
        }
        let fields = fields.iter().map(|field| self.node(field, levels, deeper));
        let fields: Vec<Node> = fields.collect::<Result<_, _>>()?;
        let first = fields.first().ok_or_else(|| format!("its column `{name}` has no fields"))?;
        let first_leaf = first.first_leaf;
        Ok(Node { name, present: levels.0, first_leaf, kind: NodeKind::Struct(fields) })
    }
}

fn list(node: &Type, present: i16, (filled, repeated): (i16, i16), element: Node) -> Node {
    let first_leaf = element.first_leaf;
    let kind = NodeKind::List { filled, repeated, element: Box::new(element) };
    Node { name: node.name().to_owned(), present, first_leaf, kind }
}

/// Whether the repeated group of a list is its element itself, as old writers have it: by the format's rules for
/// backward compatibility (parquet-format, LogicalTypes.md).
fn is_element(list: &str, group: &Type) -> bool {
    group.get_fields().len() != 1
        || group.name() == "array"
        || group.name() == format!("{list}_tuple")
}

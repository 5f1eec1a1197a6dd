//! The columns of a parquet file as a tree: where values, lists and structs are, by the levels that mark them.
//!
//! A value comes with a definition level, which says how many of the optional and repeated nodes above it are there,
//! and a repetition level, which says at which list a new element begins.

use std::sync::Arc;

use parquet::basic::{Repetition, Type as PhysicalType};
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor, ColumnPath, Type};

use super::footer::{Meaning, SchemaElement};

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

/// The columns of a file.
pub(super) struct Columns {
    pub nodes: Vec<Node>,
    /// The columns of values, by their numbers.
    pub leaves: Vec<ColumnDescPtr>,
}

impl Columns {
    /// The columns of a schema.
    ///
    /// # Errors
    ///
    /// If the schema is nested too deep or is not one of the format.
    pub fn new(schema: &[SchemaElement]) -> Result<Self, String> {
        let (root, elements) = schema.split_first().ok_or("it has no schema")?;
        let mut builder = Builder { elements: elements.iter(), leaves: Vec::new() };
        let nodes = (0..root.children).map(|_| builder.node((0, 0), MAX_DEPTH));
        let nodes = nodes.collect::<Result<_, _>>()?;
        match builder.elements.next() {
            None => Ok(Self { nodes, leaves: builder.leaves }),
            Some(_) => Err("its schema is damaged".into()),
        }
    }

    /// The name of a column of values, with those of the columns that it is inside of.
    pub fn leaf_name(&self, leaf: usize) -> String {
        let mut names: Vec<&str> = Vec::new();
        let mut nodes = self.nodes.as_slice();
        // The last of those that begin at `leaf` or before.
        while let Some(node) = nodes.iter().rfind(|node| node.first_leaf <= leaf) {
            names.push(&node.name);
            nodes = match &node.kind {
                NodeKind::Leaf(..) => &[],
                NodeKind::Struct(fields) => fields,
                NodeKind::List { element, .. } => std::slice::from_ref(element),
            };
        }
        names.join(".")
    }
}

impl Node {
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

    /// The kind of a column of values of type `physical`.
    fn of(physical: PhysicalType, meaning: Meaning) -> Self {
        match (meaning, physical) {
            (Meaning::Text, _) => Self::Text,
            (Meaning::Half, _) => Self::Half,
            (Meaning::Other(kind), _) => Self::Other(kind),
            (Meaning::Unsigned, _) => Self::Unsigned,
            (_, PhysicalType::BOOLEAN) => Self::Bool,
            (_, PhysicalType::INT32 | PhysicalType::INT64) => Self::Int,
            (_, PhysicalType::INT96) => Self::Other("a timestamp"),
            (_, PhysicalType::FLOAT | PhysicalType::DOUBLE) => Self::Float,
            (_, PhysicalType::BYTE_ARRAY | PhysicalType::FIXED_LEN_BYTE_ARRAY) => Self::Bytes,
        }
    }
}

struct Builder<'a> {
    /// The elements of the schema that are not read yet.
    elements: std::slice::Iter<'a, SchemaElement>,
    /// The columns of values so far.
    leaves: Vec<ColumnDescPtr>,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<&'a SchemaElement, String> {
        self.elements.next().ok_or_else(|| "its schema is cut short".to_owned())
    }

    /// The next node, whose parent has the levels `above`: definition and repetition.
    fn node(&mut self, above: (i16, i16), depth: usize) -> Result<Node, String> {
        let element = self.next()?;
        let (defined, repeated) = above;
        match element.repetition {
            // A list without a node of its own: it cannot be null, nor can its elements.
            Some(Repetition::REPEATED) => {
                let levels = (defined + 1, repeated + 1);
                let content = self.content(element, levels, depth)?;
                Ok(list(element, defined, levels, content))
            }
            Some(Repetition::OPTIONAL) => self.content(element, (defined + 1, repeated), depth),
            _ => self.content(element, above, depth),
        }
    }

    /// The node of `element`, which has these levels itself and is not repeated.
    fn content(
        &mut self,
        element: &SchemaElement,
        levels: (i16, i16),
        depth: usize,
    ) -> Result<Node, String> {
        let name = element.name.clone();
        let deeper = depth.checked_sub(1).ok_or("its columns are nested too deep")?;
        let first_leaf = self.leaves.len();
        if let (Some(physical), true) = (element.physical, element.is_leaf()) {
            self.leaves.push(leaf(element, physical, levels)?);
            let kind = NodeKind::Leaf(first_leaf, LeafKind::of(physical, element.meaning));
            return Ok(Node { name, present: levels.0, first_leaf, kind });
        }
        if element.children == 1
            && element.meaning == Meaning::List
            && let Some(inner) = self.elements.as_slice().first()
            && inner.repetition == Some(Repetition::REPEATED)
        {
            self.next()?;
            let inside = (levels.0 + 1, levels.1 + 1);
            let content = match inner.is_leaf() || is_element(&name, inner) {
                true => self.content(inner, inside, deeper)?,
                false => self.node(inside, deeper)?,
            };
            return Ok(list(element, levels.0, inside, content));
        }
        let fields = (0..element.children).map(|_| self.node(levels, deeper));
        let fields: Vec<Node> = fields.collect::<Result<_, _>>()?;
        if fields.is_empty() {
            return Err(format!("its column `{name}` has no fields"));
        }
        Ok(Node { name, present: levels.0, first_leaf, kind: NodeKind::Struct(fields) })
    }
}

/// The column of values of `element`, as the `parquet` crate describes it.
fn leaf(
    element: &SchemaElement,
    physical: PhysicalType,
    (definition, repetition): (i16, i16),
) -> Result<ColumnDescPtr, String> {
    let name = &element.name;
    let kind = Type::primitive_type_builder(name, physical).with_length(element.length).build();
    let kind = kind.map_err(|error| format!("its column `{name}` is damaged: {error}"))?;
    let path = ColumnPath::from(name.as_str());
    Ok(Arc::new(ColumnDescriptor::new(Arc::new(kind), definition, repetition, path)))
}

fn list(list: &SchemaElement, present: i16, (filled, repeated): (i16, i16), element: Node) -> Node {
    let first_leaf = element.first_leaf;
    let kind = NodeKind::List { filled, repeated, element: Box::new(element) };
    Node { name: list.name.clone(), present, first_leaf, kind }
}

/// Whether the repeated group of a list is its element itself, as old writers have it: by the format's rules for
/// backward compatibility (parquet-format, LogicalTypes.md).
fn is_element(list: &str, group: &SchemaElement) -> bool {
    group.children != 1 || group.name == "array" || group.name == format!("{list}_tuple")
}

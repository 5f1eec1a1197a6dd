//! What a pickle can hold.

use safetensors::Dtype;

/// A value. A number is inline; any other value is an index into the lists of a [`Pickle`]. Since values do not
/// contain each other, deep nesting cannot overflow the stack when they are read or dropped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// A floating-point number, whose value is not kept: no description of a tensor has any.
    Float,
    Str(usize),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
    Global(Global),
}

/// The classes and functions that a pickle may name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

impl Global {
    /// The class or function with this name, if a pickle may name it.
    pub(super) fn from_name(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "FloatStorage") => Self::Storage(Dtype::F32),
            ("torch", "DoubleStorage") => Self::Storage(Dtype::F64),
            ("torch", "HalfStorage") => Self::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Self::Storage(Dtype::BF16),
            ("torch", "LongStorage") => Self::Storage(Dtype::I64),
            ("torch", "IntStorage") => Self::Storage(Dtype::I32),
            ("torch", "ShortStorage") => Self::Storage(Dtype::I16),
            ("torch", "CharStorage") => Self::Storage(Dtype::I8),
            ("torch", "ByteStorage") => Self::Storage(Dtype::U8),
            ("torch", "BoolStorage") => Self::Storage(Dtype::BOOL),
            _ => return None,
        })
    }
}

/// The elements of a storage, which are an entry of the archive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Storage {
    pub dtype: Dtype,
    /// The entry's name is `data/<key>`.
    pub key: String,
}

/// A tensor: a view of a storage. Offset and strides are in elements.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TensorView {
    pub storage: usize,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// An unpacked pickle: the values that its [`Value`]s refer to.
#[derive(Debug, Default)]
pub(crate) struct Pickle {
    pub strings: Vec<String>,
    pub tuples: Vec<Vec<Value>>,
    pub lists: Vec<Vec<Value>>,
    pub dicts: Vec<Vec<(Value, Value)>>,
    pub storages: Vec<Storage>,
    pub tensors: Vec<TensorView>,
}

impl Pickle {
    /// The text of a string value; none if it is another kind of value.
    pub(crate) fn text(&self, value: Value) -> Option<&str> {
        match value {
            Value::Str(i) => Some(&self.strings[i]),
            _ => None,
        }
    }

    /// The numbers of a tuple of sizes; none if it is another kind of value.
    pub(super) fn sizes(&self, value: Value) -> Option<Vec<usize>> {
        let Value::Tuple(i) = value else { return None };
        self.tuples[i].iter().map(|value| value.as_size()).collect()
    }
}

impl Value {
    /// A whole number that is a size; none if it is negative or another kind of value.
    pub(super) fn as_size(self) -> Option<usize> {
        match self {
            Self::Int(n) => usize::try_from(n).ok(),
            _ => None,
        }
    }
}

//! The part of Python's pickle that state dicts and plain data are written in. Nothing is imported or
//! executed: a fixed list of names stands for what PyTorch needs, any other is an error.
//!
//! Opcodes after CPython's `Lib/pickletools.py`; what PyTorch writes after `torch/serialization.py`
//! and `torch/_utils.py`.

mod machine;

use safetensors::Dtype;

use machine::Machine;

/// A value; what does not fit in a word lives in [`Pickle`]. Being flat, it cannot be nested so
/// deeply that walking or dropping it overflows the stack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// Numbers in an optimizer's state; no tensor's description has any.
    Float,
    Str(usize),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
    Global(Global),
}

/// The names that a pickle may mention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

impl Global {
    fn named(module: &str, name: &str) -> Option<Self> {
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

/// A run of elements in an entry of the archive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Storage {
    pub dtype: Dtype,
    /// The entry is called `data/<key>`.
    pub key: String,
}

/// A view of a storage, in elements.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TensorView {
    pub storage: usize,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// A pickle, unpacked.
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
    /// Unpacks `bytes`; the error says what is wrong and at which byte.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Self, Value), String> {
        let mut machine = Machine::new(bytes);
        loop {
            let start = machine.at;
            let located = |e: String| format!("pickle, byte {start}: {e}");
            if machine.step().map_err(located)? {
                let root = machine.pop().map_err(located)?;
                return Ok((machine.made, root));
            }
        }
    }

    /// The text of a string value.
    pub(crate) fn text(&self, value: Value) -> Option<&str> {
        match value {
            Value::Str(i) => Some(&self.strings[i]),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn fails(bytes: &[u8], cause: &str) {
        let error = Pickle::parse(bytes).unwrap_err();
        assert!(error.contains(cause), "{error}");
    }

    #[test]
    fn reads_what_python_writes() {
        // pickle.dumps({"a": (1, -2, 70000, 2**40, True, None), "b": [1.5, []]}, protocol=2)
        let bytes =
            b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01(K\x01J\xfe\xff\xff\xffJp\x11\x01\x00\x8a\
            \x06\x00\x00\x00\x00\x00\x01\x88Ntq\x02X\x01\x00\x00\x00bq\x03]q\x04(G?\xf8\x00\x00\x00\
            \x00\x00\x00]q\x05eu.";
        let (pickle, root) = Pickle::parse(bytes).unwrap();
        assert_eq!(root, Value::Dict(0));
        let [(a, one), (b, two)] = pickle.dicts[0][..] else { panic!("{pickle:?}") };
        assert_eq!((pickle.text(a), pickle.text(b)), (Some("a"), Some("b")));
        let numbers = [1, -2, 70_000, 1 << 40].map(Value::Int);
        assert_eq!(one, Value::Tuple(0));
        assert_eq!(pickle.tuples[0][..4], numbers);
        assert_eq!(pickle.tuples[0][4..], [Value::Bool(true), Value::None]);
        assert_eq!(two, Value::List(0));
        assert_eq!(pickle.lists[0], [Value::Float, Value::List(1)]);
    }

    #[test]
    fn anything_else_is_an_error_that_names_it() {
        fails(b"\x80\x02cos\nsystem\n", "`os.system` has no place in plain data");
        fails(b"\x8c\x02os\x8c\x06system\x93", "`os.system`");
        fails(b"\x80\x02cbuiltins\neval\n", "`builtins.eval`");
        fails(b"ccollections\nOrderedDict\nN\x85R.", "OrderedDict called with strange arguments");
        fails(b"K\x01)R", "not a function");
        fails(b"i", "opcode 0x69");
    }

    #[test]
    fn broken_streams_are_errors() {
        fails(b"", "breaks off");
        fails(b".", "stack is empty");
        fails(b"K\x01(.", "stack is empty");
        fails(b"K\x01\x86", "stack is empty");
        fails(b"X\xff\xff\xff\xffabc", "breaks off");
        fails(b"h\x07", "nothing in memo 7");
        fails(b"t", "no mark");
        fails(b"}(K\x01u", "a key without a value");
        fails(b"K\x01K\x02a", "not a list");
        fails(b"\x8a\x09123456789", "an integer of 9 bytes");
        fails(b"K\x01Q", "not a storage");
        fails(b"ccollections", "breaks off");
    }

    #[test]
    fn deep_nesting_does_not_overflow_the_stack() {
        let mut bytes = vec![b'N'];
        bytes.extend([0x85; 1_000_000]);
        bytes.push(b'.');
        assert!(Pickle::parse(&bytes).is_ok());
    }
}

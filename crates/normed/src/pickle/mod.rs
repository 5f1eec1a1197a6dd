//! Python's pickle format, as far as state dicts and plain data use it. Nothing is imported or executed: PyTorch's
//! few names are a fixed list, and any other name is an error.
//!
//! The opcodes are those of CPython's `Lib/pickletools.py`; what PyTorch writes follows `torch/serialization.py`
//! and `torch/_utils.py`.

mod machine;
mod value;

pub(crate) use value::{Pickle, Value};

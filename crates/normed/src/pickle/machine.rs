//! The machine that runs a pickle: a pickle is a program that builds values on a stack.

use std::collections::HashMap;

use super::value::{Global, Pickle, Storage, TensorView, Value};

impl Pickle {
    /// Unpacks a pickle; returns its root value as well.
    ///
    /// # Errors
    /// What is wrong, and at which byte.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Self, Value), String> {
        let mut machine = Machine::new(bytes);
        loop {
            let start = machine.at;
            let located = |e: String| format!("pickle, byte {start}: {e}");
            if machine.step().map_err(located)? {
                let root = machine.pop().map_err(located)?;
                return Ok((machine.built, root));
            }
        }
    }
}

/// The state of the machine.
struct Machine<'a> {
    bytes: &'a [u8],
    /// The next byte to read.
    at: usize,
    stack: Vec<Value>,
    /// The height of the stack at each MARK.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    /// The values so far.
    built: Pickle,
}

impl<'a> Machine<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let (stack, marks, memo) = (Vec::new(), Vec::new(), HashMap::new());
        Self { bytes, at: 0, stack, marks, memo, built: Pickle::default() }
    }

    /// Runs one opcode. Returns whether it was STOP.
    #[allow(clippy::too_many_lines, reason = "one arm for each opcode")]
    fn step(&mut self) -> Result<bool, String> {
        let opcode = self.take::<1>()?[0];
        match opcode {
            b'.' => return Ok(true),
            // PROTO and FRAME carry nothing that is needed here.
            0x80 => drop(self.take::<1>()?),
            0x95 => drop(self.take::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'K' => self.push_int(|[b]: [u8; 1]| i64::from(b))?,
            b'M' => self.push_int(|b| i64::from(u16::from_le_bytes(b)))?,
            b'J' => self.push_int(|b| i64::from(i32::from_le_bytes(b)))?,
            0x8a => self.long()?,
            b'G' => {
                self.take::<8>()?;
                self.stack.push(Value::Float);
            }
            b'X' => {
                let length = u32::from_le_bytes(self.take()?);
                self.string(length as usize)?;
            }
            0x8c => {
                let length = self.take::<1>()?[0];
                self.string(length.into())?;
            }
            b')' => self.tuple(Vec::new()),
            0x85 => self.tuple_of(1)?,
            0x86 => self.tuple_of(2)?,
            0x87 => self.tuple_of(3)?,
            b't' => {
                let items = self.pop_mark()?;
                self.tuple(items);
            }
            b']' => {
                self.built.lists.push(Vec::new());
                self.stack.push(Value::List(self.built.lists.len() - 1));
            }
            b'}' => self.dict(),
            b'a' => {
                let item = self.pop()?;
                self.extend_list(vec![item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.extend_list(items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.extend_dict(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.extend_dict(&items)?;
            }
            b'q' => {
                let slot = self.take::<1>()?[0];
                self.remember(slot.into())?;
            }
            b'r' => {
                let slot = u32::from_le_bytes(self.take()?);
                self.remember(slot)?;
            }
            0x94 => {
                let slot = u32::try_from(self.memo.len()).map_err(|e| e.to_string())?;
                self.remember(slot)?;
            }
            b'h' => {
                let slot = self.take::<1>()?[0];
                self.recall(slot.into())?;
            }
            b'j' => {
                let slot = u32::from_le_bytes(self.take()?);
                self.recall(slot)?;
            }
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.global(&module, &name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.built.text(module), self.built.text(name)) {
                    (Some(module), Some(name)) => {
                        let (module, name) = (module.to_owned(), name.to_owned());
                        self.global(&module, &name)?;
                    }
                    _ => return Err("a global without a name".into()),
                }
            }
            b'Q' => self.storage()?,
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            other => {
                return Err(format!(
                    "opcode {other:#04x} is not allowed in plain data or a state dict"
                ));
            }
        }
        Ok(false)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.bytes[self.at..].first_chunk().ok_or("it ends early")?;
        self.at += N;
        Ok(*bytes)
    }

    fn take_slice(&mut self, length: usize) -> Result<&[u8], String> {
        let slice = self.bytes[self.at..].get(..length).ok_or("it ends early")?;
        self.at += length;
        Ok(slice)
    }

    /// An argument that ends with a newline.
    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&b| b == b'\n').ok_or("it ends early")?;
        self.at += length + 1;
        str::from_utf8(&rest[..length]).map(str::to_owned).map_err(|e| e.to_string())
    }

    fn pop(&mut self) -> Result<Value, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("the stack is empty".into());
        }
        self.stack.pop().ok_or_else(|| "the stack is empty".into())
    }

    fn top(&self) -> Result<Value, String> {
        self.stack.last().copied().ok_or_else(|| "the stack is empty".into())
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().ok_or("no mark on the stack")?;
        // `pop` never goes below the last mark, so the stack is at least this high.
        Ok(self.stack.split_off(mark))
    }

    fn push_int<const N: usize>(&mut self, read: impl Fn([u8; N]) -> i64) -> Result<(), String> {
        let value = read(self.take()?);
        self.stack.push(Value::Int(value));
        Ok(())
    }

    /// LONG1: little-endian two's complement of any length, of which at most 8 bytes are accepted.
    fn long(&mut self) -> Result<(), String> {
        let length = usize::from(self.take::<1>()?[0]);
        let bytes = self.take_slice(length)?;
        if length > 8 {
            return Err(format!("an integer of {length} bytes"));
        }
        let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
        let mut word = [fill; 8];
        word[..length].copy_from_slice(bytes);
        self.stack.push(Value::Int(i64::from_le_bytes(word)));
        Ok(())
    }

    fn string(&mut self, length: usize) -> Result<(), String> {
        let bytes = self.take_slice(length)?;
        let text = str::from_utf8(bytes).map_err(|e| e.to_string())?.to_owned();
        self.built.strings.push(text);
        self.stack.push(Value::Str(self.built.strings.len() - 1));
        Ok(())
    }

    fn tuple(&mut self, items: Vec<Value>) {
        self.built.tuples.push(items);
        self.stack.push(Value::Tuple(self.built.tuples.len() - 1));
    }

    fn tuple_of(&mut self, count: usize) -> Result<(), String> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.tuple(items);
        Ok(())
    }

    fn dict(&mut self) {
        self.built.dicts.push(Vec::new());
        self.stack.push(Value::Dict(self.built.dicts.len() - 1));
    }

    fn extend_list(&mut self, items: Vec<Value>) -> Result<(), String> {
        match self.top()? {
            Value::List(i) => self.built.lists[i].extend(items),
            other => return Err(format!("items for {other:?}, which is not a list")),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: &[Value]) -> Result<(), String> {
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err("a key without a value".into());
        };
        match self.top()? {
            Value::Dict(i) => self.built.dicts[i].extend(pairs.iter().map(|&[k, v]| (k, v))),
            other => return Err(format!("entries for {other:?}, which is not a dict")),
        }
        Ok(())
    }

    fn remember(&mut self, slot: u32) -> Result<(), String> {
        let value = self.top()?;
        self.memo.insert(slot, value);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<(), String> {
        let value = self.memo.get(&slot).ok_or_else(|| format!("nothing in memo {slot}"))?;
        self.stack.push(*value);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), String> {
        let global = Global::from_name(module, name).ok_or_else(|| {
            format!("`{module}.{name}` is not allowed in plain data or a state dict")
        })?;
        self.stack.push(Value::Global(global));
        Ok(())
    }

    /// A persistent id: `("storage", type, key, device, element count)`.
    fn storage(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let fields = match id {
            Value::Tuple(i) => self.built.tuples[i].as_slice(),
            _ => &[],
        };
        let &[kind, Value::Global(Global::Storage(dtype)), key, _device, _count] = fields else {
            return Err("a persistent id that is not a storage".into());
        };
        let (Some("storage"), Some(key)) = (self.built.text(kind), self.built.text(key)) else {
            return Err("a persistent id that is not a storage".into());
        };
        let key = key.to_owned();
        self.built.storages.push(Storage { dtype, key });
        self.stack.push(Value::Storage(self.built.storages.len() - 1));
        Ok(())
    }

    /// Calls one of the few functions that PyTorch's pickles call.
    fn reduce(&mut self) -> Result<(), String> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let (Value::Tuple(i), Value::Global(function)) = (arguments, function) else {
            return Err(format!("a call of {function:?}, which is not a function"));
        };
        let arguments = self.built.tuples[i].as_slice();
        match (function, arguments) {
            (Global::OrderedDict, []) => self.dict(),
            // data, requires_grad, hooks
            (Global::RebuildParameter, &[data @ Value::Tensor(_), _, _]) => self.stack.push(data),
            // storage, offset, size, stride, requires_grad, hooks
            (
                Global::RebuildTensor,
                &[Value::Storage(storage), offset, shape, strides, _, _, ..],
            ) => {
                let view = offset
                    .as_size()
                    .zip(self.built.sizes(shape))
                    .zip(self.built.sizes(strides))
                    .ok_or("a tensor with an impossible shape")?;
                let ((offset, shape), strides) = view;
                if shape.len() != strides.len() {
                    return Err("a tensor with an impossible shape".into());
                }
                self.built.tensors.push(TensorView { storage, offset, shape, strides });
                self.stack.push(Value::Tensor(self.built.tensors.len() - 1));
            }
            (function, _) => {
                return Err(format!("{function:?} is called with unexpected arguments"));
            }
        }
        Ok(())
    }

    /// Sets attributes of an object. A state dict has `_metadata`, which is not needed.
    fn build(&mut self) -> Result<(), String> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) => Ok(()),
            other => Err(format!("attributes for {other:?}")),
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
    fn any_other_name_is_an_error_that_names_it() {
        fails(b"\x80\x02cos\nsystem\n", "`os.system` is not allowed in plain data");
        fails(b"\x8c\x02os\x8c\x06system\x93", "`os.system`");
        fails(b"\x80\x02cbuiltins\neval\n", "`builtins.eval`");
        fails(
            b"ccollections\nOrderedDict\nN\x85R.",
            "OrderedDict is called with unexpected arguments",
        );
        fails(b"K\x01)R", "not a function");
        fails(b"i", "opcode 0x69");
    }

    #[test]
    fn broken_streams_are_errors() {
        fails(b"", "ends early");
        fails(b".", "stack is empty");
        fails(b"K\x01(.", "stack is empty");
        fails(b"K\x01\x86", "stack is empty");
        fails(b"X\xff\xff\xff\xffabc", "ends early");
        fails(b"h\x07", "nothing in memo 7");
        fails(b"t", "no mark");
        fails(b"}(K\x01u", "a key without a value");
        fails(b"K\x01K\x02a", "not a list");
        fails(b"\x8a\x09123456789", "an integer of 9 bytes");
        fails(b"K\x01Q", "not a storage");
        fails(b"ccollections", "ends early");
    }

    #[test]
    fn deep_nesting_does_not_overflow_the_stack() {
        let mut bytes = vec![b'N'];
        bytes.resize(1_000_001, 0x85);
        bytes.push(b'.');
        assert!(Pickle::parse(&bytes).is_ok());
    }
}

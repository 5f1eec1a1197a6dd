//! The Jinja of chat templates: what transformers' environment has beyond Jinja's own filters and functions.

use std::fmt::Write;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Limit of a template's steps: one that loops endlessly fails.
const FUEL: u64 = 1_000_000;
/// The longest template, in bytes; those of published models have up to 30,000.
const LONGEST: usize = 128 << 10;
/// Bytes of stack that the compiler of a template needs for each of its bytes, at most.
const STACK_OF_BYTE: usize = 2 << 10;
/// The name of the only template in an environment.
pub(super) const TEMPLATE: &str = "chat";
/// The deepest value that [`to_json`] writes.
const DEEPEST: usize = 64;

/// The date that templates get for today's, in place of the machine's: 26 July 2024, 00:00, which Llama 3's own
/// template has where it is told no date. The same run gives the same prompts on every day.
pub(super) const PROMPT_DATE: &str = "2024-07-26";

/// What each directive of `strftime` gives for [`PROMPT_DATE`].
const DIRECTIVES: [(&str, &str); 46] = [
    ("a", "Fri"),
    ("A", "Friday"),
    ("w", "5"),
    ("u", "5"),
    ("d", "26"),
    ("-d", "26"),
    ("e", "26"),
    ("b", "Jul"),
    ("h", "Jul"),
    ("B", "July"),
    ("m", "07"),
    ("-m", "7"),
    ("y", "24"),
    ("-y", "24"),
    ("Y", "2024"),
    ("C", "20"),
    ("g", "24"),
    ("G", "2024"),
    ("H", "00"),
    ("-H", "0"),
    ("k", " 0"),
    ("I", "12"),
    ("-I", "12"),
    ("l", "12"),
    ("p", "AM"),
    ("P", "am"),
    ("M", "00"),
    ("-M", "0"),
    ("S", "00"),
    ("-S", "0"),
    ("f", "000000"),
    ("z", ""),
    ("Z", ""),
    ("j", "208"),
    ("-j", "208"),
    ("U", "29"),
    ("W", "30"),
    ("V", "30"),
    ("c", "Fri Jul 26 00:00:00 2024"),
    ("x", "07/26/24"),
    ("X", "00:00:00"),
    ("F", "2024-07-26"),
    ("T", "00:00:00"),
    ("D", "07/26/24"),
    ("R", "00:00"),
    ("%", "%"),
];

/// An environment that renders chat templates as transformers does.
pub(super) fn chat_environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("Jinja's own delimiters are valid"));
    environment.set_fuel(Some(FUEL));
    minijinja_contrib::add_to_environment(&mut environment);
    environment.set_unknown_method_callback(call_method);
    environment.add_filter("tojson", to_json);
    environment.add_test("sequence", is_sequence);
    environment.add_function("strftime_now", |format: String| strftime(&format));
    environment.add_function("raise_exception", |cause: String| Err::<String, _>(failure(cause)));
    environment
}

/// Adds `source` to the environment as [`TEMPLATE`].
///
/// minijinja follows operators in a row, such as `not not ..`, by recursion without a limit. So it runs on a stack that
/// is large enough for operators alone: a stack overflow would end the process.
///
/// # Errors
///
/// If the template is too long, or is not one of Jinja.
pub(super) fn compile(
    environment: &mut Environment<'static>,
    source: String,
) -> Result<(), String> {
    if source.len() > LONGEST {
        return Err(format!("it has {} bytes, where {LONGEST} are the most", source.len()));
    }
    let size = source.len() * STACK_OF_BYTE + (2 << 20);
    let add = || environment.add_template_owned(TEMPLATE, source).map_err(|e| e.to_string());
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(size).spawn_scoped(scope, add);
        let thread = thread.map_err(|error| format!("it cannot be compiled: {error}"))?;
        thread.join().unwrap_or_else(|_| Err("it cannot be compiled: the compiler failed".into()))
    })
}

/// Jinja's test `sequence`: whether a value has a length and items, as a text and a map have.
fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String)
}

/// An error of a template.
fn failure(cause: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, cause.into())
}

/// [`PROMPT_DATE`] in this format.
fn strftime(format: &str) -> Result<String, Error> {
    let mut text = String::with_capacity(format.len());
    let mut rest = format;
    while let Some((before, directive)) = rest.split_once('%') {
        text.push_str(before);
        let found = DIRECTIVES.iter().find(|(name, _)| directive.starts_with(name));
        let (name, value) = found.ok_or_else(|| {
            let shown: String = directive.chars().take(2).collect();
            failure(format!("strftime_now: `%{shown}` is not a directive that normed knows"))
        })?;
        text.push_str(value);
        rest = &directive[name.len()..];
    }
    text.push_str(rest);
    Ok(text)
}

/// Python's methods of strings and lists that [`unknown_method_callback`] lacks.
fn call_method(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return match (value.kind(), method) {
            (ValueKind::Seq | ValueKind::Map, "copy") => Ok(value.clone()),
            // A list, so that a loop over it knows its length.
            (ValueKind::Map, "keys" | "values" | "items") => {
                let iterable = unknown_method_callback(state, value, method, args)?;
                Ok(Value::from_iter(iterable.try_iter()?))
            }
            _ => unknown_method_callback(state, value, method, args),
        };
    };
    let one = || -> Result<&str, Error> {
        let (text,): (&str,) = from_args(args)?;
        Ok(text)
    };
    let split = |parts: Option<(&str, &str)>, separator: &str, whole_first: bool| {
        let parts = match parts {
            Some((before, behind)) => [before, separator, behind],
            None if whole_first => [text, "", ""],
            None => ["", "", text],
        };
        Value::from_iter(parts)
    };
    Ok(match method {
        "removeprefix" => text.strip_prefix(one()?).unwrap_or(text).into(),
        "removesuffix" => text.strip_suffix(one()?).unwrap_or(text).into(),
        "partition" => split(text.split_once(one()?), one()?, true),
        "rpartition" => split(text.rsplit_once(one()?), one()?, false),
        "index" => match text.split_once(one()?) {
            Some((before, _)) => before.chars().count().into(),
            None => return Err(failure("substring not found")),
        },
        "casefold" => text.to_lowercase().into(),
        "swapcase" => text.chars().map(swap_case).collect::<String>().into(),
        "isdecimal" => (!text.is_empty() && text.chars().all(|c| c.is_ascii_digit())).into(),
        "rsplit" => right_split(text, args)?,
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
            let zeros = padding(state, width, text, '0')?;
            format!("{sign}{zeros}{digits}").into()
        }
        "ljust" | "rjust" | "center" => {
            let (width, fill): (usize, Option<char>) = from_args(args)?;
            let fill = padding(state, width, text, fill.unwrap_or(' '))?;
            match method {
                "ljust" => format!("{text}{fill}").into(),
                "rjust" => format!("{fill}{text}").into(),
                _ => {
                    // As in Python, the odd place goes to the left only if the width is odd.
                    let places = fill.chars().count();
                    let left = places / 2 + (places & width & 1);
                    let side = |count| fill.chars().take(count).collect::<String>();
                    format!("{}{text}{}", side(left), side(places - left)).into()
                }
            }
        }
        _ => return unknown_method_callback(state, value, method, args),
    })
}

fn swap_case(c: char) -> String {
    if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() }
}

/// What fills `text` up to `width` characters, paid for with fuel.
fn padding(state: &State<'_, '_>, width: usize, text: &str, fill: char) -> Result<String, Error> {
    let count = width.saturating_sub(text.chars().count());
    state.consume_fuel(count as u64)?;
    Ok(std::iter::repeat_n(fill, count).collect())
}

/// Python's `str.rsplit`.
fn right_split(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (separator, most, kwargs): (Option<&str>, Option<i64>, Kwargs) = from_args(args)?;
    let most = match kwargs.get::<Option<i64>>("maxsplit")? {
        Some(most) => Some(most),
        None => most,
    };
    kwargs.assert_all_used()?;
    let parts = most.and_then(|most| usize::try_from(most).ok()).map_or(usize::MAX, |n| n + 1);
    let mut found: Vec<&str> = match separator {
        Some("") => return Err(failure("empty separator")),
        Some(separator) => text.rsplitn(parts, separator).collect(),
        None => {
            let mut rest = text.trim_end();
            let mut words = Vec::new();
            while words.len() + 1 < parts
                && let Some((before, word)) = rest.rsplit_once(char::is_whitespace)
            {
                words.push(word);
                rest = before.trim_end();
            }
            words.extend((!rest.is_empty()).then_some(rest));
            words
        }
    };
    found.reverse();
    Ok(Value::from_iter(found))
}

/// The form of JSON that [`to_json`] writes.
struct JsonStyle {
    ascii: bool,
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

/// transformers' filter `tojson`: Python's `json.dumps` with these options, without escapes for HTML.
fn to_json(state: &State<'_, '_>, value: &Value, kwargs: Kwargs) -> Result<String, Error> {
    let indent = match kwargs.get::<Option<Value>>("indent")? {
        None => None,
        Some(text) if text.as_str().is_some() => text.as_str().map(str::to_owned),
        Some(width) if width.is_none() => None,
        Some(width) => {
            let width = usize::try_from(i64::try_from(width)?.max(0)).unwrap_or_default();
            state.consume_fuel(width as u64)?;
            Some(" ".repeat(width))
        }
    };
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    let separators = separators.unwrap_or_else(|| {
        let between = if indent.is_some() { "," } else { ", " };
        vec![between.to_owned(), ": ".to_owned()]
    });
    let [item_separator, key_separator] = <[String; 2]>::try_from(separators)
        .map_err(|_| failure("tojson: separators are a pair of texts"))?;
    let style = JsonStyle {
        ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        indent,
        item_separator,
        key_separator,
        sort_keys: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    kwargs.assert_all_used()?;
    let mut out = String::new();
    write_json(state, &mut out, value, &style, 1)?;
    Ok(out)
}

/// Appends `value`, whose parts are `depth` levels deep.
fn write_json(
    state: &State<'_, '_>,
    out: &mut String,
    value: &Value,
    style: &JsonStyle,
    depth: usize,
) -> Result<(), Error> {
    state.consume_fuel(1)?;
    if depth > DEEPEST {
        return Err(failure("tojson: the value is nested too deeply"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        // Numbers are printed as Python prints them.
        ValueKind::Number => out.push_str(&value.to_string()),
        ValueKind::String => {
            write_json_string(out, value.as_str().unwrap_or_default(), style.ascii)
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.collect();
            write_items(out, style, depth, ['[', ']'], &items, |out, item| {
                write_json(state, out, item, style, depth + 1)
            })?;
        }
        ValueKind::Map => {
            let mut keys: Vec<Value> = value.try_iter()?.collect();
            if style.sort_keys {
                keys.sort();
            }
            write_items(out, style, depth, ['{', '}'], &keys, |out, key| {
                let name = match key.kind() {
                    ValueKind::String | ValueKind::Number => key.to_string(),
                    ValueKind::Bool => key.to_string().to_lowercase(),
                    ValueKind::None => "null".to_owned(),
                    other => return Err(failure(format!("tojson: a key is a {other}"))),
                };
                write_json_string(out, &name, style.ascii);
                out.push_str(&style.key_separator);
                write_json(state, out, &value.get_item(key)?, style, depth + 1)
            })?;
        }
        other => return Err(failure(format!("tojson: a {other} is not JSON"))),
    }
    Ok(())
}

/// Appends the items of a list or a map between two brackets.
fn write_items(
    out: &mut String,
    style: &JsonStyle,
    depth: usize,
    [open, close]: [char; 2],
    items: &[Value],
    mut write: impl FnMut(&mut String, &Value) -> Result<(), Error>,
) -> Result<(), Error> {
    let new_line = |out: &mut String, depth: usize| {
        if let Some(indent) = style.indent.as_ref().filter(|_| !items.is_empty()) {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    };
    out.push(open);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(&style.item_separator);
        }
        new_line(out, depth);
        write(out, item)?;
    }
    new_line(out, depth - 1);
    out.push(close);
    Ok(())
}

fn write_json_string(out: &mut String, text: &str, ascii: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' || (ascii && !c.is_ascii()) || (ascii && c == '\u{7f}') => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

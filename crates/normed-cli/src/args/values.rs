//! Parsers of values, and options that several commands share.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use normed::Range;
use normed::data::{Axis, SliceIndex, Split, TemplateName, Window};
use normed::models::NormDtype;
use normed::recipe::ByteSize;
use normed::tensor::{Precision, Quantization, RunPrecision};
use normed::tuning::{Method, methods};

/// The form in which a command prints.
#[derive(clap::Args, Clone, Copy, Default)]
pub struct EventFormat {
    /// Print progress, warnings and results as JSON, one event per line
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
}

/// Whether a command may write over what is there.
#[derive(clap::Args, Clone, Copy)]
pub struct Overwrite {
    /// Overwrite the output if it exists
    #[arg(long)]
    pub force: bool,
}

/// Parses a number of `range`.
pub fn in_range<T>(range: Range<T>) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync
where
    T: FromStr + Copy + PartialOrd + std::fmt::Display + Send + Sync,
{
    move |text| {
        let number = text.parse().ok().filter(|&number| range.contains(number));
        number.ok_or_else(|| format!("must be a number {range}"))
    }
}

/// Parses the name of a split.
pub fn split(name: &str) -> Result<Split, String> {
    Split::from_name(name).ok_or_else(|| "must be train, validate or test".to_owned())
}

/// Parses `6GiB`.
pub fn byte_size(text: &str) -> Result<ByteSize, String> {
    text.parse()
}

/// Parses the name of a window, or `CENTER,WIDTH`.
pub fn window(text: &str) -> Result<Window, String> {
    if let Some((_, window)) = Window::NAMED.iter().find(|(name, _)| *name == text) {
        return Ok(*window);
    }
    let number = |text: &str| text.trim().parse().ok().filter(|x: &f32| x.is_finite());
    let numbers = text.split_once(',').map(|(center, width)| (number(center), number(width)));
    match numbers {
        Some((Some(center), Some(width))) if Window::WIDTH.contains(width) => {
            Ok(Window::At { center, width })
        }
        Some((Some(_), Some(_))) => Err(format!("the width must be a number {}", Window::WIDTH)),
        _ => {
            let names = Window::NAMED.map(|(name, _)| name).join(", ");
            Err(format!("must be {names}, or a center and a width such as 40,400"))
        }
    }
}

/// Parses `middle`, or the number of a frame or a slice.
pub fn slice_index(text: &str) -> Result<SliceIndex, String> {
    match text {
        "middle" => Ok(SliceIndex::Middle),
        number => in_range(SliceIndex::NUMBERS)(number)
            .map(SliceIndex::At)
            .map_err(|cause| format!("{cause}, or middle")),
    }
}

/// Parses the name of a plane.
pub fn axis() -> impl TypedValueParser<Value = Axis> {
    one_of(Axis::ALL.to_vec(), Axis::name)
}

/// Parses the name of a tuning method.
pub fn method() -> impl TypedValueParser<Value = Method> {
    one_of(methods(), Method::name)
}

/// Parses the name of a prompt template.
pub fn template() -> impl TypedValueParser<Value = TemplateName> {
    one_of(TemplateName::ALL.to_vec(), TemplateName::name)
}

/// Parses `f32` or `bf16`.
pub fn precision() -> impl TypedValueParser<Value = Precision> {
    one_of(vec![Precision::F32, Precision::Bf16], Precision::name)
}

/// Parses `f32`, `bf16` or `int8`.
pub fn run_precision() -> impl TypedValueParser<Value = RunPrecision> {
    one_of(RunPrecision::ALL.to_vec(), RunPrecision::name)
}

/// Parses `f32` or `base`.
pub fn norm_dtype() -> impl TypedValueParser<Value = NormDtype> {
    one_of(vec![NormDtype::F32, NormDtype::Base], NormDtype::name)
}

/// Parses `nf4` or `int8`.
pub fn quantization() -> impl TypedValueParser<Value = Quantization> {
    one_of(Quantization::ALL.to_vec(), Quantization::name)
}

/// Parses the name of one of `values`, and lists all names in the help.
fn one_of<T: Copy + Send + Sync + 'static>(
    values: Vec<T>,
    name_of: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let names: Vec<_> = values.iter().map(|&value| name_of(value)).collect();
    PossibleValuesParser::new(names).try_map(move |name| {
        values.iter().copied().find(|&value| name_of(value) == name).ok_or("unknown name")
    })
}

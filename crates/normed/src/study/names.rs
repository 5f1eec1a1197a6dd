//! Headings and file names of the parts of a study.

/// The heading of a model's part of the study: the subject, and the model if there are several.
pub fn heading(subject: &str, model: &str) -> String {
    if model.is_empty() { subject.to_owned() } else { format!("{subject}, {model}") }
}

/// A file name of the parts that are not empty.
pub fn file_name<const N: usize>(parts: [&str; N]) -> String {
    let plain = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '_' };
    let parts = parts.iter().filter(|part| !part.is_empty());
    parts.map(|part| part.chars().map(plain).collect::<String>()).collect::<Vec<_>>().join("-")
}

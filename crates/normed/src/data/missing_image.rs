//! Why an image file that a row names is not there.

use std::fs;
use std::path::Path;

use super::plain_path::plain_path;
use crate::near_name::near_name;

/// The largest folder in which a similar name is looked for.
const MAX_NAMES: usize = 100_000;

/// What to say of the file `path` that is not there: where it was looked for, what its path starts from, and which
/// file was probably meant. `written` is the path as the row has it, if that is known.
pub(super) fn explain_missing(path: &Path, written: Option<&str>) -> String {
    let full = plain_path(path);
    let looked_for = format!("there is no file {}", full.display());
    let remedy = remedy(path, &full, written);
    match written.filter(|written| !Path::new(written).is_absolute()) {
        Some(written) => format!("image `{written}`: {looked_for}{remedy}"),
        None => format!("image: {looked_for}{remedy}"),
    }
}

fn remedy(path: &Path, full: &Path, written: Option<&str>) -> String {
    let written_path = written.map(Path::new);
    let base = written.and_then(|written| base_of(full, written));
    if let (Some(written), Some(base)) = (written, base) {
        let slashes = written.replace('\\', "/");
        if slashes != written && base.join(&slashes).is_file() {
            return format!(". Write `/` in place of `\\` in paths: `{slashes}`");
        }
    }
    if written_path.is_some_and(Path::is_absolute) || is_windows_path(written.unwrap_or_default()) {
        return ". Write paths relative to the folder of the images, and name that folder: image_root in [data], or \
                --image-root"
            .to_owned();
    }
    if let Some(near) = near_in_folder(path) {
        return format!("; did you mean `{near}`?");
    }
    match base {
        Some(base) => format!(
            ". Paths start from {}; image_root in [data], or --image-root, names another folder",
            base.display()
        ),
        None => String::new(),
    }
}

/// The folder that `full` is relative to as `written`.
fn base_of<'a>(full: &'a Path, written: &str) -> Option<&'a Path> {
    let written = Path::new(written.trim_start_matches("./"));
    full.ends_with(written).then(|| full.ancestors().nth(written.components().count())).flatten()
}

fn is_windows_path(path: &str) -> bool {
    matches!(path.as_bytes(), [drive, b':', b'\\' | b'/', ..] if drive.is_ascii_alphabetic())
}

/// The most similar name of a file in the folder of `path`.
fn near_in_folder(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let names =
        entries.take(MAX_NAMES).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names: Vec<String> = names.collect();
    let name = path.file_name()?.to_str()?;
    near_name(name, names.iter().map(String::as_str)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        fs::create_dir(base.join("images")).unwrap();
        fs::write(base.join("images/chest_1.png"), "").unwrap();
        let explain = |written: &str| explain_missing(&base.join(written), Some(written));
        let looked_for = format!("there is no file {}/images/chest_1.jpg", base.display());
        let text = explain("images/chest_1.jpg");
        assert!(text.starts_with(&format!("image `images/chest_1.jpg`: {looked_for}")), "{text}");
        assert!(text.ends_with("; did you mean `chest_1.png`?"), "{text}");
        let text = explain("images\\chest_1.png");
        assert!(
            text.ends_with("Write `/` in place of `\\` in paths: `images/chest_1.png`"),
            "{text}"
        );
        for elsewhere in ["/home/somebody/chest_9.png", "C:\\scans\\chest_9.png"] {
            assert!(
                explain(elsewhere).contains("relative to the folder of the images"),
                "{elsewhere}"
            );
        }
        let text = explain("images/knee.png");
        let start = format!(". Paths start from {};", base.display());
        assert!(text.contains(&start), "{text}");
    }
}

//! The path of a file as another file names it.

use std::path::{Component, Path, PathBuf};

/// `file` relative to `folder`, with slashes. If the two share no folder but the root, it is absolute.
pub fn relative_path(file: &Path, folder: &Path) -> String {
    let real = |path: &Path| {
        let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        path.canonicalize().unwrap_or_else(|_| absolute())
    };
    // Links of the file's own name stay: the name is what the user knows.
    let parent =
        real(file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")));
    let file = parent.join(file.file_name().unwrap_or_default());
    let folder = real(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let shared = file.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let is_apart = !file.components().take(shared).any(|part| matches!(part, Component::Normal(_)));
    let path: PathBuf = match is_apart && folder.components().count() > shared {
        true => file,
        false => {
            let up = folder.components().skip(shared).map(|_| Component::ParentDir);
            up.chain(file.components().skip(shared)).collect()
        }
    };
    let text = path.to_string_lossy();
    if std::path::MAIN_SEPARATOR == '/' { text.into_owned() } else { text.replace('\\', "/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_from_the_folder_to_the_file() {
        let path = |file: &str, folder: &str| relative_path(Path::new(file), Path::new(folder));
        assert_eq!(path("/nowhere/a/images/1.png", "/nowhere/a"), "images/1.png");
        assert_eq!(path("/nowhere/a/images/1.png", "/nowhere/a/data/x"), "../../images/1.png");
        assert_eq!(path("/nowhere/1.png", "/elsewhere/data"), "/nowhere/1.png");
    }
}

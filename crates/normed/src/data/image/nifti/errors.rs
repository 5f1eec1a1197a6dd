//! What is wrong with a NIfTI file that cannot be read to its end.

use std::io;

pub(super) fn broken(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "is cut short".into(),
        _ => format!("cannot be read: {error}"),
    }
}

pub(super) fn cut_short() -> String {
    "is cut short: it has fewer voxels than its header says".into()
}

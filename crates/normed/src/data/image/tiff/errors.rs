//! Errors of TIFF files.

/// The error of a valid file of a kind that is not supported.
pub(super) fn unsupported(what: &str) -> String {
    format!("is a TIFF file that {what}, which is not supported. Save it as PNG, or as plain TIFF")
}

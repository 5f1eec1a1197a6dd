//! Which build of normed this is: its version, its commit, and a hash of the code that computes results.

/// The version of the package, such as `0.2.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The newest commit that changed the library: ten hexadecimal digits, followed by `-dirty` if it was
/// built from files that were not committed. `None` if it was built outside its repository and the variables
/// `NORMED_COMMIT` and `NORMED_COMMIT_DATE` were not set.
pub const COMMIT: Option<&str> = option_env!("NORMED_BUILD_COMMIT");

/// The date of [`COMMIT`], such as `2026-11-30`.
pub const COMMIT_DATE: Option<&str> = option_env!("NORMED_BUILD_DATE");

/// [`VERSION`], with the commit and its date where they are known: `0.2.0 (4f2a9c1d7e, 2026-11-30)`.
pub const FULL_VERSION: &str = env!("NORMED_FULL_VERSION");

/// A hash of the code that results depend on, in 32 hexadecimal digits: the engine, the library without
/// the modules that show results or fetch files, and the versions of the packages they use.
///
/// Comments, documentation, layout and unit tests do not change it. Two builds with the same hash
/// compute the same results on the same machine.
pub const SOURCE_HASH: &str = env!("NORMED_SOURCE_HASH");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_names_its_version_and_its_sources() {
        assert!(FULL_VERSION.starts_with(VERSION));
        assert_eq!(COMMIT.is_some(), COMMIT_DATE.is_some());
        assert!(COMMIT.is_none_or(|commit| FULL_VERSION.contains(commit)));
        assert_eq!(SOURCE_HASH.len(), 32);
        assert!(SOURCE_HASH.bytes().all(|c| c.is_ascii_hexdigit()));
    }
}

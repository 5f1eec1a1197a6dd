//! What tells cheaply whether a file has changed since it was read.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Seconds after a change during which a file may change again without another time stamp.
const UNSETTLED_SECONDS: u64 = 2;

/// Size, times and place of a file. A file whose stamp is the same has the same bytes: whatever writes to a file
/// also sets the time of its last change, which no program can set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    size: u64,
    /// Nanoseconds since 1970 when its bytes were written.
    modified: u64,
    /// Nanoseconds since 1970 when its bytes, its name or its permissions changed, where the system has it.
    changed: u64,
    /// Device and inode, where the system has them.
    place: (u64, u64),
}

impl FileStamp {
    /// The stamp of the file at `path`; none if it changed so recently that it could change again unnoticed.
    ///
    /// # Errors
    ///
    /// If the file cannot be looked up.
    pub fn of(path: &Path) -> Result<Option<Self>> {
        let metadata = fs::metadata(path).map_err(|e| Error::io(path, &e))?;
        let since_1970 = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        let nanoseconds = |time: SystemTime| u64::try_from(since_1970(time)?.as_nanos()).ok();
        // A file system without times gives no stamps.
        let Some(modified) = metadata.modified().ok().and_then(nanoseconds) else {
            return Ok(None);
        };
        #[cfg(unix)]
        let (changed, place) = {
            use std::os::unix::fs::MetadataExt as _;
            let changed = metadata.ctime().saturating_mul(1_000_000_000) + metadata.ctime_nsec();
            (u64::try_from(changed).unwrap_or(0), (metadata.dev(), metadata.ino()))
        };
        #[cfg(not(unix))]
        let (changed, place) = (modified, (0, 0));
        let stamp = Self { size: metadata.len(), modified, changed, place };
        let settled = changed.max(modified).saturating_add(UNSETTLED_SECONDS * 1_000_000_000);
        let is_settled = nanoseconds(SystemTime::now()).is_some_and(|now| settled < now);
        Ok(is_settled.then_some(stamp))
    }
}

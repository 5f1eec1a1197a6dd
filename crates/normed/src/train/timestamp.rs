//! The time of day, as runs record it.

use chrono::{SecondsFormat, Utc};

/// The time in UTC, in milliseconds, by RFC 3339: `2026-12-01T09:14:32.017Z`.
pub(crate) fn utc_now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

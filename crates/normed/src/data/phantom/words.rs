//! Words that questions, answers and reports share.

use super::anatomy::Organ;

/// An answer.
pub const YES: &str = "yes";
/// An answer.
pub const NO: &str = "no";
/// An answer: both sides.
pub const BOTH: &str = "both";
/// An option, and an answer.
pub const UPPER: &str = "upper";
/// An option, and an answer.
pub const LOWER: &str = "lower";
/// Counts as answers; a scene has at most three lesions.
pub const NUMBERS: [&str; 4] = ["zero", "one", "two", "three"];

/// The start of a question about an organ.
pub fn is_the(organ: Organ) -> &'static str {
    match organ {
        Organ::Lung => "are the lungs",
        Organ::Heart => "is the heart",
        Organ::Liver => "is the liver",
        Organ::Spleen => "is the spleen",
        Organ::Kidney => "are the kidneys",
        Organ::Brain => "is the brain",
        Organ::Ventricles => "are the ventricles",
    }
}

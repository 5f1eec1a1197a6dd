//! What questions are about, and how each is phrased.

use crate::data::AnswerType;

/// The topic of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    Modality,
    Region,
    IsModality,
    IsRegion,
    ShowsOrgan,
    WhichModality,
    WhichRegion,
    IsEnlarged,
    IsNormalSize,
    Count,
    CountKind,
    Several,
    HasLesion,
    HasKind,
    HasOnSide,
    HasInPlace,
    HasKindInPlace,
    Kind,
    KindInPlace,
    WhichKind,
    Side,
    WhichSide,
    Where,
    AbnormalOrgan,
    Half,
}

impl Topic {
    /// Topics that have an answer in every scene, which does not depend on lesions.
    pub const GENERAL: &[Self] = &[
        Self::Modality,
        Self::Region,
        Self::IsModality,
        Self::IsRegion,
        Self::ShowsOrgan,
        Self::WhichModality,
        Self::WhichRegion,
        Self::IsEnlarged,
        Self::IsNormalSize,
    ];

    /// Topics about lesions, which are asked first.
    pub const SPECIFIC: &[Self] = &[
        Self::Count,
        Self::CountKind,
        Self::Several,
        Self::HasLesion,
        Self::HasKind,
        Self::HasOnSide,
        Self::HasInPlace,
        Self::HasKindInPlace,
        Self::Kind,
        Self::KindInPlace,
        Self::WhichKind,
        Self::Side,
        Self::WhichSide,
        Self::Where,
        Self::AbnormalOrgan,
        Self::Half,
    ];

    /// The phrasings of a question on this topic; `{a}` and `{b}` stand for names.
    #[allow(clippy::too_many_lines, reason = "a table of texts, one arm per topic")]
    pub fn phrasings(self) -> &'static [&'static str] {
        match self {
            Self::Modality => &[
                "what modality is this?",
                "which imaging modality was used?",
                "how was this image made?",
                "what kind of scan is this?",
                "what type of study is this?",
            ],
            Self::Region => &[
                "what part of the body is shown?",
                "which body region is this?",
                "which region was imaged?",
                "what region does the image show?",
            ],
            Self::IsModality => &[
                "is this {a}?",
                "is this image {a}?",
                "was {a} used to make this image?",
                "does this look like {a}?",
            ],
            Self::IsRegion => &[
                "is this the {a}?",
                "does this image show the {a}?",
                "was the {a} imaged?",
                "is the {a} shown here?",
            ],
            Self::ShowsOrgan => &[
                "can the {a} be seen?",
                "does the image include the {a}?",
                "would you find the {a} in this image?",
                "does this study cover the {a}?",
            ],
            Self::WhichModality => {
                &["is this {a} or {b}?", "which is it, {a} or {b}?", "was this made as {a} or {b}?"]
            }
            Self::WhichRegion => &[
                "is this the {a} or the {b}?",
                "does the image show the {a} or the {b}?",
                "which was imaged, the {a} or the {b}?",
            ],
            Self::IsEnlarged => &[
                "{a} enlarged?",
                "{a} too large?",
                "{a} larger than normal?",
                "{a} abnormally large?",
            ],
            Self::IsNormalSize => {
                &["{a} normal in size?", "{a} of normal size?", "{a} within normal limits?"]
            }
            Self::Count => &[
                "how many lesions are there?",
                "how many lesions can be seen?",
                "what is the number of lesions?",
                "how many abnormalities do you count?",
            ],
            Self::CountKind => &[
                "how many {a} are there?",
                "how many {a} can be seen?",
                "what is the number of {a}?",
                "how many {a} do you count?",
            ],
            Self::Several => &[
                "is there more than one lesion?",
                "are there several lesions?",
                "are multiple lesions present?",
                "do you see at least two lesions?",
            ],
            Self::HasLesion => &[
                "is there any lesion?",
                "does the image show a lesion?",
                "are any lesions present?",
                "is there a focal abnormality?",
            ],
            Self::HasKind => &[
                "is there a {a}?",
                "is a {a} present?",
                "does the image show a {a}?",
                "can a {a} be seen?",
                "is there evidence of a {a}?",
            ],
            Self::HasOnSide => &[
                "is there a lesion on the {a} side?",
                "does the {a} side show a lesion?",
                "is there a lesion on the {a}?",
                "is the {a} side affected?",
            ],
            Self::HasInPlace => &[
                "is there a lesion in the {a}?",
                "does the {a} contain a lesion?",
                "is the {a} affected by a lesion?",
                "do you see any lesion in the {a}?",
            ],
            Self::HasKindInPlace => &[
                "is there a {a} in the {b}?",
                "does the {b} contain a {a}?",
                "do you see a {a} in the {b}?",
                "can a {a} be seen in the {b}?",
            ],
            Self::Kind => &[
                "what kind of lesion is seen?",
                "what type of lesion is this?",
                "what is the main finding?",
                "what focal abnormality does the image show?",
            ],
            Self::KindInPlace => &[
                "what is seen in the {a}?",
                "what kind of lesion is in the {a}?",
                "what does the {a} contain?",
                "which type of lesion affects the {a}?",
            ],
            Self::WhichKind => &[
                "is the lesion a {a} or a {b}?",
                "is the finding a {a} or a {b}?",
                "do you see a {a} or a {b}?",
            ],
            Self::Side => &[
                "which side is affected?",
                "on which side is there a lesion?",
                "what side shows a lesion?",
                "which side of the body has a lesion?",
            ],
            Self::WhichSide => &[
                "is the finding on the {a} or the {b} side?",
                "is the {a} or the {b} side affected?",
                "which side has the lesion, {a} or {b}?",
            ],
            Self::Where => &[
                "where is the {a}?",
                "where do you see a {a}?",
                "where is the {a} located?",
                "in which place is a {a} present?",
            ],
            Self::AbnormalOrgan => &[
                "which organ is abnormal?",
                "what organ is affected?",
                "which organ shows an abnormality?",
                "where is the abnormality located?",
            ],
            Self::Half => &[
                "is the lesion in the {a} or the {b} half?",
                "which half shows the lesion, {a} or {b}?",
                "is the {a} or the {b} half of the image affected?",
            ],
        }
    }

    /// Whether answers on this topic are open or closed.
    pub fn answer_type(self) -> AnswerType {
        match self {
            Self::Modality
            | Self::Region
            | Self::Count
            | Self::CountKind
            | Self::Kind
            | Self::KindInPlace
            | Self::Side
            | Self::Where
            | Self::AbnormalOrgan => AnswerType::Open,
            Self::IsModality
            | Self::IsRegion
            | Self::ShowsOrgan
            | Self::WhichModality
            | Self::WhichRegion
            | Self::IsEnlarged
            | Self::IsNormalSize
            | Self::Several
            | Self::HasLesion
            | Self::HasKind
            | Self::HasOnSide
            | Self::HasInPlace
            | Self::HasKindInPlace
            | Self::WhichKind
            | Self::WhichSide
            | Self::Half => AnswerType::Closed,
        }
    }
}

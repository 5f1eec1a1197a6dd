//! What a phantom is made of, by name: modalities, regions, organs, places, sides, kinds of lesion.
//!
//! Sides are the patient's, as radiologists say them: the patient's left lies on the right of the
//! image. Coordinates are fractions of the image's side, `x` to the right and `y` down.

/// How the image was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modality {
    /// A projection: soft edges, ribs over the lungs.
    Radiograph,
    /// A slice: sharp edges, bright bone, black air.
    Ct,
    /// A slice: bright fat and water, dark bone.
    Mri,
    /// A fan of speckle.
    Ultrasound,
}

/// The part of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// Lungs and heart.
    Chest,
    /// Liver, spleen and kidneys.
    Abdomen,
    /// Brain and ventricles.
    Head,
}

/// A side of the patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// On the right of the image.
    Left,
    /// On the left of the image.
    Right,
}

/// An organ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Organ {
    Lung,
    Heart,
    Liver,
    Spleen,
    Kidney,
    Brain,
    Ventricles,
}

/// Where a lesion can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    LeftLung,
    RightLung,
    Liver,
    Spleen,
    LeftKidney,
    RightKidney,
    LeftHemisphere,
    RightHemisphere,
}

/// What a lesion is; the kinds differ in shape, size and brightness, in the same way everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LesionKind {
    /// Small, round, bright.
    Nodule,
    /// Large, lobed, bright.
    Mass,
    /// Round and dark with a bright wall.
    Cyst,
    /// A bright streak with soft edges.
    Bleed,
    /// Small, angular, very bright, with a dark shadow below.
    Stone,
}

/// An upright ellipse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ellipse {
    /// The center.
    pub x: f32,
    /// The center.
    pub y: f32,
    /// Half the width.
    pub rx: f32,
    /// Half the height.
    pub ry: f32,
}

impl Modality {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Radiograph, Self::Ct, Self::Mri, Self::Ultrasound];

    /// As an answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Radiograph => "radiograph",
            Self::Ct => "ct",
            Self::Mri => "mri",
            Self::Ultrasound => "ultrasound",
        }
    }

    /// With its article.
    pub fn a_name(self) -> &'static str {
        match self {
            Self::Radiograph => "a radiograph",
            Self::Ct => "a ct",
            Self::Mri => "an mri",
            Self::Ultrasound => "an ultrasound",
        }
    }
}

impl Region {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Chest, Self::Abdomen, Self::Head];

    /// As an answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chest => "chest",
            Self::Abdomen => "abdomen",
            Self::Head => "head",
        }
    }

    /// Where lesions can be in it, those on the left first.
    pub fn places(self) -> &'static [Location] {
        match self {
            Self::Chest => &[Location::LeftLung, Location::RightLung],
            Self::Abdomen => {
                &[Location::Spleen, Location::LeftKidney, Location::Liver, Location::RightKidney]
            }
            Self::Head => &[Location::LeftHemisphere, Location::RightHemisphere],
        }
    }

    /// The places on one side, as many as on the other, so that no side is favored.
    pub fn places_on(self, side: Side) -> &'static [Location] {
        let (left, right) = self.places().split_at(self.places().len() / 2);
        match side {
            Side::Left => left,
            Side::Right => right,
        }
    }

    /// The organs that an image of it shows.
    pub fn organs(self) -> &'static [Organ] {
        match self {
            Self::Chest => &[Organ::Lung, Organ::Heart],
            Self::Abdomen => &[Organ::Liver, Organ::Spleen, Organ::Kidney],
            Self::Head => &[Organ::Brain, Organ::Ventricles],
        }
    }

    /// The organ that is of normal size or enlarged.
    pub fn main_organ(self) -> Organ {
        match self {
            Self::Chest => Organ::Heart,
            Self::Abdomen => Organ::Liver,
            Self::Head => Organ::Ventricles,
        }
    }
}

impl Organ {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Lung,
        Self::Heart,
        Self::Liver,
        Self::Spleen,
        Self::Kidney,
        Self::Brain,
        Self::Ventricles,
    ];

    /// As an answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lung => "lung",
            Self::Heart => "heart",
            Self::Liver => "liver",
            Self::Spleen => "spleen",
            Self::Kidney => "kidney",
            Self::Brain => "brain",
            Self::Ventricles => "ventricles",
        }
    }

    /// The name for all that a body has of this organ, such as `lungs`.
    pub fn all_of_it(self) -> &'static str {
        match self {
            Self::Lung => "lungs",
            Self::Kidney => "kidneys",
            single => single.name(),
        }
    }
}

impl Side {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Left, Self::Right];

    /// As an answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
        }
    }
}

impl Location {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::LeftLung,
        Self::RightLung,
        Self::Liver,
        Self::Spleen,
        Self::LeftKidney,
        Self::RightKidney,
        Self::LeftHemisphere,
        Self::RightHemisphere,
    ];

    /// As an answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeftLung => "left lung",
            Self::RightLung => "right lung",
            Self::Liver => "liver",
            Self::Spleen => "spleen",
            Self::LeftKidney => "left kidney",
            Self::RightKidney => "right kidney",
            Self::LeftHemisphere => "left hemisphere",
            Self::RightHemisphere => "right hemisphere",
        }
    }

    /// The organ it is a part of.
    pub fn organ(self) -> Organ {
        match self {
            Self::LeftLung | Self::RightLung => Organ::Lung,
            Self::Liver => Organ::Liver,
            Self::Spleen => Organ::Spleen,
            Self::LeftKidney | Self::RightKidney => Organ::Kidney,
            Self::LeftHemisphere | Self::RightHemisphere => Organ::Brain,
        }
    }

    /// The patient's side that it is on.
    pub fn side(self) -> Side {
        match self {
            Self::LeftLung | Self::Spleen | Self::LeftKidney | Self::LeftHemisphere => Side::Left,
            Self::RightLung | Self::Liver | Self::RightKidney | Self::RightHemisphere => {
                Side::Right
            }
        }
    }

    /// Its outline in a patient who lies in the middle.
    pub fn outline(self) -> Ellipse {
        match self {
            Self::RightLung => Ellipse { x: 0.27, y: 0.47, rx: 0.16, ry: 0.31 },
            Self::LeftLung => Ellipse { x: 0.73, y: 0.47, rx: 0.16, ry: 0.31 },
            Self::Liver => Ellipse { x: 0.28, y: 0.34, rx: 0.17, ry: 0.15 },
            Self::Spleen => Ellipse { x: 0.75, y: 0.34, rx: 0.13, ry: 0.15 },
            Self::RightKidney => Ellipse { x: 0.30, y: 0.69, rx: 0.12, ry: 0.14 },
            Self::LeftKidney => Ellipse { x: 0.70, y: 0.69, rx: 0.12, ry: 0.14 },
            Self::RightHemisphere => Ellipse { x: 0.29, y: 0.49, rx: 0.13, ry: 0.29 },
            Self::LeftHemisphere => Ellipse { x: 0.71, y: 0.49, rx: 0.13, ry: 0.29 },
        }
    }
}

impl LesionKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Nodule, Self::Mass, Self::Cyst, Self::Bleed, Self::Stone];

    /// As an answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nodule => "nodule",
            Self::Mass => "mass",
            Self::Cyst => "cyst",
            Self::Bleed => "bleed",
            Self::Stone => "stone",
        }
    }

    /// More than one.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Nodule => "nodules",
            Self::Mass => "masses",
            Self::Cyst => "cysts",
            Self::Bleed => "bleeds",
            Self::Stone => "stones",
        }
    }

    /// The smallest and the largest radius.
    pub fn radii(self) -> (f32, f32) {
        match self {
            Self::Nodule => (0.052, 0.064),
            Self::Mass => (0.105, 0.125),
            Self::Cyst => (0.075, 0.095),
            Self::Bleed => (0.105, 0.130),
            Self::Stone => (0.042, 0.052),
        }
    }
}

impl Ellipse {
    /// The same, moved.
    pub fn moved(self, by: (f32, f32)) -> Self {
        Self { x: self.x + by.0, y: self.y + by.1, ..self }
    }

    /// The same, with its radii multiplied.
    pub fn scaled(self, by: f32) -> Self {
        Self { rx: self.rx * by, ry: self.ry * by, ..self }
    }

    /// Distance from the center, in radii: 1 on the outline.
    pub fn reach(self, x: f32, y: f32) -> f32 {
        let (u, v) = ((x - self.x) / self.rx, (y - self.y) / self.ry);
        (u * u + v * v).sqrt()
    }
}

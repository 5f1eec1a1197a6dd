//! What a phantom shows: the anatomy and the lesions, from which picture, questions and report follow.
//!
//! Coordinates are fractions of the picture's side, `x` to the right and `y` down. Sides are the
//! patient's, as radiologists say them: the patient's left lies on the right of the picture.

use super::dice::Dice;

/// How the picture was taken.
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
    /// On the right of the picture.
    Left,
    /// On the left of the picture.
    Right,
}

/// What an organ is called.
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
pub enum Place {
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
pub enum Kind {
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
pub struct Oval {
    /// The centre.
    pub x: f32,
    /// The centre.
    pub y: f32,
    /// Half the width.
    pub rx: f32,
    /// Half the height.
    pub ry: f32,
}

/// One lesion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lesion {
    /// The organ, and the part of it.
    pub place: Place,
    /// The centre.
    pub x: f32,
    /// The centre.
    pub y: f32,
    /// Half of its longest extent.
    pub radius: f32,
    /// How it is turned, in radians.
    pub angle: f32,
}

/// All that is to be seen in one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// How it was taken.
    pub modality: Modality,
    /// What was taken.
    pub region: Region,
    /// Whether the region's [`Region::main_organ`] is enlarged.
    pub enlarged: bool,
    /// What the lesions are; of no meaning where there are none.
    pub kind: Kind,
    /// 0 to 3 lesions, all of the same kind.
    pub lesions: Vec<Lesion>,
    /// How far the patient lies from the middle.
    pub shift: (f32, f32),
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
    pub fn places(self) -> &'static [Place] {
        match self {
            Self::Chest => &[Place::LeftLung, Place::RightLung],
            Self::Abdomen => &[Place::Spleen, Place::LeftKidney, Place::Liver, Place::RightKidney],
            Self::Head => &[Place::LeftHemisphere, Place::RightHemisphere],
        }
    }

    /// The places on one side, as many as on the other, so that no side is favoured.
    pub fn places_on(self, side: Side) -> &'static [Place] {
        let (left, right) = self.places().split_at(self.places().len() / 2);
        match side {
            Side::Left => left,
            Side::Right => right,
        }
    }

    /// What is to be seen in it.
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

    /// All that a body has of it.
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

impl Place {
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
    pub fn outline(self) -> Oval {
        match self {
            Self::RightLung => Oval { x: 0.27, y: 0.47, rx: 0.16, ry: 0.31 },
            Self::LeftLung => Oval { x: 0.73, y: 0.47, rx: 0.16, ry: 0.31 },
            Self::Liver => Oval { x: 0.28, y: 0.34, rx: 0.17, ry: 0.15 },
            Self::Spleen => Oval { x: 0.75, y: 0.34, rx: 0.13, ry: 0.15 },
            Self::RightKidney => Oval { x: 0.30, y: 0.69, rx: 0.12, ry: 0.14 },
            Self::LeftKidney => Oval { x: 0.70, y: 0.69, rx: 0.12, ry: 0.14 },
            Self::RightHemisphere => Oval { x: 0.29, y: 0.49, rx: 0.13, ry: 0.29 },
            Self::LeftHemisphere => Oval { x: 0.71, y: 0.49, rx: 0.13, ry: 0.29 },
        }
    }
}

impl Kind {
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
    fn radii(self) -> (f32, f32) {
        match self {
            Self::Nodule => (0.052, 0.064),
            Self::Mass => (0.105, 0.125),
            Self::Cyst => (0.075, 0.095),
            Self::Bleed => (0.105, 0.130),
            Self::Stone => (0.042, 0.052),
        }
    }
}

impl Oval {
    /// The same, moved.
    pub fn moved(self, by: (f32, f32)) -> Self {
        Self { x: self.x + by.0, y: self.y + by.1, ..self }
    }

    /// The same, with its radii multiplied.
    pub fn scaled(self, by: f32) -> Self {
        Self { rx: self.rx * by, ry: self.ry * by, ..self }
    }

    /// Distance from the centre, in radii: 1 on the outline.
    pub fn reach(self, x: f32, y: f32) -> f32 {
        let (u, v) = ((x - self.x) / self.rx, (y - self.y) / self.ry);
        (u * u + v * v).sqrt()
    }
}

impl Scene {
    /// Lesions of one picture keep at least this much apart.
    const GAP: f32 = 0.03;
    /// Lesions have their centres in this part of an organ's outline.
    const CORE: f32 = 0.68;

    /// Draws a scene. All that it holds is uniform: modality, region, enlarged or not, kind, count;
    /// of several lesions, half lie on one side, half on both.
    pub fn draw(dice: &mut Dice) -> Self {
        let modality = dice.pick(&Modality::ALL);
        let region = dice.pick(&Region::ALL);
        let enlarged = dice.chance(0.5);
        let kind = dice.pick(&Kind::ALL);
        let count = dice.below(4);
        let shift = (dice.between(-0.025, 0.025), dice.between(-0.025, 0.025));
        let mut sides = vec![dice.pick(&Side::ALL); count];
        if count > 1 && dice.chance(0.5) {
            // One on each side; a third stays where chance put it.
            (sides[0], sides[1]) = (Side::Left, Side::Right);
        }
        let mut scene = Self { modality, region, enlarged, kind, lesions: Vec::new(), shift };
        // Lesions that find no room, however they are arranged, shrink until they do.
        const ARRANGEMENTS: usize = 20;
        let mut scale = 1.0;
        while !(0..ARRANGEMENTS).any(|_| scene.place(&sides, scale, dice)) {
            scale *= 0.94;
        }
        scene
    }

    /// Puts one lesion on each of `sides`; false if they found no room.
    fn place(&mut self, sides: &[Side], scale: f32, dice: &mut Dice) -> bool {
        const TRIES: usize = 12;
        self.lesions.clear();
        for &side in sides {
            let (low, high) = self.kind.radii();
            let radius = scale * dice.between(low, high);
            let angle = dice.between(0.0, std::f32::consts::TAU);
            let places = self.region.places_on(side);
            let found = (0..TRIES).find_map(|_| {
                let place = dice.pick(places);
                let core = place.outline().moved(self.shift).scaled(Self::CORE);
                let x = dice.between(core.x - core.rx, core.x + core.rx);
                let y = dice.between(core.y - core.ry, core.y + core.ry);
                let fits = core.reach(x, y) < 1.0 && self.is_free(x, y, radius);
                fits.then_some(Lesion { place, x, y, radius, angle })
            });
            match found {
                Some(lesion) => self.lesions.push(lesion),
                None => return false,
            }
        }
        true
    }

    /// Whether a lesion there would be clear of the others and of the heart.
    fn is_free(&self, x: f32, y: f32, radius: f32) -> bool {
        let clear =
            |other: &Lesion| (x - other.x).hypot(y - other.y) > radius + other.radius + Self::GAP;
        let in_heart = self.region == Region::Chest && self.main_oval().reach(x, y) < 1.0;
        !in_heart && self.lesions.iter().all(clear)
    }

    /// The outline of the main organ, as large as it is; of the ventricles, the pair.
    pub fn main_oval(&self) -> Oval {
        let oval = match (self.region, self.enlarged) {
            (Region::Chest, false) => Oval { x: 0.53, y: 0.60, rx: 0.10, ry: 0.13 },
            (Region::Chest, true) => Oval { x: 0.53, y: 0.61, rx: 0.18, ry: 0.16 },
            (Region::Abdomen, false) => Place::Liver.outline(),
            (Region::Abdomen, true) => Oval { x: 0.36, y: 0.34, rx: 0.28, ry: 0.20 },
            (Region::Head, false) => Oval { x: 0.50, y: 0.48, rx: 0.075, ry: 0.12 },
            (Region::Head, true) => Oval { x: 0.50, y: 0.48, rx: 0.15, ry: 0.19 },
        };
        oval.moved(self.shift)
    }

    /// The sides that have lesions: `None` if there are none, or if both have.
    pub fn only_side(&self) -> Option<Side> {
        let side = self.lesions.first()?.place.side();
        self.lesions.iter().all(|l| l.place.side() == side).then_some(side)
    }

    /// The place of all lesions: `None` if there are none, or several places.
    pub fn only_place(&self) -> Option<Place> {
        let place = self.lesions.first()?.place;
        self.lesions.iter().all(|l| l.place == place).then_some(place)
    }

    /// Whether any lesion is there.
    pub fn affects(&self, place: Place) -> bool {
        self.lesions.iter().any(|l| l.place == place)
    }
}

#[cfg(test)]
mod tests {
    use super::super::dice::Purpose;
    use super::*;

    #[test]
    fn lesions_lie_in_their_organ_on_their_side_and_apart() {
        for i in 0..3_000 {
            let scene = Scene::draw(&mut Dice::new(7, 0, i, Purpose::Scene));
            assert!(scene.lesions.len() <= 3);
            for (n, a) in scene.lesions.iter().enumerate() {
                assert!(scene.region.places().contains(&a.place));
                let outline = a.place.outline().moved(scene.shift);
                assert!(outline.reach(a.x, a.y) < 0.7, "{scene:?}");
                assert_eq!(a.place.side() == Side::Left, a.x > 0.5, "{scene:?}");
                for b in &scene.lesions[..n] {
                    let width = if scene.kind == Kind::Bleed { 0.75 } else { 1.0 };
                    let room = width * (a.radius + b.radius);
                    assert!((a.x - b.x).hypot(a.y - b.y) > room, "{scene:?}");
                }
            }
        }
    }

    #[test]
    fn scenes_are_uniform_and_lesions_are_large_enough_to_see() {
        let (mut counts, mut both, mut sizes) = ([0; 4], 0.0, Vec::new());
        for i in 0..4_000 {
            let scene = Scene::draw(&mut Dice::new(8, 0, i, Purpose::Scene));
            counts[scene.lesions.len()] += 1;
            both += f32::from(scene.lesions.len() > 1 && scene.only_side().is_none());
            let (low, _) = scene.kind.radii();
            sizes.extend(scene.lesions.iter().map(|l| l.radius / low));
            assert!(scene.lesions.iter().all(|l| l.radius > 0.04), "{scene:?}");
        }
        assert!(counts.iter().all(|n| (900..1_100).contains(n)), "{counts:?}");
        let both = both / (counts[2] + counts[3]) as f32;
        assert!((0.45..0.55).contains(&both), "{both}");
        let shrunk = sizes.iter().filter(|&&size| size < 0.8).count();
        assert!(shrunk * 10 < sizes.len(), "{shrunk} of {} found little room", sizes.len());
    }
}

//! A scene: the anatomy and the lesions of one phantom, from which its image, questions and report follow.

use super::anatomy::{Ellipse, LesionKind, Location, Modality, Region, Side};
use super::random::RandomStream;

/// One lesion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lesion {
    /// The location in an organ.
    pub place: Location,
    /// The center.
    pub x: f32,
    /// The center.
    pub y: f32,
    /// Half of its largest extent.
    pub radius: f32,
    /// Its rotation in radians.
    pub angle: f32,
}

/// All that one image shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// The modality.
    pub modality: Modality,
    /// The body region.
    pub region: Region,
    /// Whether the region's [`Region::main_organ`] is enlarged.
    pub enlarged: bool,
    /// The kind of all lesions; without meaning if there are none.
    pub kind: LesionKind,
    /// 0 to 3 lesions, all of the same kind.
    pub lesions: Vec<Lesion>,
    /// The offset of the patient from the middle.
    pub shift: (f32, f32),
}

impl Scene {
    /// Lesions of one image keep at least this much apart.
    const GAP: f32 = 0.03;
    /// Lesions have their centers in this part of an organ's outline.
    const CORE: f32 = 0.68;

    /// Draws a scene. All that it holds is uniform: modality, region, enlarged or not, kind, count;
    /// of several lesions, half lie on one side, half on both.
    pub fn draw(random: &mut RandomStream) -> Self {
        let modality = random.pick(&Modality::ALL);
        let region = random.pick(&Region::ALL);
        let enlarged = random.chance(0.5);
        let kind = random.pick(&LesionKind::ALL);
        let count = random.below(4);
        let shift = (random.between(-0.025, 0.025), random.between(-0.025, 0.025));
        let mut sides = vec![random.pick(&Side::ALL); count];
        if count > 1 && random.chance(0.5) {
            // One on each side; a third stays where chance put it.
            (sides[0], sides[1]) = (Side::Left, Side::Right);
        }
        let mut scene = Self { modality, region, enlarged, kind, lesions: Vec::new(), shift };
        // Lesions that find no room, however they are arranged, shrink until they do.
        const ARRANGEMENTS: usize = 20;
        let mut scale = 1.0;
        while !(0..ARRANGEMENTS).any(|_| scene.place(&sides, scale, random)) {
            scale *= 0.94;
        }
        scene
    }

    /// Puts one lesion on each of `sides`; false if they found no room.
    fn place(&mut self, sides: &[Side], scale: f32, random: &mut RandomStream) -> bool {
        const TRIES: usize = 12;
        self.lesions.clear();
        for &side in sides {
            let (low, high) = self.kind.radii();
            let radius = scale * random.between(low, high);
            let angle = random.between(0.0, std::f32::consts::TAU);
            let places = self.region.places_on(side);
            let found = (0..TRIES).find_map(|_| {
                let place = random.pick(places);
                let core = place.outline().moved(self.shift).scaled(Self::CORE);
                let x = random.between(core.x - core.rx, core.x + core.rx);
                let y = random.between(core.y - core.ry, core.y + core.ry);
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
        let in_heart = self.region == Region::Chest && self.main_ellipse().reach(x, y) < 1.1;
        !in_heart && self.lesions.iter().all(clear)
    }

    /// The outline of the main organ, as large as it is; of the ventricles, the pair.
    pub fn main_ellipse(&self) -> Ellipse {
        let ellipse = match (self.region, self.enlarged) {
            (Region::Chest, false) => Ellipse { x: 0.53, y: 0.60, rx: 0.10, ry: 0.13 },
            (Region::Chest, true) => Ellipse { x: 0.53, y: 0.61, rx: 0.18, ry: 0.16 },
            (Region::Abdomen, false) => Location::Liver.outline(),
            (Region::Abdomen, true) => Ellipse { x: 0.36, y: 0.34, rx: 0.28, ry: 0.20 },
            (Region::Head, false) => Ellipse { x: 0.50, y: 0.48, rx: 0.075, ry: 0.12 },
            (Region::Head, true) => Ellipse { x: 0.50, y: 0.48, rx: 0.15, ry: 0.19 },
        };
        ellipse.moved(self.shift)
    }

    /// The sides that have lesions: `None` if there are none, or if both have.
    pub fn only_side(&self) -> Option<Side> {
        let side = self.lesions.first()?.place.side();
        self.lesions.iter().all(|l| l.place.side() == side).then_some(side)
    }

    /// The place of all lesions: `None` if there are none, or several places.
    pub fn only_place(&self) -> Option<Location> {
        let place = self.lesions.first()?.place;
        self.lesions.iter().all(|l| l.place == place).then_some(place)
    }

    /// Whether any lesion is there.
    pub fn affects(&self, place: Location) -> bool {
        self.lesions.iter().any(|l| l.place == place)
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Purpose;
    use super::*;

    #[test]
    fn lesions_lie_in_their_organ_on_their_side_and_apart() {
        for i in 0..3_000 {
            let scene = Scene::draw(&mut RandomStream::new(7, 0, i, Purpose::Scene));
            assert!(scene.lesions.len() <= 3);
            for (n, a) in scene.lesions.iter().enumerate() {
                assert!(scene.region.places().contains(&a.place));
                let outline = a.place.outline().moved(scene.shift);
                assert!(outline.reach(a.x, a.y) < 0.7, "{scene:?}");
                assert_eq!(a.place.side() == Side::Left, a.x > 0.5, "{scene:?}");
                for b in &scene.lesions[..n] {
                    let width = if scene.kind == LesionKind::Bleed { 0.75 } else { 1.0 };
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
            let scene = Scene::draw(&mut RandomStream::new(8, 0, i, Purpose::Scene));
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

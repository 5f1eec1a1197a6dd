//! A short report that is true of a scene.

use super::scene::Scene;
use super::words::NUMBERS;

/// The fixed wording of a report, from which the vocabulary takes its words.
pub const WORDING: &[&str] = &[OF_THE, NO_LESION, A, IN_THE, AND, THE, ENLARGED, NORMAL_SIZE];
const OF_THE: &str = " of the ";
const NO_LESION: &str = "no lesion is seen";
const A: &str = "a ";
const IN_THE: &str = " in the ";
const AND: &str = " and ";
const THE: &str = "the ";
const ENLARGED: &str = " enlarged";
const NORMAL_SIZE: &str = " normal in size";

/// Three sentences: what was imaged, what lesions there are and where, how large the main organ is.
pub fn report(scene: &Scene) -> String {
    let organ = scene.region.main_organ();
    let verb = if organ.name().ends_with('s') { " are" } else { " is" };
    let size = if scene.enlarged { ENLARGED } else { NORMAL_SIZE };
    let title = [scene.modality.a_name(), OF_THE, scene.region.name()].concat();
    let verdict = [THE, organ.name(), verb, size].concat();
    format!("{title}. {}. {verdict}.", findings(scene))
}

/// The lesions by place, in the order of the region's places.
fn findings(scene: &Scene) -> String {
    let parts: Vec<String> = scene
        .region
        .places()
        .iter()
        .filter_map(|&place| {
            let what = match scene.lesions.iter().filter(|l| l.place == place).count() {
                0 => return None,
                1 => [A, scene.kind.name()].concat(),
                several => [NUMBERS[several], " ", scene.kind.plural()].concat(),
            };
            Some([&what, IN_THE, place.name()].concat())
        })
        .collect();
    if parts.is_empty() { NO_LESION.to_owned() } else { parts.join(AND) }
}

#[cfg(test)]
mod tests {
    use super::super::anatomy::{LesionKind, Location, Modality, Region};
    use super::super::scene::Lesion;
    use super::*;

    #[test]
    fn reports_read_well_and_count_by_place() {
        let at = |place: Location| {
            let outline = place.outline();
            Lesion { place, x: outline.x, y: outline.y, radius: 0.05, angle: 0.0 }
        };
        let mut scene = Scene {
            modality: Modality::Mri,
            region: Region::Abdomen,
            enlarged: false,
            kind: LesionKind::Mass,
            lesions: Vec::new(),
            shift: (0.0, 0.0),
        };
        let normal = "an mri of the abdomen. no lesion is seen. the liver is normal in size.";
        assert_eq!(report(&scene), normal);
        scene.lesions =
            [Location::RightKidney, Location::Spleen, Location::RightKidney].map(at).to_vec();
        assert_eq!(
            report(&scene),
            "an mri of the abdomen. a mass in the spleen and two masses in the right kidney. \
             the liver is normal in size."
        );
        let head = Scene { region: Region::Head, enlarged: true, lesions: Vec::new(), ..scene };
        assert!(report(&head).ends_with("the ventricles are enlarged."));
    }
}

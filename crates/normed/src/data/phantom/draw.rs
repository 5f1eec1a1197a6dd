//! Draws a scene as an image: each modality has its own tones, edges, texture and noise.

use super::anatomy::{Ellipse, LesionKind, Location, Modality, Region};
use super::canvas::{Canvas, waves};
use super::random::RandomStream;
use super::scene::{Lesion, Scene};
use super::site::Site;
use crate::data::Image;

/// The brightness and the look of tissues in one modality.
struct TissueLook {
    outside: f32,
    skin: f32,
    body: f32,
    bone: f32,
    lung: f32,
    heart: f32,
    liver: f32,
    spleen: f32,
    kidney: f32,
    brain: f32,
    fluid: f32,
    /// Width of an edge, as a fraction of the side.
    soft: f32,
    /// Relative strength of slow brightness changes.
    texture: f32,
    /// Relative deviation of the noise.
    speckle: f32,
}

impl TissueLook {
    #[allow(clippy::too_many_lines, reason = "a table of constants, one block per modality")]
    fn of(modality: Modality) -> Self {
        match modality {
            Modality::Radiograph => Self {
                outside: 0.04,
                skin: 0.34,
                body: 0.40,
                bone: 0.72,
                lung: 0.17,
                heart: 0.60,
                liver: 0.56,
                spleen: 0.55,
                kidney: 0.55,
                brain: 0.46,
                fluid: 0.28,
                soft: 0.05,
                texture: 0.08,
                speckle: 0.03,
            },
            Modality::Ct => Self {
                outside: 0.0,
                skin: 0.20,
                body: 0.30,
                bone: 0.95,
                lung: 0.07,
                heart: 0.48,
                liver: 0.46,
                spleen: 0.50,
                kidney: 0.54,
                brain: 0.42,
                fluid: 0.14,
                soft: 0.016,
                texture: 0.04,
                speckle: 0.07,
            },
            Modality::Mri => Self {
                outside: 0.02,
                skin: 0.88,
                body: 0.34,
                bone: 0.08,
                lung: 0.05,
                heart: 0.46,
                liver: 0.24,
                spleen: 0.50,
                kidney: 0.58,
                brain: 0.44,
                fluid: 0.80,
                soft: 0.025,
                texture: 0.16,
                speckle: 0.04,
            },
            Modality::Ultrasound => Self {
                outside: 0.0,
                skin: 0.50,
                body: 0.42,
                bone: 0.70,
                lung: 0.24,
                heart: 0.12,
                liver: 0.34,
                spleen: 0.32,
                kidney: 0.20,
                brain: 0.30,
                fluid: 0.05,
                soft: 0.03,
                texture: 0.22,
                speckle: 0.20,
            },
        }
    }
}

/// The image of `scene` as `site` takes it, `size` pixels wide and high.
pub fn draw(scene: &Scene, site: &Site, size: usize, random: &mut RandomStream) -> Image {
    let look = TissueLook::of(scene.modality);
    let mut canvas = Canvas::new(size, look.outside, random);
    match scene.region {
        Region::Chest => chest(&mut canvas, scene, &look),
        Region::Abdomen => abdomen(&mut canvas, scene, &look),
        Region::Head => head(&mut canvas, scene, &look),
    }
    canvas.modulate(&waves(size, 4, random), look.texture);
    canvas.modulate(&waves(size, 17, random), look.texture);
    for lesion in &scene.lesions {
        stamp_lesion(&mut canvas, scene.kind, lesion);
    }
    canvas.map(|_, _, gray| gray * (1.0 + look.speckle * random.normal()));
    if scene.modality == Modality::Ultrasound {
        fan(&mut canvas);
    }
    site.render(&mut canvas, random);
    let rgb = canvas.gray.iter().flat_map(|gray| [(gray * 255.0).round() as u8; 3]).collect();
    Image { width: size, height: size, rgb }
}

/// The trunk: a projection fills the image, a slice is an ellipse with a rim of fat.
fn trunk(canvas: &mut Canvas, scene: &Scene, look: &TissueLook) {
    let whole = Ellipse { x: 0.5, y: 0.52, rx: 0.48, ry: 0.45 }.moved(scene.shift);
    match scene.modality {
        Modality::Radiograph => {
            let torso = Ellipse { x: 0.5, y: 0.62, rx: 0.54, ry: 0.62 }.moved(scene.shift);
            canvas.fill(torso, look.body, 0.04);
            spine_shadow(canvas, scene, look);
        }
        Modality::Ct | Modality::Mri => {
            canvas.fill(whole, look.skin, look.soft);
            canvas.fill(whole.scaled(0.91), look.body, look.soft);
            let spine = Ellipse { x: 0.5, y: 0.87, rx: 0.07, ry: 0.06 }.moved(scene.shift);
            canvas.fill(spine, look.bone, look.soft);
            canvas.fill(spine.scaled(0.4), look.fluid, look.soft);
        }
        Modality::Ultrasound => canvas.map(|_, _, _| look.body),
    }
}

/// The spine of a projection: a band of vertebrae.
fn spine_shadow(canvas: &mut Canvas, scene: &Scene, look: &TissueLook) {
    let middle = 0.5 + scene.shift.0;
    canvas.map(|x, y, gray| {
        let across = ((0.075 - (x - middle).abs()) / 0.03).clamp(0.0, 1.0);
        let disc = if (y * 9.0).fract() < 0.25 { 0.15 } else { 0.45 };
        gray + across * disc * (look.bone - gray)
    });
}

fn chest(canvas: &mut Canvas, scene: &Scene, look: &TissueLook) {
    trunk(canvas, scene, look);
    let lungs = [Location::LeftLung, Location::RightLung].map(|p| p.outline().moved(scene.shift));
    for lung in lungs {
        canvas.fill(lung, look.lung, look.soft);
    }
    match scene.modality {
        Modality::Radiograph => {
            for lung in lungs {
                for rib in 0..5 {
                    let y = lung.y - 0.16 + 0.13 * rib as f32;
                    let arc = Ellipse { x: lung.x, y, rx: 0.22, ry: 0.10 };
                    canvas.stroke(arc, 0.022, look.bone, 0.13);
                }
            }
        }
        Modality::Ct | Modality::Mri => {
            let cage = Ellipse { x: 0.5, y: 0.51, rx: 0.41, ry: 0.38 }.moved(scene.shift);
            canvas.stroke(cage, 0.02, look.bone, 0.6);
        }
        Modality::Ultrasound => {
            for lung in lungs {
                canvas.stroke(lung, 0.02, look.bone, 0.5);
            }
        }
    }
    let heart = scene.main_ellipse();
    canvas.fill(heart, look.heart, look.soft);
    if scene.modality == Modality::Ultrasound {
        canvas.stroke(heart, 0.03, look.bone, 0.8);
    }
}

fn abdomen(canvas: &mut Canvas, scene: &Scene, look: &TissueLook) {
    trunk(canvas, scene, look);
    for kidney in [Location::LeftKidney, Location::RightKidney] {
        let outline = kidney.outline().moved(scene.shift);
        canvas.fill(outline, look.kidney, look.soft);
        // The renal sinus opens towards the middle.
        let inwards = if outline.x < 0.5 { 0.085 } else { -0.085 };
        let sinus = Ellipse { x: outline.x + inwards, rx: 0.04, ry: 0.05, ..outline };
        canvas.fill(sinus, look.body, look.soft);
    }
    let spleen = Location::Spleen.outline().moved(scene.shift);
    let liver = scene.main_ellipse();
    for (organ, level) in [(spleen, look.spleen), (liver, look.liver)] {
        canvas.fill(organ, level, look.soft);
        if scene.modality == Modality::Ultrasound {
            canvas.stroke(organ, 0.02, look.bone, 0.5);
        }
    }
}

fn head(canvas: &mut Canvas, scene: &Scene, look: &TissueLook) {
    let whole = Ellipse { x: 0.5, y: 0.5, rx: 0.44, ry: 0.48 }.moved(scene.shift);
    if scene.modality == Modality::Ultrasound {
        canvas.map(|_, _, _| 0.5 * look.body);
    }
    canvas.fill(whole, look.skin, look.soft);
    canvas.fill(whole.scaled(0.95), look.bone, look.soft);
    canvas.fill(whole.scaled(0.87), look.brain, look.soft);
    // The fissure between the hemispheres.
    let middle = 0.5 + scene.shift.0;
    canvas
        .stamp((middle, whole.y), 0.40, |dx, _, gray| (0.6 * gray, 0.8 * (1.0 - dx.abs() / 0.012)));
    let pair = scene.main_ellipse();
    for side in [-1.0, 1.0] {
        let x = pair.x + side * 0.55 * pair.rx;
        canvas.fill(Ellipse { x, rx: 0.45 * pair.rx, ..pair }, look.fluid, look.soft.min(0.03));
    }
}

/// Draws a lesion; what a kind looks like is the same in every modality and organ.
fn stamp_lesion(canvas: &mut Canvas, kind: LesionKind, lesion: &Lesion) {
    let at = (lesion.x, lesion.y);
    let r = lesion.radius;
    let edge = 1.2 / canvas.side as f32;
    let (sin, cos) = lesion.angle.sin_cos();
    match kind {
        LesionKind::Nodule => canvas.stamp(at, r + edge, |dx, dy, gray| {
            (bright(gray, 0.40), (r - dx.hypot(dy)) / edge + 0.5)
        }),
        LesionKind::Mass => {
            // A core and four lobes about it.
            let lobes = [
                (0.0, 0.0, 0.66),
                (0.56, 0.1, 0.44),
                (-0.5, 0.2, 0.46),
                (0.1, -0.56, 0.44),
                (-0.1, 0.52, 0.46),
            ];
            canvas.stamp(at, r + edge, |dx, dy, gray| {
                let (u, v) = ((cos * dx + sin * dy) / r, (cos * dy - sin * dx) / r);
                let inside = lobes
                    .iter()
                    .map(|(x, y, radius)| radius - (u - x).hypot(v - y))
                    .fold(f32::MIN, f32::max);
                (bright(gray, 0.34), inside * r / edge + 0.5)
            });
        }
        LesionKind::Cyst => {
            let wall = 0.022;
            canvas.stamp(at, r + edge, |dx, dy, gray| {
                let depth = r - dx.hypot(dy);
                let level = if depth > wall { 0.15 * gray } else { bright(gray, 0.40) };
                (level, depth / edge + 0.5)
            });
        }
        LesionKind::Bleed => canvas.stamp(at, r + edge, |dx, dy, gray| {
            let (u, v) = (cos * dx + sin * dy, cos * dy - sin * dx);
            let depth = 1.0 - (u / r).hypot(v / (0.38 * r));
            (bright(gray, 0.44), 1.6 * depth)
        }),
        LesionKind::Stone => {
            canvas.stamp((lesion.x, lesion.y + 2.2 * r), 2.0 * r, |dx, dy, gray| {
                let fade = 1.0 - (dy + 2.0 * r) / (4.0 * r);
                (0.25 * gray, 0.9 * fade * ((0.9 * r - dx.abs()) / edge + 0.5).clamp(0.0, 1.0))
            });
            canvas.stamp(at, r + edge, |dx, dy, _| {
                let diamond = dx.abs() + dy.abs();
                (1.0, (1.15 * r - diamond) / edge + 0.5)
            });
        }
    }
}

/// The gray value of tissue under a bright lesion: clearly brighter than the tissue, and never dim.
fn bright(gray: f32, more: f32) -> f32 {
    (gray + more).max(0.58)
}

/// The field of view of a curved probe at the top.
fn fan(canvas: &mut Canvas) {
    canvas.map(|x, y, gray| {
        let (dx, dy) = (x - 0.5, y + 0.35);
        let depth = dx.hypot(dy);
        let inside = dx.abs() < 0.80 * dy && (0.40..1.30).contains(&depth);
        if inside { gray * (1.15 - 0.35 * y) } else { 0.0 }
    });
}

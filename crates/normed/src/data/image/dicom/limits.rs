//! What a compressed frame may claim.

use super::shape::Shape;

/// The number of pixels that may be decoded from few bytes by codes that have no minimum number of bits a pixel.
pub(super) const MAX_BLANK_PIXELS: usize = 4 << 20;

/// Checks that a frame has the size and the number of components that the header of its file states.
pub(super) fn check_size(
    [width, height]: [u64; 2],
    components: usize,
    shape: &Shape,
) -> Result<(), String> {
    if [width, height] != [shape.columns as u64, shape.rows as u64] {
        return Err(format!(
            "it has {width} x {height} pixels, another size than the file's header states"
        ));
    }
    if components != shape.samples {
        return Err(format!(
            "it has {components} components, another number than the {} samples of the file's header",
            shape.samples
        ));
    }
    Ok(())
}

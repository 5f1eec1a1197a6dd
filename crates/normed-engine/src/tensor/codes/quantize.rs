//! Quantizing one group.

/// The largest code.
const LARGEST: f32 = 127.0;

/// Groups whose largest magnitude is below this are zeros: 127 over it would overflow.
const SMALLEST: f32 = 1e-36;

/// Adding it to a small f32 leaves the nearest integer, ties to even, in the lowest bits of the sum. The
/// compiler has no vector instruction for rounding on every target, but it has one for adding.
const ROUNDER: f32 = 12_582_912.0;

/// Quantizes `values` to as many `codes`, and returns their scale: the largest magnitude over 127. Where a
/// value is infinite or NaN, so is the scale, and with it all that is multiplied by it.
#[inline(always)]
pub fn quantize_group(values: &[f32], codes: &mut [i8]) -> f32 {
    // As integers, since a NaN's bits are larger than any number's.
    let mut largest = 0;
    for x in values {
        largest = largest.max(x.to_bits() & 0x7fff_ffff);
    }
    let largest = f32::from_bits(largest);
    if largest < SMALLEST {
        codes.fill(0);
        return 0.0;
    }
    let inverse = LARGEST / largest;
    for (code, x) in codes.iter_mut().zip(values) {
        let sum = *x * inverse + ROUNDER;
        *code = sum.to_bits().wrapping_sub(ROUNDER.to_bits()) as i8;
    }
    largest / LARGEST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantize(values: &[f32]) -> (Vec<i8>, f32) {
        let mut codes = vec![99; values.len()];
        let scale = quantize_group(values, &mut codes);
        (codes, scale)
    }

    #[test]
    fn codes_are_the_nearest_multiples_of_the_scale() {
        let (codes, scale) = quantize(&[254.0, -254.0, 1.0, 3.0, -2.9, 0.0, -0.9]);
        // Ties go to even codes: 0.5 to 0 and 1.5 to 2.
        assert_eq!((codes, scale), (vec![127, -127, 0, 2, -1, 0, 0], 2.0));
        for seed in 0..20 {
            let values: Vec<f32> =
                (0..64).map(|i| ((i * 37 + seed * 101) % 257) as f32 / 50.0 - 2.5).collect();
            let (codes, scale) = quantize(&values);
            for (&code, x) in codes.iter().zip(&values) {
                assert!((f32::from(code) * scale - x).abs() <= scale * 0.500_01, "{x}");
            }
        }
    }

    #[test]
    fn zeros_and_what_is_not_finite_have_their_scales() {
        assert_eq!(quantize(&[0.0, -0.0, 1e-37]), (vec![0; 3], 0.0));
        assert_eq!(quantize(&[1.0, f32::NEG_INFINITY]).1, f32::INFINITY);
        assert!(quantize(&[f32::INFINITY, -f32::NAN, 1.0]).1.is_nan());
        assert!(quantize(&[1e-35, -2e-36]).1 > 0.0);
    }
}

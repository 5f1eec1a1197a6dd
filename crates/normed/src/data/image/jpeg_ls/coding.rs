//! The coding parameters and the contexts of JPEG-LS (T.87, A.2 to A.6 and C.2.4.1.1).

use super::bits::BitReader;

/// The parameters of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameters {
    /// The largest sample.
    pub max: i32,
    /// The largest error; 0 is lossless.
    pub near: i32,
    /// T1, T2 and T3.
    pub thresholds: [i32; 3],
    /// When the counts of a context are halved.
    pub reset: i32,
}

impl Parameters {
    /// The parameters for samples up to `max`, where the file does not state others.
    pub fn new(max: i32, near: i32) -> Self {
        let clamp = |value: i32, least: i32| {
            if (least..=max).contains(&value) { value } else { least }
        };
        let threshold = |low: i32, high: i32, least: i32, scale: i32| match max {
            128.. => ((max.min(4095) + 128) >> 8) * (high - low) + low + scale * near,
            _ => (high / (256 / (max + 1)) + scale * near).max(least),
        };
        let first = clamp(threshold(2, 3, 2, 3), near + 1);
        let second = clamp(threshold(3, 7, 3, 5), first);
        let third = clamp(threshold(4, 21, 4, 7), second);
        Self { max, near, thresholds: [first, second, third], reset: 64 }
    }

    /// Replaces what an LSE segment of type 1 states; 0 stands for the default.
    pub fn with_preset(self, preset: [u16; 5]) -> Result<Self, String> {
        let [max, t1, t2, t3, reset] = preset.map(i32::from);
        if max > self.max {
            return Err("its largest sample is beyond its number of bits".into());
        }
        let mut new = if max > 0 { Self::new(max, self.near) } else { self };
        for (threshold, stated) in new.thresholds.iter_mut().zip([t1, t2, t3]) {
            *threshold = if stated > 0 { stated } else { *threshold };
        }
        let [t1, t2, t3] = new.thresholds;
        if !(self.near < t1 && t1 <= t2 && t2 <= t3 && t3 <= new.max) || matches!(reset, 1 | 2) {
            return Err("its coding parameters are out of range".into());
        }
        new.reset = if reset > 0 { reset } else { new.reset };
        Ok(new)
    }

    /// The number of quantized errors, RANGE.
    pub fn range(&self) -> i32 {
        (self.max + 2 * self.near) / self.step() + 1
    }

    /// The distance between quantized errors.
    pub fn step(&self) -> i32 {
        2 * self.near + 1
    }

    /// The bits of a quantized error, qbpp.
    pub fn error_bits(&self) -> u32 {
        bits_below(self.range())
    }

    /// The longest code in bits, LIMIT.
    pub fn limit(&self) -> i32 {
        let bits = bits_below(self.max + 1).max(2) as i32;
        2 * (bits + bits.max(8))
    }

    /// The quantized gradient, from -4 to 4 (A.3.3).
    pub fn quantize(&self, gradient: i32) -> i32 {
        let [t1, t2, t3] = self.thresholds;
        let size = match gradient.abs() {
            size if size <= self.near => 0,
            size if size < t1 => 1,
            size if size < t2 => 2,
            size if size < t3 => 3,
            _ => 4,
        };
        size * gradient.signum()
    }

    /// The sample at the quantized distance `error` from `prediction` (A.4.5).
    pub fn reconstruct(&self, prediction: i32, error: i32) -> i32 {
        let whole = self.range() * self.step();
        let value = prediction + error * self.step();
        let value = match value {
            _ if value < -self.near => value + whole,
            _ if value > self.max + self.near => value - whole,
            _ => value,
        };
        value.clamp(0, self.max)
    }
}

/// The bits of the numbers below `count`.
fn bits_below(count: i32) -> u32 {
    i32::BITS - (count - 1).leading_zeros()
}

/// Decodes a number with a limited Golomb code (A.5.3).
pub(super) fn golomb(
    reader: &mut BitReader<'_>,
    k: u32,
    limit: i32,
    error_bits: u32,
) -> Result<i32, String> {
    let escape = limit - error_bits as i32 - 1;
    let zeros = reader.zeros(escape)?;
    let code = match zeros < escape {
        true => (zeros << k) + reader.bits(k)?,
        false => reader.bits(error_bits)? + 1,
    };
    // No error is larger than the range; sums of larger ones could overflow.
    if code > 2 << error_bits {
        return Err("it has an error beyond its range".into());
    }
    Ok(code)
}

/// The parameter of the Golomb code: by how many bits `n` has to be shifted to reach `a`.
pub(super) fn golomb_parameter(n: i32, a: i32) -> Result<u32, String> {
    // Errors of 16 bits need no larger parameter.
    (0..=16)
        .find(|k| i64::from(n) << k >= i64::from(a))
        .ok_or_else(|| "its statistics are out of range".into())
}

/// The statistics of a context of the regular mode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    /// Sum of the errors' sizes.
    pub a: i32,
    /// The bias.
    b: i32,
    /// The correction of predictions.
    pub c: i32,
    /// Number of errors.
    pub n: i32,
}

impl Context {
    pub fn new(parameters: &Parameters) -> Self {
        Self { a: ((parameters.range() + 32) / 64).max(2), b: 0, c: 0, n: 1 }
    }

    /// The error that `code` stands for (A.5.2).
    pub fn error(&self, code: i32, k: u32, near: i32) -> i32 {
        let error = if code & 1 == 0 { code / 2 } else { -(code + 1) / 2 };
        if k == 0 && near == 0 && 2 * self.b <= -self.n { -error - 1 } else { error }
    }

    /// Counts `error` in (A.6).
    pub fn update(&mut self, error: i32, parameters: &Parameters) {
        self.b += error * parameters.step();
        self.a = self.a.saturating_add(error.abs());
        if self.n == parameters.reset {
            self.a >>= 1;
            self.b >>= 1;
            self.n >>= 1;
        }
        self.n += 1;
        if self.b <= -self.n {
            self.b = (self.b + self.n).max(1 - self.n);
            self.c = (self.c - 1).max(-128);
        } else if self.b > 0 {
            self.b = (self.b - self.n).min(0);
            self.c = (self.c + 1).min(127);
        }
    }
}

/// The statistics of a context of samples that end a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunContext {
    a: i32,
    n: i32,
    /// Number of negative errors.
    negative: i32,
    /// 1 if the samples to the left and above are alike, else 0 (RItype).
    kind: i32,
}

impl RunContext {
    pub fn new(parameters: &Parameters, kind: i32) -> Self {
        Self { a: Context::new(parameters).a, n: 1, negative: 0, kind }
    }

    /// Decodes an error, whose code has at most `limit` bits, and counts it in (A.7.2).
    pub fn decode(
        &mut self,
        reader: &mut BitReader<'_>,
        limit: i32,
        parameters: &Parameters,
    ) -> Result<i32, String> {
        let k = golomb_parameter(self.n, self.a.saturating_add((self.n >> 1) * self.kind))?;
        let code = golomb(reader, k, limit, parameters.error_bits())?;
        let doubled = code + self.kind;
        let is_odd = doubled & 1 == 1;
        let size = (doubled + 1) / 2;
        let is_negative = (k != 0 || 2 * self.negative >= self.n) == is_odd;
        let error = if is_negative { -size } else { size };
        if error < 0 {
            self.negative += 1;
        }
        self.a = self.a.saturating_add((code + 1 - self.kind) >> 1);
        if self.n == parameters.reset {
            self.a >>= 1;
            self.n >>= 1;
            self.negative >>= 1;
        }
        self.n += 1;
        Ok(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_recommendation() {
        let parameters = |max, near| {
            let parameters = Parameters::new(max, near);
            (parameters.thresholds, parameters.range(), parameters.limit())
        };
        assert_eq!(parameters(255, 0), ([3, 7, 21], 256, 32));
        assert_eq!(parameters(4095, 0), ([18, 67, 276], 4096, 48));
        assert_eq!(parameters(65535, 0), ([18, 67, 276], 65536, 64));
        assert_eq!(parameters(255, 3), ([12, 22, 42], 38, 32));
        assert_eq!(parameters(15, 0).0, [2, 3, 4]);
        assert!(Parameters::new(255, 0).with_preset([256, 0, 0, 0, 0]).is_err());
        assert!(Parameters::new(255, 0).with_preset([255, 9, 8, 10, 0]).is_err());
        let preset = Parameters::new(4095, 0).with_preset([1000, 0, 70, 0, 32]).unwrap();
        assert_eq!((preset.max, preset.reset, preset.thresholds[1]), (1000, 32, 70));
    }
}

//! The scans of a JPEG-LS image.

use super::bits::BitReader;
use super::coding::{Context, Parameters, RunContext, golomb, golomb_parameter};
use crate::data::image::jpeg_header::JpegHeader;

/// The end marker of an image.
const END: &[u8] = &[0xff, 0xd9];

/// The order in which a scan has the samples of its components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interleave {
    /// One component.
    None,
    /// A line of each component after the other.
    Line,
    /// The samples of each pixel.
    Sample,
}

/// Checks that [`decode`] supports an image with this header.
pub(in crate::data::image) fn check(header: &JpegHeader) -> Result<(), String> {
    if header.restart_interval > 0 {
        return Err("it is JPEG-LS with restart intervals, which is not supported".into());
    }
    let first = header.components[0].sampling;
    if header.components.iter().any(|component| component.sampling != first) {
        return Err("it is JPEG-LS with components of different sizes".into());
    }
    Ok(())
}

/// Decodes an image. The samples of each pixel are adjacent. Its size is not limited here.
pub(in crate::data::image) fn decode(
    bytes: &[u8],
    header: &JpegHeader,
) -> Result<Vec<i32>, String> {
    let channels = header.components.len();
    let mut samples = vec![0; header.width * header.height * channels];
    let mut preset = read_presets(bytes, 2, header.scan - 2, None)?;
    let mut at = header.scan;
    let mut missing: Vec<_> = header.components.iter().map(|component| component.id).collect();
    loop {
        let scan = ScanHeader::read(bytes, at, header)?;
        let parameters = Parameters::new((1 << header.precision) - 1, scan.near);
        let parameters = match preset {
            Some(preset) => parameters.with_preset(preset)?,
            None => parameters,
        };
        let mut reader = BitReader::new(bytes, scan.data);
        Scan::new(parameters, header.width, scan.components.len()).decode(
            &mut reader,
            scan.interleave,
            |y, x, component, value| {
                samples[(y * header.width + x) * channels + scan.components[component]] = value;
            },
            header.height,
        )?;
        missing.retain(|id| !scan.ids.contains(id));
        if missing.is_empty() {
            return match bytes.get(reader.end()..).is_some_and(|rest| rest.starts_with(END)) {
                true => Ok(samples),
                false => Err("it is cut short, its end marker is missing".into()),
            };
        }
        let next = find_scan(bytes, reader.end())?;
        preset = read_presets(bytes, reader.end(), next, preset)?;
        at = next + 2;
    }
}

/// The position of the next scan's marker, from the segment at `at` on.
fn find_scan(bytes: &[u8], mut at: usize) -> Result<usize, String> {
    loop {
        match bytes.get(at..at + 4) {
            Some([0xff, 0xda, ..]) => return Ok(at),
            Some(&[0xff, 0xe0..=0xff, high, low]) => {
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
            }
            _ => return Err("a component has no scan".into()),
        }
    }
}

/// Reads the LSE segments between two positions: the last preset of parameters, or else `preset`.
fn read_presets(
    bytes: &[u8],
    mut at: usize,
    end: usize,
    mut preset: Option<[u16; 5]>,
) -> Result<Option<[u16; 5]>, String> {
    while at < end {
        let Some(&[marker, high, low]) = bytes.get(at + 1..at + 4) else { break };
        if marker == 0xff {
            at += 1;
            continue;
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        if marker == 0xf8 {
            let segment = bytes.get(at + 4..at + 2 + length).unwrap_or_default();
            let (&kind, words) = segment.split_first().ok_or("its header is cut short")?;
            let (words, _) = words.as_chunks::<2>();
            preset = match (kind, words.first_chunk::<5>()) {
                (1, Some(words)) => Some(words.map(u16::from_be_bytes)),
                _ => {
                    return Err(
                        "it has a table of colors or of sizes, which is not supported".into()
                    );
                }
            };
        }
        at += 2 + length;
    }
    Ok(preset)
}

/// The header of a scan.
struct ScanHeader {
    /// The components, as they are numbered in the image, and their names.
    components: Vec<usize>,
    ids: Vec<u8>,
    near: i32,
    interleave: Interleave,
    /// Where the bits start.
    data: usize,
}

impl ScanHeader {
    /// Reads the header whose length is at `at`.
    fn read(bytes: &[u8], at: usize, header: &JpegHeader) -> Result<Self, String> {
        let cut = || "its scan header is cut short".to_owned();
        let &[high, low, count] = bytes.get(at..at + 3).ok_or_else(cut)? else { return Err(cut()) };
        let selectors = bytes.get(at + 3..at + 3 + 2 * usize::from(count)).ok_or_else(cut)?;
        let ids: Vec<_> = selectors.iter().step_by(2).copied().collect();
        if selectors.iter().skip(1).step_by(2).any(|&table| table != 0) {
            return Err("it has a table of colors, which is not supported".into());
        }
        let after = at + 3 + selectors.len();
        let &[near, interleave, transform] = bytes.get(after..after + 3).ok_or_else(cut)? else {
            return Err(cut());
        };
        let number = |id: &u8| header.components.iter().position(|c| c.id == *id);
        let components = ids.iter().map(number).collect::<Option<Vec<_>>>();
        let components = components.ok_or("a scan has a component that the image has not")?;
        let interleave = match (interleave, components.len()) {
            (_, 1) => Interleave::None,
            (1, 2..) => Interleave::Line,
            (2, 2..) => Interleave::Sample,
            _ => return Err("a scan has an unknown order of components".into()),
        };
        let max = (1 << header.precision) - 1;
        if i32::from(near) > (max / 2).min(255) || transform & 15 != 0 {
            return Err("a scan has parameters that are out of range".into());
        }
        let data = at + usize::from(u16::from_be_bytes([high, low]));
        if data < after + 3 {
            return Err(cut());
        }
        Ok(Self { components, ids, near: near.into(), interleave, data })
    }
}

/// The number of bits that a run's length grows by, J (A.2.1).
const RUN_BITS: [u32; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13,
    14, 15,
];

/// The state of a scan.
struct Scan {
    parameters: Parameters,
    width: usize,
    contexts: Vec<Context>,
    runs: [RunContext; 2],
    /// For each component the line above and the current one, with one more sample at either end.
    lines: Vec<[Vec<i32>; 2]>,
    /// For each component the index of runs; for samples of pixels the first one.
    run_index: Vec<usize>,
}

impl Scan {
    fn new(parameters: Parameters, width: usize, components: usize) -> Self {
        Self {
            parameters,
            width,
            contexts: vec![Context::new(&parameters); 365],
            runs: [0, 1].map(|kind| RunContext::new(&parameters, kind)),
            lines: vec![[vec![0; width + 2], vec![0; width + 2]]; components],
            run_index: vec![0; components],
        }
    }

    /// Decodes all lines. `store` gets row, column, the number of the component in the scan, and the sample.
    fn decode(
        mut self,
        reader: &mut BitReader<'_>,
        interleave: Interleave,
        mut store: impl FnMut(usize, usize, usize, i32),
        height: usize,
    ) -> Result<(), String> {
        let all: Vec<_> = (0..self.lines.len()).collect();
        for y in 0..height {
            for [above, current] in &mut self.lines {
                std::mem::swap(above, current);
                above[self.width + 1] = above[self.width];
                current[0] = above[1];
            }
            match interleave {
                Interleave::Sample => self.decode_line(reader, &all)?,
                Interleave::None | Interleave::Line => {
                    all.iter().try_for_each(|&only| self.decode_line(reader, &[only]))?;
                }
            }
            for (component, [_, current]) in self.lines.iter().enumerate() {
                for (x, &value) in current[1..=self.width].iter().enumerate() {
                    store(y, x, component, value);
                }
            }
        }
        Ok(())
    }

    /// Decodes a line of these components, pixel by pixel.
    fn decode_line(
        &mut self,
        reader: &mut BitReader<'_>,
        components: &[usize],
    ) -> Result<(), String> {
        let mut x = 1;
        while x <= self.width {
            let context = |&component: &usize| self.context(component, x);
            if components.iter().all(|component| context(component) == 0) {
                x = self.decode_run(reader, components, x)?;
                continue;
            }
            for component in components {
                let value = self.decode_regular(reader, *component, x)?;
                self.lines[*component][1][x] = value;
            }
            x += 1;
        }
        Ok(())
    }

    /// The samples a, b, c and d around column `x`.
    fn around(&self, component: usize, x: usize) -> [i32; 4] {
        let [above, current] = &self.lines[component];
        [current[x - 1], above[x], above[x - 1], above[x + 1]]
    }

    /// The number of the context at column `x`, from -364 to 364; 0 is a run (A.3).
    fn context(&self, component: usize, x: usize) -> i32 {
        let [a, b, c, d] = self.around(component, x);
        let [first, second, third] = [d - b, b - c, c - a].map(|g| self.parameters.quantize(g));
        81 * first + 9 * second + third
    }

    /// Decodes a sample in the regular mode (A.4 to A.6).
    fn decode_regular(
        &mut self,
        reader: &mut BitReader<'_>,
        component: usize,
        x: usize,
    ) -> Result<i32, String> {
        let parameters = self.parameters;
        let number = self.context(component, x);
        let sign = if number < 0 { -1 } else { 1 };
        let [a, b, c, _] = self.around(component, x);
        let context = &mut self.contexts[number.unsigned_abs() as usize];
        let predicted = match c {
            _ if c >= a.max(b) => a.min(b),
            _ if c <= a.min(b) => a.max(b),
            _ => a + b - c,
        };
        let predicted = (predicted + sign * context.c).clamp(0, parameters.max);
        let k = golomb_parameter(context.n, context.a)?;
        let code = golomb(reader, k, parameters.limit(), parameters.error_bits())?;
        let error = context.error(code, k, parameters.near);
        context.update(error, &parameters);
        Ok(parameters.reconstruct(predicted, sign * error))
    }

    /// Decodes a run from column `x` on, and the pixel that ends it; returns the column after it (A.7).
    fn decode_run(
        &mut self,
        reader: &mut BitReader<'_>,
        components: &[usize],
        x: usize,
    ) -> Result<usize, String> {
        let index = components[0];
        let left = self.width + 1 - x;
        let mut length = 0;
        while length < left && reader.bits(1)? == 1 {
            let step = 1 << RUN_BITS[self.run_index[index]];
            if step <= left - length {
                self.run_index[index] = (self.run_index[index] + 1).min(31);
            }
            length += step.min(left - length);
        }
        let is_interrupted = length < left;
        if is_interrupted {
            length += reader.bits(RUN_BITS[self.run_index[index]])? as usize;
        }
        if length > left || is_interrupted && length == left {
            return Err("it has a run beyond the end of a line".into());
        }
        for &component in components {
            let current = &mut self.lines[component][1];
            let value = current[x - 1];
            current[x..x + length].fill(value);
        }
        let end = x + length;
        if !is_interrupted {
            return Ok(end);
        }
        for &component in components {
            let value =
                self.decode_run_end(reader, component, end, index, components.len() == 1)?;
            self.lines[component][1][end] = value;
        }
        self.run_index[index] = self.run_index[index].saturating_sub(1);
        Ok(end + 1)
    }

    /// Decodes the sample that ends a run. Of the samples of a pixel each has the first kind of context.
    fn decode_run_end(
        &mut self,
        reader: &mut BitReader<'_>,
        component: usize,
        x: usize,
        index: usize,
        is_single: bool,
    ) -> Result<i32, String> {
        let parameters = self.parameters;
        let [a, b, ..] = self.around(component, x);
        let are_alike = is_single && (a - b).abs() <= parameters.near;
        let limit = parameters.limit() - RUN_BITS[self.run_index[index]] as i32 - 1;
        let run = &mut self.runs[usize::from(are_alike)];
        let error = run.decode(reader, limit, &parameters)?;
        Ok(match are_alike {
            true => parameters.reconstruct(a, error),
            false => parameters.reconstruct(b, if a > b { -error } else { error }),
        })
    }
}

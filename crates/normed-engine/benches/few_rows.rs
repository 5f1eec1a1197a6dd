//! How fast products of few rows read a frozen matrix, beside a plain read of as much memory.
//!
//!     cargo bench -p normed-engine --bench few_rows [-- ROWS ...]
//!
//! Each line is a matrix of a 7B language model in one format. Both numbers are GB/s of the bytes that the
//! format stores, scales included. The two are measured in turns and the best of many turns is shown,
//! because a machine has other work. Between two turns of a matrix others are read, so that no cache holds
//! it. RAYON_NUM_THREADS sets the number of threads.

use std::hint::black_box;
use std::time::Instant;

use half::bf16;
use normed_engine::ops::{Output, linear};
use normed_engine::tensor::{
    AttentionProjection, Bytes, Graph, Module, NF4_BLOCK, NF4_NESTED_BLOCK, ParamId, ParamKind,
    Parameters, Precision, QuantizedMatrix, Tensor, Tower, Var,
};
use rayon::prelude::*;

/// `[out, in]` of the linear layers.
const SHAPES: [[usize; 2]; 4] = [[4096, 4096], [14336, 4096], [4096, 14336], [32000, 4096]];

/// Bytes of the matrices among which turns go around: several times the last-level cache of a server.
const WORKING_SET: usize = 600 << 20;

/// Turns of each measurement.
const TURNS: usize = 60;

/// How a matrix is stored.
#[derive(Clone, Copy)]
enum Storage {
    Nf4,
    Int8,
    Plain(Precision),
}

/// The name, the storage, and the precision of the products.
const FORMATS: [(&str, Storage, Precision); 6] = [
    ("nf4", Storage::Nf4, Precision::Bf16),
    ("int8", Storage::Int8, Precision::Bf16),
    ("bf16", Storage::Plain(Precision::Bf16), Precision::Bf16),
    ("nf4", Storage::Nf4, Precision::F32),
    ("int8", Storage::Int8, Precision::F32),
    ("f32", Storage::Plain(Precision::F32), Precision::F32),
];

fn main() -> Result<(), rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().use_current_thread().build_global()?;
    let rows: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let rows = if rows.is_empty() { vec![1, 4, 16] } else { rows };
    println!("{} threads", rayon::current_num_threads());
    print!("matrix, products, [out, in]     plain read");
    rows.iter().for_each(|rows| print!("     {rows:>2} rows   "));
    println!();
    for (name, storage, precision) in FORMATS {
        for shape in SHAPES {
            let matrices = Matrices::new(shape, storage, precision);
            let (read, products) = matrices.measure(&rows);
            print!(
                "{name:<5} {:<5} {:<14} {read:>6.1} GB/s",
                precision.name(),
                format!("{shape:?}")
            );
            products.iter().for_each(|p| print!("  {p:>5.1} ({:>3.0} %)", 100.0 * p / read));
            println!();
        }
    }
    Ok(())
}

/// Copies of a matrix, which are read in turns.
struct Matrices {
    params: Parameters,
    copies: Vec<ParamId>,
    /// Memory for the plain read, of the size of all copies.
    plain: Vec<u64>,
    inner: usize,
    /// Bytes of one copy.
    bytes: usize,
}

impl Matrices {
    fn new([out, inner]: [usize; 2], storage: Storage, precision: Precision) -> Self {
        let len = out * inner;
        let codes: Vec<u8> = (0..len).map(|i| (i * 7919 % 10007) as u8).collect();
        // Each copy has memory of its own.
        let copy = || match storage {
            Storage::Nf4 => {
                let (bytes, blocks) = (len / 2, len / NF4_BLOCK);
                let [codes, absmax] = [bytes, blocks].map(|n| Bytes::from(codes[..n].to_vec()));
                let nested = vec![0.5; blocks.div_ceil(NF4_NESTED_BLOCK)];
                QuantizedMatrix::nested_nf4(out, inner, codes, absmax, nested, 0.6)
                    .map(Tensor::quantized)
            }
            Storage::Int8 => {
                QuantizedMatrix::int8(out, inner, codes.clone().into(), vec![1.0; out])
                    .map(Tensor::quantized)
            }
            Storage::Plain(Precision::F32) => Some(Tensor::new(&[out, inner], vec![0.5; len])),
            Storage::Plain(Precision::Bf16) => {
                Some(Tensor::from_bf16(&[out, inner], vec![bf16::ONE; len]))
            }
        };
        let copy = || copy().expect("the lengths fit the shape");
        let bytes = copy().bytes();
        let mut params = Parameters::new();
        params.set_precision(precision);
        let mut copies = Vec::new();
        for i in 0..WORKING_SET.div_ceil(bytes) {
            let module = Module::Attention(AttentionProjection::Query);
            let mut scope = params.scope(Tower::Text, "");
            let id = scope.declare(&i.to_string(), &[out, inner], module, ParamKind::Weight);
            params.get_mut(id).set(copy());
            copies.push(id);
        }
        let plain = vec![1; copies.len() * bytes / 8];
        Self { params, copies, plain, inner, bytes }
    }

    /// GB/s of the plain read and of the products of each number of rows.
    fn measure(&self, rows: &[usize]) -> (f64, Vec<f64>) {
        let inputs: Vec<_> = rows
            .iter()
            .map(|&rows| Tensor::new(&[rows, self.inner], vec![0.5; rows * self.inner]))
            .map(|x| Var::constant(x.to_precision(self.params.precision())))
            .collect();
        let mut best = vec![f64::INFINITY; 1 + rows.len()];
        let words = self.bytes / 8;
        let mut turn = 0;
        for _ in 0..TURNS {
            for (i, best) in best.iter_mut().enumerate() {
                let copy = turn % self.copies.len();
                turn += 1;
                let start = Instant::now();
                match i.checked_sub(1) {
                    None => {
                        black_box(read(&self.plain[copy * words..][..words]));
                    }
                    Some(i) => {
                        let mut g = Graph::inference(&self.params);
                        black_box(linear(
                            &mut g,
                            &inputs[i],
                            self.copies[copy],
                            None,
                            Output::RunPrecision,
                        ));
                    }
                }
                *best = best.min(start.elapsed().as_secs_f64());
            }
        }
        let mut rates = best.into_iter().map(|seconds| self.bytes as f64 / seconds / 1e9);
        (rates.next().unwrap_or(0.0), rates.collect())
    }
}

/// Reads memory on all threads and does as little as possible with it.
fn read(memory: &[u64]) -> u64 {
    memory
        .par_chunks(1 << 14)
        .map(|part| {
            let mut lanes = [0u64; 32];
            for words in part.chunks_exact(32) {
                lanes.iter_mut().zip(words).for_each(|(lane, &word)| *lane |= word);
            }
            lanes.iter().fold(0, |all, lane| all | lane)
        })
        .reduce(|| 0, |a, b| a | b)
}

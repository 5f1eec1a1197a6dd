//! AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2), as `torch.optim.AdamW`
//! computes it: `θ ← (1 - ηλ) θ`, then `θ ← θ - η/(1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + ε)`.
//!
//! Trained parameters and both moments are f32. Weight decay applies to matrices and embedding tables, not
//! to norms and biases.

use rayon::prelude::*;

use super::param_groups::lr_factor;
use crate::recipe::TrainSpec;
use crate::tensor::{
    EmbeddingKind, Gradients, Module, Operation, ParamId, ParamKind, Parameter, Parameters, Role,
    Tensor,
};

/// Elements that a thread updates at a time. The size does not affect the result.
const CHUNK: usize = 1 << 15;

/// The AdamW optimizer: its settings, and two moments for every trained parameter.
#[derive(Debug, Clone)]
pub struct AdamW {
    betas: (f32, f32),
    eps: f32,
    weight_decay: f32,
    /// Number of updates made.
    pub(super) steps: u64,
    /// The moments, in the order of [`Parameters::trained`].
    pub(super) moments: Vec<Moments>,
}

/// Running means of one parameter's gradient and of its square.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    /// The parameter.
    pub id: ParamId,
    /// The parameter's learning rate, as a multiple of `lr`.
    factor: f64,
    /// Running mean of the gradient.
    pub first: Tensor,
    /// Running mean of the squared gradient.
    pub second: Tensor,
}

impl AdamW {
    /// An optimizer of the trained parameters in `params`, with the settings in `spec`.
    pub fn new(params: &Parameters, spec: &TrainSpec) -> Self {
        let zeros = |id, p: &Parameter| Moments {
            id,
            factor: lr_factor(&p.role(), spec),
            first: p.value().zeros_like(p.shape()),
            second: p.value().zeros_like(p.shape()),
        };
        let moments = params.trained().map(|(id, p)| zeros(id, p)).collect();
        Self {
            betas: spec.adam_betas,
            eps: spec.adam_eps,
            weight_decay: spec.weight_decay,
            steps: 0,
            moments,
        }
    }

    /// Updates the trained parameters with `scale` times their gradients, at the learning rate `lr`.
    /// Parameters without a gradient stay unchanged.
    ///
    /// Returns for each trained parameter whether any of its elements changed.
    pub fn update(
        &mut self,
        params: &mut Parameters,
        gradients: &Gradients,
        scale: f32,
        lr: f32,
    ) -> Vec<bool> {
        self.steps += 1;
        // torch computes the scalars in f64 and the elements in f32.
        let (beta1, beta2) = (f64::from(self.betas.0), f64::from(self.betas.1));
        let exponent = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let correction = (1.0 - beta2.powi(exponent)).sqrt() as f32;
        let rate = f64::from(lr) / (1.0 - beta1.powi(exponent));
        let (rest1, rest2, beta2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32, self.betas.1);
        let eps = self.eps;
        let decay = f64::from(lr) * f64::from(self.weight_decay);
        let mut moved = Vec::with_capacity(self.moments.len());
        for Moments { id, factor, first, second } in &mut self.moments {
            let (rate, keep) = ((rate * *factor) as f32, (1.0 - decay * *factor) as f32);
            let Some(gradient) = gradients.param(*id) else {
                moved.push(false);
                continue;
            };
            let parameter = params.get_mut(*id);
            let value = parameter.value_mut();
            value.count_in_place(Operation::Elementwise(3 * gradient.len()));
            if value.is_planned() {
                moved.push(true);
                continue;
            }
            let keep = if decays(parameter) { keep } else { 1.0 };
            let (first, second) = (first.data_mut(), second.data_mut());
            let changed = parameter
                .value_mut()
                .data_mut()
                .par_chunks_mut(CHUNK)
                .zip(gradient.data().par_chunks(CHUNK))
                .zip(first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK)))
                .map(|((theta, g), (m, v))| {
                    let mut changed = false;
                    for (((theta, &g), m), v) in theta.iter_mut().zip(g).zip(m).zip(v) {
                        let g = g * scale;
                        *m += rest1 * (g - *m);
                        *v = *v * beta2 + rest2 * g * g;
                        let new = *theta * keep - rate * (*m / (v.sqrt() / correction + eps));
                        changed |= new != *theta;
                        *theta = new;
                    }
                    changed
                })
                .reduce(|| false, |a, b| a | b);
            moved.push(changed);
        }
        moved
    }
}

/// Whether weight decay applies: to matrices and tables, not to norms and biases. Of a parameter that a tuning
/// method added, the method says so.
fn decays(parameter: &Parameter) -> bool {
    if let Some(training) = parameter.added_training() {
        return training.decays;
    }
    let Role { module, kind, .. } = parameter.role();
    let vector = matches!(module, Module::Norm(_) | Module::Embedding(EmbeddingKind::Class));
    kind == ParamKind::Weight && !vector
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{NormPosition, Tower};

    /// A head's matrix, which has weight decay, and a norm's gain, which has none.
    fn parameters() -> Parameters {
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Decoder, "");
        scope.declare("matrix", &[2, 2], Module::Head, ParamKind::Weight);
        scope.declare("gain", &[2], Module::Norm(NormPosition::Final), ParamKind::Weight);
        for (_, p) in params.iter_mut() {
            let n = p.len();
            p.set_trained(true);
            p.set(Tensor::new(p.shape(), [0.5, -1.5, 2.0, 1.0][..n].to_vec()));
        }
        params
    }

    fn gradients(params: &Parameters, step: usize) -> Gradients {
        let mut gradients = Gradients::new();
        for (id, p) in params.iter() {
            let g = (0..p.len()).map(|i| (i as f32 - 1.2) * [1.0, -0.5, 3.0][step]).collect();
            gradients.add_param(id, Tensor::new(p.shape(), g));
        }
        gradients
    }

    /// reference/adamw.py wrote these: three steps at rates 0.1, 0.05, 0.02.
    const MATRIX: [f32; 4] = [0.617_541_2, -1.348_618_6, 1.840_158_5, 0.857_078_6];
    const GAIN: [f32; 2] = [0.626_726_9, -1.373_273_1];

    #[test]
    fn three_steps_match_pytorch() {
        let mut params = parameters();
        let spec = TrainSpec { weight_decay: 0.1, ..TrainSpec::default() };
        let mut optimizer = AdamW::new(&params, &spec);
        for (step, lr) in [0.1, 0.05, 0.02].into_iter().enumerate() {
            let g = gradients(&params, step);
            assert_eq!(optimizer.update(&mut params, &g, 1.0, lr), [true, true]);
        }
        let got = |i| params.iter().nth(i).unwrap().1.value().data();
        for (got, want) in got(0).iter().chain(got(1)).zip(MATRIX.iter().chain(&GAIN)) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }

    #[test]
    fn a_parameter_group_has_its_own_rate() {
        let after = |spec: TrainSpec, lr| {
            let mut params = parameters();
            let mut optimizer = AdamW::new(&params, &spec);
            let g = gradients(&params, 0);
            optimizer.update(&mut params, &g, 1.0, lr);
            params.iter().map(|(_, p)| p.value().data().to_vec()).collect::<Vec<_>>()
        };
        let plain = |lr| after(TrainSpec::default(), lr);
        let grouped = after(TrainSpec { norm_lr: Some(3e-3), ..TrainSpec::default() }, 0.1);
        assert_eq!(grouped[0], plain(0.1)[0]);
        for (got, want) in grouped[1].iter().zip(&plain(0.3)[1]) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }

    #[test]
    fn a_parameter_without_a_gradient_stays_unchanged() {
        let mut params = parameters();
        let (id, _) = params.iter().next().unwrap();
        let mut optimizer = AdamW::new(&params, &TrainSpec::default());
        let mut g = Gradients::new();
        g.add_param(id, Tensor::new(&[2, 2], vec![1.0; 4]));
        assert_eq!(optimizer.update(&mut params, &g, 1.0, 0.1), [true, false]);
        assert_eq!(params.iter().nth(1).unwrap().1.value().data(), [0.5, -1.5]);
    }
}

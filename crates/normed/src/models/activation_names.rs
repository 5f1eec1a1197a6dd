//! The names of activation functions in config files: those of transformers' `ACT2FN`.

use super::config_keys::ConfigKeys;
use crate::ops::Activation;
use crate::{Error, Result};

/// Names and functions. The first name of a function is the one that is written.
const NAMES: [(&str, Activation); 20] = [
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_accurate", Activation::GeluTanh),
    ("gelu_10", Activation::Gelu10),
    ("quick_gelu", Activation::QuickGelu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("relu", Activation::Relu),
    ("relu2", Activation::Relu2),
    ("relu6", Activation::Relu6),
    ("leaky_relu", Activation::LeakyRelu),
    ("tanh", Activation::Tanh),
    ("sigmoid", Activation::Sigmoid),
    ("hardswish", Activation::HardSwish),
    ("mish", Activation::Mish),
    ("laplace", Activation::Laplace),
];

/// The activation function that `key` names; `default` if the key is absent.
///
/// # Errors
/// If the name is not known.
pub(super) fn read_activation(
    keys: &ConfigKeys,
    key: &str,
    default: Activation,
) -> Result<Activation> {
    let Some(name) = keys.get::<String>(key)? else { return Ok(default) };
    if name == "linear" {
        return Ok(Activation::Linear);
    }
    let found = NAMES.iter().find(|(known, _)| *known == name);
    found.map(|&(_, activation)| activation).ok_or_else(|| {
        let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
        Error::invalid(&keys.place, format!("{key} is {name:?}"))
            .with_remedy(format!("supported: {}, linear", names.join(", ")))
    })
}

/// The name of an activation function.
pub(super) fn activation_name(activation: Activation) -> &'static str {
    NAMES.iter().find(|(_, known)| *known == activation).map_or("linear", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::ops;
    use crate::tensor::{Gradients, Graph, Parameters, Tensor, Tower};
    use crate::tensor::{Module, ParamKind};

    /// A function of `ACT2FN` at some places.
    #[derive(serde::Deserialize)]
    struct Golden {
        x: Vec<f32>,
        y: Vec<f32>,
        /// The derivative.
        slope: Vec<f32>,
    }

    fn read(name: &str) -> Result<Activation> {
        let keys = ConfigKeys::new("config.json", &json!({ "hidden_act": name }))?;
        read_activation(&keys, "hidden_act", Activation::Gelu)
    }

    /// Values and gradients (goldens by reference/make_activation_goldens.py).
    #[test]
    fn every_activation_is_transformers() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/activations.json");
        let goldens: BTreeMap<String, Golden> =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(goldens.len(), NAMES.len() + 1);
        for (name, Golden { x, y, slope }) in goldens {
            let activation = read(&name).unwrap();
            let mut params = Parameters::new();
            let n = x.len();
            let scope = &mut params.scope(Tower::Vision, "");
            let id = scope.declare("x", &[1, n], Module::Head, ParamKind::Weight);
            params.get_mut(id).set(Tensor::new(&[1, n], x.clone()));
            params.get_mut(id).set_trained(true);
            let mut g = Graph::training(&params);
            let input = g.parameter(id);
            let output = ops::activate(&mut g, &input, activation);
            let ours = output.value.data().to_vec();
            let mut gradients = Gradients::new();
            g.backward(output.gradient_slot(), Tensor::new(&[1, n], vec![1.0; n]), &mut gradients);
            let slopes = gradients.param(id).unwrap().data().to_vec();
            for i in 0..n {
                let near = |a: f32, b: f32| (a - b).abs() <= 1e-6 * (1.0 + x[i].abs());
                assert!(near(ours[i], y[i]), "{name}({}) is {}, not {}", x[i], ours[i], y[i]);
                assert!(
                    near(slopes[i], slope[i]),
                    "{name}'({}) is {}, not {}",
                    x[i],
                    slopes[i],
                    slope[i]
                );
            }
        }
    }

    #[test]
    fn names_are_written_as_they_are_read() {
        for (name, activation) in NAMES {
            assert_eq!(read(name).unwrap(), activation);
            assert_eq!(read(activation_name(activation)).unwrap(), activation);
        }
        assert_eq!(activation_name(read("linear").unwrap()), "linear");
        for unknown in ["prelu", "xielu", "GELU", ""] {
            let error = read(unknown).unwrap_err().to_string();
            assert!(
                error.contains(&format!("{unknown:?}")) && error.contains("quick_gelu"),
                "{error}"
            );
        }
    }
}

//! P-tuning v2 (Liu et al. 2021, arXiv 2110.07602): a prefix whose keys and values are trained directly.

use super::prefix::{LENGTH, initial_value, training};
use crate::tensor::Role;
use crate::tuning::{Additions, Form, Method, MethodDescription, Options};

impl Method {
    /// P-tuning v2: keys and values prepended in every self-attention, trained directly.
    pub const P_TUNING_V2: Self = Self::new(&MethodDescription {
        name: "p_tuning_v2",
        summary: "Prepends learned keys and values in every self-attention, trained directly.",
        keys: &[LENGTH],
        default_lr: 1e-2,
        trains: |_, _| false,
        adds: Some(Additions { form, initial_value, training }),
        keep: None,
        adapter_types: &["PREFIX_TUNING", "NORMED"],
    });
}

fn form(role: &Role, options: &Options) -> Option<Form> {
    let length = options.integer(&LENGTH);
    role.is_key_weight().then_some(Form::Prefix { length, projection: false })
}

//! Parameter groups with their own learning rate.
//!
//! `train.norm_lr` is the rate of all norms, `train.vision_lr` that of the other parameters of the image
//! encoder, and `train.lr` that of the rest. Each is a peak rate; all groups follow the schedule of
//! `train.lr` in proportion, `min_lr` included.

use crate::recipe::TrainSpec;
use crate::tensor::{Module, Parameters, Role, Tower};
use crate::{Error, Result};

/// The learning rate of a parameter with this role, as a multiple of `train.lr`.
pub(super) fn lr_factor(role: &Role, spec: &TrainSpec) -> f64 {
    let own = match role {
        Role { module: Module::Norm(_), .. } if spec.norm_lr.is_some() => spec.norm_lr,
        Role { tower: Tower::Vision, .. } => spec.vision_lr,
        _ => None,
    };
    own.map_or(1.0, |own| f64::from(own) / f64::from(spec.lr))
}

/// Fails if the recipe sets a learning rate for a group in which nothing is trained.
pub(super) fn check_group_lrs(params: &Parameters, spec: &TrainSpec) -> Result<()> {
    let trains =
        |has: &dyn Fn(&Role) -> bool| params.trained().any(|(_, parameter)| has(&parameter.role()));
    let norm = |role: &Role| matches!(role.module, Module::Norm(_));
    let unused = |key: &str, cause: &str| {
        Err(Error::invalid(key, format!("no trained parameter uses this learning rate: {cause}"))
            .with_remedy("remove the key, or train the parameters that it is for"))
    };
    if spec.norm_lr.is_some() && !trains(&norm) {
        return unused("train.norm_lr", "no norm is trained");
    }
    let taken = spec.norm_lr.is_some();
    if spec.vision_lr.is_some() && !trains(&|r| r.tower == Tower::Vision && !(taken && norm(r))) {
        return unused(
            "train.vision_lr",
            match taken {
                true => "only norms of the image encoder are trained, at train.norm_lr",
                false => "the image encoder is frozen",
            },
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{NormPosition, ParamKind};

    fn parameters(trained: [bool; 4]) -> Parameters {
        let mut params = Parameters::new();
        for tower in [Tower::Vision, Tower::Decoder] {
            let mut scope = params.scope(tower, tower.name());
            scope.declare("norm", &[1], Module::Norm(NormPosition::Ffn), ParamKind::Weight);
            scope.declare("fc1", &[1, 1], Module::Fc1, ParamKind::Weight);
        }
        params.iter_mut().zip(trained).for_each(|((_, p), trained)| p.set_trained(trained));
        params
    }

    #[test]
    fn the_rate_of_norms_precedes_that_of_the_image_encoder() {
        let params = parameters([true; 4]);
        let factors = |vision_lr, norm_lr| {
            let spec = TrainSpec { lr: 1e-2, vision_lr, norm_lr, ..TrainSpec::default() };
            let of = |role: &Role| (1e3 * lr_factor(role, &spec)).round();
            params.iter().map(|(_, p)| of(&p.role())).collect::<Vec<_>>()
        };
        assert_eq!(factors(None, None), [1e3; 4]);
        assert_eq!(factors(Some(1e-3), None), [100.0, 100.0, 1e3, 1e3]);
        assert_eq!(factors(None, Some(5e-2)), [5e3, 1e3, 5e3, 1e3]);
        assert_eq!(factors(Some(1e-3), Some(5e-2)), [5e3, 100.0, 5e3, 1e3]);
    }

    #[test]
    fn a_rate_that_no_parameter_uses_is_an_error() {
        let check = |trained, vision_lr: Option<f32>, norm_lr: Option<f32>| {
            let spec = TrainSpec { vision_lr, norm_lr, ..TrainSpec::default() };
            check_group_lrs(&parameters(trained), &spec).map_err(|e| e.to_string())
        };
        let (one, some) = ([true, false, false, false], Some(0.1));
        assert!(check(one, some, None).is_ok() && check(one, None, some).is_ok());
        assert!(check(one, some, some).unwrap_err().contains("only norms of the image"));
        assert!(check([false, true, false, false], some, None).is_ok());
        assert!(check([false, true, false, true], None, some).unwrap_err().contains("no norm"));
        assert!(check([false, false, true, true], some, None).unwrap_err().contains("frozen"));
    }
}

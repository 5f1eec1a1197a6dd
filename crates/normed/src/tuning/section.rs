//! The `[tuning]` section of a recipe: rules that select what a model trains.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::Serialize;

use super::{ConfiguredMethod, Form, Method, Rule};
use crate::tensor::{ParamId, Parameters, Quantization, Role, Tower};
use crate::{Error, Result};

/// What is trained: the `[tuning]` section of a recipe.
///
/// ```toml
/// [tuning]
/// method = "layer_norm"
/// towers = ["text", "decoder"]   # default: all towers
/// layers = "6.."                 # default: all blocks, and the layers outside of blocks
/// also = ["head"]
/// keep = "30 %"                  # of layer_norm: only the norms that matter most to the data
/// ```
/// or a rule for each tower, like the rows of the papers' tables (`ViT | JTM | Dec`):
/// ```toml
/// [tuning]
/// vision.method = "none"         # the same as leaving the tower out
/// text.method = "full"
/// decoder.method = "layer_norm"
/// ```
/// Several methods can be combined, each with its own keys:
/// ```toml
/// [tuning]
/// method = ["layer_norm", "lora"]
/// rank = 4                       # a key of lora
/// parts = "bias"                 # a key of layer_norm
/// ```
///
/// In a program, on the small model that comes with the repository:
///
/// ```
/// use normed::models;
/// use normed::tuning::{Method, Tuning};
///
/// let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/phantom");
/// let mut model = models::declare_model(dir.as_ref(), None)?;
/// let selection = Tuning::new(Method::LAYER_NORM).apply(&mut model.params)?;
/// assert_eq!(selection.trained, model.params.trained_element_count());
/// assert!(selection.trained < selection.total / 100, "less than 1 % is trained");
/// # Ok::<(), normed::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Tuning {
    /// One rule for all the towers that it names.
    One(Rule),
    /// A rule for each tower; a tower without a rule is frozen.
    PerTower(BTreeMap<Tower, Rule>),
}

/// What a tuning selected, in elements of parameters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Selection {
    /// Elements that are trained.
    pub trained: usize,
    /// Elements of the model, with those that methods added.
    pub total: usize,
    /// Elements that the rules select: those that are trained, and those that cannot affect the loss.
    pub selected: usize,
    /// Selected parameters that cannot affect the loss, by name, with the reason.
    pub inert: Vec<(String, String)>,
}

/// A form to be plugged into the socket of a parameter.
type Placement = (ParamId, Method, Form);

impl Tuning {
    /// One method in all towers.
    pub fn new(method: impl Into<ConfiguredMethod>) -> Self {
        Self::One(Rule::new(method))
    }

    /// Whether nothing is to be trained: every rule's method is `none`.
    pub fn is_none(&self) -> bool {
        let is_none = |rule: &Rule| rule.methods.iter().all(|method| method.method == Method::NONE);
        self.rules().iter().all(|(_, rule)| is_none(rule) && rule.also.is_empty())
    }

    /// Freezes all parameters, then selects those to train and plugs in what methods add to the model.
    ///
    /// What was plugged in before is removed. New parameters have no values until [`Tuning::initialize`] gives
    /// them. A parameter that cannot affect the loss is never trained.
    ///
    /// # Errors
    /// If a rule selects nothing in one of its towers or by one of its `also` (unless its method is `none`), if a
    /// selected parameter is quantized, or if two forms would share a socket.
    pub fn apply(&self, params: &mut Parameters) -> Result<Selection> {
        params.unplug_all();
        let rules = self.rules();
        for (place, rule) in &rules {
            check_layers(place, rule, params)?;
            rule.check(params).map_err(|cause| {
                Error::invalid(place, format!("{rule} selects nothing: {cause}"))
                    .with_remedy("`normed inspect DIR` lists the parameters by tower and role")
            })?;
        }

        let (mut inert, mut inert_elements) = (Vec::new(), 0);
        let mut plugs: Vec<Placement> = Vec::new();
        for (id, parameter) in params.iter_mut() {
            let role = parameter.role();
            let is_selected = rules.iter().any(|(_, rule)| rule.trains(&role));
            let forms = rules.iter().flat_map(|(_, rule)| rule.forms(&role));
            let forms: Vec<Placement> = forms.map(|(method, form)| (id, method, form)).collect();
            parameter.set_trained(is_selected);
            match parameter.inert_reason() {
                None => plugs.extend(forms),
                Some(why) if is_selected || !forms.is_empty() => {
                    inert.push((parameter.name().to_owned(), why.to_owned()));
                    inert_elements += if is_selected { parameter.len() } else { 0 };
                }
                Some(_) => {}
            }
        }
        check_quantized(params)?;
        plug_in(params, &plugs)?;
        let (trained, total) = (params.trained_element_count(), params.element_count());
        Ok(Selection { trained, total, selected: trained + inert_elements, inert })
    }

    /// Gives the parameters that [`Tuning::apply`] added their initial values, drawn from `seed`.
    ///
    /// With these values the model computes the same as before, except where prefixes or prompts were added. The
    /// model's own parameters must have values.
    pub fn initialize(&self, params: &mut Parameters, seed: u64) {
        let rules = self.rules();
        let mut done = HashSet::new();
        let sockets: Vec<(ParamId, Role)> =
            params.iter().filter(|(_, p)| !p.is_added()).map(|(id, p)| (id, p.role())).collect();
        for (socket, role) in sockets {
            for (method, form) in rules.iter().flat_map(|(_, rule)| rule.forms(&role)) {
                let Some(additions) = &method.description().adds else { continue };
                for added in form.added(params, socket) {
                    if done.insert(added.id) {
                        let value = (additions.initial_value)(params, &added, seed);
                        params.get_mut(added.id).set(value);
                    }
                }
            }
        }
    }

    /// The learning rate to start from: the lowest default of its methods.
    pub fn default_lr(&self) -> f32 {
        let rules = self.rules();
        let methods = rules.iter().flat_map(|(_, rule)| &rule.methods).map(|m| m.method);
        let rates = methods.filter(|method| *method != Method::NONE).map(Method::default_lr);
        rates.reduce(f32::min).unwrap_or(Method::NONE.default_lr())
    }

    /// The rules, each confined to its tower, with the recipe key where it is written.
    pub(super) fn rules(&self) -> Vec<(String, Rule)> {
        match self {
            Self::One(rule) => vec![("tuning".to_owned(), rule.clone())],
            Self::PerTower(rules) => rules
                .iter()
                .map(|(&tower, rule)| {
                    let rule = Rule { towers: Some(vec![tower]), ..rule.clone() };
                    (format!("tuning.{tower}"), rule)
                })
                .collect(),
        }
    }
}

/// Refuses a range of blocks for a method whose form comes before all blocks.
fn check_layers(place: &str, rule: &Rule, params: &Parameters) -> Result<()> {
    let everywhere = Rule { layers: None, ..rule.clone() };
    let mut forms = params.iter().flat_map(|(_, p)| everywhere.forms(&p.role()));
    match forms.find(|(_, form)| form.precedes_blocks()) {
        Some((method, _)) if rule.layers.is_some() => {
            let cause = format!("{rule}: {method} comes before all blocks of a tower, not in some");
            Err(Error::invalid(place, cause).with_remedy("remove `layers`"))
        }
        _ => Ok(()),
    }
}

/// Refuses to train a quantized parameter.
fn check_quantized(params: &Parameters) -> Result<()> {
    let Some((_, quantized)) = params.trained().find(|(_, p)| p.quantization().is_some()) else {
        return Ok(());
    };
    let to = quantized.quantization().map_or("", Quantization::name);
    let cause = format!("`{}` cannot be trained: it is quantized to {to}", quantized.name());
    Err(Error::invalid("tuning", cause).with_remedy(
        "train LayerNorms or LoRA, which leave quantized matrices frozen, or start from the model before \
         `normed quantize`",
    ))
}

/// Plugs in all forms and trains what they add: prefixes tower by tower, other forms socket by socket.
fn plug_in(params: &mut Parameters, plugs: &[Placement]) -> Result<()> {
    let (prefixes, others): (Vec<Placement>, Vec<Placement>) =
        plugs.iter().partition(|(_, _, form)| form.is_prefix());
    if let Some(pair) = others.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let name = &params.get(pair[0].0).name();
        let cause = format!("both {} and {} would adapt `{name}`", pair[0].1, pair[1].1);
        return Err(
            Error::invalid("tuning", cause).with_remedy("give them different targets or towers")
        );
    }
    if let Some(pair) = prefixes.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let tower = params.get(pair[0].0).role().tower;
        let cause = format!("both {} and {} would add a prefix to {tower}", pair[0].1, pair[1].1);
        return Err(Error::invalid("tuning", cause).with_remedy("give them different towers"));
    }
    let tower = |plug: &Placement| params.get(plug.0).role().tower;
    let by_tower = prefixes.chunk_by(|a, b| tower(a) == tower(b)).map(<[Placement]>::to_vec);
    let by_tower: Vec<_> = by_tower.collect();
    for group in others.chunks(1).chain(by_tower.iter().map(Vec::as_slice)) {
        let sockets: Vec<_> = group.iter().map(|(socket, ..)| *socket).collect();
        let Some(&(_, method, form)) = group.first() else { continue };
        form.plug(params, &sockets);
        for added in
            sockets.iter().flat_map(|&socket| form.added(params, socket)).collect::<Vec<_>>()
        {
            let parameter = params.get_mut(added.id);
            parameter.set_trained(true);
            if let Some(additions) = &method.description().adds {
                parameter.set_added_training((additions.training)(&added));
            }
        }
    }
    Ok(())
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (_, rule)) in self.rules().iter().enumerate() {
            write!(f, "{}{rule}", if i > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{
        AttentionProjection as A, EmbeddingKind as E, Module, NormPosition as N, ParamKind,
    };
    use crate::tuning::ExtraPart;

    /// Towers of `blocks` blocks, each parameter with one element; the vision tower has no
    /// cross-attention, the decoder alone has a head, a key bias is inert.
    fn toy(blocks: usize) -> Parameters {
        let mut params = Parameters::new();
        for tower in [Tower::Vision, Tower::Text, Tower::Decoder] {
            let mut scope = params.scope(tower, tower.name());
            scope.declare("embeddings", &[1], Module::Embedding(E::Token), ParamKind::Weight);
            scope.declare("embeddings_norm", &[1], Module::Norm(N::Embedding), ParamKind::Weight);
            for i in 0..blocks {
                let mut block = scope.layer("layer", i);
                block.declare("attention", &[1], Module::Attention(A::Query), ParamKind::Weight);
                let key =
                    block.declare("key_bias", &[1], Module::Attention(A::Key), ParamKind::Bias);
                block.mark_inert(key, "a softmax ignores it");
                block.declare(
                    "attention_norm",
                    &[1],
                    Module::Norm(N::Attention),
                    ParamKind::Weight,
                );
                if tower != Tower::Vision {
                    let part = Module::CrossAttention(A::Value);
                    block.declare("cross", &[1], part, ParamKind::Weight);
                }
                block.declare("fc1", &[1], Module::Fc1, ParamKind::Weight);
                block.declare("fc2", &[1], Module::Fc2, ParamKind::Bias);
            }
            if tower == Tower::Decoder {
                scope.declare("head", &[1], Module::Head, ParamKind::Weight);
                scope.declare("head_norm", &[1], Module::Norm(N::Head), ParamKind::Weight);
            }
        }
        params
    }

    fn trained(tuning: &Tuning) -> Result<Vec<String>> {
        let mut params = toy(2);
        params.iter_mut().for_each(|(_, p)| p.set_trained(true)); // apply must freeze them first
        let selection = tuning.apply(&mut params)?;
        let names: Vec<_> = params.trained().map(|(_, p)| p.name().to_owned()).collect();
        assert_eq!(selection.trained, names.len());
        assert_eq!(selection.total, params.len());
        Ok(names)
    }

    fn rule(method: impl Into<ConfiguredMethod>, tower: Tower) -> Rule {
        Rule { towers: Some(vec![tower]), ..Rule::new(method) }
    }

    #[test]
    fn each_method_trains_its_roles_and_no_others() {
        let of = |method| trained(&Tuning::One(rule(method, Tower::Decoder))).unwrap();
        assert_eq!(of(Method::NONE), [""; 0]);
        assert_eq!(
            of(Method::LAYER_NORM),
            [
                "decoder.embeddings_norm",
                "decoder.layer.0.attention_norm",
                "decoder.layer.1.attention_norm",
                "decoder.head_norm"
            ]
        );
        assert_eq!(
            of(Method::ATTENTION),
            [
                "decoder.layer.0.attention",
                "decoder.layer.0.cross",
                "decoder.layer.1.attention",
                "decoder.layer.1.cross"
            ]
        );
        let with_norms = Method::ATTENTION.with("norms", true).unwrap();
        assert_eq!(
            trained(&Tuning::One(rule(with_norms, Tower::Decoder))).unwrap(),
            [
                "decoder.layer.0.attention",
                "decoder.layer.0.attention_norm",
                "decoder.layer.0.cross",
                "decoder.layer.1.attention",
                "decoder.layer.1.attention_norm",
                "decoder.layer.1.cross"
            ]
        );
        assert_eq!(
            of(Method::FFN),
            [
                "decoder.layer.0.fc1",
                "decoder.layer.0.fc2",
                "decoder.layer.1.fc1",
                "decoder.layer.1.fc2"
            ]
        );
        assert_eq!(of(Method::FULL).len(), 14);
    }

    #[test]
    fn layers_leave_out_what_is_outside_of_blocks_except_extra_parts() {
        let tuning = Tuning::One(Rule {
            layers: Some("1..".parse().unwrap()),
            also: vec![ExtraPart::Head, ExtraPart::Embeddings],
            ..rule(Method::LAYER_NORM, Tower::Decoder)
        });
        assert_eq!(
            trained(&tuning).unwrap(),
            ["decoder.embeddings", "decoder.layer.1.attention_norm", "decoder.head"]
        );
    }

    /// The projector is a tower of its own: a rule for other towers can still train it in addition.
    #[test]
    fn the_projector_can_train_in_addition_to_any_tower() {
        let mut params = toy(1);
        let mut scope = params.scope(Tower::Projector, "projector");
        scope.declare("linear", &[1], Module::Projector, ParamKind::Weight);
        let rule =
            Rule { also: vec![ExtraPart::Projector], ..rule(Method::LAYER_NORM, Tower::Decoder) };
        Tuning::One(rule).apply(&mut params).unwrap();
        let names: Vec<_> = params.trained().map(|(_, p)| p.name()).collect();
        assert_eq!(names.len(), 4);
        assert_eq!(names.last(), Some(&"projector.linear"));
        Tuning::new(Method::LAYER_NORM).apply(&mut params).unwrap();
        assert!(params.trained().all(|(_, p)| p.role().tower != Tower::Projector));
    }

    #[test]
    fn towers_combine() {
        let tuning = Tuning::PerTower(BTreeMap::from([
            (Tower::Vision, Rule::new(Method::NONE)),
            (Tower::Text, Rule::new(Method::FULL)),
            (Tower::Decoder, Rule::new(Method::LAYER_NORM)),
        ]));
        let names = trained(&tuning).unwrap();
        let count = |tower: &str| names.iter().filter(|n| n.starts_with(tower)).count();
        assert_eq!((count("vision"), count("text"), count("decoder")), (0, 12, 4));
    }

    #[test]
    fn inert_parameters_are_named_and_not_trained() {
        let mut params = toy(1);
        let selection = Tuning::new(Method::ATTENTION).apply(&mut params).unwrap();
        let names: Vec<_> = selection.inert.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["vision.layer.0.key_bias", "text.layer.0.key_bias", "decoder.layer.0.key_bias"]
        );
        assert!(params.iter().all(|(_, p)| !(p.is_trained() && p.inert_reason().is_some())));
        assert!(Tuning::new(Method::FFN).apply(&mut params).unwrap().inert.is_empty());
    }

    #[test]
    fn to_select_nothing_is_an_error_that_names_the_rule() {
        let beyond = Tuning::One(Rule {
            layers: Some("6..".parse().unwrap()),
            ..rule(Method::LAYER_NORM, Tower::Text)
        });
        let error = trained(&beyond).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.contains("layer_norm in text, layers 6.. selects nothing"), "{text}");
        assert!(text.contains("2 blocks"), "{text}");

        let headless = Rule { also: vec![ExtraPart::Head], ..Rule::new(Method::LAYER_NORM) };
        let headless = Tuning::PerTower(BTreeMap::from([(Tower::Vision, headless)]));
        let text = trained(&headless).unwrap_err().to_string();
        assert!(text.contains("tuning.vision") && text.contains("head"), "{text}");
    }

    #[test]
    fn to_train_a_quantized_matrix_is_an_error_that_names_it() {
        let mut params = toy(1);
        let id = params.find("text.layer.0.fc1").unwrap();
        params.get_mut(id).expect_quantized(Quantization::Nf4);
        let error = Tuning::new(Method::FFN).apply(&mut params).unwrap_err().to_string();
        assert!(error.contains("`text.layer.0.fc1`") && error.contains("nf4"), "{error}");
        for allowed in [Method::LAYER_NORM, Method::ATTENTION, Method::NONE] {
            Tuning::new(allowed).apply(&mut params).unwrap();
        }
    }

    #[test]
    fn a_rule_that_selects_only_inert_parameters_selects_nothing() {
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Text, "");
        let id = scope.declare("norm", &[1], Module::Norm(N::Final), ParamKind::Bias);
        scope.mark_inert(id, "nothing reads it");
        let text = Tuning::new(Method::LAYER_NORM).apply(&mut params).unwrap_err().to_string();
        assert!(text.contains("affects the loss"), "{text}");
    }
}

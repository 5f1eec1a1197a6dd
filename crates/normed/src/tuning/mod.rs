//! Which parameters are trained. A method knows roles, never a model.
//!
//! A [`Tuning`] is made of [`Rule`]s, a rule of [`Method`]s and of the towers and blocks where they
//! hold. Each is a predicate over [`Role`](crate::tensor::Role): what a layer said of its
//! parameters when it declared them. Names are never looked at. A method trains parameters of the
//! model, or it plugs parameters of its own into [sockets](crate::tensor::Plug).

mod adapter;
mod also;
mod attention;
mod ia3;
mod layer_norm;
mod layers;
mod lora;
mod method;
mod movement;
mod options;
mod prefix;
mod prompt;
mod rule;
mod subset;
mod table;
mod target;

pub use adapter::AdapterOptions;
pub use also::Also;
pub use attention::AttentionOptions;
pub use ia3::Ia3Options;
pub use layer_norm::{NormOptions, NormParts, WhichNorms};
pub use layers::Layers;
pub use lora::LoraOptions;
pub use method::Method;
pub use movement::{Moved, Movement};
pub use options::Options;
pub use prefix::PrefixOptions;
pub use prompt::PromptOptions;
pub use rule::Rule;
pub use subset::{Candidates, Keep, Norm, Ranked, Ranking};
pub use table::{Kind, Row, Table};
pub use target::Target;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::tensor::{ParamId, Parameters, Plug, Quantization, Tower};
use crate::{Error, Result};

/// What is trained: the `[tuning]` section of a recipe.
///
/// ```toml
/// [tuning]
/// method = "layer_norm"
/// towers = ["text", "decoder"]   # all if absent
/// layers = "6.."                 # all if absent; what stands outside the blocks is left out then
/// also = ["head"]
/// keep = "30 %"                  # all if absent; of layer_norm, those that matter most to the data
/// ```
/// or, tower by tower, the rows of the papers' tables (`ViT | JTM | Dec`):
/// ```toml
/// [tuning]
/// vision.method = "none"         # as if it were absent
/// text.method = "full"
/// decoder.method = "layer_norm"
/// ```
/// Several methods together, and what methods can be told:
/// ```toml
/// [tuning]
/// method = ["layer_norm", "lora"]
/// rank = 4                       # of lora, as alpha, dropout, targets, use_rslora, use_dora
/// parts = "bias"                 # of layer_norm, as which
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "a recipe has one")]
pub enum Tuning {
    /// One rule for all towers it names.
    One(Rule),
    /// A rule a tower; a tower without one is frozen.
    PerTower(BTreeMap<Tower, Rule>),
}

/// What a tuning caught.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tuned {
    /// Elements trained.
    pub trained: usize,
    /// Elements in all.
    pub total: usize,
    /// Elements asked for: those trained, and those that no loss can move.
    pub asked: usize,
    /// Names of parameters that were asked for and that no loss can move, with the reason.
    pub inert: Vec<(String, String)>,
}

impl Tuning {
    /// `method` in all towers.
    pub fn new(method: Method) -> Self {
        Self::One(Rule::new(method))
    }

    /// Whether every rule is `none`: nothing is asked to be trained.
    pub fn is_none(&self) -> bool {
        let none = |rule: &Rule| rule.methods.iter().all(|method| *method == Method::None);
        self.rules().iter().all(|(_, rule)| none(rule) && rule.also.is_empty())
    }

    /// Freezes everything, then selects; what methods add to the model is declared and plugged in, without
    /// values: [`Tuning::initialize`] gives them.
    ///
    /// A rule that catches nothing, in one of the towers it names or by one of its `also`, is an
    /// error, but by `none`; so is to train a quantised parameter, or to plug two things into one layer.
    /// Inert parameters are never trained.
    pub fn apply(&self, params: &mut Parameters) -> Result<Tuned> {
        params.unplug();
        let rules = self.rules();
        for (place, rule) in &rules {
            let preceding = rule.methods.iter().find(|method| method.precedes_blocks());
            if let (Some(method), Some(_)) = (preceding, rule.layers) {
                let cause = format!("{rule}: {method} stands before all blocks");
                return Err(Error::invalid(place, cause).with_remedy("leave `layers` out"));
            }
            rule.check(params).map_err(|cause| {
                Error::invalid(place, format!("{rule} catches nothing: {cause}"))
                    .with_remedy("`normed inspect DIR` lists what a model has, by tower and role")
            })?;
        }

        let (mut inert, mut unmoved) = (Vec::new(), 0);
        let mut plugs: Vec<(ParamId, Method, &Options)> = Vec::new();
        for (id, parameter) in params.iter_mut() {
            let role = parameter.role;
            let chosen = rules.iter().any(|(_, rule)| rule.trains(&role));
            let new = rules.iter().flat_map(|(_, rule)| {
                rule.plugs(&role).map(move |method| (id, method, &rule.options))
            });
            let new: Vec<_> = new.collect();
            parameter.trained = chosen && parameter.inert.is_none();
            match parameter.inert {
                None => plugs.extend(new),
                Some(why) if chosen || !new.is_empty() => {
                    inert.push((parameter.name.clone(), why.to_owned()));
                    unmoved += if chosen { parameter.len() } else { 0 };
                }
                Some(_) => {}
            }
        }
        if let Some((_, quantised)) = params.trained().find(|(_, p)| p.quantization().is_some()) {
            let to = quantised.quantization().map_or("", Quantization::name);
            let cause = format!("`{}` is to be trained, and is quantised to {to}", quantised.name);
            return Err(Error::invalid("tuning", cause).with_remedy(
                "what is quantised stays frozen: train LayerNorms or LoRA, or start from the model \
                 before `normed quantize`",
            ));
        }
        let (prefixes, plugs): (Vec<_>, Vec<_>) =
            plugs.into_iter().partition(|(_, method, _)| method.is_prefix());
        if let Some(two) = plugs.windows(2).find(|two| two[0].0 == two[1].0) {
            let name = &params.get(two[0].0).name;
            let cause = format!("both {} and {} would adapt `{name}`", two[0].1, two[1].1);
            return Err(Error::invalid("tuning", cause)
                .with_remedy("give them different targets or towers"));
        }
        for (weight, method, options) in plugs {
            plug(params, weight, method, options);
        }
        plug_prefixes(params, &prefixes)?;
        let (trained, total) = (params.trained_element_count(), params.element_count());
        Ok(Tuned { trained, total, asked: trained + unmoved, inert })
    }

    /// Gives what was plugged in the values that training starts from, drawn from `seed`: with them the
    /// model computes what it did without, but for what stands before its own tokens or keys. The model must
    /// have its own values.
    pub fn initialize(&self, params: &mut Parameters, seed: u64) {
        let deltas: Vec<_> = params.plugs().collect();
        for (weight, delta) in deltas {
            match delta {
                Plug::LowRank(path) => lora::initialize(params, weight, path, seed),
                Plug::ChannelScale(scaled) => ia3::initialize(params, scaled),
                Plug::Bottleneck(adapter) => adapter::initialize(params, adapter, seed),
            }
        }
        prefix::initialize(params, seed);
        prompt::initialize(params, seed);
    }

    /// The learning rate to begin with: the lowest of its methods' own.
    pub fn default_lr(&self) -> f32 {
        let rules = self.rules();
        let methods = rules.iter().flat_map(|(_, rule)| &rule.methods);
        let rates = methods.filter(|method| **method != Method::None).map(|m| m.default_lr());
        rates.reduce(f32::min).unwrap_or(Method::None.default_lr())
    }

    /// The rules, each confined to its tower, with the recipe key where it stands.
    fn rules(&self) -> Vec<(String, Rule)> {
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

/// What prefixes add to the attentions whose keys these weights make, all of it trained.
fn plug_prefixes(params: &mut Parameters, prefixes: &[(ParamId, Method, &Options)]) -> Result<()> {
    if prefixes.windows(2).any(|two| two[0].0 == two[1].0) {
        return Err(Error::invalid("tuning", "two prefixes would stand before one attention"));
    }
    let first = params.len();
    let mut left = prefixes;
    while let Some(&(key, method, options)) = left.first() {
        let tower = params.get(key).role.tower;
        let end = left.iter().position(|(key, ..)| params.get(*key).role.tower != tower);
        let (own, rest) = left.split_at(end.unwrap_or(left.len()));
        let keys: Vec<_> = own.iter().map(|(key, ..)| *key).collect();
        let projection = method == Method::Prefix && options.prefix.projection;
        params.plug_prefix(&keys, options.prefix.length, projection);
        left = rest;
    }
    params.iter_mut().skip(first).for_each(|(_, added)| added.trained = true);
    Ok(())
}

/// What `method` adds to the layer with this weight, all of it trained.
fn plug(params: &mut Parameters, weight: ParamId, method: Method, options: &Options) {
    let first = params.len();
    match method {
        Method::Lora => _ = params.plug_low_rank(weight, options.lora.shape()),
        Method::Ia3 => {
            let input = ia3::multiplies_input(params.get(weight).role.module);
            params.plug_channel_scale(weight, input);
        }
        Method::Prompt => _ = params.plug_soft_prompt(weight, options.prompt.length),
        Method::Adapter => {
            let AdapterOptions { bottleneck, parallel } = options.adapter;
            params.plug_bottleneck(weight, bottleneck, parallel);
        }
        _ => {}
    }
    params.iter_mut().skip(first).for_each(|(_, added)| added.trained = true);
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
                block.mark_inert(key, "a softmax does not see it");
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

    fn caught(tuning: &Tuning) -> Result<Vec<String>> {
        let mut params = toy(2);
        params.iter_mut().for_each(|(_, p)| p.trained = true); // apply must freeze them first
        let tuned = tuning.apply(&mut params)?;
        let names: Vec<_> = params.trained().map(|(_, p)| p.name.clone()).collect();
        assert_eq!(tuned.trained, names.len());
        assert_eq!(tuned.total, params.len());
        Ok(names)
    }

    fn rule(method: Method, tower: Tower) -> Rule {
        Rule { towers: Some(vec![tower]), ..Rule::new(method) }
    }

    #[test]
    fn each_method_trains_its_roles_and_no_others() {
        let of = |method| caught(&Tuning::One(rule(method, Tower::Decoder))).unwrap();
        assert_eq!(of(Method::None), [""; 0]);
        assert_eq!(
            of(Method::LayerNorm),
            [
                "decoder.embeddings_norm",
                "decoder.layer.0.attention_norm",
                "decoder.layer.1.attention_norm",
                "decoder.head_norm"
            ]
        );
        assert_eq!(
            of(Method::Attention),
            [
                "decoder.layer.0.attention",
                "decoder.layer.0.cross",
                "decoder.layer.1.attention",
                "decoder.layer.1.cross"
            ]
        );
        let mut with_norms = rule(Method::Attention, Tower::Decoder);
        with_norms.options.attention.norms = true;
        assert_eq!(
            caught(&Tuning::One(with_norms)).unwrap(),
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
            of(Method::Ffn),
            [
                "decoder.layer.0.fc1",
                "decoder.layer.0.fc2",
                "decoder.layer.1.fc1",
                "decoder.layer.1.fc2"
            ]
        );
        assert_eq!(of(Method::Full).len(), 14);
    }

    #[test]
    fn layers_leave_out_what_stands_outside_the_blocks_but_not_what_trains_beside() {
        let tuning = Tuning::One(Rule {
            layers: Some("1..".parse().unwrap()),
            also: vec![Also::Head, Also::Embeddings],
            ..rule(Method::LayerNorm, Tower::Decoder)
        });
        assert_eq!(
            caught(&tuning).unwrap(),
            ["decoder.embeddings", "decoder.layer.1.attention_norm", "decoder.head"]
        );
    }

    /// The projector is a tower of its own: a rule for other towers can still train it beside.
    #[test]
    fn the_projector_trains_beside_any_tower() {
        let mut params = toy(1);
        let mut scope = params.scope(Tower::Projector, "projector");
        scope.declare("linear", &[1], Module::Projector, ParamKind::Weight);
        let rule = Rule { also: vec![Also::Projector], ..rule(Method::LayerNorm, Tower::Decoder) };
        Tuning::One(rule).apply(&mut params).unwrap();
        let names: Vec<_> = params.trained().map(|(_, p)| p.name.as_str()).collect();
        assert_eq!(names.len(), 4);
        assert_eq!(names.last(), Some(&"projector.linear"));
        Tuning::new(Method::LayerNorm).apply(&mut params).unwrap();
        assert!(params.trained().all(|(_, p)| p.role.tower != Tower::Projector));
    }

    #[test]
    fn towers_combine() {
        let tuning = Tuning::PerTower(BTreeMap::from([
            (Tower::Vision, Rule::new(Method::None)),
            (Tower::Text, Rule::new(Method::Full)),
            (Tower::Decoder, Rule::new(Method::LayerNorm)),
        ]));
        let names = caught(&tuning).unwrap();
        let count = |tower: &str| names.iter().filter(|n| n.starts_with(tower)).count();
        assert_eq!((count("vision"), count("text"), count("decoder")), (0, 12, 4));
    }

    #[test]
    fn inert_parameters_are_named_and_not_trained() {
        let mut params = toy(1);
        let tuned = Tuning::new(Method::Attention).apply(&mut params).unwrap();
        let names: Vec<_> = tuned.inert.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["vision.layer.0.key_bias", "text.layer.0.key_bias", "decoder.layer.0.key_bias"]
        );
        assert!(params.iter().all(|(_, p)| !(p.trained && p.inert.is_some())));
        assert!(Tuning::new(Method::Ffn).apply(&mut params).unwrap().inert.is_empty());
    }

    #[test]
    fn to_catch_nothing_is_an_error_that_names_the_rule() {
        let beyond = Tuning::One(Rule {
            layers: Some("6..".parse().unwrap()),
            ..rule(Method::LayerNorm, Tower::Text)
        });
        let error = caught(&beyond).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.contains("layer_norm in text, layers 6.. catches nothing"), "{text}");
        assert!(text.contains("2 blocks"), "{text}");

        let headless = Rule { also: vec![Also::Head], ..Rule::new(Method::LayerNorm) };
        let headless = Tuning::PerTower(BTreeMap::from([(Tower::Vision, headless)]));
        let text = caught(&headless).unwrap_err().to_string();
        assert!(text.contains("tuning.vision") && text.contains("head"), "{text}");
    }

    #[test]
    fn to_train_a_quantised_matrix_is_an_error_that_names_it() {
        let mut params = toy(1);
        let id = params.find("text.layer.0.fc1").unwrap();
        params.get_mut(id).expect_quantized(Quantization::Nf4);
        let error = Tuning::new(Method::Ffn).apply(&mut params).unwrap_err().to_string();
        assert!(error.contains("`text.layer.0.fc1`") && error.contains("nf4"), "{error}");
        for allowed in [Method::LayerNorm, Method::Attention, Method::None] {
            Tuning::new(allowed).apply(&mut params).unwrap();
        }
    }

    #[test]
    fn a_rule_that_catches_only_inert_parameters_catches_nothing() {
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Text, "");
        let id = scope.declare("norm", &[1], Module::Norm(N::Final), ParamKind::Bias);
        scope.mark_inert(id, "nothing reads it");
        let text = Tuning::new(Method::LayerNorm).apply(&mut params).unwrap_err().to_string();
        assert!(text.contains("no loss can move"), "{text}");
    }
}

//! Writing an adapter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::config::{Common, Kind, Paths};
use super::virtual_tokens::VirtualTokens;
use super::{
    BASE_HASH, BASE_LAYER, CONFIG, COPY, Factor, PREFIX, WEIGHTS, added, is_within, module_of,
    peft_name, tied, virtual_tokens,
};
use crate::files::write_atomically;
use crate::tensor::{
    LowRank, LowRankConfig, Module, ParamKind, Parameter, Parameters, Plug, Precision, Tensor,
};
use crate::weights::write_safetensors;
use crate::{Error, Result};

/// What an adapter says of itself.
#[derive(Debug, Clone, Copy)]
pub struct AdapterCard<'a> {
    /// `base_model_name_or_path` of the config.
    pub base: &'a str,
    /// The base's [`content_hash`](crate::weights::content_hash).
    pub base_hash: &'a str,
    /// The class of transformers that the base is, and the module that has it.
    pub base_class: [&'a str; 2],
    /// README.md.
    pub readme: &'a str,
}

/// Writes what is plugged into `params`, and the modules that are trained, to `dir`, which is made if need
/// be. The weights come last, so that a directory with weights is complete.
pub fn save_adapter(dir: &Path, params: &Parameters, card: &AdapterCard<'_>) -> Result<()> {
    if let Some(kind) = VirtualTokens::alone(params) {
        return virtual_tokens::save(dir, params, kind, card);
    }
    if added::is_needed(params) {
        return added::save(dir, params, card);
    }
    let contents = Contents::of(params)?;
    if contents.tensors.is_empty() {
        return Err(Error::invalid(dir.display(), "nothing is trained: no adapter to save"));
    }
    let config = contents.config(card);
    fs::create_dir_all(dir).map_err(|e| Error::io(dir, &e))?;
    write_atomically(&dir.join("README.md"), |out| out.write_all(card.readme.as_bytes()))?;
    write_atomically(&dir.join(CONFIG), |out| writeln!(out, "{config:#}"))?;
    let list: Vec<_> =
        contents.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let metadata = BTreeMap::from([(BASE_HASH.to_owned(), card.base_hash.to_owned())]);
    write_safetensors(&dir.join(WEIGHTS), &list, Precision::F32, &metadata)
}

/// Whether an adapter can hold what is plugged in and trained; an error that says why not.
pub fn check_adapter(params: &Parameters) -> Result<()> {
    if added::is_needed(params) {
        return Ok(());
    }
    Contents::of(params).map(drop)
}

/// What goes into the files.
struct Contents {
    kind: Kind,
    /// `target_modules`.
    targets: BTreeSet<String>,
    /// `modules_to_save`.
    whole: BTreeSet<String>,
    /// Of LoRA: the targets' paths.
    paths: Vec<(String, LowRankConfig)>,
    /// Of IA3: the targets whose inputs are multiplied.
    feedforward: Vec<String>,
    /// Whether all biases are among the tensors.
    biases: bool,
    /// Under PEFT's names.
    tensors: BTreeMap<String, Tensor>,
}

/// Every parameter of the model under every name that PEFT knows it by: whether it is trained, and its value.
type Named<'p> = BTreeMap<&'p str, (bool, &'p Tensor)>;

impl Contents {
    fn of(params: &Parameters) -> Result<Self> {
        let named = named(params);
        let alone = biases_alone(params);
        let has = |low_rank: bool| {
            params.plugs().any(|(_, delta)| matches!(delta, Plug::LowRank(_)) == low_rank)
        };
        let kind = match (has(true), has(false)) {
            (true, true) => return Err(refused("LoRA and IA3 are in one model")),
            (false, true) if !alone.is_empty() => {
                return Err(refused("biases of linear layers are trained beside IA3"));
            }
            (false, true) => Kind::Ia3,
            (false, false) if alone.is_empty() => Kind::LnTuning,
            (_, false) => Kind::Lora,
        };
        let mut contents = Self {
            kind,
            targets: BTreeSet::new(),
            whole: BTreeSet::new(),
            paths: Vec::new(),
            feedforward: Vec::new(),
            biases: !alone.is_empty(),
            tensors: BTreeMap::new(),
        };
        let trained = named.iter().filter(|(name, (t, _))| *t && !alone.contains(*name));
        contents.add_modules(&named, trained.map(|(name, _)| module_of(name)).collect());
        contents.add_plugged(params)?;
        match kind {
            Kind::LnTuning => contents.add_a_target(params, &named),
            Kind::Lora if contents.biases => contents.add_biases(params, &named)?,
            Kind::Lora | Kind::Ia3 => {}
        }
        Ok(contents)
    }

    /// The modules `trained`, whole.
    fn add_modules(&mut self, named: &Named<'_>, trained: BTreeSet<&str>) {
        for &module in &trained {
            if trained.iter().any(|outer| is_within(module, outer)) {
                continue; // a part of what is written whole
            }
            // A module with modules of its own can only be kept whole.
            let has_modules = named.keys().any(|name| is_within(module_of(name), module));
            let is_whole = self.kind != Kind::LnTuning || has_modules;
            if is_whole { &mut self.whole } else { &mut self.targets }.insert(module.to_owned());
            self.add(named, module, !is_whole);
        }
    }

    fn add(&mut self, named: &Named<'_>, module: &str, is_target: bool) {
        for (name, (_, tensor)) in named.iter().filter(|(name, _)| is_within(name, module)) {
            let name = match name.rsplit_once('.') {
                Some((module, leaf)) if is_target => format!("{PREFIX}{module}.{COPY}.{leaf}"),
                _ => format!("{PREFIX}{name}"),
            };
            self.tensors.insert(name, (*tensor).clone());
        }
    }

    /// What is in sockets.
    fn add_plugged(&mut self, params: &Parameters) -> Result<()> {
        for (weight, delta) in params.plugs() {
            let layer = params.get(weight);
            let module = module_of(&layer.name);
            if self.whole.iter().any(|whole| whole == module || is_within(module, whole)) {
                return Err(refused(&format!(
                    "`{module}` is trained itself and has something beside"
                )));
            }
            let kernel = layer.shape.len() > 2;
            let mut insert = |factor: Factor, tensor: Tensor| {
                self.tensors.insert(format!("{PREFIX}{module}{}", factor.suffix()), tensor);
            };
            let value = |id| params.get(id).value().clone();
            match delta {
                Plug::LowRank(path) => {
                    insert(Factor::A, value(path.a));
                    insert(Factor::B, value(path.b));
                    if let Some(magnitude) = path.magnitude.map(value) {
                        let len = magnitude.len();
                        insert(
                            Factor::Magnitude,
                            match kernel {
                                true => magnitude.reshape(&[1, len, 1, 1]),
                                false => magnitude,
                            },
                        );
                    }
                    self.paths.push((module.to_owned(), shape_of(params, path)));
                }
                Plug::Bottleneck(_) => return Err(refused("an adapter ends a sublayer")),
                Plug::ChannelScale(scaled) if kernel && scaled.input => {
                    return Err(refused("IA3 multiplies the inputs of a convolution"));
                }
                Plug::ChannelScale(scaled) => {
                    let vector = value(scaled.vector);
                    let len = vector.len();
                    insert(
                        Factor::Scale,
                        match kernel {
                            true => vector.reshape(&[1, len, 1, 1]),
                            false => vector,
                        },
                    );
                    if scaled.input {
                        self.feedforward.push(module.to_owned());
                    }
                }
            }
            self.targets.insert(module.to_owned());
        }
        let has_magnitude = |(_, shape): &(String, LowRankConfig)| shape.has_magnitude;
        match self.paths.iter().any(has_magnitude) && !self.paths.iter().all(has_magnitude) {
            true => Err(refused("some layers have DoRA's magnitudes and others have none")),
            false => Ok(()),
        }
    }

    /// An unchanged norm, if there are whole modules alone: PEFT refuses an empty list of targets.
    fn add_a_target(&mut self, params: &Parameters, named: &Named<'_>) {
        if !self.targets.is_empty() || self.whole.is_empty() {
            return;
        }
        let norm = params.iter().find(|(_, p)| {
            let name = p.name.as_str();
            let outside = !self.whole.iter().any(|module| is_within(name, module));
            matches!(p.role.module, Module::Norm(_)) && outside
        });
        if let Some((_, norm)) = norm {
            let module = module_of(&norm.name);
            self.targets.insert(module.to_owned());
            self.add(named, module, true);
        }
    }

    /// All biases, and a path that adds 0 if there is none: no LoRA is without.
    fn add_biases(&mut self, params: &Parameters, named: &Named<'_>) -> Result<()> {
        if self.paths.is_empty() {
            let carries = |p: &&Parameter| {
                let kept = |whole: &String| is_within(&p.name, whole);
                p.role.is_linear_weight() && p.shape.len() == 2 && !self.whole.iter().any(kept)
            };
            let layer = params.iter().map(|(_, p)| p).find(carries);
            let layer = layer
                .ok_or_else(|| refused("biases are trained, and no layer is left as it is"))?;
            let module = module_of(&layer.name);
            let key = |factor: Factor| format!("{PREFIX}{module}{}", factor.suffix());
            self.tensors.insert(key(Factor::A), Tensor::zeros(&[1, layer.shape[1]]));
            self.tensors.insert(key(Factor::B), Tensor::zeros(&[layer.shape[0], 1]));
            let shape = LowRankConfig {
                rank: 1,
                alpha: 1.0,
                use_rslora: false,
                dropout: 0.0,
                has_magnitude: false,
            };
            self.paths.push((module.to_owned(), shape));
            self.targets.insert(module.to_owned());
        }
        for (name, (_, tensor)) in named.iter().filter(|(name, _)| name.ends_with(".bias")) {
            let module = module_of(name);
            let between = if self.targets.contains(module) { BASE_LAYER } else { "" };
            self.tensors.insert(format!("{PREFIX}{module}{between}.bias"), (*tensor).clone());
        }
        Ok(())
    }

    /// adapter_config.json.
    fn config(&self, card: &AdapterCard<'_>) -> Value {
        let names =
            |set: &'_ BTreeSet<String>| set.iter().map(|name| name.as_str().to_owned()).collect();
        let (targets, whole): (Vec<String>, Vec<String>) =
            (names(&self.targets), names(&self.whole));
        let common = Common {
            base: card.base,
            base_class: card.base_class,
            targets: targets.iter().map(String::as_str).collect(),
            whole: whole.iter().map(String::as_str).collect(),
        };
        match self.kind {
            Kind::LnTuning => common.ln_tuning(),
            Kind::Lora => common.lora(&Paths {
                each: self.paths.iter().map(|(module, shape)| (module.as_str(), *shape)).collect(),
                biases: self.biases,
            }),
            Kind::Ia3 => {
                let feedforward: Vec<_> = self.feedforward.iter().map(String::as_str).collect();
                common.ia3(&feedforward)
            }
        }
    }
}

fn named(params: &Parameters) -> Named<'_> {
    let tied = tied(params);
    let mut named = BTreeMap::new();
    for (_, parameter) in params.iter().filter(|(_, p)| !p.is_added()) {
        let entry = (parameter.trained, parameter.value());
        named.insert(peft_name(&parameter.name), entry);
        let second = tied.iter().find(|(_, first)| *first == parameter.name);
        if let Some(&(second, _)) = second
            && parameter.trained
        {
            named.insert(second, entry);
        }
    }
    named
}

/// The biases that are trained where the matrices and gains beside them are not, by PEFT's names, if there
/// is a linear layer's among them: norms alone are kept whole. The output bias, whose matrix is the
/// embedding table, is one beside others and beside what is plugged in: there PEFT wants whole modules. Alone
/// it is a changed copy, of which PEFT takes the matrix from the base.
fn biases_alone(params: &Parameters) -> BTreeSet<&str> {
    let is_norm = |p: &&Parameter| matches!(p.role.module, Module::Norm(_));
    let beside_frozen: Vec<_> = biases_beside(params, Some(false)).collect();
    let others = beside_frozen.iter().any(|p| !is_norm(p));
    let mut alone = BTreeSet::new();
    if others {
        alone.extend(beside_frozen.iter().map(|p| peft_name(&p.name)));
    }
    if others || params.plugs().len() > 0 {
        let beside_none = biases_beside(params, None).filter(|p| !is_norm(p));
        alone.extend(beside_none.map(|p| peft_name(&p.name)));
    }
    alone
}

/// The trained biases beside which there is a matrix or a gain, trained or not as `matrix` says, or none.
fn biases_beside(params: &Parameters, matrix: Option<bool>) -> impl Iterator<Item = &Parameter> {
    params.iter().map(|(_, p)| p).filter(move |p| {
        let weight = || params.find(&format!("{}.weight", module_of(&p.name)));
        let trained = || weight().map(|id| params.get(id).trained);
        p.trained && p.role.kind == ParamKind::Bias && trained() == matrix
    })
}

fn shape_of(params: &Parameters, path: LowRank) -> LowRankConfig {
    LowRankConfig {
        rank: params.get(path.a).shape[0],
        alpha: path.alpha,
        use_rslora: path.use_rslora,
        dropout: path.dropout,
        has_magnitude: path.magnitude.is_some(),
    }
}

fn refused(cause: &str) -> Error {
    Error::invalid("adapter", format!("{cause}, and PEFT's format has no room for that"))
        .with_remedy("choose other methods or towers, or merge one before the other is trained")
}

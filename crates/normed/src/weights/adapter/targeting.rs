//! Finds out which modules of a model an adapter's configuration means, by PEFT's rules.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::config::Config;
use super::layout::{is_within, module_of};
use super::model_names::{LayerKind, ModelNames};
use super::naming::Naming;
use super::patterns::{Modules, ends_with};
use crate::tensor::{LowRankConfig, Parameters};
use crate::weights::blip_names::TIED;
use crate::weights::llava_names::{PROJECTOR, TIED_HEAD, VISION};

/// The modules that a configuration means.
pub(super) struct Targeting<'p> {
    /// The modules that are adapted.
    pub adapted: BTreeSet<&'p str>,
    /// The modules that are saved whole, as the configuration names them: the outermost ones.
    pub saved: BTreeSet<&'p str>,
    /// Entries of the configuration that match nothing: the key, and the entry in backticks.
    pub unmatched: Vec<String>,
    schemes: Schemes<'p>,
}

impl<'p> Targeting<'p> {
    /// Applies `config` to the model with these names. The adapter's file has names of the scheme `naming`.
    ///
    /// # Errors
    /// If a regular expression takes too many steps, or `layers_pattern` is one.
    pub fn new(
        config: &Config,
        params: &Parameters,
        names: &ModelNames<'p>,
        naming: Naming,
    ) -> Result<Self, String> {
        let mut found = Self {
            adapted: BTreeSet::new(),
            saved: BTreeSet::new(),
            unmatched: Vec::new(),
            schemes: Schemes::new(names, naming),
        };
        let inside_saved = found.find_saved(config);
        found.adapted = match &config.targets {
            Modules::AllLinear => all_linear(params, names),
            targets => found.find("target_modules", targets, Some(config))?,
        };
        let excluded = found.find("exclude_modules", &config.exclude, None)?;
        found.adapted.retain(|module| !excluded.contains(module) && !inside_saved.contains(module));
        if naming == Naming::OwnCode && matches!(config.targets, Modules::List(_)) {
            // LLaVA's own code adds LoRA before it adds the image encoder and the projector.
            let added_later = [VISION, PROJECTOR].map(|prefix| prefix.trim_end_matches('.'));
            found
                .adapted
                .retain(|module| !added_later.iter().any(|outer| is_within(module, outer)));
        }
        Ok(found)
    }

    /// Whether `module` is saved whole, or is inside of a module that is.
    pub fn saves_whole(&self, module: &str) -> bool {
        self.saved.iter().any(|&saved| saved == module || is_within(module, saved))
    }

    /// Finds the modules that are saved whole, and returns those that PEFT adapts no part of for that reason.
    ///
    /// PEFT saves a module whole if its name ends with an entry, be it in the middle of a word. But it leaves only
    /// those modules unadapted that have the entry as whole words in their names.
    fn find_saved(&mut self, config: &Config) -> BTreeSet<&'p str> {
        let mut inside = BTreeSet::new();
        let mut saved = BTreeSet::new();
        for entry in &config.saved_whole {
            let ends = |(_, name): &(&str, String)| name.ends_with(entry.as_str());
            let Some(scheme) = self.schemes.0.iter().find(|scheme| scheme.iter().any(ends)) else {
                self.unmatched.push(format!("modules_to_save `{entry}`"));
                continue;
            };
            let words = format!(".{entry}.");
            for (module, name) in scheme {
                saved.extend(name.ends_with(entry.as_str()).then_some(*module));
                inside.extend(format!(".{name}.").contains(&words).then_some(*module));
            }
        }
        let outermost = |module: &&str| !saved.iter().any(|outer: &&str| is_within(module, outer));
        self.saved = saved.iter().copied().filter(outermost).collect();
        inside
    }

    /// The modules in `modules`, which the configuration calls `key`. Blocks are selected by `blocks`, if given.
    fn find(
        &mut self,
        key: &str,
        modules: &Modules,
        blocks: Option<&Config>,
    ) -> Result<BTreeSet<&'p str>, String> {
        let mut found = BTreeSet::new();
        let mut selection = blocks.map(BlockSelection::new).transpose()?;
        match modules {
            Modules::List(list) => {
                for entry in list {
                    let named = self.schemes.first(|name| ends_with(name, entry));
                    if named.is_empty() {
                        self.unmatched.push(format!("{key} `{entry}`"));
                    }
                    let selects = |(module, name): (&'p str, String)| {
                        let whole = name == *entry;
                        let selected = selection.as_mut().is_none_or(|s| s.selects(&name));
                        (whole || selected).then_some(module)
                    };
                    found.extend(named.into_iter().filter_map(selects));
                }
                self.unmatched.extend(selection.into_iter().flat_map(BlockSelection::unmatched));
            }
            Modules::Expression(expression) => {
                let mut problem = None;
                let named = self.schemes.first(|name| match expression.matches(name) {
                    Ok(matches) => matches,
                    Err(cause) => {
                        problem = Some(cause);
                        false
                    }
                });
                if let Some(cause) = problem {
                    return Err(cause);
                }
                if named.is_empty() {
                    self.unmatched.push(format!("{key} `{}`", expression.text));
                }
                found.extend(named.into_iter().map(|(module, _)| module));
            }
            Modules::AllLinear | Modules::None => {}
        }
        Ok(found)
    }

    /// The rank and scale of the low-rank matrices of the layer `module`.
    ///
    /// # Errors
    /// If a pattern takes too many steps, or rank or alpha is not a valid number.
    pub fn low_rank(&self, config: &Config, module: &str) -> Result<LowRankConfig, String> {
        let names = self.schemes.names_of(module);
        let lora = &config.lora;
        let rank = match config.ranks.find(&names)? {
            None => Some(lora.r),
            Some(rank) => rank.as_u64().and_then(|rank| usize::try_from(rank).ok()),
        };
        let alpha = config.alphas.find(&names)?.map(Value::as_f64);
        let alpha = alpha.map_or(Some(lora.lora_alpha), |alpha| Some(alpha? as f32));
        let dropout = lora.lora_dropout;
        match (rank, alpha) {
            (Some(rank), Some(alpha)) if rank > 0 && alpha.is_finite() => Ok(LowRankConfig {
                rank,
                alpha,
                use_rslora: lora.use_rslora,
                dropout: if (0.0..1.0).contains(&dropout) { dropout } else { 0.0 },
                has_magnitude: lora.use_dora,
            }),
            _ => Err(format!("the rank or alpha of {module} is not valid")),
        }
    }

    /// Notes the keys of `rank_pattern` and `alpha_pattern` that match none of the layers `adapted`.
    ///
    /// # Errors
    /// If a pattern takes too many steps.
    pub fn note_unmatched_patterns<'m>(
        &mut self,
        config: &Config,
        adapted: impl Iterator<Item = &'m str>,
    ) -> Result<(), String> {
        let modules: Vec<_> = adapted.map(|module| self.schemes.names_of(module)).collect();
        for (key, table) in [("rank_pattern", &config.ranks), ("alpha_pattern", &config.alphas)] {
            let unmatched = table.unmatched(&modules)?;
            self.unmatched.extend(unmatched.into_iter().map(|entry| format!("{key} `{entry}`")));
        }
        Ok(())
    }
}

/// PEFT's `all-linear`: every linear layer but the head that makes logits.
fn all_linear<'p>(params: &Parameters, names: &ModelNames<'p>) -> BTreeSet<&'p str> {
    let heads = [TIED_HEAD.0, TIED[0].0].map(module_of);
    let is_linear = |module: &&'p str| {
        let layer = names.layer(module);
        layer.is_some_and(|(kind, weight)| {
            let is_matrix = params.get(weight).shape().len() == 2;
            kind == LayerKind::Linear && is_matrix && !heads.contains(module)
        })
    };
    names.modules().filter(is_linear).collect()
}

/// Every module with its name, in one scheme of names.
type Scheme<'p> = Vec<(&'p str, String)>;

/// Every module's names in all schemes, those of the adapter's file first.
struct Schemes<'p>(Vec<Scheme<'p>>);

impl<'p> Schemes<'p> {
    fn new(names: &ModelNames<'p>, naming: Naming) -> Self {
        let others = Naming::ALL.into_iter().filter(|&other| other != naming);
        let scheme = |naming| {
            let translated = |module: &'p str| (module, names.translate(module, naming));
            names.modules().map(translated).collect()
        };
        Self(std::iter::once(naming).chain(others).map(scheme).collect())
    }

    /// The modules whose names satisfy `matches`, in the first scheme in which there are any.
    fn first(&self, mut matches: impl FnMut(&str) -> bool) -> Vec<(&'p str, String)> {
        let mut find = |scheme: &Scheme<'p>| {
            let found: Vec<_> = scheme.iter().filter(|(_, name)| matches(name)).cloned().collect();
            (!found.is_empty()).then_some(found)
        };
        self.0.iter().find_map(&mut find).unwrap_or_default()
    }

    /// The names of one module in all schemes.
    fn names_of(&self, module: &str) -> Vec<String> {
        let find = |scheme: &Scheme<'p>| {
            let at = scheme.binary_search_by(|(other, _)| (*other).cmp(module)).ok()?;
            Some(scheme[at].1.clone())
        };
        let mut names: Vec<_> = self.0.iter().filter_map(find).collect();
        names.dedup();
        names
    }
}

/// `layers_to_transform` and `layers_pattern`, and which of their entries were of use.
struct BlockSelection<'c> {
    /// The blocks, and whether a target is in one.
    blocks: BTreeMap<u64, bool>,
    /// Names of lists of blocks, and whether a target is in one.
    lists: Vec<(&'c str, bool)>,
}

impl<'c> BlockSelection<'c> {
    fn new(config: &'c Config) -> Result<Self, String> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if let Some(list) = config.block_lists.iter().find(|list| !list.chars().all(is_name)) {
            return Err(format!(
                "layers_pattern `{list}` is a regular expression, which is not supported"
            ));
        }
        Ok(Self {
            blocks: config.blocks.iter().map(|&block| (block, false)).collect(),
            lists: config.block_lists.iter().map(|list| (list.as_str(), false)).collect(),
        })
    }

    /// Whether the module `name` is in a selected block.
    fn selects(&mut self, name: &str) -> bool {
        if self.blocks.is_empty() {
            return true;
        }
        let block = self.block_of(name);
        let entry = block.and_then(|block| self.blocks.get_mut(&block));
        entry.is_some_and(|used| {
            *used = true;
            true
        })
    }

    /// The number of the block that the module `name` is in: the first number behind a list's name, which is never
    /// the first component if any list counts.
    fn block_of(&mut self, name: &str) -> Option<u64> {
        let numbers = || {
            let dots = name.match_indices('.').map(|(at, _)| at);
            let pairs = dots.clone().zip(dots.skip(1));
            pairs.filter_map(|(dot, next)| Some((dot, name[dot + 1..next].parse::<u64>().ok()?)))
        };
        if self.lists.is_empty() {
            return numbers().find(|&(dot, _)| name[..dot].contains('.')).map(|(_, block)| block);
        }
        self.lists.iter_mut().find_map(|(list, used)| {
            let found = numbers().find(|&(dot, _)| ends_with(&name[..dot], list));
            found.map(|(_, block)| {
                *used = true;
                block
            })
        })
    }

    /// Descriptions of the entries that select nothing.
    fn unmatched(self) -> Vec<String> {
        let lists = if self.blocks.is_empty() { Vec::new() } else { self.lists };
        let blocks = self.blocks.into_iter().filter(|(_, used)| !used);
        let blocks = blocks.map(|(block, _)| format!("layers_to_transform `{block}`"));
        let lists = lists.into_iter().filter(|(_, used)| !used);
        blocks.chain(lists.map(|(list, _)| format!("layers_pattern `{list}`"))).collect()
    }
}

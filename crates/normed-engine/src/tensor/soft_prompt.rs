//! The sockets of towers' inputs, for prompt tuning (Lester et al. 2021, arXiv 2104.08691, section 2):
//! virtual tokens before the embedded ones. [`plug`](super::plug) explains sockets.

use super::parameter::{ParamId, Parameter};
use super::parameters::Parameters;
use super::role::{AddedKind, Module, Role};

impl Parameters {
    /// The virtual tokens `[P, C]` before the tokens that this table embeds.
    pub fn soft_prompt(&self, table: ParamId) -> Option<ParamId> {
        self.soft_prompts.get(&table).copied()
    }

    /// All virtual tokens: pairs of the token embedding and the virtual tokens before its tokens.
    pub fn soft_prompts(&self) -> impl ExactSizeIterator<Item = (ParamId, ParamId)> {
        self.soft_prompts.iter().map(|(&table, &tokens)| (table, tokens))
    }

    /// Plugs `length` virtual tokens into the tower whose tokens this table embeds. The new parameter
    /// has no value yet.
    ///
    /// # Panics
    /// If the tower has virtual tokens already.
    pub fn plug_soft_prompt(&mut self, table: ParamId, length: usize) -> ParamId {
        let embedding = self.get(table);
        let role = Role { module: Module::Added(AddedKind::Prompt), ..embedding.role() };
        let name = format!("prompt_encoder.{}.embedding.weight", role.tower);
        let tokens = Parameter::new(name, &[length, embedding.shape()[1]], role);
        let tokens = self.push(tokens);
        let before = self.soft_prompts.insert(table, tokens);
        assert!(before.is_none(), "the tower of {} has a prompt already", self.get(table).name());
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::role::{EmbeddingKind, ParamKind, Tower};

    #[test]
    fn virtual_tokens_have_the_width_of_the_table() {
        let mut params = Parameters::new();
        let token = Module::Embedding(EmbeddingKind::Token);
        let mut scope = params.scope(Tower::Decoder, "embed");
        let table = scope.declare("weight", &[100, 8], token, ParamKind::Weight);
        assert_eq!(params.soft_prompt(table), None);
        let tokens = params.plug_soft_prompt(table, 5);
        assert_eq!(params.soft_prompts().collect::<Vec<_>>(), [(table, tokens)]);
        let added = params.get(tokens);
        assert_eq!(added.name(), "prompt_encoder.decoder.embedding.weight");
        assert_eq!((added.shape(), added.is_added()), (&[5, 8][..], true));
    }
}

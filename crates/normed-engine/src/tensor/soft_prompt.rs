//! The socket of tokens: what stands before those of a tower's sequences (Lester et al. 2021, arXiv
//! 2104.08691, section 2). A tower's socket is the table that embeds its tokens.

use super::{AddedKind, Module, ParamId, Parameter, Parameters, Role};

impl Parameters {
    /// The virtual tokens `[P, C]` before those that this table embeds.
    pub fn soft_prompt(&self, table: ParamId) -> Option<ParamId> {
        self.soft_prompts.get(&table).copied()
    }

    /// All virtual tokens, by the tables.
    pub fn soft_prompts(&self) -> impl ExactSizeIterator<Item = (ParamId, ParamId)> {
        self.soft_prompts.iter().map(|(&table, &tokens)| (table, tokens))
    }

    /// Plugs `length` virtual tokens into the tower whose tokens this table embeds, where there must be none
    /// yet. They have no values yet.
    pub fn plug_soft_prompt(&mut self, table: ParamId, length: usize) -> ParamId {
        let Parameter { role, shape, .. } = self.get(table);
        let name = format!("prompt_encoder.{}.embedding.weight", role.tower);
        let role = Role { module: Module::Added(AddedKind::Prompt), ..*role };
        let tokens = Parameter::new(name, &[length, shape[1]], role);
        let tokens = self.push(tokens);
        let before = self.soft_prompts.insert(table, tokens);
        assert!(before.is_none(), "{} has a prompt", self.get(table).name);
        tokens
    }
}

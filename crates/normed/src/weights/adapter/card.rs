//! The description of an adapter.

/// What an adapter directory says about the adapter, apart from its parameters.
#[derive(Debug, Clone, Copy)]
pub struct AdapterCard<'a> {
    /// The base model: `base_model_name_or_path` in the configuration. Adapters are shared, so this is a name
    /// ([`shared_name`](crate::hub::shared_name)) and no path.
    pub base: &'a str,
    /// The base's [`content_hash`](crate::weights::content_hash).
    pub base_hash: &'a str,
    /// The base's class in transformers, and the Python module that has it.
    pub base_class: [&'a str; 2],
    /// The text of README.md.
    pub readme: &'a str,
}

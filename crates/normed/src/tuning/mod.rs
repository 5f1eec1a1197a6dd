//! Which parameters are trained. A method knows roles of parameters, never a model.
//!
//! A [`Tuning`] has [`Rule`]s: methods, and the towers and blocks where they apply. A method is a predicate over
//! [`Role`](crate::tensor::Role), which a layer gives a parameter when it declares it; names are never matched.
//! A [`Method`] trains parameters of the model, or it plugs parameters of its own into the
//! [sockets](crate::tensor::Plug) of layers, in one of the engine's [`Form`]s.
//!
//! A method is one file in `methods/`: its [`MethodDescription`]. It holds the recipe keys of the
//! method, which of its parameters decay, and which have no gradient in the first step. The registry
//! ([`methods`], [`find_method`]) lists all methods; a program that uses this library adds its own by [`register`].

mod block_range;
mod extra_part;
mod form;
mod fraction;
mod key;
mod method;
mod methods;
mod model_diff;
mod parameter_table;
mod rule;
mod section;
mod subset;
mod target;

pub use block_range::BlockRange;
pub use extra_part::ExtraPart;
pub use form::{AddedParameter, AddedPiece, Form};
pub use fraction::Fraction;
pub use key::{Key, KeyDefault, KeyKind, OptionValue, Options};
pub use method::{Additions, ConfiguredMethod, Method, MethodDescription};
pub use methods::{find_method, methods, register};
pub use model_diff::{ModelDiff, NormChange, changed_values};
pub use parameter_table::{LayerKind, ParameterRow, ParameterTable};
pub use rule::Rule;
pub use section::{Selection, Tuning};
pub use subset::{CandidateNorm, NormCandidates, NormRanking, RankedNorm};
pub use target::Target;

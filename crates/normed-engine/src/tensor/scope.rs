//! Declaring parameters, layer by layer.

use super::parameter::{ParamId, Parameter};
use super::parameters::Parameters;
use super::role::{Module, ParamKind, Role, Tower};

/// A position in a model's tree of modules, where layers declare their parameters.
///
/// It holds the dotted name of the module, its tower and its block. A parameter declared in it gets
/// all three.
pub struct Scope<'a> {
    params: &'a mut Parameters,
    path: String,
    tower: Tower,
    layer: Option<usize>,
}

impl Parameters {
    /// The root of a tower, whose parameters have names below `path`. An empty path adds nothing.
    pub fn scope(&mut self, tower: Tower, path: &str) -> Scope<'_> {
        Scope { params: self, path: path.to_owned(), tower, layer: None }
    }
}

impl Scope<'_> {
    /// The submodule `name`.
    pub fn sub(&mut self, name: &str) -> Scope<'_> {
        let path =
            if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Scope { params: self.params, path, tower: self.tower, layer: self.layer }
    }

    /// Block `i` of the list of blocks called `name`.
    pub fn layer(&mut self, name: &str, i: usize) -> Scope<'_> {
        let mut scope = self.sub(&format!("{name}.{i}"));
        scope.layer = Some(i);
        scope
    }

    /// Declares the parameter `name` with this shape. It is frozen and has no value yet.
    pub fn declare(
        &mut self,
        name: &str,
        shape: &[usize],
        module: Module,
        kind: ParamKind,
    ) -> ParamId {
        let Scope { params, path, tower, layer } = self.sub(name);
        params.push(Parameter::new(path, shape, Role { tower, layer, module, kind }))
    }

    /// Marks everything that `declare` declares as inert: no loss depends on it, for this reason.
    pub fn all_inert(&mut self, reason: &'static str, declare: impl FnOnce(&mut Scope<'_>)) {
        let first = self.params.len();
        declare(self);
        for (_, parameter) in self.params.iter_mut().skip(first) {
            parameter.mark_inert(reason);
        }
    }

    /// Marks one parameter as inert: no loss depends on it, for this reason.
    pub fn mark_inert(&mut self, id: ParamId, reason: &'static str) {
        self.params.get_mut(id).mark_inert(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_gives_name_tower_and_block() {
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Vision, "vision_model");
        let outside = scope.declare("class", &[4], Module::Head, ParamKind::Weight);
        let mut encoder = scope.sub("encoder");
        let mut block = encoder.layer("layers", 2);
        let inside = block.sub("mlp").declare("fc1.bias", &[8], Module::Fc1, ParamKind::Bias);

        let (outside, inside) = (params.get(outside), params.get(inside));
        assert_eq!((outside.name(), outside.role().layer), ("vision_model.class", None));
        assert_eq!(inside.name(), "vision_model.encoder.layers.2.mlp.fc1.bias");
        let role = Role {
            tower: Tower::Vision,
            layer: Some(2),
            module: Module::Fc1,
            kind: ParamKind::Bias,
        };
        assert_eq!((inside.role(), inside.shape()), (role, &[8][..]));
    }

    #[test]
    fn exactly_what_is_declared_inside_is_inert() {
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Vision, "");
        let declare =
            |scope: &mut Scope<'_>, name| scope.declare(name, &[1], Module::Fc1, ParamKind::Bias);
        let before = declare(&mut scope, "before");
        let mut inside = Vec::new();
        scope.all_inert("unused", |scope| {
            inside.extend(["a", "b"].map(|name| declare(scope, name)))
        });
        let after = declare(&mut scope, "after");
        let inert = |id| params.get(id).inert_reason();
        assert!(inert(before).is_none() && inert(after).is_none());
        assert!(inside.into_iter().all(|id| inert(id) == Some("unused")));
    }
}

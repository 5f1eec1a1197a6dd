//! A tuning method that this file alone adds: recipes find it by name, it trains, and what it trained is saved
//! and loaded again. And runs of a single step, with every method.

use normed::recipe::Recipe;
use normed::tensor::{
    AddedTraining, AttentionProjection, Module, ParamKind, Parameters, Role, Tensor,
};
use normed::train::{RunOptions, run};
use normed::tuning::{
    AddedParameter, Additions, ConfiguredMethod, Form, Key, KeyDefault, KeyKind, Method,
    MethodDescription, Options, Tuning, find_method, methods, register,
};
use normed::weights::{BaseCheck, load_adapter};

#[allow(dead_code, reason = "not every test that includes this module needs it")]
mod tiny;

/// Scales the queries of every attention, channel by channel.
const QUERY_SCALES: MethodDescription = MethodDescription {
    name: "query_scales",
    summary: "Scales the queries of attentions.",
    keys: &[SELF_ATTENTION_ONLY],
    default_lr: 0.02,
    trains: |_, _| false,
    adds: Some(Additions { form, initial_value, training }),
    keep: None,
    adapter_types: &["IA3"],
};

const SELF_ATTENTION_ONLY: Key = Key {
    name: "self_attention_only",
    kind: KeyKind::Boolean,
    default: KeyDefault::Boolean(false),
    omit_default: false,
    meaning: "Whether cross-attentions are left as they are.",
};

fn form(role: &Role, options: &Options) -> Option<Form> {
    use AttentionProjection::Query;
    let selected = match role.module {
        Module::Attention(Query) => true,
        Module::CrossAttention(Query) => !options.boolean(&SELF_ATTENTION_ONLY),
        _ => false,
    };
    (selected && role.kind == ParamKind::Weight).then_some(Form::Scaling { input: false })
}

fn initial_value(params: &Parameters, added: &AddedParameter, _: u64) -> Tensor {
    let shape = params.get(added.id).shape();
    Tensor::new(shape, vec![1.0; shape.iter().product()])
}

fn training(_: &AddedParameter) -> AddedTraining {
    AddedTraining { decays: false, starts_without_gradient: false }
}

#[test]
fn a_method_of_one_file_is_read_trained_saved_and_loaded() {
    static DESCRIPTION: MethodDescription = QUERY_SCALES;
    let method = register(&DESCRIPTION).unwrap();
    assert_eq!(find_method("query_scales"), Some(method));
    assert!(register(&DESCRIPTION).unwrap_err().to_string().contains("already"));

    // A recipe finds it by its name and reads its key.
    let dir = tempfile::tempdir().unwrap();
    let tuning = "method = \"query_scales\"\nself_attention_only = true";
    tiny::make(dir.path(), tuning, "epochs = 2");
    let recipe = tiny::recipe(dir.path(), "run");
    let expected = method.with("self_attention_only", true).unwrap();
    assert_eq!(recipe.tuning, Tuning::new(expected));
    assert_ne!(recipe.tuning, Tuning::new(ConfiguredMethod::from(method)));
    assert!(recipe.to_toml().unwrap().contains("self_attention_only = true"));

    // A run trains it, and nothing else.
    let outcome = run(&recipe, &RunOptions::default(), &mut |_| {}).unwrap().finished().unwrap();
    let config = std::fs::read_to_string(recipe.output.join("adapter/adapter_config.json"));
    let config: serde_json::Value = serde_json::from_str(&config.unwrap()).unwrap();
    assert_eq!(config["peft_type"], method.description().adapter_types[0]);

    // What it trained is loaded from the adapter: one vector for each self-attention, no longer ones.
    let mut model = recipe.open_base().unwrap();
    let own = model.params.len();
    let hash = model.content_hash.clone();
    let adapter =
        load_adapter(&recipe.output.join("adapter"), &mut model.params, BaseCheck::Is(&hash));
    assert_eq!(adapter.unwrap().set.len(), model.params.len() - own);
    let queries = model.params.iter().take(own).filter(|(_, p)| {
        p.role().module == Module::Attention(AttentionProjection::Query)
            && p.role().kind == ParamKind::Weight
    });
    assert_eq!(queries.count(), model.params.len() - own);
    for (_, p) in model.params.iter().skip(own) {
        assert!(p.value().data().iter().any(|x| *x != 1.0), "{} did not move", p.name());
    }
    assert!(outcome.steps > 0);
}

/// Parameters without a gradient in the first step do not stop a run that has no second one.
#[test]
fn a_run_of_one_step_ends_well_with_every_method() {
    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"full\"", "epochs = 1\nmetric = \"last\"");
    for method in methods().into_iter().filter(|method| *method != Method::NONE) {
        let settings = [format!("tuning.method={method}"), "train.batch_size=24".to_owned()];
        let mut recipe = Recipe::open(&dir.path().join("recipe.toml"), &settings).unwrap();
        recipe.output = dir.path().join(method.name());
        let outcome = run(&recipe, &RunOptions::default(), &mut |_| {});
        let outcome = outcome.unwrap_or_else(|error| panic!("{method}: {error}"));
        assert_eq!(outcome.finished().unwrap().steps, 1, "{method}");
    }
}

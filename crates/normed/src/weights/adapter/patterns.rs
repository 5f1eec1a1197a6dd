//! The patterns in adapter_config.json that choose modules, with PEFT's rules of matching.

use fancy_regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Steps back that matching one name may take. Patterns of real adapters take a few hundred.
const BACKTRACK_LIMIT: usize = 20_000;

/// The longest regular expression, in bytes.
const MAX_EXPRESSION: usize = 10_000;

/// The most entries of a list or a table. Every one is compared with every module.
const MAX_ENTRIES: usize = 5_000;

/// The value of `target_modules` that means every linear layer but the head.
const ALL_LINEAR: &str = "all-linear";

/// Modules as the configuration has them: a list of names, or one text.
#[derive(Debug, Deserialize, Default)]
#[serde(untagged)]
pub(super) enum ModulesText {
    /// Paths, or ends of paths.
    List(Vec<String>),
    /// A regular expression, or [`ALL_LINEAR`].
    Text(String),
    /// No modules.
    #[default]
    None,
}

/// A set of modules.
#[derive(Debug, Default)]
pub(super) enum Modules {
    /// Paths, or ends of paths.
    List(Vec<String>),
    /// A regular expression that a whole path matches.
    Expression(Expression),
    /// Every linear layer but the head.
    AllLinear,
    /// No modules.
    #[default]
    None,
}

/// A regular expression in Python's syntax.
#[derive(Debug)]
pub(super) struct Expression {
    /// The text.
    pub text: String,
    regex: Regex,
}

impl Expression {
    /// Compiles `text`, put into `frame` in place of `{}`.
    ///
    /// # Errors
    /// If it cannot be compiled: Python has a few forms that only Python can evaluate.
    fn new(text: &str, frame: &str) -> Result<Self, String> {
        let fail = |cause: String| format!("the regular expression `{text:.200}` {cause}");
        if text.len() > MAX_EXPRESSION {
            return Err(fail(format!("has more than {MAX_EXPRESSION} bytes")));
        }
        let whole = frame.replace("{}", &text.replace(r"\Z", r"\z"));
        let regex = RegexBuilder::new(&whole)
            .backtrack_limit(BACKTRACK_LIMIT)
            .delegate_size_limit(1 << 20)
            .build()
            .map_err(|e| fail(format!("cannot be evaluated here: {e}")))?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// Whether it matches `name`.
    ///
    /// # Errors
    /// If that takes too many steps.
    pub fn matches(&self, name: &str) -> Result<bool, String> {
        let cause = |e| format!("the regular expression `{:.200}`: {e}", self.text);
        self.regex.is_match(name).map_err(cause)
    }
}

impl Modules {
    /// Compiles what the configuration has.
    ///
    /// # Errors
    /// If it is too long, or a regular expression cannot be evaluated.
    pub fn new(text: ModulesText) -> Result<Self, String> {
        match text {
            ModulesText::List(list) if list.len() > MAX_ENTRIES => {
                Err(format!("a list of modules has more than {MAX_ENTRIES} entries"))
            }
            ModulesText::List(list) => Ok(Self::List(list)),
            ModulesText::Text(text) if text.eq_ignore_ascii_case(ALL_LINEAR) => Ok(Self::AllLinear),
            ModulesText::Text(text) => Expression::new(&text, r"\A(?:{})\z").map(Self::Expression),
            ModulesText::None => Ok(Self::None),
        }
    }
}

/// Whether `module` is `end` or ends with it after a dot: PEFT's rule for lists of targets.
pub(super) fn ends_with(module: &str, end: &str) -> bool {
    module.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// `rank_pattern` or `alpha_pattern`: values for the modules that a key matches.
#[derive(Debug, Default)]
pub(super) struct PatternTable(Vec<(Key, Value)>);

/// A key of a [`PatternTable`].
#[derive(Debug)]
struct Key {
    text: String,
    /// None for the end of a path.
    expression: Option<Expression>,
}

impl PatternTable {
    /// Compiles a table. In PEFT, a key is the end of a regular expression: `(.*\.)?(KEY)$`.
    ///
    /// # Errors
    /// If it has too many entries, or a key cannot be evaluated.
    pub fn new(table: Option<Map<String, Value>>) -> Result<Self, String> {
        let table = table.unwrap_or_default();
        if table.len() > MAX_ENTRIES {
            return Err(format!("a table of patterns has more than {MAX_ENTRIES} entries"));
        }
        let compile = |(text, value): (String, Value)| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            let expression = match text.chars().all(is_plain) {
                true => None,
                false => Some(Expression::new(&text, r"\A(?:.*\.)?(?:{})\z")?),
            };
            Ok((Key { text, expression }, value))
        };
        table.into_iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// The value of the first key that matches one of `names`, which are those of one module.
    ///
    /// # Errors
    /// If a key takes too many steps.
    pub fn find(&self, names: &[String]) -> Result<Option<&Value>, String> {
        for (key, value) in &self.0 {
            if key.matches(names)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// The keys that match none of `modules`, each of which can have several names.
    ///
    /// # Errors
    /// If a key takes too many steps.
    pub fn unmatched(&self, modules: &[Vec<String>]) -> Result<Vec<&str>, String> {
        let mut unmatched = Vec::new();
        'keys: for (key, _) in &self.0 {
            for names in modules {
                if key.matches(names)? {
                    continue 'keys;
                }
            }
            unmatched.push(key.text.as_str());
        }
        Ok(unmatched)
    }
}

impl Key {
    fn matches(&self, names: &[String]) -> Result<bool, String> {
        for name in names {
            let matches = match &self.expression {
                None => ends_with(name, &self.text),
                Some(expression) => expression.matches(name)?,
            };
            if matches {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table(value: Value) -> Result<PatternTable, String> {
        PatternTable::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn keys_are_ends_of_paths_or_expressions() {
        let patterns = table(json!({
            "^a.q": 2, "b.q": 3, r"layers\.(0|1)\..*v": 4, "q": 5,
        }))
        .unwrap();
        let value = |name: &str| patterns.find(&[name.to_owned()]).unwrap().and_then(Value::as_u64);
        assert_eq!(["a.q", "x.a.q", "b.q", "x.b.q", "bb.q"].map(value), [2, 5, 3, 3, 5].map(Some));
        assert_eq!(
            ["m.layers.1.attn.v", "m.layers.2.attn.v", "k"].map(value),
            [Some(4), None, None]
        );
        let modules = ["x.b.q", "k"].map(|name| vec![name.to_owned()]);
        assert_eq!(patterns.unmatched(&modules).unwrap(), ["^a.q", r"layers\.(0|1)\..*v"]);
    }

    #[test]
    fn expressions_are_bounded() {
        let nested = table(json!({ "(a+a+)+b(?=c)": 1 })).unwrap();
        assert!(nested.find(&["a".repeat(60)]).unwrap_err().contains("(a+a+)+b"));
        for text in ["(unclosed", "((a{1000}){1000}){1000}"] {
            assert!(
                table(json!({ text: 1 })).unwrap_err().contains("cannot be evaluated"),
                "{text}"
            );
        }
        assert!(table(json!({ "(".repeat(MAX_EXPRESSION + 1): 1 })).unwrap_err().contains("bytes"));
        let many = ModulesText::List(vec![String::new(); MAX_ENTRIES + 1]);
        assert!(Modules::new(many).unwrap_err().contains("entries"));
    }

    #[test]
    fn a_text_is_an_expression_for_whole_paths() {
        let text = r"^(?!.*vision)(?:.*?(?:language|text).*?(?:q_proj|v_proj).*?)\Z";
        let modules = Modules::new(ModulesText::Text(text.into())).unwrap();
        let Modules::Expression(expression) = modules else { panic!() };
        assert!(expression.matches("model.language_model.layers.0.self_attn.q_proj").unwrap());
        assert!(!expression.matches("model.vision_tower.language.q_proj").unwrap());
        let all = Modules::new(ModulesText::Text("All-Linear".into())).unwrap();
        assert!(matches!(all, Modules::AllLinear));
        let Modules::Expression(part) = Modules::new(ModulesText::Text("q".into())).unwrap() else {
            panic!()
        };
        assert!(!part.matches("a.q").unwrap());
    }
}

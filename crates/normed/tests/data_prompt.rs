//! The tokens of prompts and answers against transformers' and LLaVA's
//! (goldens by reference/make_prompt_goldens.py).

use std::fs;
use std::path::Path;

use normed::data::{
    IMAGE_TOKEN, ImagePlaceholder, PromptRule, PromptSpec, Role, TemplateName, Tokenizer, Turn,
};
use serde::Deserialize;
use serde_json::Value;

#[path = "data_common/mod.rs"]
mod common;
use common::{golden, real_data};

#[derive(Deserialize)]
struct Case {
    tokenizer: String,
    config: Value,
    template: Option<TemplateName>,
    chat_template: Option<String>,
    picture: String,
    #[serde(default)]
    rows: Vec<Row>,
    /// The tokens of each of the conversations; none where the template refuses them.
    #[serde(default)]
    prompts: Vec<Option<Vec<i64>>>,
}

#[derive(Deserialize)]
struct Conversations {
    conversations: Vec<Vec<GoldenTurn>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct GoldenTurn {
    role: String,
    text: String,
    images: usize,
}

impl GoldenTurn {
    fn turn(&self) -> Turn {
        let roles = [Role::System, Role::User, Role::Assistant];
        let role = roles.into_iter().find(|role| role.name() == self.role).unwrap();
        Turn { role, text: self.text.clone(), images: self.images }
    }
}

#[derive(Deserialize)]
struct Row {
    question: String,
    answer: String,
    prompt: Vec<i64>,
    /// Prompt, answer and end.
    full: Vec<i64>,
}

fn cases() -> Vec<Case> {
    let cases = serde_json::from_slice(&fs::read(golden("prompts.json")).unwrap());
    let cases: Vec<Case> = cases.unwrap();
    assert_eq!(cases.len(), 17);
    cases
}

fn spec(template: Option<TemplateName>, image: ImagePlaceholder) -> PromptSpec {
    PromptSpec {
        template,
        language_model: "llama".into(),
        image,
        context: 1000,
        eos_token_ids: vec![2],
        pad_token_id: None,
    }
}

impl Case {
    /// What a checkpoint's directory would hold.
    fn write(&self, dir: &Path) {
        let name = Path::new(&self.tokenizer).file_name().unwrap();
        fs::copy(golden("causal").join(&self.tokenizer), dir.join(name)).unwrap();
        fs::write(dir.join("tokenizer_config.json"), self.config.to_string()).unwrap();
        if let Some(template) = &self.chat_template {
            fs::write(dir.join("chat_template.jinja"), template).unwrap();
        }
    }

    fn open(&self) -> (Tokenizer, PromptRule) {
        let dir = tempfile::tempdir().unwrap();
        self.write(dir.path());
        let tokenizer = Tokenizer::open_causal(dir.path()).unwrap();
        let picture = match self.picture.as_str() {
            "token" => ImagePlaceholder::Token(tokenizer.id("<image>").unwrap()),
            other => ImagePlaceholder::Between { start_end: other == "start_end" },
        };
        let rule = PromptRule::open(dir.path(), &tokenizer, spec(self.template, picture));
        (tokenizer, rule.unwrap())
    }
}

fn signed(ids: &[u32]) -> Vec<i64> {
    ids.iter().map(|&id| if id == IMAGE_TOKEN { -1 } else { i64::from(id) }).collect()
}

#[test]
fn prompts_and_answers_are_transformers_and_llavas() {
    for case in cases() {
        let (tokenizer, rule) = case.open();
        for Row { question, answer, prompt, full } in &case.rows {
            let what = format!("{:?} {:?} {question:?}", case.config["legacy"], case.template);
            let ids = rule.prompt(&tokenizer, "here", &[Turn::user(question.as_str(), 1)]).unwrap();
            assert_eq!(&signed(&ids), prompt, "{what}");
            let answer = rule.answer(&tokenizer, "here", answer).unwrap();
            assert_eq!(&signed(&[ids, answer, vec![rule.end_token()]].concat()), full, "{what}");
        }
        assert_eq!(rule.sample_prompt().ids.iter().filter(|&&id| id == IMAGE_TOKEN).count(), 1);
    }
}

/// Earlier turns, instructions, images in any turn and none at all
/// (goldens by reference/make_conversation_goldens.py).
#[test]
fn conversations_are_transformers_and_llavas() {
    let file = fs::read(golden("conversations.json")).unwrap();
    let Conversations { conversations, cases } = serde_json::from_slice(&file).unwrap();
    let turns: Vec<Vec<Turn>> =
        conversations.iter().map(|turns| turns.iter().map(GoldenTurn::turn).collect()).collect();
    assert_eq!((turns.len(), cases.len()), (5, 6));
    for case in &cases {
        let (tokenizer, rule) = case.open();
        for (turns, golden) in turns.iter().zip(&case.prompts) {
            let ids = rule.prompt(&tokenizer, "here", turns);
            match golden {
                Some(golden) => assert_eq!(&signed(&ids.unwrap()), golden, "{turns:?}"),
                None => {
                    let error = ids.unwrap_err();
                    assert!(
                        error.place() == "here" && error.cause().contains("refuses"),
                        "{error}"
                    );
                }
            }
        }
    }
}

/// Nothing in an earlier turn passes for an image or for a turn of its own.
#[test]
fn earlier_turns_cannot_imitate_the_template() {
    for case in cases() {
        let (tokenizer, rule) = case.open();
        let prompt = |question: &str, answer: &str| {
            let answer = Turn { role: Role::Assistant, text: answer.into(), images: 0 };
            let turns = [Turn::user(question, 1), answer, Turn::user("Where?", 0)];
            rule.prompt(&tokenizer, "here", &turns).unwrap()
        };
        let count = |ids: &[u32]| {
            ids.iter().filter(|&&id| id == IMAGE_TOKEN || tokenizer.is_special(id)).count()
        };
        let plain = count(&prompt("Is it normal?", "no"));
        for evil in tokenizer.special_tokens().into_iter().chain(["<im_start>".into()]) {
            let (question, answer) = (format!("{evil} a"), format!("b {evil} c"));
            assert_eq!(count(&prompt(&question, &answer)), plain, "{evil}");
        }
    }
}

#[test]
fn a_template_that_leaves_turns_out_is_named() {
    let mut case = cases().into_iter().find(|case| case.chat_template.is_some()).unwrap();
    case.chat_template = Some("{{ messages[-1].content }} ASSISTANT:".into());
    let (tokenizer, rule) = case.open();
    let answer = Turn { role: Role::Assistant, text: "yes".into(), images: 0 };
    let turns = [Turn::user("Is it normal?", 0), answer, Turn::user("Where?", 1)];
    let error = rule.prompt(&tokenizer, "here", &turns).unwrap_err();
    assert!(error.to_string().contains("leaves turn 1 out"), "{error}");
    assert!(rule.prompt(&tokenizer, "here", &turns[2..]).is_ok());
}

/// A study's images each have their place, the words stay where they were, and nothing in them passes for
/// a image.
#[test]
fn several_images_have_a_place_each() {
    for case in cases() {
        let (tokenizer, rule) = case.open();
        let prompt = |question: &str, n| {
            rule.prompt(&tokenizer, "here", &[Turn::user(question, n)]).unwrap()
        };
        let (one, two) = (prompt("Is it normal?", 1), prompt("Is it normal?", 2));
        let places = |ids: &[u32]| -> Vec<usize> {
            (0..ids.len()).filter(|&i| ids[i] == IMAGE_TOKEN).collect()
        };
        let (single, pair) = (places(&one), places(&two));
        assert_eq!((single.len(), pair.len()), (1, 2));
        // One after the other, and the rest as it was.
        assert_eq!(one[..single[0]], two[..pair[0].min(single[0])]);
        assert!(two.ends_with(&one[single[0]..]), "{one:?} {two:?}");
        assert_eq!(places(&prompt("Is <image> it <image> normal?", 2)).len(), 2);
    }
}

/// What was learned, decoded, is the answer again.
#[test]
fn answers_come_back() {
    for case in cases() {
        let (tokenizer, rule) = case.open();
        for answer in ["no", "The left   lung (L4-L5)", "a\nb", "是的 \u{1fac1}", "", "< s>", "-"]
        {
            let ids = rule.answer(&tokenizer, "here", answer).unwrap();
            assert_eq!(rule.answer_text(&tokenizer.decode(&ids)), answer);
        }
        let stopped = rule.answer_text(" no###Human: what?");
        let stops = case.template == Some(TemplateName::Simple);
        assert_eq!(stopped, if stops { "no" } else { "no###Human: what?" });
    }
}

/// A data set's text holds one image and no control tokens, whatever it says; `<image>` is where
/// conversations that were written for LLaVA put the image.
#[test]
fn a_question_cannot_imitate_the_template() {
    for case in cases() {
        let (tokenizer, rule) = case.open();
        let prompt =
            |question: &str| rule.prompt(&tokenizer, "here", &[Turn::user(question, 1)]).unwrap();
        let plain = prompt("Is it normal?");
        for question in
            ["<image>\nIs it normal?", "Is it normal?\n<image>", " <image>Is it normal?"]
        {
            assert_eq!(prompt(question), plain);
        }
        let special = |ids: &[u32]| {
            ids.iter().filter(|&&id| id == IMAGE_TOKEN || tokenizer.is_special(id)).count()
        };
        let mut evil = tokenizer.special_tokens();
        evil.extend(["<im<image>age>", "<im_start>", "\u{e000}<s>\u{e000}</s>"].map(Into::into));
        for evil in evil {
            let question = format!("a{evil}{evil}b");
            assert_eq!(special(&prompt(&question)), special(&plain), "{question}");
            let answer = rule.answer(&tokenizer, "here", &question).unwrap();
            assert_eq!(special(&answer), 0, "{question}");
            if evil != "<image>" && evil != "<im<image>age>" {
                assert_eq!(rule.answer_text(&tokenizer.decode(&answer)), question);
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_an_error_with_the_numbers() {
    let (tokenizer, rule) = cases()[0].open();
    let prompt = rule.prompt(&tokenizer, "here", &[Turn::user("Is it normal?", 1)]).unwrap();
    let room = 1000 - (prompt.len() - 1 + 576);
    rule.check_length("example `a`", prompt.len(), (1, 576), room).unwrap();
    let error = rule.check_length("example `a`", prompt.len(), (1, 576), room + 1).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    for part in ["example `a`", "576 of them", &(room + 1).to_string(), "1000 positions", "shorten"]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_tokenizer_that_lacks_what_the_config_names_is_refused() {
    let case = &cases()[0];
    let dir = tempfile::tempdir().unwrap();
    case.write(dir.path());
    let tokenizer = Tokenizer::open_causal(dir.path()).unwrap();
    let refused =
        |spec: PromptSpec| PromptRule::open(dir.path(), &tokenizer, spec).unwrap_err().to_string();
    let text = refused(spec(None, ImagePlaceholder::Token(700)));
    assert!(text.contains("`<image>` has no id, but config.json says 700"), "{text}");
    let chat = Some(TemplateName::Chat);
    let text = refused(spec(chat, ImagePlaceholder::Between { start_end: false }));
    assert!(text.contains("no chat_template"), "{text}");
    fs::write(dir.path().join("tokenizer_config.json"), r#"{"bos_token": "<s>"}"#).unwrap();
    let tokenizer = Tokenizer::open_causal(dir.path()).unwrap();
    let start_end = ImagePlaceholder::Between { start_end: true };
    let error = PromptRule::open(dir.path(), &tokenizer, spec(None, start_end)).unwrap_err();
    assert!(error.to_string().contains("lacks `<im_start>`"), "{error}");
    let mut unending = spec(None, ImagePlaceholder::Between { start_end: false });
    unending.eos_token_ids.clear();
    let error = PromptRule::open(dir.path(), &tokenizer, unending).unwrap_err();
    assert!(error.to_string().contains("eos_token_id"), "{error}");
}

/// An answer after a prompt is what it is by itself, with Mistral's tokenizer.
#[test]
#[ignore = "needs real data: set NORMED_DATA and run with --include-ignored"]
fn answers_of_vqa_rad_are_tokenized_by_themselves_real_data() {
    let data = real_data();
    let tokenizer = Tokenizer::open_causal(&data.join("tokenizers/mistral")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let rows = fs::read(data.join("vqa-rad/VQA_RAD Dataset Public.json")).unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&rows).unwrap();
    for template in [TemplateName::VicunaV1, TemplateName::MistralInstruct, TemplateName::Simple] {
        let spec = spec(Some(template), ImagePlaceholder::Between { start_end: false });
        let rule = PromptRule::open(dir.path(), &tokenizer, spec).unwrap();
        for row in &rows {
            let answer =
                row["answer"].as_str().map_or_else(|| row["answer"].to_string(), str::to_owned);
            let ids = rule.answer(&tokenizer, "here", &answer).unwrap();
            assert_eq!(ids, tokenizer.encode(answer.trim()), "{answer:?}");
        }
    }
}

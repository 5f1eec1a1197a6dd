//! From a row that holds a conversation to examples.

use serde_json::Value;

use super::content::Content;
use super::turns::{WrittenTurn, read_turns};
use crate::data::read_options::Answers;
use crate::data::row::Fields;
use crate::data::value_text::text_of;
use crate::data::{Answer, Example, ImageSource, Role, Turn};

/// The keys of a conversation. LLaVA-Med's alignment data spells one in its own way.
pub(in crate::data) const CONVERSATION_KEYS: [&str; 4] =
    ["conversations", "conversatons", "messages", "system"];

/// Whether the row holds a conversation.
pub(in crate::data) fn has_conversation(fields: &Fields<'_>) -> bool {
    find_list(fields).is_some()
}

fn find_list<'a>(fields: &Fields<'a>) -> Option<(&'static str, &'a Value)> {
    let keys = &CONVERSATION_KEYS[..3];
    keys.iter().find_map(|&key| Some((key, fields.value(key)?)))
}

/// The names of a conversation's images in the row itself, which may be none.
pub(in crate::data) fn own_images(fields: &Fields<'_>) -> Result<Vec<String>, String> {
    let is_empty = |key: &str| match fields.value(key) {
        None => true,
        Some(value) => value.as_array().is_some_and(Vec::is_empty),
    };
    if is_empty("image") && is_empty("images") { Ok(Vec::new()) } else { fields.views() }
}

/// The names of all images of a row, those that the turns of a conversation name included.
pub(in crate::data) fn image_names(fields: &Fields<'_>) -> Result<Vec<String>, String> {
    let Some((key, list)) = find_list(fields) else { return fields.views() };
    let mut names = own_images(fields)?;
    for turn in read_turns(key, list, Answers::Optional)? {
        names.extend(turn.content.images.into_iter().flatten());
    }
    Ok(names)
}

/// A row that holds a conversation.
pub(in crate::data) struct ConversationRow {
    /// What all of its examples have in common: id, images of the row in `images`, split, group, attributes.
    pub row: Example,
    /// The names of the row's images.
    pub names: Vec<String>,
    /// If answers are optional, a last question without an answer is an example, too.
    pub answers: Answers,
}

impl ConversationRow {
    /// The row's examples, one for each question. If there are several, their ids are the row's with
    /// their number: `17#1`, `17#2`. All have the same image name, so that no two are in different splits.
    ///
    /// `open` gives the image of a path that a turn names.
    ///
    /// # Errors
    ///
    /// If the conversation cannot be read, or its places of images are not as many as its images.
    pub fn examples(
        mut self,
        fields: &Fields<'_>,
        open: &mut dyn FnMut(&str) -> Result<ImageSource, String>,
    ) -> Result<Vec<Example>, String> {
        let (key, list) = find_list(fields).ok_or("`conversations` or `messages` is missing")?;
        let mut turns = read_turns(key, list, self.answers)?;
        if let Some(system) = fields.value("system")
            && turns[0].role != Role::System
        {
            let text = text_of(system).map_err(|cause| format!("`system` {cause}"))?;
            let content = Content { text: text.unwrap_or_default(), images: Vec::new() };
            turns.insert(0, WrittenTurn { role: Role::System, content });
        }
        let images = self.place_images(&mut turns, open)?;
        self.row.image_name = match self.names.as_slice() {
            [] => self.row.id.clone(),
            names => names.join(" "),
        };
        let answers = turns.iter().filter(|turn| turn.role == Role::Assistant).count();
        let mut history: Vec<Turn> = Vec::new();
        let mut examples: Vec<Example> = Vec::with_capacity(answers + 1);
        for WrittenTurn { role, content } in turns {
            let turn = Turn { role, images: content.images.len(), text: content.text };
            if role == Role::Assistant {
                // The type that a row states is that of its only answer.
                let answer = match answers {
                    1 => fields.typed(turn.text.clone())?,
                    _ => Answer::with_derived_type(turn.text.clone()),
                };
                examples.extend(self.example(&history, &images, Some(answer)));
            }
            history.push(turn);
        }
        if self.answers == Answers::Optional
            && history.last().is_some_and(|turn| turn.role == Role::User)
        {
            examples.extend(self.example(&history, &images, None));
        }
        if examples.len() > 1 {
            let ids = examples.iter_mut().map(|example| &mut example.id);
            ids.enumerate().for_each(|(i, id)| *id = format!("{id}#{}", i + 1));
        }
        Ok(examples)
    }

    /// The example of the last turn, a question, if there is one. `images` are those of the whole conversation.
    fn example(
        &self,
        turns: &[Turn],
        images: &[ImageSource],
        answer: Option<Answer>,
    ) -> Option<Example> {
        let (question, earlier) = turns.split_last()?;
        let shown = turns.iter().map(|turn| turn.images).sum();
        Some(Example {
            images: images[..shown].to_vec(),
            question: question.text.clone(),
            answer,
            history: earlier.to_vec(),
            ..self.row.clone()
        })
    }

    /// The images in the order in which the turns show them. The row's own images take the places that name none;
    /// if there is no place at all, they are shown in the first question.
    fn place_images(
        &mut self,
        turns: &mut [WrittenTurn],
        open: &mut dyn FnMut(&str) -> Result<ImageSource, String>,
    ) -> Result<Vec<ImageSource>, String> {
        let own = std::mem::take(&mut self.row.images);
        let named = paths(turns).flatten().count();
        let places = paths(turns).count() - named;
        if places + named == 0 {
            let first = turns.iter_mut().find(|turn| turn.role == Role::User);
            first.into_iter().for_each(|turn| turn.content.images = vec![None; own.len()]);
            return Ok(own);
        }
        // A row may list the paths that its turns name.
        let is_listed = |name: &String| paths(turns).flatten().any(|path| path == name);
        let own: Vec<_> = if places == 0 && self.names.iter().all(is_listed) {
            Vec::new()
        } else {
            own.into_iter().zip(std::mem::take(&mut self.names)).collect()
        };
        if places != own.len() {
            return Err(format!(
                "the conversation has {places} places of images (`<image>`), and the row has {} images",
                own.len()
            ));
        }
        let (mut own, mut names) = (own.into_iter(), Vec::new());
        let mut image = |path: &Option<String>| {
            let (image, name) = match path {
                Some(path) => (open(path)?, path.clone()),
                None => own.next().ok_or("there are too few images")?,
            };
            names.push(name);
            Ok::<_, String>(image)
        };
        let images = paths(turns).map(&mut image).collect::<Result<Vec<_>, _>>()?;
        self.names = names;
        Ok(images)
    }
}

/// The images of all turns: the path of each that has one.
fn paths(turns: &[WrittenTurn]) -> impl Iterator<Item = &Option<String>> {
    turns.iter().flat_map(|turn| &turn.content.images)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;
    use crate::data::AnswerType;
    use crate::data::example::tests::example;
    use crate::data::row::Row;

    /// The examples of a row whose images are named `own`.
    fn examples(row: Value, own: &[&str]) -> Result<Vec<Example>, String> {
        let file = |name: &str| ImageSource::File(PathBuf::from(name));
        let row = Row::parse(String::new(), String::new(), &row.to_string());
        let names: Vec<_> = own.iter().map(|name| (*name).to_owned()).collect();
        let common =
            Example { images: own.iter().map(|name| file(name)).collect(), ..example("17", "") };
        let row_of = ConversationRow { row: common, names, answers: Answers::Required };
        row_of.examples(&row.fields().unwrap(), &mut |path| Ok(file(path)))
    }

    fn names(example: &Example) -> Vec<String> {
        let name = |image: &ImageSource| match image {
            ImageSource::File(path) => path.display().to_string(),
            other => panic!("{other:?}"),
        };
        example.images.iter().map(name).collect()
    }

    #[test]
    fn each_answer_is_an_example_with_its_history() {
        let row = json!({"conversations": [
            {"from": "human", "value": "Is there an effusion?\n<image>"}, {"from": "gpt", "value": "yes"},
            {"from": "human", "value": "Which side?"}, {"from": "gpt", "value": "left"},
            {"from": "human", "value": "Is it large?"},
        ]});
        let examples = examples(row, &["a.png"]).unwrap();
        let shown: Vec<_> = examples
            .iter()
            .map(|e| {
                (
                    e.id.as_str(),
                    e.question.as_str(),
                    e.expect_answer().unwrap().text.as_str(),
                    e.expect_answer().unwrap().answer_type,
                )
            })
            .collect();
        let want = [
            ("17#1", "Is there an effusion?", "yes", AnswerType::Closed),
            ("17#2", "Which side?", "left", AnswerType::Open),
        ];
        assert_eq!(shown, want);
        assert_eq!(examples[0].turns(), [Turn::user("Is there an effusion?", 1)]);
        let answer = Turn { role: Role::Assistant, text: "yes".into(), images: 0 };
        let turns = [Turn::user("Is there an effusion?", 1), answer, Turn::user("Which side?", 0)];
        assert_eq!(examples[1].turns(), turns);
        assert!(examples.iter().all(|e| e.image_name == "a.png" && names(e) == ["a.png"]));
    }

    #[test]
    fn images_are_shown_where_their_places_are() {
        let turns = |first: &str, second: &str| {
            json!([{"role": "user", "content": first}, {"role": "assistant", "content": "b"},
                {"role": "user", "content": second}, {"role": "assistant", "content": "d"}])
        };
        let both =
            examples(json!({"messages": turns("<image>a", "<image>c")}), &["1.png", "2.png"]);
        let both = both.unwrap();
        assert_eq!(
            (names(&both[0]), names(&both[1])),
            (vec!["1.png".into()], vec!["1.png".into(), "2.png".into()])
        );
        assert_eq!(both[1].turns().last(), Some(&Turn::user("c", 1)));
        // All answers of a row are in one split.
        assert!(both.iter().all(|example| example.image_name == "1.png 2.png"));
        // Without places, the first question shows all.
        let first = examples(json!({"messages": turns("a", "c")}), &["1.png", "2.png"]).unwrap();
        assert_eq!(first[1].history[0].images, 2);
        // Paths in turns, which the row may list, too.
        let row = json!({"messages": turns("<img>x.png</img>a", "c"), "system": "Be brief."});
        for own in [&["x.png"][..], &[]] {
            let found = examples(row.clone(), own).unwrap();
            assert_eq!(
                (names(&found[0]), found[0].image_name.as_str()),
                (vec!["x.png".into()], "x.png")
            );
            assert_eq!(found[0].history[0].role, Role::System);
        }
        for (first, own, cause) in [
            (
                "<image><image>a",
                &["1.png"][..],
                "2 places of images (`<image>`), and the row has 1",
            ),
            ("<image>a", &[], "1 places of images (`<image>`), and the row has 0"),
            ("<image>a", &["1.png", "2.png"], "1 places"),
            ("<img>x.png</img>a", &["1.png"], "0 places"),
        ] {
            let error = examples(json!({"messages": turns(first, "c")}), own).unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
    }

    #[test]
    fn all_images_of_a_row_are_named() {
        let names = |row: Value| {
            let row = Row::parse(String::new(), String::new(), &row.to_string());
            image_names(&row.fields().unwrap()).unwrap()
        };
        let turns = json!([{"from": "human", "value": "<img>b.png</img>Why?"},
            {"from": "gpt", "value": "Because."}]);
        assert_eq!(names(json!({"image": "a.png", "conversations": turns})), ["a.png", "b.png"]);
        assert_eq!(names(json!({"images": [], "conversations": turns})), ["b.png"]);
        assert_eq!(names(json!({"image": "a.png"})), ["a.png"]);
    }

    /// To ask, the last turn may be a question without an answer.
    #[test]
    fn a_last_question_can_be_asked() {
        let asked = |turns: &[(&str, &str)], answers| {
            let turn = |(role, content): &(&str, &str)| json!({"role": role, "content": content});
            let list: Vec<_> = turns.iter().map(turn).collect();
            let row = json!({ "messages": list });
            let row = Row::parse(String::new(), String::new(), &row.to_string());
            let conversation = ConversationRow {
                row: Example { images: Vec::new(), ..example("17", "") },
                names: Vec::new(),
                answers,
            };
            let found = conversation.examples(&row.fields().unwrap(), &mut |_| unreachable!());
            let told = |e: Example| (e.id, e.question, e.answer.map(|answer| answer.text));
            found.map(|found| found.into_iter().map(told).collect::<Vec<_>>())
        };
        let (user, model) = (("user", "Why?"), ("assistant", "Because."));
        let known = |id: &str| (id.to_owned(), "Why?".to_owned(), Some("Because.".to_owned()));
        let unknown = |id: &str| (id.to_owned(), "Why?".to_owned(), None);
        let (required, optional) = (Answers::Required, Answers::Optional);
        assert_eq!(asked(&[user], optional).unwrap(), [unknown("17")]);
        let two = asked(&[user, model, user], optional).unwrap();
        assert_eq!(two, [known("17#1"), unknown("17#2")]);
        assert_eq!(asked(&[user, model, user], required).unwrap(), [known("17")]);
        assert!(asked(&[user], required).unwrap_err().contains("no answer of the assistant"));
        assert!(asked(&[("system", "Be brief.")], optional).unwrap_err().contains("no question"));
    }

    #[test]
    fn a_row_may_have_no_image() {
        let row = json!({"messages": [{"role": "user", "content": "Why?"},
            {"role": "assistant", "content": "Because."}], "answer_type": "closed"});
        let only = &examples(row, &[]).unwrap()[0];
        assert_eq!(
            (only.images.len(), only.image_name.as_str(), only.id.as_str()),
            (0, "17", "17")
        );
        assert_eq!(only.expect_answer().unwrap().answer_type, AnswerType::Closed);
    }
}

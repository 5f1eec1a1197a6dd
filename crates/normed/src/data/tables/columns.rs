//! The choice of the columns that a data set is read from.

use super::{Column, ColumnNames, Table};
use crate::data::Task;
use crate::data::read_options::Answers;
use crate::{Error, Result};

/// A column that is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChosenColumn {
    /// Its number in the file.
    pub number: usize,
    pub name: String,
    pub role: Role,
}

/// What a column is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Its images.
    Image,
    /// A field of the row, by this key.
    Field(&'static str),
    /// An attribute of the row, by its own name.
    Attribute,
}

/// Chooses the columns of a table for a task, in the file's order.
///
/// # Errors
///
/// If a column is missing that the task needs, or that `names` names.
pub(super) fn choose_columns(
    table: &dyn Table,
    names: &ColumnNames,
    task: &Task,
    answers: Answers,
) -> Result<Vec<ChosenColumn>> {
    let columns = table.columns();
    let choice = Choice { table, columns: &columns, names, answers };
    let mut chosen = match task.is_vqa() {
        true => choice.questions()?,
        false => {
            let mut chosen = vec![(choice.require("image", &IMAGES)?, Role::Image)];
            let report = choice.find_answer("report", &REPORTS)?;
            chosen.extend(report.map(|number| (number, Role::Field("report"))));
            chosen
        }
    };
    if let Some(group) = choice.find("group", &["group"])? {
        chosen.push((group, Role::Field("group")));
    }
    let is_chosen = |number: &usize| chosen.iter().any(|(other, _)| other == number);
    let others =
        (0..columns.len()).filter(|number| columns[*number].is_plain && !is_chosen(number));
    let others: Vec<_> = others.map(|number| (number, Role::Attribute)).collect();
    chosen.extend(others);
    chosen.sort_by_key(|(number, _)| *number);
    let column = |(number, role): (usize, Role)| {
        let name = columns[number].name.clone();
        ChosenColumn { number, name, role }
    };
    Ok(chosen.into_iter().map(column).collect())
}

/// The names of a column of images.
const IMAGES: [&str; 2] = ["image", "images"];

/// The names of a column of reports.
const REPORTS: [&str; 2] = ["report", "caption"];

/// The names of a column of conversations.
const CONVERSATIONS: [&str; 3] = ["conversations", "conversatons", "messages"];

struct Choice<'a> {
    table: &'a dyn Table,
    columns: &'a [Column],
    names: &'a ColumnNames,
    answers: Answers,
}

impl Choice<'_> {
    /// The columns of questions, or of conversations, which may be without images.
    fn questions(&self) -> Result<Vec<(usize, Role)>> {
        if let Some(conversations) = self.find("conversations", &CONVERSATIONS)? {
            let mut chosen = vec![(conversations, Role::Field("conversations"))];
            let image = self.find("image", &IMAGES)?;
            chosen.extend(image.map(|number| (number, Role::Image)));
            for key in ["system", "answer_type"] {
                chosen.extend(self.find(key, &[key])?.map(|number| (number, Role::Field(key))));
            }
            return Ok(chosen);
        }
        let question = self.find("question", &["question"])?;
        if let (None, Some(report)) = (question, self.find("report", &REPORTS)?) {
            let cause = "it has no column `question`";
            return Err(Error::invalid(self.table.path().display(), cause).with_remedy(format!(
                "for reports, which `{}` seems to hold, set data.task = \"report\"; {}",
                self.columns[report].name,
                self.remedy("question")
            )));
        }
        let mut chosen = vec![
            (self.require("image", &IMAGES)?, Role::Image),
            (self.require("question", &["question"])?, Role::Field("question")),
        ];
        let answer = self.find_answer("answer", &["answer", "answers"])?;
        chosen.extend(answer.map(|number| (number, Role::Field("answer"))));
        let kind = self.find("answer_type", &["answer_type"])?;
        chosen.extend(kind.map(|number| (number, Role::Field("answer_type"))));
        Ok(chosen)
    }

    /// The column that the recipe names for `role`, or the first of `usual` that exists.
    fn find(&self, role: &str, usual: &[&str]) -> Result<Option<usize>> {
        let path = self.table.path();
        let position = |name: &str| -> Result<Option<usize>> {
            let mut found =
                self.columns.iter().enumerate().filter(|(_, column)| column.name == name);
            let first = found.next().map(|(number, _)| number);
            match found.next() {
                None => Ok(first),
                Some(_) => {
                    let cause = format!("it has several columns `{name}`");
                    Err(Error::invalid(path.display(), cause))
                }
            }
        };
        if let Some(name) = self.names.of(role) {
            let missing = || {
                let cause = format!("it has no column `{name}`, which data.columns.{role} names");
                Error::invalid(path.display(), cause).with_remedy(self.list())
            };
            return position(name)?.ok_or_else(missing).map(Some);
        }
        for name in usual {
            if let Some(number) = position(name)? {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// As [`Choice::find`]; it is an error if there is none and answers are required.
    fn find_answer(&self, role: &str, usual: &[&str]) -> Result<Option<usize>> {
        match self.answers {
            Answers::Required => self.require(role, usual).map(Some),
            Answers::Optional => self.find(role, usual),
        }
    }

    /// As [`Choice::find`]; it is an error if there is none.
    fn require(&self, role: &str, usual: &[&str]) -> Result<usize> {
        self.find(role, usual)?.ok_or_else(|| {
            let cause = format!("it has no column `{role}`");
            Error::invalid(self.table.path().display(), cause).with_remedy(self.remedy(role))
        })
    }

    fn remedy(&self, role: &str) -> String {
        format!("{}; name the one that is meant: data.columns = {{ {role} = \"..\" }}", self.list())
    }

    fn list(&self) -> String {
        const MOST: usize = 40;
        let names = self.columns.iter().take(MOST);
        let names: Vec<_> =
            names.map(|column| format!("{} ({})", column.name, column.kind)).collect();
        let more = if self.columns.len() > MOST { ", .." } else { "" };
        format!("its columns are {}{more}", names.join(", "))
    }
}

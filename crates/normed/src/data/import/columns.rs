//! Which row holds the names of the columns, and which column holds what.

use std::path::Path;

use super::column_words::{Role, plain_name};
use super::options::ImportColumns;
use super::sheet::{Sheet, SheetRow, column_letters};
use crate::near_name::near_name;
use crate::{Error, Result};

/// How many rows are looked at to find the names of the columns.
const LOOKED_AT: usize = 50;

/// A column that was chosen, by the user or by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenColumn {
    /// What it holds: `image`, `question` and so on.
    pub role: &'static str,
    /// Its name.
    pub name: String,
    /// Whether it was guessed by its name.
    pub is_guessed: bool,
    /// Other columns whose names are usual for the role.
    pub others: Vec<String>,
}

/// The names of the columns, and where they stand.
#[derive(Debug)]
pub(super) struct Header {
    /// The index of the row in the sheet's rows.
    pub row: usize,
    /// Number and name of every column that has a name.
    pub columns: Vec<(usize, String)>,
}

/// The columns that rows are made of, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub image: Vec<usize>,
    pub question: Option<usize>,
    pub answer: Option<usize>,
    pub answer_type: Option<usize>,
    pub report: Option<usize>,
    pub group: Option<usize>,
    pub split: Option<usize>,
    pub id: Option<usize>,
    /// Whether the user named the column of ids.
    pub id_is_named: bool,
    /// Questions that are names of columns.
    pub wide: Vec<(usize, String)>,
    /// Columns that are copied.
    pub keep: Vec<(usize, String)>,
    pub chosen: Vec<ChosenColumn>,
    /// Columns that are not used.
    pub unused: Vec<String>,
}

impl Header {
    /// Finds the row of names: the first that has every name that the user gives; if none is given, the first of those
    /// with most usual names, at least two.
    ///
    /// # Errors
    ///
    /// If there is no such row.
    pub fn find(path: &Path, sheet: &Sheet, asked: &ImportColumns) -> Result<Self> {
        let wanted: Vec<&String> = asked.names().collect();
        let rows: Vec<Self> = sheet
            .rows
            .iter()
            .take(LOOKED_AT)
            .enumerate()
            .map(|(i, row)| Self::of(i, row))
            .collect();
        let score = |header: &Self| match wanted.is_empty() {
            false => wanted.iter().filter(|name| !header.positions(name).is_empty()).count(),
            true => header.count_usual(),
        };
        let best = rows.iter().map(&score).max().unwrap_or(0);
        let needed = if wanted.is_empty() { 2 } else { 1 };
        let first = rows.iter().position(|header| score(header) == best);
        match first {
            Some(first) if best >= needed => {
                let header = rows.into_iter().nth(first).expect("the position is that of a row");
                header.check_names(path, &wanted)?;
                Ok(header)
            }
            _ => {
                // Without any of the user's names: those of the row that looks like names most.
                let usual = rows.iter().map(Self::count_usual).max().filter(|most| *most > 1);
                let names = rows.iter().find(|header| Some(header.count_usual()) == usual);
                names.map_or(Ok(()), |header| header.check_names(path, &wanted))?;
                Err(no_header(path, sheet, &rows, &wanted))
            }
        }
    }

    fn of(index: usize, row: &SheetRow) -> Self {
        let name = |(&number, cell): (&usize, &super::cell::Cell)| {
            let text = cell.text().ok()??;
            Some((number, text.split_whitespace().collect::<Vec<_>>().join(" ")))
        };
        Self { row: index, columns: row.cells.iter().filter_map(name).collect() }
    }

    /// How many roles have a column with a usual name; questions as names of columns count as one more.
    fn count_usual(&self) -> usize {
        let has = |is: &dyn Fn(&str) -> bool| self.columns.iter().any(|(_, name)| is(name));
        let roles = Role::ALL.into_iter().filter(|role| has(&|name| role.rank(name).is_some()));
        roles.count() + usize::from(has(&is_question))
    }

    /// That each name that the user gives is one of a column.
    fn check_names(&self, path: &Path, wanted: &[&String]) -> Result<()> {
        let Some(missing) = wanted.iter().find(|name| self.positions(name).is_empty()) else {
            return Ok(());
        };
        let names = || self.columns.iter().map(|(_, name)| name.as_str());
        let listed = names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let hint = match near_name(missing, names()) {
            Some(near) => format!("did you mean `{near}`? The columns are: {listed}"),
            None => format!("the columns are: {listed}"),
        };
        let cause = format!("has no column `{missing}`");
        Err(Error::invalid(path.display(), cause).with_remedy(hint))
    }

    /// The columns of this name; if there is none, those whose names differ in case, blanks or accents alone.
    fn positions(&self, name: &str) -> Vec<usize> {
        let find = |is_same: &dyn Fn(&str) -> bool| -> Vec<usize> {
            let same = self.columns.iter().filter(|(_, other)| is_same(other));
            same.map(|(number, _)| *number).collect()
        };
        let exact = find(&|other| other == name.trim());
        if exact.is_empty() { find(&|other| plain_name(other) == plain_name(name)) } else { exact }
    }

    /// The only column of this name.
    fn position(&self, path: &Path, name: &str) -> Result<usize> {
        match self.positions(name).as_slice() {
            [one] => Ok(*one),
            several => {
                let letters: Vec<_> = several.iter().map(|&n| column_letters(n)).collect();
                let cause = format!("has several columns `{name}`: {}", letters.join(" and "));
                Err(Error::invalid(path.display(), cause)
                    .with_remedy("give each column in the file a name of its own"))
            }
        }
    }

    fn name(&self, number: usize) -> String {
        let name = self.columns.iter().find(|(other, _)| *other == number);
        name.map(|(_, name)| name.clone()).unwrap_or_default()
    }
}

impl ImportColumns {
    /// All names that the user gives.
    fn names(&self) -> impl Iterator<Item = &String> {
        let one = [
            &self.question,
            &self.answer,
            &self.answer_type,
            &self.report,
            &self.group,
            &self.split,
            &self.id,
        ];
        let many = self.image.iter().chain(&self.wide).chain(&self.keep);
        many.chain(one.into_iter().flatten())
    }

    fn name_of(&self, role: Role) -> Option<&String> {
        match role {
            Role::Image => self.image.first(),
            Role::Question => self.question.as_ref(),
            Role::Answer => self.answer.as_ref(),
            Role::AnswerType => self.answer_type.as_ref(),
            Role::Report => self.report.as_ref(),
            Role::Group => self.group.as_ref(),
            Role::Split => self.split.as_ref(),
            Role::Id => self.id.as_ref(),
        }
    }
}

impl Columns {
    /// Chooses the columns: those that the user names, and by usual names the others.
    ///
    /// # Errors
    ///
    /// If a column that is needed is not found, or two have its name.
    pub fn choose(path: &Path, header: &Header, asked: &ImportColumns) -> Result<Self> {
        let mut columns = Self::default();
        for name in &asked.wide {
            let number = header.position(path, name)?;
            columns.wide.push((number, header.name(number)));
        }
        for name in &asked.keep {
            let number = header.position(path, name)?;
            columns.keep.push((number, header.name(number)));
        }
        let is_report = asked.report.is_some();
        for role in Role::ALL {
            let is_needless = match role {
                Role::Question | Role::Answer => is_report || !asked.wide.is_empty(),
                Role::AnswerType => is_report || !asked.wide.is_empty() || columns.report.is_some(),
                Role::Report => {
                    !is_report && (columns.question.is_some() || !asked.wide.is_empty())
                }
                _ => false,
            };
            if !is_needless {
                columns.choose_role(path, header, asked, role)?;
            }
        }
        columns.check(path, header)?;
        let used = columns.used();
        let unused = header.columns.iter().filter(|(number, _)| !used.contains(number));
        columns.unused = unused.map(|(_, name)| name.clone()).collect();
        Ok(columns)
    }

    fn choose_role(
        &mut self,
        path: &Path,
        header: &Header,
        asked: &ImportColumns,
        role: Role,
    ) -> Result<()> {
        let (numbers, others) = match asked.name_of(role) {
            Some(_) if role == Role::Image => {
                let numbers = asked.image.iter().map(|name| header.position(path, name));
                (numbers.collect::<Result<Vec<_>>>()?, Vec::new())
            }
            Some(name) => (vec![header.position(path, name)?], Vec::new()),
            None => {
                let taken = self.used();
                let mut ranked: Vec<(usize, usize)> = header
                    .columns
                    .iter()
                    .filter(|(number, _)| !taken.contains(number))
                    .filter_map(|(number, name)| Some((role.rank(name)?, *number)))
                    .collect();
                ranked.sort_unstable();
                if let [(first, a), (second, b), ..] = ranked.as_slice()
                    && first == second
                {
                    let letters = format!("{} and {}", column_letters(*a), column_letters(*b));
                    let cause = format!("has several columns `{}`: {letters}", header.name(*a));
                    return Err(Error::invalid(path.display(), cause)
                        .with_remedy("give each column in the file a name of its own"));
                }
                let mut numbers = ranked.into_iter().map(|(_, number)| number);
                let first = numbers.next();
                (first.into_iter().collect(), numbers.map(|n| header.name(n)).collect())
            }
        };
        let is_guessed = asked.name_of(role).is_none();
        for &number in &numbers {
            let name = header.name(number);
            let others = others.clone();
            self.chosen.push(ChosenColumn { role: role.name(), name, is_guessed, others });
        }
        let first = numbers.first().copied();
        match role {
            Role::Image => self.image = numbers,
            Role::Question => self.question = first,
            Role::Answer => self.answer = first,
            Role::AnswerType => self.answer_type = first,
            Role::Report => self.report = first,
            Role::Group => self.group = first,
            Role::Split => self.split = first,
            Role::Id => (self.id, self.id_is_named) = (first, !is_guessed),
        }
        Ok(())
    }

    /// The columns that are used.
    fn used(&self) -> Vec<usize> {
        let one = [
            self.question,
            self.answer,
            self.answer_type,
            self.report,
            self.group,
            self.split,
            self.id,
        ];
        let named = self.wide.iter().chain(&self.keep).map(|(number, _)| *number);
        self.image.iter().copied().chain(one.into_iter().flatten()).chain(named).collect()
    }

    /// That every column is there that a row needs.
    fn check(&self, path: &Path, header: &Header) -> Result<()> {
        let missing = [
            (self.image.is_empty(), Role::Image),
            (
                self.question.is_none() && self.report.is_none() && self.wide.is_empty(),
                Role::Question,
            ),
            (self.question.is_some() && self.answer.is_none(), Role::Answer),
        ];
        let Some((_, role)) = missing.into_iter().find(|(is_missing, _)| *is_missing) else {
            return Ok(());
        };
        let questions: Vec<_> = header
            .columns
            .iter()
            .filter(|(_, name)| is_question(name))
            .map(|(_, name)| format!("--wide \"{name}\""))
            .collect();
        let (name, option) = (role.name(), role.option());
        let remedy = if role == Role::Question && !questions.is_empty() {
            format!(
                "a column for each question is read by --wide, which names the column of one: {}",
                questions.join(" ")
            )
        } else {
            let names: Vec<_> =
                header.columns.iter().map(|(_, name)| format!("`{name}`")).collect();
            let also = match role {
                Role::Question => ", or for reports --report COLUMN",
                _ => "",
            };
            format!("name it by {option} COLUMN{also}. The columns are: {}", names.join(", "))
        };
        let cause = format!("no column has a usual name for the {name}");
        Err(Error::invalid(path.display(), cause).with_remedy(remedy))
    }
}

/// Whether a name of a column is a question.
fn is_question(name: &str) -> bool {
    name.ends_with(['?', '？'])
}

/// The error that no row holds names of columns.
fn no_header(path: &Path, sheet: &Sheet, rows: &[Header], wanted: &[&String]) -> Error {
    // The first of the widest rows: a title above a table has one cell.
    let widest = rows.iter().rev().max_by_key(|header| header.columns.len());
    let number = widest.map_or(1, |header| sheet.rows[header.row].number);
    let names = widest.into_iter().flat_map(|header| &header.columns);
    let names: Vec<_> = names.map(|(_, name)| format!("`{name}`")).collect();
    let line = if sheet.is_text { "line" } else { "row" };
    let sheets: String = sheet.notes.iter().map(|note| format!(" ({note})")).collect();
    let cause = match wanted.is_empty() {
        true => "no row holds usual names of columns".to_owned(),
        false => {
            let names: Vec<_> = wanted.iter().map(|name| format!("`{name}`")).collect();
            format!("no row holds the names of columns {}", names.join(", "))
        }
    };
    Error::invalid(path.display(), cause).with_remedy(format!(
        "{line} {number} holds {}. If these are names, name the columns: --image, --question, --answer; if they are \
         values, write a row of names above them{sheets}",
        names.join(", ")
    ))
}

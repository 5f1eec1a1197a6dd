//! The columns' meanings that the `datasets` library writes into a file's metadata.
//!
//! Of these, labels matter: a `ClassLabel` is stored as a number, and its names are in the metadata.

use serde_json::Value;

use super::Cell;

/// The features of a file's columns.
#[derive(Debug, Default)]
pub(super) struct Features(Option<Value>);

impl Features {
    /// The key of the metadata that holds them.
    pub const KEY: &str = "huggingface";

    /// Reads the features in the metadata under [`Features::KEY`]; metadata of another form has none.
    pub fn parse(metadata: Option<&str>) -> Self {
        let metadata = metadata.and_then(|text| serde_json::from_str::<Value>(text).ok());
        Self(metadata.and_then(|mut value| value.pointer_mut("/info/features").map(Value::take)))
    }

    /// The value of `column` with the names of its labels in place of their numbers.
    pub fn name_labels(&self, column: &str, cell: Cell) -> Cell {
        match self.0.as_ref().and_then(|features| features.get(column)) {
            Some(feature) => name_labels(feature, cell),
            None => cell,
        }
    }
}

fn name_labels(feature: &Value, cell: Cell) -> Cell {
    let kind = feature.get("_type").and_then(Value::as_str);
    match (kind, cell) {
        (Some("ClassLabel"), Cell::Int(number)) => label(feature, number),
        // A list is written as a list of one feature, or as a feature of the type List or Sequence.
        (Some("List" | "LargeList" | "Sequence"), Cell::List(cells)) => {
            let inner = feature.get("feature").unwrap_or(&Value::Null);
            Cell::List(cells.into_iter().map(|cell| name_labels(inner, cell)).collect())
        }
        (None, Cell::List(cells)) => {
            let inner = feature.get(0).unwrap_or(&Value::Null);
            Cell::List(cells.into_iter().map(|cell| name_labels(inner, cell)).collect())
        }
        (None, Cell::Struct(fields)) => {
            let field = |(name, cell): (String, Cell)| {
                let inner = feature.get(&name).unwrap_or(&Value::Null);
                let cell = name_labels(inner, cell);
                (name, cell)
            };
            Cell::Struct(fields.into_iter().map(field).collect())
        }
        (_, cell) => cell,
    }
}

fn label(feature: &Value, number: i64) -> Cell {
    let Some(names) = feature.get("names").and_then(Value::as_array) else {
        return Cell::Int(number);
    };
    // -1 means that the label is missing.
    if number == -1 {
        return Cell::Null;
    }
    let name = usize::try_from(number).ok().and_then(|number| names.get(number)?.as_str());
    name.map_or(Cell::Other("a label without a name"), |name| Cell::Text(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_have_their_names() {
        let organ = json!({"names": ["lung", "liver"], "_type": "ClassLabel"});
        let features = json!({"info": {"features": {
            "answer": organ,
            "bare": {"num_classes": 2, "_type": "ClassLabel"},
            "list": {"feature": organ, "_type": "List"},
            "old": [organ],
            "turns": [{"organ": organ, "text": {"dtype": "string", "_type": "Value"}}],
        }}});
        let features = Features::parse(Some(&features.to_string()));
        let text = |text: &str| Cell::Text(text.into());
        let list = |cell: Cell| Cell::List(vec![cell]);
        let turn = |organ: Cell| list(Cell::Struct(vec![("organ".into(), organ)]));
        for (column, stored, read) in [
            ("answer", Cell::Int(1), text("liver")),
            ("answer", Cell::Int(-1), Cell::Null),
            ("answer", Cell::Int(2), Cell::Other("a label without a name")),
            ("answer", text("as text"), text("as text")),
            ("bare", Cell::Int(1), Cell::Int(1)),
            ("list", list(Cell::Int(0)), list(text("lung"))),
            ("old", list(Cell::Int(0)), list(text("lung"))),
            ("turns", turn(Cell::Int(1)), turn(text("liver"))),
            ("unknown", Cell::Int(1), Cell::Int(1)),
        ] {
            assert_eq!(features.name_labels(column, stored), read, "{column}");
        }
        for metadata in [None, Some("{"), Some("{}")] {
            assert_eq!(Features::parse(metadata).name_labels("answer", Cell::Int(1)), Cell::Int(1));
        }
    }
}

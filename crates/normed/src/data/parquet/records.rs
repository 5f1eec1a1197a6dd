//! Rows put together from the columns of values: the inverse of how parquet takes nested rows apart.

use std::collections::BTreeMap;

use super::leaf::Leaf;
use super::schema::{Node, NodeKind};
use crate::data::tables::Cell;

/// The columns of values that are read, by their numbers.
pub(super) struct Leaves(pub BTreeMap<usize, Leaf>);

impl Leaves {
    /// Takes the value of `node` in the next row.
    ///
    /// `budget` is how many bytes of text and data may still be taken.
    ///
    /// # Errors
    ///
    /// If the columns of values below `node` disagree, or if the budget is exceeded.
    pub fn take(&mut self, node: &Node, budget: &mut usize) -> Result<Cell, String> {
        match &node.kind {
            NodeKind::Leaf(number, kind) => self.leaf(*number)?.take(*kind, budget),
            NodeKind::Struct(fields) => {
                if self.leaf(node.first_leaf)?.definition()? < node.present {
                    self.pass(node)?;
                    return Ok(Cell::Null);
                }
                let field = |field: &Node| Ok((field.name.clone(), self.take(field, budget)?));
                fields.iter().map(field).collect::<Result<_, String>>().map(Cell::Struct)
            }
            NodeKind::List { filled, repeated, element } => {
                let level = self.leaf(node.first_leaf)?.definition()?;
                if level < *filled {
                    self.pass(node)?;
                    let is_null = level < node.present;
                    return Ok(if is_null { Cell::Null } else { Cell::List(Vec::new()) });
                }
                let mut elements = vec![self.take(element, budget)?];
                while self.leaf(node.first_leaf)?.repetition() == *repeated {
                    elements.push(self.take(element, budget)?);
                }
                Ok(Cell::List(elements))
            }
        }
    }

    /// Passes over the value of each column below `node`: none of them is there.
    fn pass(&mut self, node: &Node) -> Result<(), String> {
        node.leaves().into_iter().try_for_each(|number| self.leaf(number)?.pass())
    }

    fn leaf(&mut self, number: usize) -> Result<&mut Leaf, String> {
        self.0.get_mut(&number).ok_or_else(|| "is not read".to_owned())
    }
}

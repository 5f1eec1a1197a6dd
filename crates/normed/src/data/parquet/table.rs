//! The rows and the images of a parquet file, as a table gives them.

use std::path::Path;
use std::sync::Arc;

use super::file::ParquetFile;
use super::image_column::ImageColumn;
use super::records::Leaves;
use super::schema::{LeafKind, Node, NodeKind};
use crate::Result;
use crate::data::tables::{Cell, Column, ImageStore, Table};

/// How many rows are decoded at a time. Their images are in memory together.
const BATCH: usize = 16;

impl Table for ParquetFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn columns(&self) -> Vec<Column> {
        let column = |node: &Node| Column {
            name: node.name.clone(),
            kind: node.describe(),
            is_plain: matches!(
                node.kind,
                NodeKind::Leaf(
                    _,
                    LeafKind::Bool
                        | LeafKind::Int
                        | LeafKind::Unsigned
                        | LeafKind::Float
                        | LeafKind::Half
                        | LeafKind::Text
                )
            ) && !self.is_encrypted(node),
        };
        self.columns.nodes.iter().map(column).collect()
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        let pair = self.metadata.iter().find(|(known, _)| known == key);
        pair.map(|(_, value)| value.as_str())
    }

    fn for_each_row(
        &self,
        columns: &[usize],
        take: &mut dyn FnMut(usize, Vec<Cell>),
    ) -> Result<()> {
        let source = self.source()?;
        let nodes: Vec<&Node> = columns.iter().map(|number| &self.columns.nodes[*number]).collect();
        let (mut row, mut budget) = (0, self.budget);
        for (group, row_group) in self.groups.iter().enumerate() {
            let mut leaves = Leaves(Default::default());
            for leaf in nodes.iter().flat_map(|node| node.leaves()) {
                leaves.0.insert(leaf, self.leaf(&source, group, leaf)?);
            }
            let mut left = row_group.rows;
            while left > 0 {
                let count = left.min(BATCH);
                for (number, leaf) in &mut leaves.0 {
                    let read = leaf.read(count);
                    read.map_err(|cause| {
                        self.broken(group, self.columns.leaf_name(*number), cause)
                    })?;
                }
                for _ in 0..count {
                    let cell = |node: &&Node| {
                        let cell = leaves.take(node, &mut budget);
                        cell.map_err(|cause| self.broken(group, &node.name, cause))
                    };
                    take(row, nodes.iter().map(cell).collect::<Result<_>>()?);
                    row += 1;
                }
                left -= count;
            }
        }
        Ok(())
    }

    fn images(self: Arc<Self>, column: usize) -> Arc<dyn ImageStore> {
        let leaf = self.columns.nodes[column].image_leaf();
        Arc::new(ImageColumn::new(self, leaf))
    }
}

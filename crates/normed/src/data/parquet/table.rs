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
            ),
        };
        self.columns.iter().map(column).collect()
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        let pairs = self.metadata.file_metadata().key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
    }

    fn for_each_row(
        &self,
        columns: &[usize],
        take: &mut dyn FnMut(usize, Vec<Cell>),
    ) -> Result<()> {
        let file = self.handle()?;
        let nodes: Vec<&Node> = columns.iter().map(|number| &self.columns[*number]).collect();
        let (mut row, mut budget) = (0, self.budget);
        for (group, metadata) in self.metadata.row_groups().iter().enumerate() {
            let mut leaves = Leaves(Default::default());
            for leaf in nodes.iter().flat_map(|node| node.leaves()) {
                leaves.0.insert(leaf, self.leaf(&file, group, leaf)?);
            }
            let mut left = metadata.num_rows() as usize; // not below 0: see `open`
            while left > 0 {
                let count = left.min(BATCH);
                for (number, leaf) in &mut leaves.0 {
                    let read = leaf.read(count);
                    read.map_err(|cause| self.broken(group, self.leaf_name(*number), cause))?;
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
        let leaf = self.columns[column].image_leaf();
        Arc::new(ImageColumn::new(self, leaf))
    }
}

//! Properties of one frame: in the file as a whole, or in its functional groups.

use super::elements::{Elements, Tag};

/// Enhanced multi-frame files: the functional groups of all frames, and of each frame.
const SHARED: Tag = (0x5200, 0x9229);
const PER_FRAME: Tag = (0x5200, 0x9230);

/// The elements of a file, and the frame that they are read for.
#[derive(Clone, Copy)]
pub(super) struct FrameProperties<'e, 'a> {
    pub elements: &'e Elements<'a>,
    pub frame: usize,
}

impl<'a> FrameProperties<'_, 'a> {
    /// Reads a property of the frame: from the file as a whole, or else from the functional group `within` of
    /// the frame, or else from the shared one (C.7.6.16).
    pub fn find<T>(
        &self,
        within: Tag,
        read: impl Fn(&Elements<'a>) -> Result<Option<T>, String>,
    ) -> Result<Option<T>, String> {
        if let Some(value) = read(self.elements)? {
            return Ok(Some(value));
        }
        for (groups, n) in [(PER_FRAME, self.frame), (SHARED, 0)] {
            let Some(group) = self.elements.item(groups, n)? else { continue };
            let Some(item) = group.item(within, 0)? else { continue };
            if let Some(value) = read(&item)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

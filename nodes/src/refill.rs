//! A node with a new disk, until the others have given it all that was on the old one.
//!
//! They give it all at once after the new layout that it asks for, and then look every ten minutes only. What one of
//! them could not give, because it or the node was away for a moment, does not count as left over as long as a
//! quorum has it. So a node that saw anybody away meanwhile, or itself, asks once more: its disk gets another name, with
//! which it has no role yet.

use std::sync::atomic::Ordering;

use durum_core::{IoResultExt as _, Result};
use durum_garage::admin::Layout;
use tracing::info;

use crate::files;
use crate::keeper::{Keeper, Memory, Seen, has_role_with};
use crate::overview::is_moving;
use crate::settings::NodeDir;

const DOING: &str = "remember that a disk is a new one";

/// Whether a node's disk is a new one, to which not all was given yet that was on the old one.
pub(crate) fn lacks(dir: &NodeDir, copies: u32, layout: &Layout) -> Result<bool> {
    let id = dir.id()?;
    let has_role = layout.roles.iter().any(|role| role.id == id);
    let asked = has_role_with(layout, &id, &dir.disk(copies)?);
    Ok(dir.lacks(copies).exists() || (has_role && !asked))
}

impl Keeper {
    /// What is to be remembered before a node with a new disk asks for what was on the old one.
    pub(crate) fn asks_again(&self, memory: &mut Memory) -> Result<()> {
        let path = self.dir.lacks(self.copies);
        files::write(DOING, &path, files::SECRET, b"")?;
        memory.asked_in = Some(self.process.starts.load(Ordering::Acquire));
        memory.disturbed = false;
        Ok(())
    }

    /// Sees to it that a node with a new disk is given everything; whether nothing is to be done.
    pub(crate) async fn be_given(&mut self, seen: &Seen, memory: &mut Memory) -> Result<bool> {
        let path = self.dir.lacks(self.copies);
        if !path.exists() {
            return Ok(true);
        }
        let this = Some(self.process.starts.load(Ordering::Acquire));
        let mut roles = seen.layout.roles.iter();
        let all_up = roles.all(|role| seen.is_up(&role.id));
        memory.disturbed |= !all_up || memory.asked_in != this;
        if !all_up {
            return Ok(true);
        }
        let asked = has_role_with(&seen.layout, &self.id, &self.disk);
        if !asked || is_moving(&self.admin, &seen.status).await? {
            return Ok(false);
        }
        if memory.disturbed {
            info!(
                copies = self.copies,
                "a node was away while this one was given what was on its old disk"
            );
            self.disk = self.dir.name_disk(self.copies)?;
            memory.waits_for_givers = None;
            return Ok(false);
        }
        std::fs::remove_file(&path).during(DOING, &path)?;
        info!(
            copies = self.copies,
            "this node was given what was on its old disk"
        );
        Ok(true)
    }
}

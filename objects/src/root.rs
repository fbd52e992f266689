//! The root object: names for the objects from which an application finds the others.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::persistent::{Persistent, Resolution, Shape};
use crate::reference::Ref;
use crate::types::TypeTable;

/// The object with OID 0.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Root {
    pub(crate) types: Ref<TypeTable>,
    pub(crate) names: BTreeMap<String, Ref<Anything>>,
}

/// An object of whatever type.
#[derive(Clone, Debug)]
pub(crate) struct Anything;

impl Persistent for Root {
    const NAME: &'static str = "durum.Root";
    const SHAPE: Shape = Shape::Struct(&["types", "names"]);

    /// Transactions that set different names agree.
    fn merge(base: &Root, mine: &Root, theirs: &Root) -> Option<Root> {
        let mut merged = theirs.clone();
        let names = base.names.keys().chain(mine.names.keys());
        for name in names {
            let (old, new) = (base.names.get(name), mine.names.get(name));
            if old == new {
                continue;
            }
            if theirs.names.get(name) != old {
                return None;
            }
            match new {
                Some(target) => merged.names.insert(name.clone(), *target),
                None => merged.names.remove(name),
            };
        }
        Some(merged)
    }

    /// Who has looked for a name depends on what it stood for.
    fn resolve(
        base: &Root,
        mine: Option<&Root>,
        theirs: &Root,
        observed: Option<&(dyn Any + Send)>,
    ) -> Resolution<Root> {
        let seen = observed.and_then(|observed| observed.downcast_ref::<NamesSeen>());
        let changed = |name: &String| base.names.get(name) != theirs.names.get(name);
        let met = seen.is_some_and(|seen| match seen.all {
            true => base.names != theirs.names,
            false => seen.names.iter().any(changed),
        });
        if met {
            return Resolution::Conflict;
        }
        let Some(mine) = mine else {
            return match seen {
                Some(_) => Resolution::Unaffected,
                None => Resolution::Conflict,
            };
        };
        Root::merge(base, mine, theirs).map_or(Resolution::Conflict, Resolution::Merged)
    }
}

/// The names that a transaction has looked for.
#[derive(Debug, Default)]
pub(crate) struct NamesSeen {
    names: BTreeSet<String>,
    all: bool,
}

impl NamesSeen {
    pub(crate) fn note(&mut self, name: &str) {
        if !self.all && !self.names.contains(name) {
            self.names.insert(name.to_owned());
        }
    }

    pub(crate) fn note_all(&mut self) {
        self.all = true;
    }
}

//! A whole store on an engine: a graph of objects, with new OIDs, identified commits and collections.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use durum_core::collect::Budget;
use durum_core::engine::{Backend, Durability};
use durum_core::store::{
    Batch, Collection, CommitId, LocalStore, SnapshotExt as _, Store as _, StoreOptions,
};
use durum_core::{Error, ErrorKind, Oid, SessionId};

use super::engine::{COMPACTION_STEP, refused};
use super::graph::{Graph, Growth, Name, Planned, ROOT, commits_of, name_of};
use super::plan::Plan;
use super::subject::{Refused, Subject};

/// Collection in steps so small that searches span several commits, and garbage of more than one object
/// is written down, condemned and then deleted.
const STEPS: Collection = Collection {
    commit: Budget {
        deletes: 1,
        reads: 60,
        time: None,
    },
    worker: None,
    reclaim: false,
};

/// An open store.
#[derive(Debug)]
pub(super) struct StoreSubject {
    store: LocalStore,
}

impl StoreSubject {
    /// Opens the store at `path`; creates it if there is none.
    pub(super) fn open(backend: Arc<dyn Backend>, path: &Path) -> Result<StoreSubject, Refused> {
        let options = StoreOptions {
            collection: STEPS,
            ..StoreOptions::default()
        };
        let store = match LocalStore::open(backend.clone(), path, &options) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                LocalStore::create(backend, path, &options)
            }
            other => other,
        };
        Ok(StoreSubject {
            store: store.map_err(refused)?,
        })
    }

    /// The graph that the root reaches, and the OIDs of its objects.
    fn graph(&self) -> Result<(Graph, BTreeMap<Name, Oid>), String> {
        let snapshot = self.store.snapshot().map_err(|error| error.to_string())?;
        let mut objects = BTreeMap::new();
        let mut waiting = vec![Oid::ROOT];
        while let Some(oid) = waiting.pop() {
            if objects.contains_key(&oid) {
                continue;
            }
            let object = snapshot.load(oid).map_err(|error| error.to_string())?;
            match object {
                Some(object) => {
                    waiting.extend(&object.refs);
                    objects.insert(oid, object);
                }
                None if oid == Oid::ROOT => return Ok((Graph::new(), BTreeMap::new())),
                None => return Err(format!("object {oid} is referred to and missing")),
            }
        }
        let name = |oid: &Oid| {
            let name = objects.get(oid).and_then(|object| name_of(&object.data));
            name.ok_or_else(|| format!("object {oid} has no name"))
        };
        let (mut graph, mut oids) = (Graph::new(), BTreeMap::new());
        for (oid, object) in &objects {
            let refs = object.refs.iter().map(name).collect::<Result<_, _>>()?;
            if let Some(twin) = oids.insert(name(oid)?, *oid) {
                return Err(format!("objects {oid} and {twin} have one name"));
            }
            graph.insert(
                name(oid)?,
                Planned {
                    data: object.data.clone(),
                    refs,
                },
            );
        }
        Ok((graph, oids))
    }

    fn verify(&self) -> Result<(), String> {
        let report = durum_core::check::check(&self.store, false);
        let report = report.map_err(|error| format!("the check failed: {error}"))?;
        match report.error_count {
            0 => Ok(()),
            _ => Err(format!("the check found {:?}", report.errors)),
        }
    }

    fn batch(&self, commit: u64, seed: u64) -> Result<Batch, Error> {
        let writes = Growth::after(seed, commit - 1).grow(commit);
        let (_, mut oids) = self.graph().map_err(|reason| {
            Error::new(ErrorKind::Damaged, "read the graph before a commit").because(reason)
        })?;
        let new: Vec<Name> = writes
            .keys()
            .filter(|name| **name != ROOT && !oids.contains_key(name))
            .copied()
            .collect();
        let handed_out = self
            .store
            .new_oids(SessionId::EMBEDDED, new.len() as u32 + 1)?;
        // While there is no root its OID may be among them. It is used all the same.
        let handed_out = handed_out.into_iter().filter(|oid| *oid != Oid::ROOT);
        oids.extend(new.iter().copied().zip(handed_out));
        let mut batch = Batch::new();
        for (name, planned) in &writes {
            let oid = oids.get(name).copied().unwrap_or(Oid::ROOT);
            let refs = planned.refs.iter().map(|target| oids[target]);
            match new.contains(name) || (*name == ROOT && commit == 1) {
                true => batch.create(oid, planned.data.as_slice(), refs),
                false => batch.update(oid, planned.data.as_slice(), refs),
            };
        }
        batch.identify(identity(commit));
        Ok(batch)
    }
}

impl Subject for StoreSubject {
    fn commit(
        &mut self,
        plan: &Plan,
        commit: u64,
        durability: Durability,
    ) -> Result<Durability, Refused> {
        let batch = self.batch(commit, plan.seed()).map_err(refused)?;
        let receipt = self.store.commit(batch, durability).map_err(refused)?;
        assert!(
            receipt.durability >= durability,
            "less durable than asked for: {receipt:?}"
        );
        Ok(receipt.durability)
    }

    fn found(&self) -> Result<u64, String> {
        let snapshot = self.store.snapshot().map_err(|error| error.to_string())?;
        match snapshot
            .load(Oid::ROOT)
            .map_err(|error| error.to_string())?
        {
            None => Ok(0),
            Some(root) => commits_of(&root.data).ok_or_else(|| "the root is not ours".to_owned()),
        }
    }

    fn check(&self, plan: &Plan, commits: u64) -> Result<(), String> {
        self.verify()?;
        let (found, planned) = (
            self.graph()?.0,
            Growth::after(plan.seed(), commits).reachable(),
        );
        if found != planned {
            let wrong = |name: &&Name| found.get(name) != planned.get(name);
            let names: Vec<_> = found
                .keys()
                .chain(planned.keys())
                .filter(wrong)
                .take(5)
                .collect();
            return Err(format!(
                "after {commits} commits these objects differ: {names:?}"
            ));
        }
        for (commit, expected) in [(commits, commits > 0), (commits + 1, false)] {
            let outcome = self.store.outcome(identity(commit));
            let outcome = outcome.map_err(|error| error.to_string())?;
            if outcome.is_some() != expected {
                return Err(format!(
                    "the outcome of commit {commit} of {commits}: {outcome:?}"
                ));
            }
        }
        // What is not reached can be collected, whatever a collection was doing.
        match self.store.collect() {
            Ok(_) => {}
            // The disk that refused the commit is full for this as well.
            Err(error) if error.kind() == ErrorKind::Full => return self.verify(),
            Err(error) => return Err(format!("the collection failed: {error}")),
        }
        let stats = self.store.stats().map_err(|error| error.to_string())?;
        if (stats.objects, stats.garbage_pending) != (planned.len() as u64, 0) {
            return Err(format!("after a collection there are {stats:?}"));
        }
        self.verify()
    }

    fn upkeep(&mut self, commit: u64) -> Result<(), Refused> {
        if commit % 9 == 8 {
            self.store.collect().map_err(refused)?;
        }
        if commit % 6 == 5 {
            while self.store.reclaim(1 << 20).map_err(refused)?.more {}
        }
        if commit % COMPACTION_STEP == COMPACTION_STEP - 1 && self.store.engine().compaction {
            self.store.compact(&mut |_, _| {}).map_err(refused)?;
        }
        Ok(())
    }
}

/// The identity that a commit is given.
fn identity(commit: u64) -> CommitId {
    (u128::from(commit) << 64 | 0x6475_7275_6d63_7261).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the crash tests interrupt has to happen first.
    #[test]
    fn the_workload_condemns_and_searches_over_several_commits() {
        let registry = durum_backends::registry();
        let memory = registry.get("memory").unwrap();
        let mut subject = StoreSubject::open(memory, Path::new("")).ok().unwrap();
        let plan = Plan::new(7);
        for commit in 1..=14 {
            subject
                .commit(&plan, commit, Durability::Relaxed)
                .ok()
                .unwrap();
        }
        let counters = subject.store.collection_counters();
        assert!(counters.condemned > 0, "{counters:?}");
        assert!(counters.long_searches > 0, "{counters:?}");
        subject.check(&plan, 14).unwrap();
    }
}

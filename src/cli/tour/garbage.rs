//! One reference is cut, and a tangle of cycles goes.

use durum_core::check::check;
use durum_core::config::StoreSettings;
use durum_core::store::{Batch, LocalStore, SnapshotExt as _, Store as _};
use durum_core::units::format_size;
use durum_core::{Error, ErrorKind, Oid};

use super::narrator::Narrator;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::gc::give_back;
use crate::cli::output;

/// The sample's dictionary of systems.
const SYSTEMS: Oid = Oid(4);
/// Its entry "web server".
const WEB_SERVER: Oid = Oid(3659);
/// libc6 and libgcc-s1 as installed there: each references the other.
const CYCLE: [Oid; 2] = [Oid(3664), Oid(3695)];
/// The state of the dictionary as the original Durus 4.3 writes it after
/// `del root["systems"]["web server"]`. The store does not interpret states, so that the reference and
/// what the state says of it have to be changed together, as Durus does.
const SYSTEMS_AFTER: &[u8] = include_bytes!("systems_without_web_server.bin");

/// What the collection did.
#[derive(Debug)]
pub(super) struct Collection {
    pub(super) collected: u64,
    pub(super) bytes_freed: u64,
}

/// Cuts the reference to the web server and collects what hung on it.
pub(super) fn collect(
    context: &Context,
    narrator: &Narrator,
    settings: &StoreSettings,
) -> Result<Collection, Failure> {
    narrator.heading("4. Garbage, cycles included")?;
    let store = context
        .registry
        .open(&settings.clone().without_collection())?;
    cut(&store, narrator)?;
    let unreachable = check(&store, false)?.unreachable;
    narrator.say(&format!(
        "Now the root cannot reach {} any more, though most are still referenced.\n",
        output::count(unreachable, "object")
    ))?;
    let collected = store.collect()?;
    let bytes_freed = give_back(&store, false, &context.progress())?;
    let snapshot = store.snapshot()?;
    let gone = [WEB_SERVER].into_iter().chain(CYCLE);
    let left: Vec<Oid> = gone
        .filter_map(|oid| match snapshot.load(oid) {
            Ok(None) => None,
            Ok(Some(_)) => Some(Ok(oid)),
            Err(error) => Some(Err(error)),
        })
        .collect::<Result<_, _>>()?;
    let report = check(&store, false)?;
    if !left.is_empty() || report.error_count > 0 || report.unreachable > 0 {
        return Err(unexpected(
            "the collection left something behind or took too much",
            left,
        ));
    }
    narrator.say(&format!(
        "Collected {}, {} and {} among them, and gave {} back to the system.\n\
         A check of the whole store finds no error.\n",
        output::count(collected.objects, "object"),
        CYCLE[0],
        CYCLE[1],
        format_size(bytes_freed)
    ))?;
    Ok(Collection {
        collected: collected.objects,
        bytes_freed,
    })
}

fn cut(store: &LocalStore, narrator: &Narrator) -> Result<(), Failure> {
    let snapshot = store.snapshot()?;
    let missing = |oid| move || unexpected("the sample is not the expected one", vec![oid]);
    let systems = snapshot.load(SYSTEMS)?.ok_or_else(missing(SYSTEMS))?;
    for (oid, other) in [(CYCLE[0], CYCLE[1]), (CYCLE[1], CYCLE[0])] {
        let object = snapshot.load(oid)?.ok_or_else(missing(oid))?;
        if !object.refs.contains(&other) {
            return Err(missing(oid)());
        }
    }
    narrator.say(&format!(
        "Object {SYSTEMS} holds the systems; one is \"web server\", object {WEB_SERVER}. In it\n\
         installed packages reference each other: {} and {}, for one.\n",
        CYCLE[0], CYCLE[1]
    ))?;
    let mut batch = Batch::new();
    let refs = systems
        .refs
        .iter()
        .copied()
        .filter(|oid| *oid != WEB_SERVER);
    batch
        .update(SYSTEMS, SYSTEMS_AFTER, refs)
        .expect(SYSTEMS, systems.tid);
    drop(snapshot);
    let receipt = store.commit(batch, store.durability())?;
    narrator.say(&format!(
        "Commit {} removes that one reference, with durability `{}`.\n",
        receipt.tid,
        receipt.durability.name()
    ))?;
    Ok(())
}

fn unexpected(why: &str, oids: Vec<Oid>) -> Failure {
    Error::new(ErrorKind::Mismatch, "finish the tour")
        .because(why)
        .with_oids(oids)
        .into()
}

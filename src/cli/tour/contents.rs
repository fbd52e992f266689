//! A look into the imported store.

use std::collections::HashMap;

use durum_core::config::StoreSettings;
use durum_core::store::{Snapshot, SnapshotExt as _, Store as _};
use durum_core::units::format_size;
use durum_core::{Oid, Result};

use super::narrator::Narrator;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::output;

/// The package libgcc-s1 of the sample: few references, one of them part of a cycle.
const LIBGCC: Oid = Oid(138);
/// The package libc6, which libgcc-s1 needs and which needs libgcc-s1.
const LIBC: Oid = Oid(125);

/// What the sample amounts to.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) objects: u64,
    pub(super) references: u64,
    pub(super) bytes: u64,
    popular: Option<(Oid, u64)>,
}

/// Shows what is in the store.
pub(super) fn show(
    context: &Context,
    narrator: &Narrator,
    settings: &StoreSettings,
) -> Result<Contents, Failure> {
    let store = context
        .registry
        .open(&settings.clone().without_collection())?;
    let snapshot = store.snapshot()?;
    let contents = count(&*snapshot)?;
    narrator.heading("2. What is in it")?;
    narrator.say(&format!(
        "{} with {} among them, {} of data.\n",
        output::count(contents.objects, "object"),
        output::count(contents.references, "reference"),
        format_size(contents.bytes)
    ))?;
    if let Some((oid, referrers)) = contents.popular {
        narrator.say(&format!(
            "Object {oid} is referenced most, by {}.\n",
            output::count(referrers, "object")
        ))?;
    }
    if let Some(object) = snapshot.load(LIBGCC)? {
        let refs: Vec<String> = object.refs.iter().map(Oid::to_string).collect();
        narrator.say(&format!(
            "Object {LIBGCC}, the package libgcc-s1, has {} of data and references {}.\n",
            output::count(object.data.len() as u64, "byte"),
            refs.join(", ")
        ))?;
        if object.refs.contains(&LIBC) {
            narrator.say(&format!(
                "One of these, {LIBC}, is libc6. They need each other: counting references alone\n\
                 could never tell that such a pair has become garbage.\n"
            ))?;
        }
    }
    Ok(contents)
}

/// The sample is small: a counter for each of its objects is no burden.
fn count(snapshot: &dyn Snapshot) -> Result<Contents> {
    let mut contents = Contents::default();
    let mut referrers: HashMap<Oid, u64> = HashMap::new();
    let mut scan = snapshot.scan(Oid::ROOT)?;
    while let Some(record) = scan.next()? {
        contents.objects += 1;
        contents.references += record.refs().len() as u64;
        contents.bytes += record.payload().data_length();
        record
            .refs()
            .for_each(|oid| *referrers.entry(oid).or_default() += 1);
    }
    contents.popular = referrers
        .into_iter()
        .max_by_key(|(oid, number)| (*number, std::cmp::Reverse(*oid)));
    Ok(contents)
}

//! What has to hold in every state.

use super::moves::{Config, State};
use super::tables::{ModelGraph, Tables, bit, mask, oids, unpack};
use crate::id::Oid;

/// How a chain of anchors ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// At the root or a pinned object.
    Safe,
    Orphan,
    Condemned,
    /// In a circle, or nowhere.
    Broken,
}

fn chain(tables: &Tables, oid: Oid) -> End {
    let mut at = oid;
    for _ in 0..=8 {
        let links = tables.links(at);
        if at == Oid::ROOT || links.pins > 0 {
            return End::Safe;
        }
        if tables.condemned & bit(at) != 0 {
            return End::Condemned;
        }
        match unpack(links.anchor) {
            Some(anchor) => at = anchor,
            None if tables.orphans & bit(at) != 0 => return End::Orphan,
            None => return End::Broken,
        }
    }
    End::Broken
}

/// Whether a reference of a condemned object has been taken back already.
fn taken_back(tables: &Tables, source: Oid, target: Oid) -> bool {
    let refs = tables.refs[source.0 as usize];
    let before = (refs & (bit(target) - 1)).count_ones();
    tables.job != 0 && source.0 == u64::from(tables.next) && before < u32::from(tables.next_refs)
}

/// Nothing that the root or a pin reaches is gone, for anyone.
pub(super) fn safe(tables: &Tables) -> Result<(), String> {
    let pinned = tables.pinned();
    let alive = tables.reach(bit(Oid::ROOT) | pinned);
    if tables.exists & (bit(Oid::ROOT) | pinned) != bit(Oid::ROOT) | pinned {
        return Err("the root or a pinned object is gone".to_owned());
    }
    match alive & tables.condemned {
        0 => Ok(()),
        condemned => Err(format!("a live object is condemned ({condemned:b})")),
    }
}

/// Checks all invariants.
pub(super) fn check(state: &mut State, config: &Config) -> Result<(), String> {
    let tables = &state.tables;
    safe(tables)?;
    for oid in (0..config.objects as u64).map(Oid) {
        if tables.exists & bit(oid) == 0 {
            absent(tables, oid)?;
        } else if tables.condemned & bit(oid) == 0 {
            transposed(tables, oid)?;
            classified(tables, oid)?;
            let refs = tables.refs[oid.0 as usize];
            let there = tables.exists & !tables.condemned;
            if refs & !there != 0 && (!config.import() || refs & tables.condemned != 0) {
                return Err(format!("a reference dangles ({oid})"));
            }
        }
    }
    let irregular = oids(tables.exists)
        .filter(|oid| unpack(tables.links(*oid).anchor).is_some_and(|anchor| anchor > *oid));
    if mask(irregular) != tables.irregular {
        return Err("the table of irregular anchors is wrong".to_owned());
    }
    if (tables.job == 0) != (tables.condemned == 0) {
        return Err("condemned objects without a job, or the other way round".to_owned());
    }
    let garbage = tables.exists & !tables.reach(bit(Oid::ROOT) | tables.pinned());
    if tables.orphans == 0 && tables.condemned == 0 && garbage != 0 {
        return Err(format!("garbage without an orphan ({garbage:b})"));
    }
    memory(state, config)
}

fn absent(tables: &Tables, oid: Oid) -> Result<(), String> {
    let rows = [tables.orphans, tables.irregular, tables.pinned()];
    if rows.iter().any(|rows| rows & bit(oid) != 0) {
        return Err(format!("rows of an object that does not exist ({oid})"));
    }
    // Of condemned referrers the row may still tell, if the object never existed.
    let all = tables.referrers(oid);
    let referrers = all & !tables.condemned;
    let links = tables.links(oid);
    let row = tables.rows & bit(oid) != 0;
    let right = links.inline & !tables.condemned == referrers && links.inline & !all == 0;
    if !right || row != (links.inline != 0) {
        return Err(format!("referrers of a missing object ({oid}): {links:?}"));
    }
    Ok(())
}

fn transposed(tables: &Tables, oid: Oid) -> Result<(), String> {
    let links = tables.links(oid);
    let referrers = oids(tables.referrers(oid)).filter(|from| !taken_back(tables, *from, oid));
    if links.inline != mask(referrers) {
        return Err(format!(
            "referrers are not the transposition ({oid}): {links:?}"
        ));
    }
    let pins = tables.born.iter().chain(&tables.held);
    let pins = pins.filter(|pins| *pins & bit(oid) != 0).count();
    if usize::from(links.pins) != pins {
        return Err(format!("{pins} pins, and others in the row ({oid})"));
    }
    let anchor = tables.record_anchor[oid.0 as usize];
    let implied = links.pins == 0 && links.anchor == anchor;
    if tables.rows & bit(oid) != 0 && implied && links.inline == mask(unpack(anchor)) {
        return Err(format!("a row without need ({oid})"));
    }
    Ok(())
}

/// Exactly one of root, pinned, anchored, orphan; and chains that end.
fn classified(tables: &Tables, oid: Oid) -> Result<(), String> {
    let links = tables.links(oid);
    let kinds = [
        oid == Oid::ROOT,
        links.pins > 0,
        links.anchor != 0,
        tables.orphans & bit(oid) != 0,
    ];
    let kinds = kinds.iter().filter(|kind| **kind).count();
    if kinds != 1 {
        return Err(format!("{kinds} of root, pinned, anchored, orphan ({oid})"));
    }
    let real = unpack(links.anchor).is_none_or(|anchor| links.inline & bit(anchor) != 0);
    if !real {
        return Err(format!("the anchor is no referrer ({oid})"));
    }
    match chain(tables, oid) {
        End::Broken => Err(format!("a chain that does not end ({oid})")),
        _ => Ok(()),
    }
}

/// What the collector remembers is true.
fn memory(state: &mut State, config: &Config) -> Result<(), String> {
    let tables = state.tables;
    if state.collector.job != tables.job_state() {
        return Err("the job in memory is another than in the tables".to_owned());
    }
    for oid in state.collector.remembered() {
        if tables.exists & bit(oid) == 0 || chain(&tables, oid) != End::Safe {
            return Err(format!("remembered as safe, and is not ({oid})"));
        }
    }
    if !config.check_floor {
        return Ok(());
    }
    let mut copy = tables;
    let mut graph = ModelGraph::new(&mut copy, 0);
    let floor = state.collector.floor(&mut graph);
    let floor = floor.map_err(|error| error.to_string())?;
    for oid in oids(tables.exists).take_while(|oid| *oid < floor) {
        if chain(&tables, oid) != End::Safe {
            return Err(format!("below the floor, and not safe ({oid})"));
        }
    }
    Ok(())
}

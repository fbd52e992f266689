//! Which engine to take, and why, by what was measured.

use serde::Serialize;

use crate::row::{Row, StoreRow};
use crate::workload::Workload;
use durum_core::engine::Durability;

/// What speaks for an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Virtue {
    Commits,
    Reads,
    Loading,
    Space,
}

/// What counts, and how much: durable commits and reads the most.
const VIRTUES: [(Virtue, f64); 4] = [
    (Virtue::Commits, 0.35),
    (Virtue::Reads, 0.35),
    (Virtue::Loading, 0.15),
    (Virtue::Space, 0.15),
];

/// Which engine to take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recommendation {
    /// Its name.
    pub engine: String,
    /// Why, in sentences.
    pub reasons: Vec<String>,
}

/// Recommends one of the engines that keep what they confirm even where the power is lost; `None` where
/// none does. Each is measured by what share it reaches of the best one, by its rates of durable commits,
/// of reads and of bulk loads, and by its bytes on the disk, with the most objects that were measured; the
/// shares are multiplied, weighted.
pub(crate) fn recommend(rows: &[Row], stores: &[StoreRow]) -> Option<Recommendation> {
    let most = rows.iter().map(|row| row.objects).max()?;
    let rows: Vec<&Row> = rows.iter().filter(|row| row.objects == most).collect();
    let safe =
        |row: &&&Row| row.workload == Workload::Import && row.durability == Some(Durability::Power);
    let engines: Vec<&str> = rows
        .iter()
        .filter(safe)
        .map(|row| row.engine.as_str())
        .collect();
    let figures: Vec<Figures> = engines
        .iter()
        .map(|engine| Figures {
            engine,
            rows: rows
                .iter()
                .filter(|row| row.engine == *engine)
                .copied()
                .collect(),
            store: stores
                .iter()
                .find(|store| store.engine == *engine && store.objects == most),
        })
        .collect();
    let best = |virtue| {
        let merits = figures.iter().filter_map(|it| it.merit(virtue));
        merits.fold(0.0, f64::max)
    };
    let score = |it: &Figures<'_>| -> f64 {
        let shares = VIRTUES.into_iter().filter_map(|(virtue, weight)| {
            let best = best(virtue);
            (best > 0.0).then(|| (it.merit(virtue).unwrap_or_default() / best).powf(weight))
        });
        shares.product()
    };
    let chosen = figures
        .iter()
        .max_by(|left, right| score(left).total_cmp(&score(right)))?;
    let mut reasons = Vec::new();
    for (virtue, _) in VIRTUES {
        let (Some(merit), best) = (chosen.merit(virtue), best(virtue)) else {
            continue;
        };
        let leader = figures.iter().find(|it| it.merit(virtue) == Some(best));
        reasons.push(reason(
            virtue,
            chosen,
            merit / best,
            leader.map_or("", |it| it.engine),
        ));
    }
    reasons.extend(figures.iter().filter_map(|other| advantage(other, chosen)));
    Some(Recommendation {
        engine: chosen.engine.to_owned(),
        reasons,
    })
}

/// The figures of one engine.
struct Figures<'a> {
    engine: &'a str,
    rows: Vec<&'a Row>,
    store: Option<&'a StoreRow>,
}

impl Figures<'_> {
    fn rate(&self, workload: Workload) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.workload == workload)?;
        Some(row.per_second)
    }

    /// The larger the better; `None` where nothing of it was measured.
    fn merit(&self, virtue: Virtue) -> Option<f64> {
        use Workload::{Commit, Commit10, Commit16AtOnce, Import, Load, LoadThreads, Scan};
        let workloads: &[Workload] = match virtue {
            Virtue::Commits => &[Commit, Commit10, Commit16AtOnce],
            Virtue::Reads => &[Load, LoadThreads, Scan],
            Virtue::Loading => &[Import],
            Virtue::Space => return Some(1.0 / (self.store?.disk_loaded? as f64)),
        };
        let rates: Vec<f64> = workloads.iter().filter_map(|it| self.rate(*it)).collect();
        let logarithms: f64 = rates.iter().map(|rate| rate.max(1e-9).ln()).sum();
        (!rates.is_empty()).then(|| (logarithms / rates.len() as f64).exp())
    }
}

fn reason(virtue: Virtue, chosen: &Figures<'_>, share: f64, leader: &str) -> String {
    let rate = |workload| chosen.rate(workload).unwrap_or_default();
    let what = match virtue {
        Virtue::Commits => format!("{:.0} durable commits a second", rate(Workload::Commit)),
        Virtue::Reads => format!("{:.0} random loads a second", rate(Workload::Load)),
        Virtue::Loading => format!(
            "{:.0} objects a second loaded in bulk",
            rate(Workload::Import)
        ),
        Virtue::Space => {
            let store = chosen.store;
            let bytes = store.map_or(1.0, |store| {
                store.disk_loaded.unwrap_or_default() as f64 / store.live_bytes.max(1) as f64
            });
            format!("{bytes:.2} bytes on the disk for each of a record")
        }
    };
    let place = match leader == chosen.engine {
        true => "the best of all".to_owned(),
        false => format!("{:.0} % of the best, which is {leader}", share * 100.0),
    };
    let plural = match virtue {
        Virtue::Commits => " (with ten objects, and sixteen at once, likewise: on average",
        Virtue::Reads => " (with all cores, and scans, likewise: on average",
        _ => "",
    };
    match plural.is_empty() {
        true => format!("{what}: {place}."),
        false => format!("{what}{plural} {place})."),
    }
}

/// Where another engine is much better.
fn advantage(other: &Figures<'_>, chosen: &Figures<'_>) -> Option<String> {
    /// By less than this nobody would notice.
    const MUCH: f64 = 1.5;
    if other.engine == chosen.engine {
        return None;
    }
    let what = |virtue| match virtue {
        Virtue::Commits => "durable commits",
        Virtue::Reads => "reads",
        Virtue::Loading => "bulk loads",
        Virtue::Space => "disk space",
    };
    let better: Vec<String> = VIRTUES
        .into_iter()
        .filter_map(|(virtue, _)| {
            let times = other.merit(virtue)? / chosen.merit(virtue)?;
            (times >= MUCH).then(|| format!("{} by {times:.1} times", what(virtue)))
        })
        .collect();
    (!better.is_empty()).then(|| format!("{} is ahead in {}.", other.engine, better.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Took;
    use crate::measure::Sample;
    use crate::row::Measured;
    use std::time::Duration;

    fn row(engine: &str, workload: Workload, rate: u64, durability: Durability) -> Row {
        let took = Took {
            time: Duration::from_secs(1),
            processor: Duration::ZERO,
        };
        let measured = Measured {
            store: Sample::of(rate, took),
            raw: None,
        };
        Row::new((engine, ""), workload, 10, &[&measured], Some(durability))
    }

    #[test]
    fn the_safe_one_that_is_best_on_the_whole_is_recommended() {
        let mut rows = Vec::new();
        let power = Durability::Power;
        for (engine, import, commit, load, level) in [
            ("memory", 9000, 9000, 9000, Durability::Relaxed),
            ("quick", 100, 50, 100, power),
            ("steady", 100, 100, 80, power),
            ("slow", 500, 10, 10, power),
        ] {
            rows.push(row(engine, Workload::Import, import, level));
            rows.push(row(engine, Workload::Commit, commit, level));
            rows.push(row(engine, Workload::Load, load, level));
        }
        let found = recommend(&rows, &[]).unwrap();
        assert_eq!(found.engine, "steady");
        let text = found.reasons.join(" ");
        assert!(text.contains("100 durable commits a second"), "{text}");
        assert!(text.contains("80 % of the best, which is quick"), "{text}");
        assert!(
            text.contains("slow is ahead in bulk loads by 5.0 times"),
            "{text}"
        );
        assert_eq!(recommend(&rows[..3], &[]), None);
        assert_eq!(recommend(&[], &[]), None);
    }
}

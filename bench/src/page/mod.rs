//! A comparison as one page of HTML that needs nothing else.

mod svg;

use std::fmt::Write as _;

use durum_core::engine::Durability;

use crate::Comparison;
use crate::row::{DISK, Row, StoreRow};
use crate::workload::{Compared, Workload};

use svg::{Bar, Curve, Scale, bars, curves, escape};

const STYLE: &str = include_str!("style.css");
/// The style has so many colours.
const COLOURS: usize = 8;

/// The bars, by what they are about.
const GROUPS: [(&str, &str, &[Workload]); 4] = [
    (
        "Durable commits",
        "Each is confirmed as durably as the engine can, at most by the disk itself.",
        &[
            Workload::Commit,
            Workload::Commit4AtOnce,
            Workload::Commit16AtOnce,
            Workload::Commit10,
            Workload::Commit10x4AtOnce,
            Workload::Commit10x16AtOnce,
        ],
    ),
    (
        "Reads",
        "Every object is verified by its checksum, and every byte looked at.",
        &[
            Workload::Load,
            Workload::LoadThreads,
            Workload::LoadSequential,
            Workload::LoadSequentialThreads,
            Workload::LoadHot,
            Workload::LoadHotOwned,
            Workload::LoadAlone,
            Workload::LoadCold,
            Workload::Scan,
        ],
    ),
    (
        "Writing much",
        "With references checked, and garbage collected.",
        &[
            Workload::Import,
            Workload::Update,
            Workload::Delete,
            Workload::MigrateIn,
            Workload::MigrateOut,
        ],
    ),
    (
        "Opening",
        "How often in a second it could be opened.",
        &[Workload::Open, Workload::OpenKilled],
    ),
];

/// Writes the comparison as a page: bars, distributions of latency, growth with the number of objects, and a
/// recommendation.
pub fn page(comparison: &Comparison) -> String {
    let page = Page::new(comparison);
    let mut html =
        String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    let _ = write!(
        html,
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Durum: engines compared</title><style>{STYLE}</style></head><body>"
    );
    html.push_str(&page.head());
    html.push_str(&page.bars());
    html.push_str(&page.latencies());
    html.push_str(&page.growth());
    html.push_str(&page.stores());
    html.push_str(&page.table());
    html.push_str("</body></html>\n");
    html
}

struct Page<'a> {
    comparison: &'a Comparison,
    /// In the order of their colours.
    engines: Vec<(&'a str, &'a str)>,
    /// The most objects that were measured.
    most: u64,
}

impl<'a> Page<'a> {
    fn new(comparison: &'a Comparison) -> Page<'a> {
        let mut engines: Vec<(&str, &str)> = Vec::new();
        for row in comparison.rows.iter().filter(|row| row.engine != DISK) {
            let engine = (row.engine.as_str(), row.version.as_str());
            if !engines.contains(&engine) {
                engines.push(engine);
            }
        }
        Page {
            comparison,
            engines,
            most: comparison
                .rows
                .iter()
                .map(|row| row.objects)
                .max()
                .unwrap_or_default(),
        }
    }

    fn rows(&self, workload: Workload, objects: u64) -> impl Iterator<Item = &'a Row> {
        let wanted = move |row: &&Row| row.workload == workload && row.objects == objects;
        self.comparison.rows.iter().filter(wanted)
    }

    fn colour(&self, engine: &str) -> usize {
        let number = self.engines.iter().position(|(name, _)| *name == engine);
        number.unwrap_or_default() % COLOURS
    }

    fn head(&self) -> String {
        let it = self.comparison;
        let (shortest, longest) = it.sizes;
        let debug = match it.machine.debug_build {
            true => {
                " <strong>The program was compiled without optimisation: its times are worthless.</strong>"
            }
            false => "",
        };
        let mut html = format!(
            "<h1>Engines compared</h1><p class=\"soft\">{}, {} threads, {}. The disk confirmed {} appends a \
             second. {} objects of {shortest} to {longest} bytes, each with one referrer; medians of {} \
             rounds in alternating order; seed {}.{debug}</p>",
            escape(&it.machine.processor),
            it.machine.threads,
            escape(&it.machine.system),
            figure(it.sync_per_second),
            figure(self.most as f64),
            it.rounds,
            it.seed,
        );
        if let Some(advice) = &it.recommendation {
            let _ = write!(
                html,
                "<div class=\"advice\"><strong>Take {}</strong>, unless you know what you need more than \
                 the rest:<ul>",
                escape(&advice.engine)
            );
            for reason in &advice.reasons {
                let _ = write!(html, "<li>{}</li>", escape(reason));
            }
            html.push_str(
                "</ul><p class=\"soft\">Among those that keep what they confirmed when the power is lost. \
                 Durable commits and reads count 35 % each, bulk loads and disk space 15 % each.</p></div>",
            );
        }
        html.push_str("<div class=\"legend\">");
        for (name, version) in &self.engines {
            let version = match version.is_empty() {
                true => String::new(),
                false => format!(
                    " <span class=\"soft\" style=\"--c:none\">{}</span>",
                    escape(version)
                ),
            };
            let _ = write!(
                html,
                "<span style=\"--c:var(--c{})\">{}{version}</span>",
                self.colour(name),
                escape(name),
            );
        }
        html.push_str("</div>");
        html
    }

    fn bars(&self) -> String {
        let mut html = String::new();
        for (title, what, workloads) in GROUPS {
            let mut cards = String::new();
            for workload in workloads {
                let all: Vec<Bar<'_>> = self
                    .rows(*workload, self.most)
                    // What is no more than memory would make all other bars short.
                    .filter(|row| row.durability != Some(Durability::Relaxed))
                    .map(|row| Bar {
                        name: &row.engine,
                        colour: self.colour(&row.engine),
                        value: row.per_second,
                        mark: row.raw_per_second,
                        label: format!("{}/s", figure(row.per_second)),
                    })
                    .collect();
                if !all.is_empty() {
                    cards.push_str(&card(workload.title(), &bars(&all)));
                }
            }
            section(&mut html, title, what, &cards);
        }
        if self
            .comparison
            .rows
            .iter()
            .any(|row| row.raw_per_second.is_some())
        {
            html.push_str(
                "<p class=\"soft\">A line across a bar is the engine alone, without Durum.</p>",
            );
        }
        html
    }

    fn latencies(&self) -> String {
        let mut cards = String::new();
        for workload in Workload::ALL {
            let all: Vec<Curve> = self
                .rows(workload, self.most)
                .filter_map(|row| Some((row, row.latency.as_ref()?)))
                .filter(|(_, latency)| latency.timed >= 20)
                .map(|(row, latency)| {
                    let mut below = 0;
                    let points = latency.histogram.iter().map(|(end, count)| {
                        below += count;
                        (*end, 100.0 * below as f64 / latency.timed as f64)
                    });
                    Curve {
                        colour: self.colour(&row.engine),
                        points: points.collect(),
                    }
                })
                .collect();
            let drawn = curves(&all, Scale::Linear, &microseconds, &|share| {
                format!("{share:.0} %")
            });
            if !drawn.is_empty() {
                cards.push_str(&card(workload.title(), &drawn));
            }
        }
        let mut html = String::new();
        let what = "What share of single operations took no longer than that: the further left and the \
                    steeper the better.";
        section(&mut html, "Latency", what, &cards);
        html
    }

    fn growth(&self) -> String {
        let mut counts: Vec<u64> = self
            .comparison
            .stores
            .iter()
            .map(|row| row.objects)
            .collect();
        counts.sort_unstable();
        counts.dedup();
        if counts.len() < 2 {
            return String::new();
        }
        let mut cards = String::new();
        for workload in Workload::ALL {
            let all: Vec<Curve> = self
                .engines
                .iter()
                .map(|(engine, _)| Curve {
                    colour: self.colour(engine),
                    points: counts
                        .iter()
                        .filter_map(|count| {
                            let mut rows = self.rows(workload, *count);
                            let row = rows.find(|row| row.engine == *engine)?;
                            Some((*count as f64, row.per_second))
                        })
                        .collect(),
                })
                .collect();
            let drawn = curves(&all, Scale::Logarithmic, &figure, &figure);
            if !drawn.is_empty() {
                cards.push_str(&card(workload.title(), &drawn));
            }
        }
        let mut html = String::new();
        let what =
            "Rates a second over the number of objects: what falls to the right grows too slow.";
        section(&mut html, "Growth", what, &cards);
        html
    }

    fn stores(&self) -> String {
        type Column = (&'static str, fn(&StoreRow) -> Option<u64>);
        const COLUMNS: [Column; 9] = [
            ("records", |row| Some(row.live_bytes)),
            ("loaded", |row| row.disk_loaded),
            ("alone", |row| row.raw_disk_loaded),
            ("changed", |row| row.disk_changed),
            ("records left", |row| {
                Some(row.live_bytes_left).filter(|bytes| *bytes > 0)
            }),
            ("collected", |row| row.disk_collected),
            ("given back", |row| row.disk_reclaimed),
            ("compacted", |row| row.disk_compacted),
            ("memory", |row| row.peak_anonymous),
        ];
        let heads: Vec<&str> = COLUMNS.iter().map(|column| column.0).collect();
        let rows = self.comparison.stores.iter().map(|store| {
            let mut cells = vec![format!(
                "{}, {}",
                store.engine,
                figure(store.objects as f64)
            )];
            cells.extend(
                COLUMNS
                    .iter()
                    .map(|(_, of)| of(store).map(mebibytes).unwrap_or_default()),
            );
            cells
        });
        let table = table("engine, objects", &heads, rows);
        format!(
            "<h2>Disk and memory</h2><p class=\"soft\">MiB. On the disk after the bulk load, by Durum and by \
             the engine alone; after commits and updates; after nearly half was deleted and collected; after \
             what the engine gives back by itself, and after compaction. Memory of a bulk load, without \
             mapped files.</p>{table}"
        )
    }

    fn table(&self) -> String {
        let heads = [
            "objects",
            "per second",
            "spread",
            "processor µs",
            "p50 µs",
            "p99 µs",
            "longest µs",
            "durability",
            "alone per second",
            "ratio",
            "of",
        ];
        let rows = self.comparison.rows.iter().map(|row| {
            let latency = |of: fn(&crate::Latency) -> f64| {
                row.latency
                    .as_ref()
                    .map(|it| format!("{:.1}", of(it)))
                    .unwrap_or_default()
            };
            vec![
                format!("{}: {}", row.engine, row.workload.title()),
                figure(row.objects as f64),
                figure(row.per_second),
                format!("{:.0} %", row.spread * 100.0),
                format!("{:.2}", row.processor_us),
                latency(|it| it.p50_us),
                latency(|it| it.p99_us),
                latency(|it| it.max_us),
                row.durability
                    .map(|level| level.name())
                    .unwrap_or_default()
                    .to_owned(),
                row.raw_per_second.map(figure).unwrap_or_default(),
                row.ratio_to_raw
                    .map(|ratio| format!("{ratio:.2}"))
                    .unwrap_or_default(),
                match (row.ratio_to_raw, row.compared) {
                    (None, _) => String::new(),
                    (_, Compared::Time) => "time".to_owned(),
                    (_, Compared::ProcessorTime) => "processor time".to_owned(),
                },
            ]
        });
        let table = table("engine and workload", &heads, rows);
        format!(
            "<h2>All figures</h2><p class=\"soft\">The spread is the fastest round less the slowest, as a \
             share of the median. The ratio is what Durum takes for each, divided by what the engine alone \
             takes.</p>{table}"
        )
    }
}

fn section(html: &mut String, title: &str, what: &str, cards: &str) {
    if !cards.is_empty() {
        let _ = write!(
            html,
            "<h2>{}</h2><p class=\"soft\">{}</p><div class=\"cards\">{cards}</div>",
            escape(title),
            escape(what)
        );
    }
}

fn card(title: &str, chart: &str) -> String {
    format!(
        "<div class=\"card\"><h3>{}</h3>{chart}</div>",
        escape(title)
    )
}

fn table(first: &str, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut html = format!("<div class=\"wide\"><table><tr><th>{}</th>", escape(first));
    for head in heads {
        let _ = write!(html, "<th>{}</th>", escape(head));
    }
    html.push_str("</tr>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{}</td>", escape(&cell));
        }
        html.push_str("</tr>");
    }
    html.push_str("</table></div>");
    html
}

/// With three figures that count.
fn figure(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 999_500_000.0 => (value / 1e9, " G"),
        value if value >= 999_500.0 => (value / 1e6, " M"),
        value if value >= 9_995.0 => (value / 1e3, " k"),
        value => (value, ""),
    };
    match value {
        value if value >= 99.95 || value.fract() == 0.0 => format!("{value:.0}{unit}"),
        value if value >= 9.995 => format!("{value:.1}{unit}"),
        value => format!("{value:.2}{unit}"),
    }
}

fn microseconds(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.0} s", value / 1e6),
        value if value >= 1e3 => format!("{:.0} ms", value / 1e3),
        value if value >= 1.0 => format!("{value:.0} µs"),
        value => format!("{:.0} ns", value * 1e3),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (0.123, "0.12"),
            (12.34, "12.3"),
            (999.96, "1000"),
            (9_994.0, "9994"),
            (12_345.0, "12.3 k"),
            (1_234_567.0, "1.23 M"),
            (5e9, "5 G"),
        ] {
            assert_eq!(figure(value), expected);
        }
        assert_eq!(microseconds(0.1), "100 ns");
        assert_eq!(microseconds(10_000.0), "10 ms");
    }
}

//! What Prometheus is told.

use std::fmt;
use std::sync::Arc;

use durum_core::store::{Health, Store as _, StoreStats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::counters::{Latencies, Metrics};
use crate::hub::Hub;

/// The text's media type.
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics as text. It may wait for the disk.
pub(super) fn text(hub: &Arc<Hub>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Process(hub.clone())));
    let ours = registry.sub_registry_with_prefix("durum");
    ours.register_collector(Box::new(Exposition(hub.clone())));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// What has the same name for all programs.
#[derive(Debug)]
struct Process(Arc<Hub>);

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        Out(encoder).gauge(
            "process_start_time_seconds",
            "When the server started, in seconds since 1970",
            self.0.metrics.started,
        )
    }
}

#[derive(Debug)]
struct Exposition(Arc<Hub>);

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        let hub = &self.0;
        connections(&mut out, &hub.metrics)?;
        requests(&mut out, &hub.metrics)?;
        commits(&mut out, &hub.metrics)?;
        filling(&mut out, hub)?;
        // While a migration fills the store there is none to tell of.
        let Ok(served) = hub.served() else {
            return Ok(());
        };
        let health = served.store.health();
        collector(&mut out, &health)?;
        out.gauge(
            "store_poisoned",
            "Whether writes are refused since one has failed",
            f64::from(u8::from(health.poisoned.is_some())),
        )?;
        // Where the store cannot tell its figures there are none of them: the others are needed then.
        match served.store.stats() {
            Ok(stats) => store(&mut out, &stats),
            Err(_) => Ok(()),
        }
    }
}

fn connections(out: &mut Out<'_>, metrics: &Metrics) -> fmt::Result {
    out.gauge("connections", "Connections now", metrics.open() as f64)?;
    out.counter(
        "connections_accepted",
        "Connections that were accepted",
        metrics.accepted.get(),
    )?;
    out.counter(
        "connections_refused",
        "Connections beyond as many as there may be",
        metrics.refused.get(),
    )?;
    out.counter(
        "connections_cut_off",
        "Connections that the server ended for a fault, or for what took too long",
        metrics.cut_off.get(),
    )?;
    out.counter(
        "connections_direct",
        "How often a connection was given a thread of its own, for requests that follow one another closely",
        metrics.direct.get(),
    )?;
    out.counter(
        "received_bytes",
        "Bytes of requests",
        metrics.bytes_in.get(),
    )?;
    out.counter("sent_bytes", "Bytes of answers", metrics.bytes_out.get())
}

fn requests(out: &mut Out<'_>, metrics: &Metrics) -> fmt::Result {
    let help = "From the first byte of a request to its answer, by kind";
    let mut family =
        out.0
            .encode_descriptor("request_seconds", help, None, MetricType::Histogram)?;
    for (request, latencies) in metrics.requests() {
        let labels = [("kind", request.name())];
        histogram(family.encode_family(&labels)?, latencies)?;
    }
    out.counter(
        "loaded_objects",
        "Loads of objects that were answered",
        metrics.loaded.get(),
    )
}

fn commits(out: &mut Out<'_>, metrics: &Metrics) -> fmt::Result {
    let help = "Commits of clients, by how they ended";
    let counter = MetricType::Counter;
    let mut family = out.0.encode_descriptor("commits", help, None, counter)?;
    for (result, count) in [
        ("committed", &metrics.committed),
        ("conflict", &metrics.conflicts),
        ("given_up", &metrics.given_up),
    ] {
        let labels = [("result", result)];
        ConstCounter::new(count.get()).encode(family.encode_family(&labels)?)?;
    }
    let help = "From the last byte of a transaction to where it is durable";
    let kind = MetricType::Histogram;
    let encoder = out.0.encode_descriptor("write_seconds", help, None, kind)?;
    histogram(encoder, &metrics.writes)
}

fn filling(out: &mut Out<'_>, hub: &Hub) -> fmt::Result {
    out.gauge(
        "filling",
        "Whether a migration fills the store, so that others cannot use it",
        f64::from(u8::from(hub.is_filled())),
    )?;
    out.counter(
        "filled_objects",
        "Objects that migrations have brought",
        hub.metrics.filled.get(),
    )?;
    out.counter(
        "filled_bytes",
        "Bytes of the objects that migrations have brought",
        hub.metrics.filled_bytes.get(),
    )
}

fn collector(out: &mut Out<'_>, health: &Health) -> fmt::Result {
    let counters = &health.counters;
    out.counter(
        "collected_objects",
        "Garbage that was deleted",
        counters.deleted,
    )?;
    out.counter(
        "collected_bytes",
        "Bytes of garbage that was deleted",
        counters.deleted_bytes,
    )?;
    out.gauge(
        "collection_failed",
        "Whether nothing is collected, for a failure",
        f64::from(u8::from(health.collection_failed.is_some())),
    )?;
    out.gauge(
        "reclaim_failed",
        "Whether no space could be given back the last time",
        f64::from(u8::from(health.reclaim_failed.is_some())),
    )
}

fn store(out: &mut Out<'_>, stats: &StoreStats) -> fmt::Result {
    out.gauge("objects", "Objects in the store", stats.objects as f64)?;
    out.gauge("tid", "The last commit's number", stats.tid.0 as f64)?;
    let live_bytes = stats.live_bytes as f64;
    out.gauge("live_bytes", "Bytes of all records", live_bytes)?;
    let disk_bytes = stats.engine.disk_bytes as f64;
    out.gauge("disk_bytes", "Bytes of the store's files", disk_bytes)?;
    out.gauge(
        "garbage_pending",
        "Objects that are queued for collection",
        stats.garbage_pending as f64,
    )
}

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(
            self.0
                .encode_descriptor(name, help, None, MetricType::Counter)?,
        )
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(
            self.0
                .encode_descriptor(name, help, None, MetricType::Gauge)?,
        )
    }
}

fn histogram(
    mut encoder: prometheus_client::encoding::MetricEncoder<'_>,
    latencies: &Latencies,
) -> fmt::Result {
    let buckets = latencies.buckets();
    let count = buckets.iter().map(|(_, count)| count).sum();
    encoder.encode_histogram::<NoLabelSet>(latencies.seconds(), count, &buckets, None)
}

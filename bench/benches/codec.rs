//! Records to bytes and back, with each codec: `cargo bench -p durum-bench --bench codec`.

// What criterion's macros make has no documentation.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use durum_core::record::{Codec, Codecs, Record, encode};
use durum_core::{Oid, Tid};
use fastrand::Rng;

/// Objects of one measurement.
const OBJECTS: usize = 256;

/// States that resemble each other, as those of one class do.
fn objects(length: usize) -> Vec<Vec<u8>> {
    let mut draw = Rng::with_seed(7);
    let one = |_| {
        let mut out = Vec::new();
        while out.len() < length {
            let number = draw.u32(..);
            out.extend_from_slice(format!("name=package-{number}; section=libs; ").as_bytes());
        }
        out.truncate(length);
        out
    };
    (0..OBJECTS).map(one).collect()
}

fn encoded(codecs: &Codecs, codec: Codec, data: &[u8], buffer: &mut Vec<u8>, out: &mut Vec<u8>) {
    let payload = codecs.compress(codec, data, buffer).unwrap();
    out.clear();
    encode(Oid(9), Tid(7), None, &[Oid(3), Oid(500)], payload, out);
}

fn records(criterion: &mut Criterion) {
    for length in [100, 4000] {
        let objects = objects(length);
        let codecs = Codecs::default();
        codecs.add_dictionary(1, &Codecs::train(&objects).unwrap());
        let mut group = criterion.benchmark_group(format!("record of {length} bytes"));
        group.throughput(Throughput::Elements(OBJECTS as u64));
        for (name, codec) in Codec::NAMES {
            let (mut buffer, mut out) = (Vec::new(), Vec::new());
            group.bench_function(BenchmarkId::new("encode", name), |bencher| {
                bencher.iter(|| {
                    for data in &objects {
                        encoded(&codecs, codec, black_box(data), &mut buffer, &mut out);
                        black_box(&out);
                    }
                });
            });
            let stored: Vec<Vec<u8>> = objects
                .iter()
                .map(|data| {
                    encoded(&codecs, codec, data, &mut buffer, &mut out);
                    out.clone()
                })
                .collect();
            let mut data = Vec::new();
            group.bench_function(BenchmarkId::new("decode", name), |bencher| {
                bencher.iter(|| {
                    for bytes in &stored {
                        data.clear();
                        let record = Record::parse(Oid(9), black_box(bytes)).unwrap();
                        record.read_data(&codecs, &mut data).unwrap();
                        black_box(&data);
                    }
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, records);
criterion_main!(benches);

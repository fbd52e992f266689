//! Some cases of the conformance suite with batches that are ingested though they are small.

use durum_core::conformance::engine::{
    Fixture, atomicity, concurrency, durability, points, random, scans, sizes, snapshots,
};
use durum_fjall::FjallBackend;

fn fixture() -> Fixture {
    Fixture::new(FjallBackend, &[("bulk_size", "256")])
}

macro_rules! cases {
    ($($subject:ident: $case:ident,)*) => {$(
        #[test]
        fn $case() {
            $subject::$case(&fixture());
        }
    )*};
}

cases! {
    atomicity: a_batch_spans_all_tables,
    atomicity: batches_follow_one_another,
    concurrency: readers_on_threads_see_whole_values,
    durability: levels_mix,
    points: put_overwrite_delete,
    random: a_random_history_equals_the_model,
    scans: a_long_table_is_read_whole,
    scans: several_cursors_at_once,
    sizes: values_of_every_small_size,
    sizes: a_batch_of_many_rows,
    snapshots: a_cursor_stands_still_while_others_write,
    snapshots: a_snapshot_outlives_many_batches,
}

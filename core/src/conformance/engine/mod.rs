//! Cases for an [`Engine`](crate::engine::Engine), one module for each subject.
//!
//! Every case takes a [`Fixture`] with an empty directory. [`Subject`] keeps a model (a `BTreeMap`)
//! beside the engine; its `finish` compares all tables, reopens the engine and compares again.

pub mod atomicity;
pub mod compaction;
pub mod concurrency;
pub mod damage;
pub mod declarations;
pub mod durability;
mod fixture;
pub mod points;
pub mod random;
pub mod scans;
pub mod sizes;
pub mod snapshots;
pub mod space;

pub use fixture::{Batch, Fixture, Model, Subject, apply, compact, value};

/// Registers every engine case as a test in a module `engine`.
///
/// Takes a backend and, optionally, option values with which all cases run:
/// `engine_conformance!(LmdbBackend, options: [("map_size", "8MiB")])`. An engine that is known to
/// waste space says how much: `space_factor_max: 60`; see [`Fixture::with_space_factor_max`].
#[macro_export]
macro_rules! engine_conformance {
    (
        $backend:expr
        $(, options: [$(($name:expr, $value:expr)),* $(,)?])?
        $(, space_factor_max: $factor:expr)?
        $(, home: $home:expr)?
        $(,)?
    ) => {
        mod engine {
            #[allow(unused_imports, reason = "the backend may be named by its full path")]
            use super::*;

            fn fixture() -> Option<$crate::conformance::engine::Fixture> {
                let fixture = $crate::conformance::engine::Fixture::new(
                    $backend,
                    &[$($(($name, $value)),*)?],
                );
                $(let fixture = fixture.at($home?);)?
                $(let fixture = fixture.with_space_factor_max($factor);)?
                Some(fixture)
            }

            $crate::engine_conformance_cases! {
                atomicity: [
                    a_batch_spans_all_tables,
                    a_refused_batch_changes_nothing,
                    batches_follow_one_another,
                    an_empty_batch_is_applied,
                ],
                compaction: [
                    compaction_keeps_the_rows,
                    readers_go_on_during_a_rewrite,
                    compaction_follows_compaction,
                    a_copy_that_is_discarded_changes_nothing,
                    a_copy_that_is_out_of_date_is_refused,
                    an_interrupted_compaction_leaves_nothing,
                ],
                concurrency: [
                    readers_on_threads_see_whole_values,
                    a_snapshot_moves_between_threads,
                ],
                damage: [
                    garbage_in_place_of_the_files_is_an_error,
                    a_missing_main_file_is_an_error,
                    an_emptied_main_file_is_an_error,
                    a_truncated_main_file_is_an_error,
                    flipped_bytes_in_a_value_never_panic,
                ],
                declarations: [
                    capabilities_are_coherent,
                    options_are_documented_and_checked,
                    compaction_is_as_declared,
                ],
                durability: [
                    declared_levels_are_given,
                    undeclared_levels_are_refused,
                    sync_gives_the_best_level,
                    levels_mix,
                ],
                points: [
                    a_missing_row_is_not_visited,
                    put_overwrite_delete,
                    the_largest_keys_are_kept,
                    tables_are_apart,
                    deleting_what_is_not_there_changes_nothing,
                    what_is_read_ahead_is_there,
                ],
                random: [a_random_history_equals_the_model],
                scans: [
                    a_cursor_ascends,
                    a_cursor_starts_in_the_middle,
                    a_cursor_past_the_end_is_empty,
                    a_pair_table_is_ordered_by_both_numbers,
                    a_pair_table_is_read_from_the_middle,
                    a_long_table_is_read_whole,
                    large_rows_are_read_in_a_scan,
                    several_cursors_at_once,
                ],
                sizes: [
                    empty_values,
                    values_of_every_small_size,
                    a_value_of_64_mib,
                    a_batch_of_many_rows,
                    a_value_above_the_limit_is_refused,
                ],
                snapshots: [
                    a_snapshot_is_as_fixed_as_declared,
                    a_cursor_stands_still_while_others_write,
                    a_snapshot_outlives_many_batches,
                    a_new_snapshot_shows_the_newest,
                ],
                space: [
                    stats_are_plausible,
                    deleted_space_is_counted_or_used_again,
                    reclaim_is_as_declared,
                    readers_go_on_while_space_is_reclaimed,
                ],
            }
        }
    };
}

/// Turns the list of cases into tests; part of [`engine_conformance`].
#[doc(hidden)]
#[macro_export]
macro_rules! engine_conformance_cases {
    ($($subject:ident: [$($case:ident),* $(,)?]),* $(,)?) => {
        $(mod $subject {
            $(#[test]
            fn $case() {
                // Without the place that is wanted there is no case.
                if let Some(fixture) = super::fixture() {
                    $crate::conformance::engine::$subject::$case(&fixture);
                }
            })*
        })*
    };
}

#[cfg(test)]
mod tests {
    /// A case that is written and not registered would never run.
    #[test]
    fn every_case_is_registered() {
        let (_, list) = include_str!("mod.rs")
            .split_once("engine_conformance_cases! {")
            .unwrap();
        let (list, _) = list.split_once("Turns the list").unwrap();
        let sources = [
            include_str!("atomicity.rs"),
            include_str!("compaction.rs"),
            include_str!("concurrency.rs"),
            include_str!("damage.rs"),
            include_str!("declarations.rs"),
            include_str!("durability.rs"),
            include_str!("points.rs"),
            include_str!("random.rs"),
            include_str!("scans.rs"),
            include_str!("sizes.rs"),
            include_str!("snapshots.rs"),
            include_str!("space.rs"),
        ];
        let mut cases = 0;
        for line in sources.iter().flat_map(|source| source.lines()) {
            let Some((name, rest)) = line
                .strip_prefix("pub fn ")
                .and_then(|rest| rest.split_once('('))
            else {
                continue;
            };
            if rest.starts_with("fixture: &Fixture)") {
                cases += 1;
                assert!(
                    list.split(|c: char| !c.is_alphanumeric() && c != '_')
                        .any(|word| word == name),
                    "{name} is not in the list of engine_conformance!"
                );
            }
        }
        assert!(cases > 30, "{cases}");
    }
}

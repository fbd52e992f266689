//! Cases for a [`Store`](crate::store::Store) on an engine, one module for each subject.
//!
//! Every case takes a [`Fixture`] and works on a [`Subject`], which keeps a model (a `BTreeMap` of
//! objects) beside the store; its `finish` compares all objects with the model, has the store checked,
//! reopens it and compares again.

pub mod catching_up;
pub mod collection;
pub mod commits;
pub mod compression;
pub mod concurrency;
pub mod damage;
mod fixture;
pub mod garbage;
pub mod histories;
pub mod imports;
pub mod logs;
pub mod oids;
pub mod places;
pub mod receipts;
pub mod scans;
pub mod sizes;
pub mod snapshots;
pub mod space;

pub use fixture::{Fixture, Front, Model, Subject, assert_snapshot};

/// Registers every store case as a test in a module `store`; takes what
/// [`engine_conformance`](crate::engine_conformance) takes.
#[macro_export]
macro_rules! store_conformance {
    (
        $backend:expr
        $(, options: [$(($name:expr, $value:expr)),* $(,)?])?
        $(, space_factor_max: $factor:expr)?
        $(, home: $home:expr)?
        $(,)?
    ) => {
        mod store {
            #[allow(unused_imports, reason = "the backend may be named by its full path")]
            use super::*;

            fn fixture() -> Option<$crate::conformance::store::Fixture> {
                let fixture = $crate::conformance::store::Fixture::new(
                    $backend,
                    &[$($(($name, $value)),*)?],
                );
                $(let fixture = fixture.at($home?);)?
                Some(fixture)
            }

            $crate::store_conformance_cases! {
                catching_up: [
                    a_store_follows_whatever_happens_elsewhere,
                ],
                collection: [
                    cyclic_garbage_is_deleted_and_nothing_else,
                    a_deleted_object_is_gone_for_commits,
                    a_store_without_a_root_is_all_garbage,
                ],
                commits: [
                    a_commit_is_all_or_nothing,
                    a_conflict_names_every_changed_object,
                    creating_what_exists_is_a_conflict,
                    updating_what_does_not_exist_is_refused,
                    a_reference_to_nothing_is_refused,
                    references_within_a_batch_are_fine,
                    bad_batches_are_refused,
                    expecting_absence,
                ],
                compression: [
                    records_of_all_codecs_lie_side_by_side,
                    a_dictionary_is_trained_and_stays,
                ],
                concurrency: [
                    counters_are_never_lost,
                    many_committers_and_readers,
                ],
                damage: [
                    a_damaged_record_is_never_handed_out,
                    a_damaged_state_row_is_rebuilt,
                    a_record_under_a_wrong_key_is_damage,
                    wrong_counters_are_found_and_mended,
                ],
                garbage: [
                    a_cycle_goes_with_the_commit_that_cuts_it_off,
                    a_commit_that_keeps_the_count_of_references_makes_garbage,
                    an_object_that_is_not_linked_lives_as_long_as_its_session,
                    sessions_end_with_the_process,
                    an_object_can_be_moved_in_two_commits,
                    an_import_may_refer_to_what_comes_later,
                    a_large_cycle_is_gone_at_once_and_deleted_bit_by_bit,
                    readers_and_committers_go_on_while_the_worker_collects,
                ],
                histories: [
                    a_random_history_equals_the_model,
                    every_commit_leaves_no_garbage,
                    collection_in_small_steps_loses_nothing,
                ],
                imports: [
                    an_import_keeps_oids_and_tids,
                    an_unpublished_store_leaves_nothing,
                    an_import_must_ascend_and_begin_empty,
                    an_import_leaves_nothing_for_the_collector_to_find,
                    an_oid_that_is_referred_to_is_not_handed_out,
                ],
                logs: [
                    changes_are_logged_by_commit,
                    the_outcome_of_a_commit_is_known,
                ],
                oids: [
                    the_first_oid_is_the_root,
                    no_oid_is_handed_out_twice,
                    only_handed_out_oids_can_be_created,
                    an_ended_session_cannot_create,
                ],
                places: [
                    a_store_is_open_once,
                    a_closed_store_is_free_while_programs_start,
                    another_engine_is_refused,
                    nothing_is_created_over_something,
                    one_of_many_creators_wins,
                ],
                receipts: [
                    commits_keep_the_order_of_the_queue,
                    every_declared_durability_is_given,
                    more_than_is_offered_is_refused,
                ],
                scans: [
                    a_scan_ascends_and_starts_anywhere,
                    a_slow_borrower_lets_others_work,
                    lent_records_are_those_of_the_snapshot,
                    loads_of_many,
                ],
                sizes: [
                    objects_of_no_and_of_few_bytes,
                    an_object_of_64_mib,
                    a_hundred_thousand_references,
                    a_commit_of_many_objects,
                ],
                snapshots: [
                    a_snapshot_stays_fixed_while_others_commit,
                    a_scan_stays_fixed_while_others_commit,
                    a_snapshot_outlives_the_deletion_of_its_objects,
                    a_snapshot_that_grew_too_old_says_so,
                    idle_snapshots_do_not_hold_up_commits,
                ],
                space: [
                    snapshots_outlast_a_compaction,
                    snapshots_outlast_reclaiming,
                    the_worker_gives_space_back,
                    space_is_kept_where_the_worker_is_not_to_give_it_back,
                    a_store_is_closed_while_the_worker_gives_space_back,
                ],
            }
        }
    };
}

/// Turns the list of cases into tests; part of [`store_conformance`].
#[doc(hidden)]
#[macro_export]
macro_rules! store_conformance_cases {
    ($($subject:ident: [$($case:ident),* $(,)?]),* $(,)?) => {
        $(mod $subject {
            $(#[test]
            fn $case() {
                // Without the place that is wanted there is no case.
                if let Some(fixture) = super::fixture() {
                    $crate::conformance::store::$subject::$case(&fixture);
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
            .split_once("store_conformance_cases! {")
            .unwrap();
        let (list, _) = list.split_once("Turns the list").unwrap();
        let sources = [
            include_str!("catching_up.rs"),
            include_str!("collection.rs"),
            include_str!("commits.rs"),
            include_str!("compression.rs"),
            include_str!("concurrency.rs"),
            include_str!("damage.rs"),
            include_str!("garbage.rs"),
            include_str!("histories.rs"),
            include_str!("imports.rs"),
            include_str!("logs.rs"),
            include_str!("oids.rs"),
            include_str!("places.rs"),
            include_str!("receipts.rs"),
            include_str!("scans.rs"),
            include_str!("sizes.rs"),
            include_str!("snapshots.rs"),
            include_str!("space.rs"),
        ];
        for line in sources.iter().flat_map(|source| source.lines()) {
            let Some(rest) = line.strip_prefix("pub fn ") else {
                continue;
            };
            let (name, _) = rest.split_once('(').unwrap();
            assert!(list.contains(name), "{name} is not registered");
        }
    }
}

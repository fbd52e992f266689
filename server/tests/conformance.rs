//! What works on a store in this process works on one behind a server: the same cases.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::any::Any;
use std::sync::Arc;

use durum_core::store::{LocalStore, Store};
use durum_server::client::RemoteStore;
use support::certificates::Certificates;
use support::{Running, on_loopback};

fn behind_tcp(store: Arc<LocalStore>) -> (Box<dyn Store>, Box<dyn Any + Send + Sync>) {
    let running = Running::start(store, on_loopback());
    let store = RemoteStore::connect(&running.location).unwrap();
    (Box::new(store), Box::new(running))
}

fn behind_tls(store: Arc<LocalStore>) -> (Box<dyn Store>, Box<dyn Any + Send + Sync>) {
    let certificates = Certificates::new();
    let running = Running::start(store, certificates.settings());
    let location = certificates.location(&running.location.address);
    let store = RemoteStore::connect(&location).unwrap();
    (Box::new(store), Box::new((running, certificates)))
}

/// Those in which much is sent, or by many at once.
mod tls {
    use durum_core::conformance::store::Fixture;
    use durum_file::FileBackend;

    fn fixture() -> Option<Fixture> {
        Some(Fixture::new(FileBackend, &[]).through(super::behind_tls))
    }

    durum_core::store_conformance_cases! {
        commits: [
            a_conflict_names_every_changed_object,
        ],
        concurrency: [
            counters_are_never_lost,
            many_committers_and_readers,
        ],
        scans: [
            a_scan_ascends_and_starts_anywhere,
            loads_of_many,
        ],
        sizes: [
            objects_of_no_and_of_few_bytes,
            an_object_of_64_mib,
            a_hundred_thousand_references,
            a_commit_of_many_objects,
        ],
    }
}

mod tcp {
    use durum_core::conformance::store::Fixture;
    use durum_file::FileBackend;

    fn fixture() -> Option<Fixture> {
        Some(Fixture::new(FileBackend, &[]).through(super::behind_tcp))
    }

    durum_core::store_conformance_cases! {
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
            a_record_under_a_wrong_key_is_damage,
        ],
        garbage: [
            a_cycle_goes_with_the_commit_that_cuts_it_off,
            a_commit_that_keeps_the_count_of_references_makes_garbage,
            an_object_that_is_not_linked_lives_as_long_as_its_session,
            a_large_cycle_is_gone_at_once_and_deleted_bit_by_bit,
            readers_and_committers_go_on_while_the_worker_collects,
        ],
        histories: [
            a_random_history_equals_the_model,
            every_commit_leaves_no_garbage,
            collection_in_small_steps_loses_nothing,
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
        receipts: [
            every_declared_durability_is_given,
            more_than_is_offered_is_refused,
        ],
        scans: [
            a_scan_ascends_and_starts_anywhere,
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
        ],
    }
}

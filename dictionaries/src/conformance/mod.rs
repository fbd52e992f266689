//! The conformance suite: what every home of dictionaries has to do.
//!
//! ```ignore
//! durum_dictionaries::conformance!(|| MyHome::new());
//! ```

// A case fails by panicking, as tests do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_panics_doc
)]

pub mod classes;
pub mod concurrent;
pub mod feed;
pub mod indexes;
pub mod model;
pub mod revisions;

use crate::{Dictionaries, Fields, Merger, Value};

/// A home that is empty when a case begins.
pub trait Site {
    /// Dictionaries of it, as another writer each time.
    fn writer(&self, merger: Merger) -> Dictionaries;

    /// Whether requests take long, so that cases make fewer.
    fn is_slow(&self) -> bool {
        false
    }

    /// As another writer without functions.
    fn open(&self) -> Dictionaries {
        self.writer(Merger::default())
    }
}

/// A case, and its name.
pub type Case = (&'static str, fn(&dyn Site));

/// Registers every case as a test, on the [`Site`] that the expression makes.
#[macro_export]
macro_rules! conformance {
    ($site:expr) => {
        $crate::conformance_list!(conformance_tests, $site);
    };
}

/// Gives all cases to a macro.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_list {
    ($with:ident, $site:expr) => {
        $crate::$with! {
            $site;
            classes: a_class_is_defined_before_it_is_used, what_no_class_can_be_is_refused,
                a_class_defined_anew_keeps_its_dictionaries;
            revisions: every_write_is_a_revision, a_deletion_is_a_revision, a_dictionary_is_seen_as_it_was,
                all_values_come_back, large_values_come_back_after_many_revisions,
                what_no_dictionary_can_be_is_refused, long_histories_are_read_in_order,
                a_history_of_so_many_revisions_keeps_these, a_history_by_age_forgets_what_was_superseded_before,
                many_are_written_at_once;
            indexes: equal_values_are_found, ranges_are_found_in_order, prefixes_are_found,
                many_values_find_a_dictionary_once, an_index_follows_its_dictionaries,
                an_index_defined_later_has_all, long_values_are_told_apart, other_types_are_refused;
            concurrent: readers_are_told_of_concurrent_revisions, fields_are_merged_by_their_own_times,
                a_deletion_is_weighed_against_later_changes, the_latest_holds_where_the_class_says_so,
                concurrent_revisions_are_left_where_the_class_says_so, a_function_merges_with_the_common_parent,
                two_who_merge_the_same_make_the_same_revision, revisions_from_elsewhere_come_in_any_order,
                a_late_revision_from_before_the_history_is_not_lost;
            feed: changes_come_in_order_and_go_on_at_a_marker, wrong_markers_are_refused,
                all_dictionaries_are_streamed_in_order, changes_of_a_limited_history_end_with_what_is_there;
            model: random_histories_are_those_of_a_model;
        }
    };
}

/// Makes tests of the cases of modules.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($site:expr; $($module:ident: $($case:ident),+;)+) => {
        $(mod $module {
            use super::*;
            $(#[test]
            fn $case() {
                let site = $site;
                $crate::conformance::$module::$case(&site());
            })+
        })+
    };
}

/// Makes a table of the cases of modules.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_table {
    ($_site:expr; $($module:ident: $($case:ident),+;)+) => {
        /// All cases, for homes that are dear to make.
        pub const CASES: &[Case] = &[
            $($((concat!(stringify!($module), "::", stringify!($case)), $module::$case),)+)+
        ];
    };
}

conformance_list!(conformance_table, ());

/// Fields of these names and values.
pub fn fields<const N: usize>(entries: [(&str, Value); N]) -> Fields {
    entries.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The keys of dictionaries.
fn keys(found: crate::Stream<crate::Dictionary>) -> Vec<String> {
    found.map(|found| found.unwrap().key).collect()
}

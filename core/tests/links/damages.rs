//! Everything that can go wrong in the collector's tables.

use durum_core::check::FindingKind;
use durum_core::engine::{Key, Table};
use durum_core::store::LocalStore;

use super::model::{Row, put_row, rows, write};

/// Damages a store, and says which sort of finding there has to be, and a part of its message.
pub(crate) type Damage = fn(&LocalStore) -> (FindingKind, &'static str);

fn row(store: &LocalStore, oid: u64) -> Row {
    Row::decode(&rows(store, Table::Referrers)[&Key::from(oid)])
}

/// What can go wrong in the [`zoo`] of which object 3 is pinned by session 7.
pub(crate) const DAMAGES: &[Damage] = &[
    |store| {
        write(store, Table::Referrers, Key::from(4), None);
        (
            FindingKind::Links,
            "object 2 refers to object 4, which does not list",
        )
    },
    |store| {
        let implied = Row {
            anchor: Some(0),
            inline: vec![0],
            ..Row::default()
        };
        put_row(store, 1, &implied);
        (
            FindingKind::Links,
            "object 1 has a row of referrers that it needs not",
        )
    },
    |store| {
        let mut more = row(store, 4);
        more.inline = vec![1, 2, 3, 300];
        put_row(store, 4, &more);
        (
            FindingKind::Links,
            "object 4 lists object 3 as a referrer, which does not",
        )
    },
    |store| {
        let mut twice = row(store, 230);
        let inner = twice.inline[3];
        twice.more += 1;
        put_row(store, 230, &twice);
        write(
            store,
            Table::ReferrersMore,
            Key::pair(230, inner),
            Some(&[]),
        );
        (FindingKind::Links, "twice")
    },
    |store| {
        let mut bytes = rows(store, Table::Referrers)[&Key::from(230)].clone();
        bytes[9] ^= 2;
        write(store, Table::Referrers, Key::from(230), Some(&bytes));
        (FindingKind::Links, "is damaged")
    },
    |store| {
        write(store, Table::ReferrersMore, Key::pair(230, 270), None);
        (
            FindingKind::Links,
            "object 270 refers to object 230, which does not list",
        )
    },
    |store| {
        write(store, Table::ReferrersMore, Key::pair(4, 9), Some(&[]));
        (
            FindingKind::Links,
            "object 4 counts 0 referrers beyond those in its row",
        )
    },
    |store| {
        write(store, Table::ReferrersMore, Key::pair(9, 4), Some(&[]));
        (FindingKind::Links, "object 9, which does not exist")
    },
    |store| {
        put_row(store, 999, &Row::default());
        (FindingKind::Links, "object 999, which does not exist")
    },
    |store| {
        let mut wrong = row(store, 4);
        wrong.anchor = Some(3);
        put_row(store, 4, &wrong);
        (
            FindingKind::Anchors,
            "object 4 is anchored to object 3, which does not refer",
        )
    },
    |store| {
        let mut root = row(store, 0);
        root.anchor = Some(2);
        put_row(store, 0, &root);
        write(store, Table::Irregular, Key::from(0), Some(&[]));
        (
            FindingKind::Anchors,
            "object 0 is the root, but anchored to object 2",
        )
    },
    |store| {
        let mut pinned = row(store, 3);
        pinned.anchor = Some(1);
        put_row(store, 3, &pinned);
        (
            FindingKind::Anchors,
            "object 3 is pinned, but anchored to object 1",
        )
    },
    |store| {
        // 11 to 12, and 12 to 11: both are referrers.
        let mut row = row(store, 11);
        row.anchor = Some(12);
        put_row(store, 11, &row);
        let mut row = self::row(store, 12);
        row.anchor = Some(11);
        put_row(store, 12, &row);
        write(store, Table::Irregular, Key::from(11), Some(&[]));
        (
            FindingKind::Anchors,
            "the anchors of 2 objects form a cycle: 1",
        )
    },
    |store| {
        let mut lost = row(store, 4);
        lost.anchor = None;
        put_row(store, 4, &lost);
        (
            FindingKind::Orphans,
            "object 4 has no anchor, and is neither pinned nor",
        )
    },
    |store| {
        write(store, Table::Orphans, Key::from(300), None);
        (FindingKind::Orphans, "object 300 has no anchor")
    },
    |store| {
        write(store, Table::Orphans, Key::from(4), Some(&[1]));
        (
            FindingKind::Orphans,
            "object 4 is an orphan, but anchored to object 1",
        )
    },
    |store| {
        write(store, Table::Orphans, Key::from(3), Some(&[1]));
        (
            FindingKind::Orphans,
            "object 3 is pinned, and an orphan as well",
        )
    },
    |store| {
        write(store, Table::Orphans, Key::from(5), Some(&[1]));
        (
            FindingKind::Orphans,
            "the table of orphans has object 5, which does not exist",
        )
    },
    |store| {
        // An orphan too many that is one: only the count is wrong.
        write(store, Table::Orphans, Key::from(302), Some(&[1]));
        put_row(
            store,
            302,
            &Row {
                anchor: None,
                inline: vec![300],
                ..Row::default()
            },
        );
        (FindingKind::Orphans, "the store counts")
    },
    |store| {
        write(store, Table::Irregular, Key::from(1), Some(&[]));
        (FindingKind::Irregular, "object 1 is noted as irregular")
    },
    |store| {
        write(store, Table::Irregular, Key::from(50), None);
        (FindingKind::Irregular, "object 50 has a larger anchor")
    },
    |store| {
        write(store, Table::Irregular, Key::from(1 << 60), Some(&[]));
        (FindingKind::Irregular, "which does not exist")
    },
    |store| {
        write(store, Table::Pins, Key::pair(7, 3), None);
        (FindingKind::Pins, "object 3 counts 1 pins, and there are 0")
    },
    |store| {
        write(store, Table::Pins, Key::pair(8, 1), Some(&[0]));
        (FindingKind::Pins, "object 1 counts 0 pins, and there are 1")
    },
    |store| {
        write(store, Table::Pins, Key::pair(8, 5), Some(&[0]));
        (
            FindingKind::Pins,
            "session 8 pins object 5, which does not exist",
        )
    },
    |store| {
        write(store, Table::Pins, Key::pair(7, 3), Some(b"rubbish"));
        (
            FindingKind::Pins,
            "the note that session 7 keeps object 3 is damaged",
        )
    },
    |store| {
        write(store, Table::Meta, Key::from(2), Some(b"rubbish"));
        (FindingKind::Links, "the collector's state is damaged")
    },
];

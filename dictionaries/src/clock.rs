//! Revisions' names: hybrid logical clocks.
//!
//! Kulkarni and others, "Logical Physical Clocks" (2014): a time that is the system's where that advances, and
//! goes on by counting where it does not, so that what follows from something is always later than it.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use durum_core::{Error, ErrorKind, Result};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bits of a tick that count within a millisecond.
const COUNTER_BITS: u32 = 16;

/// How far ahead of this machine's clock another's may be for this one to follow it.
const AHEAD_MAX: u64 = (60 * 1000) << COUNTER_BITS;

/// The name of a revision: when it was made, and by which writer. Sixteen bytes that are in order of time.
///
/// Two revisions of one dictionary never have the same; a revision is always later than those that it descends from.
/// As text it is the time in milliseconds since 1970, a count within it, and the writer, in hexadecimal digits:
/// `019a3f0c51e2-0000-9f86d081884c7d65`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevisionId {
    /// Milliseconds since 1970 in 48 bits, and a counter.
    tick: u64,
    node: u64,
}

impl RevisionId {
    /// The least one.
    pub const MIN: RevisionId = RevisionId { tick: 0, node: 0 };

    /// The one of this tick and writer.
    pub(crate) fn new(tick: u64, node: u64) -> RevisionId {
        RevisionId { tick, node }
    }

    /// The last that there can be up to this time, to the millisecond.
    pub fn last_of(time: SystemTime) -> RevisionId {
        RevisionId {
            tick: ticks(time) | ((1 << COUNTER_BITS) - 1),
            node: u64::MAX,
        }
    }

    /// The first that there can be from this time on, to the millisecond.
    pub fn first_of(time: SystemTime) -> RevisionId {
        RevisionId {
            tick: ticks(time),
            node: 0,
        }
    }

    /// When the revision was made, by its writer's clock, to the millisecond.
    pub fn time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.tick >> COUNTER_BITS)
    }

    /// Whether it is of a time before the year 10000, as all are whose clock is not wrong.
    pub(crate) fn is_of_this_era(self) -> bool {
        self.tick >> COUNTER_BITS < 253_402_300_800_000
    }

    pub(crate) fn tick(self) -> u64 {
        self.tick
    }

    /// Who made it: a number that a writer drew when it began, or the hash of what was merged.
    pub fn node(self) -> u64 {
        self.node
    }

    /// In sixteen bytes, whose order is the same.
    pub fn to_bytes(self) -> [u8; 16] {
        let whole = (u128::from(self.tick) << 64) | u128::from(self.node);
        whole.to_be_bytes()
    }

    /// Of sixteen bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> RevisionId {
        let whole = u128::from_be_bytes(bytes);
        RevisionId {
            tick: (whole >> 64) as u64,
            node: whole as u64,
        }
    }
}

/// Times before 1970 count as 1970, and those that 48 bits do not hold, in the year 10889, as the last.
fn ticks(time: SystemTime) -> u64 {
    let millis = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    let millis = u64::try_from(millis).unwrap_or(u64::MAX);
    millis.min((1 << 48) - 1) << COUNTER_BITS
}

impl fmt::Display for RevisionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millis, count) = (self.tick >> COUNTER_BITS, self.tick & 0xffff);
        write!(out, "{millis:012x}-{count:04x}-{:016x}", self.node)
    }
}

impl fmt::Debug for RevisionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for RevisionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<RevisionId> {
        let part = |range: std::ops::Range<usize>| {
            let digits = text.get(range)?;
            let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            plain.then(|| u64::from_str_radix(digits, 16).ok())?
        };
        let dashes =
            text.len() == 34 && text.get(12..13) == Some("-") && text.get(17..18) == Some("-");
        let parts = (part(0..12), part(13..17), part(18..34));
        match parts {
            (Some(millis), Some(count), Some(node)) if dashes => Ok(RevisionId {
                tick: (millis << COUNTER_BITS) | count,
                node,
            }),
            _ => Err(Error::new(ErrorKind::Usage, "read the name of a revision")
                .because(format!("`{text}` is none"))
                .hint("They are like 019a3f0c51e2-0000-9f86d081884c7d65.")),
        }
    }
}

impl Serialize for RevisionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => serializer.serialize_bytes(&self.to_bytes()),
        }
    }
}

impl<'de> Deserialize<'de> for RevisionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RevisionId, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = RevisionId;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("the name of a revision")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RevisionId, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<RevisionId, E> {
                let bytes = <[u8; 16]>::try_from(bytes);
                bytes
                    .map(RevisionId::from_bytes)
                    .map_err(|_| E::custom("it is not of sixteen bytes"))
            }
        }

        match deserializer.is_human_readable() {
            true => deserializer.deserialize_str(Reader),
            false => deserializer.deserialize_bytes(Reader),
        }
    }
}

/// Makes names for a writer's revisions.
#[derive(Debug)]
pub struct Clock {
    node: u64,
    /// The last tick.
    last: AtomicU64,
    /// The last tick after such as were further ahead than is followed.
    last_ahead: AtomicU64,
    system: fn() -> SystemTime,
}

impl Clock {
    /// That of a writer that begins: it draws a number that no other has.
    ///
    /// # Errors
    /// `Io` where the system has no random numbers.
    pub fn new() -> Result<Clock> {
        let node = getrandom::u64().map_err(|error| {
            Error::new(ErrorKind::Io, "draw a random number").because(error.to_string())
        })?;
        Ok(Clock::with(node, SystemTime::now))
    }

    /// That of the writer with this number, by a clock of its own.
    pub fn with(node: u64, system: fn() -> SystemTime) -> Clock {
        Clock {
            node,
            last: AtomicU64::new(0),
            last_ahead: AtomicU64::new(0),
            system,
        }
    }

    /// A name that was not given before, for a revision that comes after `parents`.
    ///
    /// A parent from a clock that is more than a minute ahead is not followed in what has nothing to do with it,
    /// so that one wrong clock does not set all others wrong.
    pub fn next(&self, parents: &[RevisionId]) -> RevisionId {
        let now = ticks((self.system)());
        let parent = parents.iter().map(|parent| parent.tick).max().unwrap_or(0);
        let (last, floor) = match parent > now.saturating_add(AHEAD_MAX) {
            true => (&self.last_ahead, parent.saturating_add(1)),
            false => (&self.last, now.max(parent + 1)),
        };
        let next = |last: u64| floor.max(last.saturating_add(1));
        let before = last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
            Some(next(last))
        });
        let (Ok(before) | Err(before)) = before;
        let tick = next(before);
        RevisionId::new(tick, self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000)
    }

    #[test]
    fn names_ascend_while_the_systems_clock_stands_still() {
        let clock = Clock::with(7, fixed);
        let first = clock.next(&[]);
        let second = clock.next(&[]);
        assert!(second > first);
        assert_eq!(first.time(), fixed());
        assert_eq!(first.node(), 7);
    }

    #[test]
    fn what_follows_is_later_than_what_it_follows_and_far_clocks_are_not_followed_elsewhere() {
        let clock = Clock::with(1, fixed);
        let near = RevisionId::new(ticks(fixed() + Duration::from_secs(30)), 9);
        let after = clock.next(&[near]);
        assert!(after > near);
        assert!(clock.next(&[]) > after, "a near clock is followed");
        let far = RevisionId::new(ticks(fixed() + Duration::from_secs(1 << 30)), 9);
        let (one, two) = (clock.next(&[far]), clock.next(&[far]));
        assert!(one > far && two > far && one != two);
        assert!(clock.next(&[]) < far, "a far one is not");
    }

    #[test]
    fn text_and_bytes_are_read_back_and_are_in_the_same_order() {
        let clock = Clock::with(u64::MAX, fixed);
        let (one, two) = (clock.next(&[]), clock.next(&[]));
        for id in [one, two, RevisionId::MIN, RevisionId::last_of(fixed())] {
            assert_eq!(id.to_string().parse::<RevisionId>().unwrap(), id);
            assert_eq!(RevisionId::from_bytes(id.to_bytes()), id);
        }
        assert!(one.to_string() < two.to_string() && one.to_bytes() < two.to_bytes());
        assert!(RevisionId::first_of(fixed()) <= one && two <= RevisionId::last_of(fixed()));
        for text in [
            "",
            "019a3f0c51e2-0000",
            "019a3f0c51e2-0000-9f86d081884c7d6+",
            "0x9a3f0c51e2-0000-9f86d081884c7d65",
        ] {
            assert!(text.parse::<RevisionId>().is_err(), "{text}");
        }
        let over = "é".repeat(17);
        assert!(over.parse::<RevisionId>().is_err());
    }
}

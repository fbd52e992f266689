//! What the dictionaries of the benchmark hold, and so what is to be found. Everything follows from a dictionary's number, so that what is found is
//! checked in memory that does not grow.

use std::ops::Range;

use durum_core::{Error, ErrorKind, Result};
use durum_dictionaries::{Class, Dictionary, Fields, IndexType, Revision, Value};

use super::DOING;
use super::workload::DictWorkload;

/// So many have the same string.
const NAMESAKES: u64 = 10;
/// As many strings have the same beginning.
const ALIKE: u64 = 100;
/// About as many have the same one of many values.
const TAGGED: u64 = 100;
/// An odd number, by which keys are out of order.
const SCATTER: u32 = 0x9e37_79b1;
/// Payloads are parts of as many characters, and as many as they are long.
const POOL: usize = 1 << 16;
const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

/// Numbers below another one in an order of its own.
#[derive(Clone, Copy, Debug)]
struct Shuffle {
    below: u64,
    /// Multiplied by it modulo `below`, numbers are out of order, and by `back` they are in order again.
    stride: u64,
    back: u64,
}

impl Shuffle {
    /// One whose stride is about this share.
    fn new(below: u64, share: f64) -> Shuffle {
        let first = (below as f64 * share) as u64;
        let fits = |stride| Some((stride, inverse(stride, below)?));
        let (stride, back) = (first.max(1)..).find_map(fits).unwrap_or((1, 1));
        Shuffle {
            below,
            stride,
            back,
        }
    }

    fn there(self, number: u64) -> u64 {
        number * self.stride % self.below
    }

    fn back(self, place: u64) -> u64 {
        (place % self.below) * self.back % self.below
    }
}

/// The dictionaries, at one point of the benchmark. Each has a number below `dicts`.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) dicts: u64,
    size: usize,
    seed: u64,
    /// What was last done with them.
    done: DictWorkload,
    /// By which integers are out of order, and by which strings and tags are, so that writers at once are in different places.
    integers: Shuffle,
    ranks: Shuffle,
    unscatter: u32,
    pool: String,
}

impl Model {
    /// So many dictionaries with payloads of `size` bytes, when all before `doing` is done, and that as well.
    pub(super) fn new(dicts: u64, size: usize, seed: u64, doing: DictWorkload) -> Model {
        let mut random = fastrand::Rng::with_seed(seed);
        let letter = |_| {
            let at = random.usize(..LETTERS.len());
            char::from(LETTERS.get(at).copied().unwrap_or(b'a'))
        };
        let pool = (0..POOL + size).map(letter).collect();
        // By Newton's iteration, which doubles the right digits.
        let mut unscatter = SCATTER;
        for _ in 0..5 {
            let wrong = SCATTER.wrapping_mul(unscatter);
            unscatter = unscatter.wrapping_mul(2_u32.wrapping_sub(wrong));
        }
        Model {
            dicts,
            size,
            seed,
            done: doing,
            integers: Shuffle::new(dicts, 0.618),
            ranks: Shuffle::new(dicts, 0.382),
            unscatter,
            pool,
        }
    }

    /// The class, with its three indexes.
    pub(super) fn class(name: &str, copies: u32) -> Class {
        Class::new(name)
            .copies(copies)
            .index("name", IndexType::String)
            .index("number", IndexType::Int)
            .index_many("tags", IndexType::String)
    }

    /// How many are written one by one.
    pub(super) fn few(&self) -> u64 {
        (self.dicts / 50).clamp(10, 2000).min(self.dicts / 10)
    }

    /// How many are written by several at once.
    pub(super) fn many(&self) -> u64 {
        (self.dicts / 10).min(20_000)
    }

    /// The numbers of those that something is written for, in order.
    pub(super) fn written(&self, by: DictWorkload) -> Vec<u64> {
        let (few, many, tenth) = (self.few(), self.many(), self.dicts / 10);
        let single = self.dicts - few - many;
        let each_tenth = |rest: u64, count: u64| (0..count).map(|at| at * 10 + rest).collect();
        match by {
            DictWorkload::PutBatches => (0..single).collect(),
            DictWorkload::Put => (single..single + few).collect(),
            DictWorkload::PutAtOnce => (single + few..self.dicts).collect(),
            DictWorkload::Update => each_tenth(1, few),
            DictWorkload::UpdateAtOnce => each_tenth(2, many),
            DictWorkload::UpdateBatches => each_tenth(3, tenth),
            DictWorkload::Delete => each_tenth(4, few),
            DictWorkload::DeleteBatches => each_tenth(5, tenth),
            _ => Vec::new(),
        }
    }

    fn was_written(&self, number: u64, by: DictWorkload) -> bool {
        let (rest, most) = match by {
            DictWorkload::Update => (1, self.few()),
            DictWorkload::UpdateAtOnce => (2, self.many()),
            DictWorkload::UpdateBatches => (3, self.dicts / 10),
            DictWorkload::Delete => (4, self.few()),
            DictWorkload::DeleteBatches => (5, self.dicts / 10),
            _ => return false,
        };
        self.done >= by && number % 10 == rest && number / 10 < most
    }

    /// How often it was updated.
    pub(super) fn version(&self, number: u64) -> u64 {
        use DictWorkload::{Update, UpdateAtOnce, UpdateBatches};
        let updates = [Update, UpdateAtOnce, UpdateBatches];
        let is_updated = |by: &DictWorkload| self.was_written(number, *by);
        updates.iter().filter(|by| is_updated(by)).count() as u64
    }

    pub(super) fn is_there(&self, number: u64) -> bool {
        number < self.dicts
            && !self.was_written(number, DictWorkload::Delete)
            && !self.was_written(number, DictWorkload::DeleteBatches)
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        (0..self.dicts)
            .filter(|number| self.is_there(*number))
            .count() as u64
    }

    pub(super) fn key(&self, number: u64) -> String {
        let scattered = (number as u32).wrapping_mul(SCATTER) ^ self.mask();
        format!("{scattered:08x}")
    }

    fn number_of(&self, key: &str) -> Option<u64> {
        let scattered = u32::from_str_radix(key, 16).ok()? ^ self.mask();
        Some(u64::from(scattered.wrapping_mul(self.unscatter)))
    }

    fn mask(&self) -> u32 {
        self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) as u32
    }

    fn integer(&self, number: u64, version: u64) -> i64 {
        (self.integers.there(number) + version * self.dicts).cast_signed()
    }

    fn payload(&self, number: u64, version: u64) -> &str {
        let drawn = (number * 2 + version + self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let from = (drawn >> 48) as usize % POOL;
        self.pool.get(from..from + self.size).unwrap_or_default()
    }

    pub(super) fn fields(&self, number: u64, version: u64) -> Fields {
        let tag = self.tag(number);
        let other = self.integers.there(number) % self.tags();
        let tags = [
            format!("a{tag:06}"),
            format!("b{other:06}"),
            format!("v{version}-{tag:06}"),
        ];
        let text = |text: &str| Value::String(text.to_owned());
        Fields::from([
            ("name".to_owned(), Value::String(self.name(number))),
            (
                "number".to_owned(),
                Value::Int(self.integer(number, version)),
            ),
            (
                "tags".to_owned(),
                Value::List(tags.iter().map(|tag| text(tag)).collect()),
            ),
            ("text".to_owned(), text(self.payload(number, version))),
        ])
    }

    /// The string of a dictionary.
    pub(super) fn name(&self, number: u64) -> String {
        format!("name {:08}", self.ranks.there(number) / NAMESAKES)
    }

    /// What about a thousand strings begin with, this one's among them.
    pub(super) fn prefix(&self, number: u64) -> String {
        format!("name {:06}", self.ranks.there(number) / NAMESAKES / ALIKE)
    }

    /// How many different tags of a sort there are.
    pub(super) fn tags(&self) -> u64 {
        (self.dicts / TAGGED).max(1)
    }

    /// A tag of this one's.
    pub(super) fn tag(&self, number: u64) -> u64 {
        self.ranks.there(number) % self.tags()
    }

    /// Those with the same string, in order.
    pub(super) fn namesakes(&self, number: u64) -> Vec<String> {
        self.of_name(self.ranks.there(number) / NAMESAKES)
    }

    fn of_name(&self, name: u64) -> Vec<String> {
        let first = name * NAMESAKES;
        self.sorted(first..(first + NAMESAKES).min(self.dicts))
    }

    /// Those whose strings begin alike, in order.
    pub(super) fn alike(&self, number: u64) -> Vec<String> {
        let first = self.ranks.there(number) / NAMESAKES / ALIKE * ALIKE;
        let names = first..(first + ALIKE).min(self.dicts.div_ceil(NAMESAKES));
        names.flat_map(|name| self.of_name(name)).collect()
    }

    /// Those with a tag that all versions have, or with that of this version, in order.
    pub(super) fn tagged(&self, tag: u64, version: Option<u64>) -> Vec<String> {
        let all = (tag..self.dicts).step_by(self.tags() as usize);
        let mut keys = self.sorted(all);
        keys.retain(|key| {
            let found = self.number_of(key).map(|number| self.version(number));
            version.is_none() || version == found
        });
        keys
    }

    /// Those with integers in this range, in order.
    pub(super) fn between(&self, range: Range<u64>) -> Vec<String> {
        let of = |integer: u64| {
            let number = self.integers.back(integer);
            let is_so = self.is_there(number) && self.version(number) == integer / self.dicts;
            is_so.then(|| self.key(number))
        };
        range.filter_map(of).collect()
    }

    /// The keys of those with these ranks.
    fn sorted(&self, ranks: impl Iterator<Item = u64>) -> Vec<String> {
        let numbers = ranks.map(|rank| self.ranks.back(rank));
        let there = numbers.filter(|number| self.is_there(*number));
        let mut keys: Vec<String> = there.map(|number| self.key(number)).collect();
        keys.sort_unstable();
        keys
    }

    /// # Errors
    /// `Mismatch` where a dictionary is not what it is to be.
    pub(super) fn check(&self, found: &Dictionary) -> Result<()> {
        let number = self.number_of(&found.key);
        let number = number.filter(|number| self.is_there(*number));
        let is_so = number.is_some_and(|number| {
            found.concurrent.is_empty()
                && *found.fields() == self.fields(number, self.version(number))
        });
        right(is_so, || format!("`{}` is not what was put", found.key))
    }

    /// As [`Model::check`] by one integer and the payload, which takes little time.
    ///
    /// # Errors
    /// `Mismatch` where a dictionary is not what it is to be.
    pub(super) fn check_quickly(&self, number: u64, found: Option<&Dictionary>) -> Result<()> {
        let version = self.version(number);
        let is_so = found.map(Dictionary::fields).is_some_and(|fields| {
            let integer = Value::Int(self.integer(number, version));
            let text = fields.get("text");
            fields.get("number") == Some(&integer)
                && matches!(text, Some(Value::String(text)) if text == self.payload(number, version))
        });
        right(is_so, || {
            format!("`{}` is not what was put", self.key(number))
        })
    }

    /// # Errors
    /// `Mismatch` where a revision is not the one of this version.
    pub(super) fn check_revision(
        &self,
        number: u64,
        version: u64,
        found: Option<&Revision>,
    ) -> Result<()> {
        let is_so = found.is_some_and(|found| found.fields == self.fields(number, version));
        right(is_so, || {
            let found = found.map(|found| (found.id, found.fields.get("number")));
            let (key, expected) = (self.key(number), self.integer(number, version));
            format!("`{key}` had the integer {expected} after {version} updates, and not {found:?}")
        })
    }
}

/// # Errors
/// `Mismatch` where it is not so.
pub(super) fn right(is_so: bool, wrong: impl FnOnce() -> String) -> Result<()> {
    match is_so {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Mismatch, DOING).because(wrong())),
    }
}

/// By what multiplying with `number` modulo `of` is undone, if it can be.
fn inverse(number: u64, of: u64) -> Option<u64> {
    let modulus = i128::from(of);
    let (mut rest, mut next) = (modulus, i128::from(number) % modulus);
    let (mut factor, mut next_factor) = (0, 1);
    while next != 0 {
        let times = rest / next;
        (rest, next) = (next, rest - times * next);
        (factor, next_factor) = (next_factor, factor - times * next_factor);
    }
    match rest {
        1 => u64::try_from(factor.rem_euclid(modulus)).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// What the model says without looking is what looking at all dictionaries says.
    #[test]
    fn shortcuts_are_right() {
        for (dicts, done) in [
            (100, DictWorkload::PutAtOnce),
            (237, DictWorkload::All),
            (2345, DictWorkload::AllLeft),
        ] {
            let model = Model::new(dicts, 20, 7, done);
            let all: BTreeMap<String, u64> = (0..dicts)
                .map(|number| (model.key(number), number))
                .collect();
            assert_eq!(all.len() as u64, dicts);
            for (key, number) in &all {
                assert_eq!(model.number_of(key), Some(*number));
            }
            let integers: BTreeSet<i64> =
                (0..dicts).map(|number| model.integer(number, 0)).collect();
            assert_eq!(integers.len() as u64, dicts);
            let find = |is_meant: &dyn Fn(u64, &Fields) -> bool| -> BTreeSet<String> {
                let there = all.iter().filter(|(_, number)| model.is_there(**number));
                there
                    .filter(|(_, number)| {
                        is_meant(**number, &model.fields(**number, model.version(**number)))
                    })
                    .map(|(key, _)| key.clone())
                    .collect()
            };
            let set = |keys: Vec<String>| -> BTreeSet<String> { keys.into_iter().collect() };
            let has = |fields: &Fields, tag: String| match &fields["tags"] {
                Value::List(tags) => tags.contains(&Value::String(tag)),
                _ => false,
            };
            for number in (0..dicts).step_by(17) {
                let name = Value::String(model.name(number));
                let found = find(&|_, fields| fields["name"] == name);
                assert_eq!(set(model.namesakes(number)), found);
                let prefix = model.prefix(number);
                let found = find(&|number, _| model.name(number).starts_with(&prefix));
                assert_eq!(set(model.alike(number)), found);
                for integer in [number, number + dicts] {
                    let within = integer.cast_signed()..integer.cast_signed() + 10;
                    let found = find(&|number, _| {
                        within.contains(&model.integer(number, model.version(number)))
                    });
                    assert_eq!(set(model.between(integer..integer + 10)), found);
                }
                let tag = model.tag(number);
                let found = find(&|_, fields| has(fields, format!("a{tag:06}")));
                assert_eq!(set(model.tagged(tag, None)), found);
                let found = find(&|_, fields| has(fields, format!("v1-{tag:06}")));
                assert_eq!(set(model.tagged(tag, Some(1))), found);
            }
            assert_eq!(model.count(), find(&|_, _| true).len() as u64);
        }
    }

    #[test]
    fn everything_is_put_once_and_updates_and_deletions_are_counted() {
        let model = Model::new(1234, 5, 1, DictWorkload::AllLeft);
        let put = [
            DictWorkload::PutBatches,
            DictWorkload::Put,
            DictWorkload::PutAtOnce,
        ];
        let put: Vec<u64> = put.iter().flat_map(|by| model.written(*by)).collect();
        assert_eq!(put, (0..1234).collect::<Vec<_>>());
        for by in DictWorkload::ALL {
            for number in model.written(by) {
                let is_put = by <= DictWorkload::PutAtOnce;
                assert!(is_put || model.was_written(number, by), "{by:?} {number}");
            }
        }
        let updated = (0..1234).filter(|number| model.version(*number) == 1);
        assert_eq!(updated.count() as u64, model.few() + model.many() + 123);
        assert_eq!(model.count(), 1234 - model.few() - 123);
    }
}

use durum_objects::Persistent;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Old(u8);

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(version = 2, upgrade_from(1, upgrade))]
struct Upgraded(u16);

fn upgrade(old: Old) -> u16 {
    old.0.into()
}

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(merge = add)]
struct Sum(i64);

fn add(mine: &Sum, theirs: &Sum) -> Option<Sum> {
    Some(Sum(mine.0 + theirs.0))
}

fn main() {}

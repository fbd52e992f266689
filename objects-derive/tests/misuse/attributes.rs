use durum_objects::Persistent;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(nmae = "bank.Unknown")]
struct Unknown;

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = "")]
struct Empty;

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = Plain)]
struct NoText;

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = "one", name = "two")]
struct Twice;

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(version = "2")]
struct TextVersion;

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(version = 0)]
struct VersionNought;

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(version = 5000000000)]
struct LargeVersion;

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(version = 2, upgrade_from(2, from))]
struct FromItself;

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(upgrade_from(1, from))]
struct VersionForgotten;

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(version = 2, upgrade_from(1, from), upgrade_from(1, from))]
struct UpgradedTwice;

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(version = 2, upgrade_from(1))]
struct NoFunction;

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(version = 2, upgrade_from = 1)]
struct NoParentheses;

#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent]
struct NoArguments;

#[derive(Persistent)]
union Union {
    number: u64,
}

fn main() {}

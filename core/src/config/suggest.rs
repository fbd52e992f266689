//! "Did you mean": the valid names, with the likeliest one first.

/// How alike two names must be, on strsim's scale from 0 to 1, for one to be suggested for the other.
const LIKENESS_MIN: f64 = 0.75;

/// A sentence that lists the `valid` names of `what` (a plural), with a suggestion where one of them
/// looks like `given`.
pub fn suggest(given: &str, valid: &[&str], what: &str) -> String {
    if valid.is_empty() {
        return format!("There are no {what}.");
    }
    let list = valid.join(", ");
    let likeliest = valid
        .iter()
        .map(|name| (strsim::jaro_winkler(given, name), name))
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN);
    match likeliest {
        Some((_, name)) => format!("Did you mean `{name}`? The valid {what} are {list}."),
        None => format!("The valid {what} are {list}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_recognised_and_nonsense_is_not() {
        let valid = ["lmdb", "sqlite", "sled"];
        assert!(suggest("sqlight", &valid, "engines").starts_with("Did you mean `sqlite`?"));
        assert!(suggest("xyz", &valid, "engines").starts_with("The valid engines are lmdb,"));
    }
}

//! What a backend declares is coherent, and its options are checked.

use super::Fixture;
use crate::engine::{OptionKind, Options};
use crate::error::ErrorKind;
use crate::units;

/// The entries of [`Capabilities`](crate::engine::Capabilities) fit together.
pub fn capabilities_are_coherent(fixture: &Fixture) {
    let declared = fixture.capabilities();
    assert!(
        declared
            .name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
        "a name is the scheme of a URL: {}",
        declared.name
    );
    assert!(
        declared.version.contains(|c: char| c.is_ascii_digit()),
        "{}",
        declared.version
    );
    assert!(!declared.durability.is_empty());
    assert!(
        declared.durability.is_sorted() && {
            let mut levels = declared.durability.clone();
            levels.dedup();
            levels == declared.durability
        }
    );
    assert!(declared.value_bytes_max >= 64 << 20);
    assert_eq!(
        declared,
        fixture.capabilities(),
        "declarations do not change"
    );
}

/// Every option has help and a default that it would accept; wrong values and names are `Usage`.
pub fn options_are_documented_and_checked(fixture: &Fixture) {
    let name = fixture.capabilities().name;
    let specs = fixture.backend().options();
    let sequential = fixture.backend().sequential_options();
    Options::check(name, specs, sequential.iter().copied()).expect("options that are declared");
    for spec in specs {
        assert!(!spec.help.is_empty(), "{} has no help", spec.name);
        assert!(!spec.default.is_empty(), "{} has no default", spec.name);
        if !spec.default.contains(' ') || units::parse_size(spec.default).is_ok() {
            let given = [(spec.name, spec.default)];
            Options::check(name, specs, given).expect("an option takes its own default");
        }
        let wrong = match spec.kind {
            OptionKind::Integer(_, max) if max < u64::MAX => (max + 1).to_string(),
            // Any other text can be a path.
            OptionKind::File => String::new(),
            _ => "no such value".to_owned(),
        };
        let error = Options::check(name, specs, [(spec.name, wrong.as_str())]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        assert!(error.to_string().contains(spec.name), "{error}");
        if let OptionKind::Choice(words) = spec.kind {
            for word in words {
                Options::check(name, specs, [(spec.name, *word)]).unwrap();
            }
        }
    }
    let error = Options::check(name, specs, [("no_such_option", "1")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    for spec in specs {
        assert!(error.to_string().contains(spec.name), "{error}");
    }
    fixture.open().finish();
}

/// `compact` is there exactly where it is declared.
pub fn compaction_is_as_declared(fixture: &Fixture) {
    let subject = fixture.open();
    assert_eq!(
        subject.engine().compact().is_some(),
        fixture.capabilities().compaction
    );
    subject.finish();
}

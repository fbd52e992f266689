//! The exhaustive model check.

/// What is broken on purpose, to see that the check finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Sabotage {
    pub(super) no_guard: bool,
    pub(super) raise_floor: bool,
    pub(super) pinned_anchor: bool,
}

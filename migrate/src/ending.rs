//! What comes after the copy: following what was written meanwhile, verifying, and the destination's
//! appearance; and what is left where something fails.

use durum_core::collect::OidSet;
use durum_core::{Error, ErrorKind, Result, Tid};

use crate::beside::Found;
use crate::destination::{Destination, Failed, KEPT};
use crate::follow::{self, Followed, Follower};
use crate::note::Note;
use crate::options::{MigrateOptions, OnError, StopWatch, Verify};
use crate::pace::Pace;
use crate::phases::Clock;
use crate::pipeline::{Outcome, Progress};
use crate::rejects::Rejects;
use crate::source::Source;
use crate::sum::Shares;
use crate::verify::{Seen, Verifier};

/// What comes after the copy.
pub(crate) struct End<'a> {
    pub(crate) options: &'a MigrateOptions,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) watch: &'a StopWatch,
    pub(crate) clock: &'a Clock,
}

impl End<'_> {
    fn verifier<'a>(
        &'a self,
        source: &'a Source,
        note: &Note,
        (seen, found): (Seen, Found),
    ) -> Verifier<'a> {
        Verifier {
            how: self.options.verify,
            shares: Shares::of(self.options),
            found,
            source,
            pace: Pace::new(self.progress, self.watch),
            clock: self.clock,
            ends_following: false,
            objects: note.objects,
            skips: self.options.on_error != OnError::Stop || note.rejects > 0,
            rejects: note.rejects,
            source_failed: false,
            expected: note.digest,
            seen,
            progress: self.progress,
            dangling: note.dangling,
        }
    }

    /// Verifies what has not been verified yet, and makes the destination appear.
    pub(crate) fn publish(
        &self,
        source: &Source,
        filled: Filled,
        followed: Followed,
    ) -> Result<Outcome> {
        let Filled {
            target,
            note,
            seen,
            found,
            resumed,
        } = filled;
        let mut verifier = self.verifier(source, &note, (seen, found));
        verifier.ends_following = self.options.follow;
        verifier.how = match self.options.verify {
            // Read back bit by bit.
            Verify::Digest if self.options.follow => Verify::None,
            how => how,
        };
        if let Err(Failed { error, destination }) = target.publish(&mut verifier) {
            let destination = destination.map(|it| *it);
            let destination_read = !verifier.source_failed;
            return Err(stopped(error, destination, destination_read, self.options));
        }
        self.clock.end(|phases| &mut phases.publish);
        Ok(Outcome {
            objects: note.objects,
            bytes: note.bytes,
            digest: note.digest,
            torn_bytes: source.torn_bytes(),
            dangling: verifier.dangling.unwrap_or_default(),
            resumed,
            rejects: note.rejects,
            left_out: note.left_out,
            rounds: followed.rounds,
            followed: followed.objects,
            phases: self.clock.phases(),
        })
    }

    /// Verifies the copy, and follows the source to its end. With an error comes whether it was the
    /// destination that was read.
    pub(crate) fn follow(
        &self,
        source: &mut Source,
        rejects: &Rejects,
        since: Tid,
        filled: &mut Filled,
    ) -> Result<Followed, (Error, bool)> {
        let staged = follow::staged(&filled.target).map_err(|error| (error, true))?;
        let seen = Seen::new(&filled.target, self.options);
        let mut verifier = self.verifier(source, &filled.note, (seen, filled.found.take()));
        verifier.how = match self.options.verify {
            // What comes later can be compared only at the end.
            Verify::Full => Verify::Digest,
            how => how,
        };
        let verified = verifier.verify_store(staged.store());
        verified.map_err(|error| (error, true))?;
        // Of what was cut off nobody knows as of which commit it is.
        let since = Some(since).filter(|_| !filled.resumed);
        let follower = Follower {
            source,
            staged,
            note: &mut filled.note,
            rejects,
            options: self.options,
            watch: self.watch,
            progress: self.progress,
            rejected: OidSet::new(follow::REJECTED_BYTES),
            destination_failed: false,
        };
        let followed = follower.run(since)?;
        self.clock.end(|phases| &mut phases.follow);
        filled.note.dangling = Some(followed.dangling);
        Ok(followed)
    }
}

/// What is to be said of an error after which a destination may be left that can be gone on with. Damage
/// is that of the `destination_read`, or else of the source.
pub(crate) fn stopped(
    error: Error,
    destination: Option<Destination>,
    destination_read: bool,
    options: &MigrateOptions,
) -> Error {
    let (error, worth_keeping) = match error.kind() {
        ErrorKind::Damaged if destination_read => (error.hint(COPY_DAMAGED), false),
        // What is wrong is not, nor what will not fit in the end, nor what others have changed meanwhile.
        ErrorKind::Mismatch | ErrorKind::TooLarge | ErrorKind::Conflict => (error, false),
        _ => (error, true),
    };
    let destination = match worth_keeping {
        true => destination,
        false => {
            if let Some(destination) = destination {
                destination.discard();
            }
            None
        }
    };
    match destination.is_some_and(|destination| destination.leave(options.digests())) {
        true => error.hint_also(KEPT),
        false => error,
    }
}

/// What is to be said where what was written is not what is read back.
const COPY_DAMAGED: &str = "It is the copy that is damaged, not the source, and it was removed: look after the \
                            destination's disk before you begin anew.";

/// What is to be said where it ends before the destination is opened.
pub(crate) fn nothing_copied(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Interrupted => error
            .hint("Nothing was copied by this run, and nothing changed: the same command does it."),
        _ => error,
    }
}

/// A destination that has everything.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) target: Destination,
    pub(crate) note: Note,
    pub(crate) seen: Seen,
    /// What was read back already.
    pub(crate) found: Found,
    pub(crate) resumed: bool,
}

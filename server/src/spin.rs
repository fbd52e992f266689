//! Looking for the next request for some microseconds before a thread sleeps.
//!
//! To wake a thread on a processor that sleeps takes longer than to answer a load; on virtual machines several
//! times as long, and it takes more of both processors' time than to look again and again until the request is
//! there. That is worth it only while requests do come so soon, and while nobody else wants the processor: a
//! thread that looks gives way each time, and notices by that how long others run.

use std::io;
use std::time::{Duration, Instant};

/// How long it looks before it sleeps.
const LOOK: Duration = Duration::from_micros(60);
/// Who gives way for so long has met others that have work to do, not only its client.
const LOST: Duration = Duration::from_micros(200);
/// So many times in a row in vain end it for a while.
const VAIN_MAX: u32 = 4;
/// For how many requests nothing is looked for, after it was in vain, and after others had work.
const REST_VAIN: u32 = 256;
const REST_LOST: u32 = 2048;

/// Whether a thread looks for its client's next request before it sleeps.
#[derive(Debug)]
pub(crate) struct Spin {
    /// Requests for which it does not.
    rest: u32,
    /// How often it was in vain, last.
    vain: u32,
}

impl Spin {
    /// Looks, unless this machine has but one processor, which is better left to the client.
    pub(crate) fn new() -> Spin {
        let several = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
        Spin::with(several)
    }

    pub(crate) fn with(several: bool) -> Spin {
        Spin {
            rest: if several { 0 } else { u32::MAX },
            vain: 0,
        }
    }

    /// Whether it looks for the next request.
    pub(crate) fn is_looking(&self) -> bool {
        self.rest == 0
    }

    /// What `look` finds soon; `None` where that is nothing, and the thread may as well sleep.
    pub(crate) fn wait<T>(
        &mut self,
        mut look: impl FnMut() -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        if self.rest > 0 {
            if self.rest < u32::MAX {
                self.rest -= 1;
            }
            return Ok(None);
        }
        let begin = Instant::now();
        let mut last = begin;
        loop {
            if let Some(found) = look()? {
                self.vain = 0;
                return Ok(Some(found));
            }
            std::thread::yield_now();
            let now = Instant::now();
            if now - last >= LOST {
                self.rest = REST_LOST;
                return Ok(None);
            }
            if now - begin >= LOOK {
                break;
            }
            last = now;
        }
        self.vain += 1;
        if self.vain == VAIN_MAX {
            self.vain = 0;
            self.rest = REST_VAIN;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it looks for something that is not there.
    fn looks(spin: &mut Spin) -> u32 {
        let mut count = 0;
        let found = spin.wait(|| {
            count += 1;
            Ok(None::<()>)
        });
        assert!(matches!(found, Ok(None)));
        count
    }

    #[test]
    fn what_is_there_is_found() {
        let mut spin = Spin::with(true);
        for _ in 0..10 * VAIN_MAX {
            assert!(matches!(spin.wait(|| Ok(Some(7))), Ok(Some(7))));
        }
        assert!(spin.is_looking());
        let failed = spin.wait(|| Err::<Option<()>, _>(io::ErrorKind::BrokenPipe.into()));
        assert!(failed.is_err());
    }

    #[test]
    fn who_looks_in_vain_rests_and_tries_again() {
        let mut spin = Spin::with(true);
        let mut tried = 0;
        while spin.is_looking() {
            assert!(looks(&mut spin) > 0);
            tried += 1;
            assert!(tried <= VAIN_MAX);
        }
        let mut rested = 0;
        while looks(&mut spin) == 0 {
            rested += 1;
        }
        // Others may have had work here.
        assert!([REST_VAIN, REST_LOST].contains(&rested), "{rested}");
    }

    #[test]
    fn one_processor_is_left_to_the_client() {
        let mut spin = Spin::with(false);
        for _ in 0..3 * REST_LOST {
            assert_eq!(looks(&mut spin), 0);
        }
        assert!(!spin.is_looking());
    }
}

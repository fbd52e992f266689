//! Progress on standard error: a bar on a terminal, a plain line every ten seconds elsewhere, or JSON.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use durum_core::Oid;
use durum_core::units::format_size;
use durum_migrate::Difference;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::args::ProgressArg;
use super::output;

/// How often a plain line is printed.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// How often a JSON object is printed.
const JSON_INTERVAL: Duration = Duration::from_secs(1);
/// Differences that are listed one by one.
const DIFFERENCES_MAX: u64 = 1000;
/// How often a bar moves on by itself.
const TICK_INTERVAL: Duration = Duration::from_millis(120);
const BAR: &str =
    "{prefix:>8} [{bar:24}] {percent} %, {human_pos}/{human_len} objects, {per_sec}, {eta} left";
const BYTES_BAR: &str = "{prefix:>8} [{bar:24}] {bytes}/{total_bytes}, {eta} left";
/// Where it is not known how many objects there are to go, their number says nothing.
const SPINNER: &str = "{prefix:>8} {spinner} {elapsed}";

/// Shows how far a command has come. Dropped, it vanishes from a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: Shown,
    is_json: bool,
    differences: AtomicU64,
}

#[derive(Debug)]
enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines {
        state: Arc<State>,
        stop: Option<Sender<()>>,
        printer: Option<JoinHandle<()>>,
    },
}

#[derive(Debug, Default)]
struct State {
    phase: Mutex<Option<Phase>>,
    objects: AtomicU64,
    bytes: AtomicU64,
    /// Of the objects, those that were done before.
    skipped: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Phase {
    name: &'static str,
    total: Option<u64>,
    bytes_total: Option<u64>,
    since: Instant,
}

impl Progress {
    pub(crate) fn new(quiet: bool, how: ProgressArg) -> Progress {
        let print = |line: &str| {
            let _ = writeln!(std::io::stderr(), "{line}");
        };
        let shown = match how {
            ProgressArg::None => Shown::Nothing,
            ProgressArg::Json => lines(JSON_INTERVAL, State::json, print),
            ProgressArg::Auto if quiet => Shown::Nothing,
            ProgressArg::Auto if std::io::stderr().is_terminal() => {
                let target = ProgressDrawTarget::stderr();
                Shown::Bar(ProgressBar::with_draw_target(None, target))
            }
            ProgressArg::Auto => lines(LINE_INTERVAL, State::line, print),
        };
        let mut progress = Progress::of(shown);
        progress.is_json = how == ProgressArg::Json;
        progress
    }

    fn of(shown: Shown) -> Progress {
        Progress {
            shown,
            is_json: false,
            differences: AtomicU64::new(0),
        }
    }

    /// A phase begins, with so many objects to go if that is known.
    pub(crate) fn begin(&self, name: &'static str, total: Option<u64>) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                let template = if total.is_some() { BAR } else { SPINNER };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style.progress_chars("=> "));
                }
                bar.set_prefix(name);
                bar.reset();
                match total {
                    Some(total) => bar.set_length(total),
                    None => bar.unset_length(),
                }
                bar.enable_steady_tick(TICK_INTERVAL);
            }
            Shown::Lines { state, .. } => {
                state.objects.store(0, Relaxed);
                state.bytes.store(0, Relaxed);
                state.skipped.store(0, Relaxed);
                let phase = Phase {
                    name,
                    total,
                    bytes_total: None,
                    since: Instant::now(),
                };
                *state.phase.lock().unwrap_or_else(PoisonError::into_inner) = Some(phase);
            }
        }
    }

    /// A phase begins that is counted in bytes; [`Progress::reach`] says how far it is.
    pub(crate) fn begin_bytes(&self, name: &'static str) {
        self.begin(name, None);
        if let Shown::Bar(bar) = &self.shown
            && let Ok(style) = ProgressStyle::with_template(BYTES_BAR)
        {
            bar.set_style(style.progress_chars("=> "));
        }
    }

    /// So many bytes are done in all, of so many, which may be an estimate.
    pub(crate) fn reach(&self, done: u64, total: u64) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(done);
            }
            Shown::Lines { state, .. } => {
                state.bytes.store(done, Relaxed);
                let mut phase = state.phase.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(phase) = &mut *phase {
                    phase.bytes_total = Some(total);
                }
            }
        }
    }

    /// So many objects and bytes of the phase were done before it began.
    pub(crate) fn skip(&self, objects: u64, bytes: u64) {
        self.advance(objects, bytes);
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.reset_eta(),
            Shown::Lines { state, .. } => {
                state.skipped.fetch_add(objects, Relaxed);
            }
        }
    }

    /// Lists a difference on standard error, as `rclone check` does: `+` for what only the source has,
    /// `-` for what only the destination has, `*` for what both have and differs.
    pub(crate) fn difference(&self, difference: Difference, oid: Oid) {
        self.differs(difference, &oid.to_string());
    }

    fn differs(&self, difference: Difference, what: &str) {
        let sign = match difference {
            Difference::Missing => '+',
            Difference::Added => '-',
            Difference::Changed => '*',
        };
        let line = match self.differences.fetch_add(1, Relaxed) {
            number if number < DIFFERENCES_MAX => format!("{sign} {what}"),
            DIFFERENCES_MAX => "... and more".to_owned(),
            _ => return,
        };
        self.say(&line);
    }

    /// Says that what writes to the source can be stopped now: however little is to be shown, somebody waits
    /// for that.
    fn caught_up(&self, objects: u64, time: Duration) {
        let line = match self.is_json {
            true => json!({
                "phase": "follow",
                "caught_up": true,
                "objects": objects,
                "round_seconds": output::seconds(time),
            })
            .to_string(),
            false => format!(
                "follow: caught up; the last round brought {} in {}. It is safe to switch: stop what writes to \
                 the source. The rest follows, and the destination appears.",
                output::count(objects, "object"),
                output::duration(time),
            ),
        };
        self.say(&line);
    }

    /// Says that the source has been let go of: from here on programs that want to write to it are refused.
    fn taken_over(&self) {
        let line = match self.is_json {
            true => json!({"phase": "follow", "taken_over": true}).to_string(),
            false => "follow: nobody writes to the source any more. It is locked, and the rest is brought over."
                .to_owned(),
        };
        self.say(&line);
    }

    /// As [`Progress::difference`], of a dictionary.
    fn key_differs(&self, difference: Difference, class: &str, key: &str) {
        self.differs(difference, &format!("{class} {}", key.escape_debug()));
    }

    fn say(&self, line: &str) {
        let print = || {
            let _ = writeln!(std::io::stderr(), "{line}");
        };
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(print),
            _ => print(),
        }
    }

    /// So many more objects and bytes are done.
    pub(crate) fn advance(&self, objects: u64, bytes: u64) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.inc(objects),
            Shown::Lines { state, .. } => {
                state.objects.fetch_add(objects, Relaxed);
                state.bytes.fetch_add(bytes, Relaxed);
            }
        }
    }
}

impl durum_migrate::Progress for Progress {
    fn begin(&self, phase: &'static str, objects_total: Option<u64>) {
        Progress::begin(self, phase, objects_total);
    }

    fn advance(&self, objects: u64, bytes: u64) {
        Progress::advance(self, objects, bytes);
    }

    fn skip(&self, objects: u64, bytes: u64) {
        Progress::skip(self, objects, bytes);
    }

    fn caught_up(&self, objects: u64, time: Duration) {
        Progress::caught_up(self, objects, time);
    }

    fn taken_over(&self) {
        Progress::taken_over(self);
    }

    fn key_differs(&self, difference: Difference, class: &str, key: &str) {
        Progress::key_differs(self, difference, class, key);
    }

    fn difference(&self, difference: Difference, oid: Oid) {
        Progress::difference(self, difference, oid);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.finish_and_clear(),
            Shown::Lines { stop, printer, .. } => {
                drop(stop.take());
                if let Some(printer) = printer.take() {
                    let _ = printer.join();
                }
            }
        }
    }
}

/// Prints a line at every `interval` on a thread of its own, since a phase may not advance for long.
fn lines(
    interval: Duration,
    line: fn(&State, Instant) -> Option<String>,
    print: impl Fn(&str) + Send + 'static,
) -> Shown {
    let state = Arc::new(State::default());
    let (stop, stopped) = channel::<()>();
    let printed = state.clone();
    let printer = std::thread::Builder::new()
        .name("progress".to_owned())
        .spawn(move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                if let Some(line) = line(&printed, Instant::now()) {
                    print(&line);
                }
            }
        });
    Shown::Lines {
        state,
        stop: Some(stop),
        printer: printer.ok(),
    }
}

impl State {
    fn phase(&self) -> Option<Phase> {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Objects a second in this run, and the seconds that are left at that rate.
    fn rate(&self, phase: &Phase, now: Instant) -> (f64, Option<f64>) {
        let objects = self.objects.load(Relaxed);
        let seconds = now.saturating_duration_since(phase.since).as_secs_f64();
        let done = objects.saturating_sub(self.skipped.load(Relaxed)) as f64;
        let rate = if seconds > 0.0 { done / seconds } else { 0.0 };
        let left = phase
            .total
            .map(|total| total.saturating_sub(objects) as f64);
        (rate, left.filter(|_| rate > 0.0).map(|left| left / rate))
    }

    fn line(&self, now: Instant) -> Option<String> {
        let phase = self.phase()?;
        let objects = self.objects.load(Relaxed);
        let bytes = self.bytes.load(Relaxed);
        let mut line = format!("{}: ", phase.name);
        if let Some(total) = phase.total {
            let percent = percent(objects, total);
            let (done, total) = (output::number(objects), output::count(total, "object"));
            line.push_str(&format!("{done} of {total} ({percent} %), "));
        }
        if let Some(total) = phase.bytes_total {
            let percent = percent(bytes, total);
            let (done, total) = (format_size(bytes), format_size(total));
            line.push_str(&format!("{done} of {total} ({percent} %), "));
        } else if bytes > 0 {
            line.push_str(&format!("{}, ", format_size(bytes)));
        }
        let elapsed = now.saturating_duration_since(phase.since);
        line.push_str(&output::duration(elapsed));
        let (rate, left) = self.rate(&phase, now);
        if rate >= 1.0 {
            line.push_str(&format!(", {} a second", output::number(rate as u64)));
        }
        let left = left.and_then(|left| Duration::try_from_secs_f64(left).ok());
        if let Some(left) = left.filter(|left| left.as_secs() > 0) {
            line.push_str(&format!(", {} left", output::duration(left)));
        }
        Some(line)
    }

    fn json(&self, now: Instant) -> Option<String> {
        let phase = self.phase()?;
        let (rate, left) = self.rate(&phase, now);
        let elapsed = now.saturating_duration_since(phase.since);
        let tenths = |number: f64| (number * 10.0).round() / 10.0;
        let object = json!({
            "phase": phase.name,
            "objects": self.objects.load(Relaxed),
            "objects_total": phase.total,
            "bytes": self.bytes.load(Relaxed),
            "bytes_total": phase.bytes_total,
            "seconds": tenths(elapsed.as_secs_f64()),
            "objects_per_second": tenths(rate),
            "seconds_left": left.map(tenths),
        });
        Some(object.to_string())
    }
}

fn percent(done: u64, total: u64) -> u64 {
    done.saturating_mul(100).checked_div(total).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_at_every_interval_until_it_is_dropped() {
        let (sender, received) = channel();
        let shown = lines(Duration::from_millis(5), State::line, move |line| {
            let _ = sender.send(line.to_owned());
        });
        let progress = Progress::of(shown);
        progress.begin("copy", Some(2000));
        progress.advance(1000, 3 << 20);
        let expected = "copy: 1,000 of 2,000 objects (50 %), 3.0 MiB, ";
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let line = received.recv_timeout(Duration::from_secs(30)).unwrap();
            if line.starts_with(expected) {
                break;
            }
            assert!(Instant::now() < deadline, "{line}");
        }
        drop(progress);
        while received.try_recv().is_ok() {}
        assert!(received.recv_timeout(Duration::from_millis(50)).is_err());
    }

    #[test]
    fn an_unknown_total_is_left_out() {
        let state = State::default();
        assert_eq!(state.line(Instant::now()), None);
        let since = Instant::now();
        *state.phase.lock().unwrap() = Some(Phase {
            name: "check",
            total: None,
            bytes_total: None,
            since,
        });
        assert_eq!(state.line(since), Some("check: 0 ms".to_owned()));
    }

    #[test]
    fn the_rate_leaves_out_what_was_done_before() {
        let state = State::default();
        let since = Instant::now();
        *state.phase.lock().unwrap() = Some(Phase {
            name: "copy",
            total: Some(10_000),
            bytes_total: None,
            since,
        });
        state.objects.store(6000, Relaxed);
        state.skipped.store(4000, Relaxed);
        let now = since + Duration::from_secs(10);
        let line = state.line(now).unwrap();
        assert_eq!(
            line,
            "copy: 6,000 of 10,000 objects (60 %), 10.0 s, 200 a second, 20.0 s left"
        );
        let object: serde_json::Value = serde_json::from_str(&state.json(now).unwrap()).unwrap();
        assert_eq!(object["objects"], 6000);
        assert_eq!(object["objects_per_second"], 200.0);
        assert_eq!(object["seconds_left"], 20.0);
    }

    #[test]
    fn bytes_are_shown_with_their_total() {
        let progress = Progress::of(lines(Duration::from_secs(60), State::line, |_| {}));
        progress.begin_bytes("compact");
        progress.reach(1 << 20, 4 << 20);
        let Shown::Lines { state, .. } = &progress.shown else {
            panic!("lines are shown")
        };
        let line = state.line(Instant::now()).unwrap();
        assert!(
            line.starts_with("compact: 1.0 MiB of 4.0 MiB (25 %), "),
            "{line}"
        );
    }
}

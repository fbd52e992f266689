//! The child process of the crash tests: runs a series of commits, or checks what one left behind.
//!
//! ```text
//! crash_workload run ROOT SUBJECT SEED COMMITS ACKS
//! crash_workload check ROOT SUBJECT SEED LOW HIGH MORE
//! ```
//! Exit codes: 0 done, 1 the check found something wrong, 2 the run stopped at an error.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![forbid(unsafe_code)]

use std::process::ExitCode;

use durum_crash::acks::Acks;
use durum_crash::workload::{Ending, Job, check, run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| -> u64 { arguments[index].parse().expect("a number") };
    let mut job = Job {
        root: arguments[1].clone().into(),
        subject: arguments[2].clone(),
        seed: number(3),
        commits: 0,
    };
    match arguments[0].as_str() {
        "run" => {
            job.commits = number(4);
            let mut acks = Acks::open(arguments[5].as_ref()).expect("the file of acknowledgements");
            match run(&job, &mut acks).expect("acknowledgements can be written") {
                Ending::Done => ExitCode::SUCCESS,
                Ending::Refused => ExitCode::from(2),
            }
        }
        "check" => match check(&job, (number(4), number(5)), number(6)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                eprintln!("{reason}");
                ExitCode::FAILURE
            }
        },
        other => panic!("there is no command {other}"),
    }
}

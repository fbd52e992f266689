//! What figures were measured on.

use serde::Serialize;

/// A machine, as far as it says of itself what figures depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// The processor's name, empty where the system does not tell.
    pub processor: String,
    /// How many threads can run at once.
    pub threads: usize,
    /// The operating system and the processor's architecture, such as `linux x86_64`.
    pub system: String,
    /// Whether the program was compiled without optimisation, which makes its figures worthless.
    pub debug_build: bool,
}

impl Machine {
    /// The machine that this runs on.
    pub fn this() -> Machine {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let processor = name
            .and_then(|line| line.split_once(':'))
            .map_or("", |(_, name)| name);
        Machine {
            processor: processor.trim().to_owned(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            debug_build: cfg!(debug_assertions),
        }
    }
}

//! Durus 4.3 from PyPI, unchanged.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use durum_testkit::{durus_python, durus_sources, python_script};

use crate::kit::{Server, engines};

/// Durus's own checks of its clients: all but the two that demand that OIDs are used again.
#[test]
fn its_own_checks_pass_on_each_engine() {
    let Some(python) = durus_python() else { return };
    let Some(sources) = durus_sources(&python) else {
        return;
    };
    for engine in engines() {
        let home = tempfile::tempdir().unwrap();
        let output = Command::new(&python)
            .arg(python_script("durus_client_checks.py"))
            .arg(&sources)
            .arg(env!("CARGO_BIN_EXE_durum"))
            .arg(format!("{engine}:{}/store", home.path().display()))
            .output()
            .unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{engine}: {stdout}{stderr}");
        let count = |end: &str| stdout.lines().filter(|line| line.contains(end)).count();
        assert_eq!((count(": ok"), count(": left out")), (25, 2), "{stdout}");
    }
}

/// Durus's stress test by eight processes at once, for ten seconds or as many as `DURUM_STRESS_SECONDS`
/// says: objects replaced, changed and moved, with sums and checksums that every client verifies.
#[test]
fn its_stress_test_by_eight_processes() {
    let Some(python) = durus_python() else { return };
    let Some(sources) = durus_sources(&python) else {
        return;
    };
    let seconds = std::env::var("DURUM_STRESS_SECONDS").map_or(10, |text| text.parse().unwrap());
    let time = Duration::from_secs(seconds);
    let server = Server::start("lmdb", &[]);
    let port = server.address.rsplit(':').next().unwrap();
    let stress = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command
            .arg(python_script("durus_stress.py"))
            .args([sources.as_os_str(), "--port".as_ref(), port.as_ref()])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    // One makes the objects.
    let made = stress(&["--max-loops", "1"]).wait_with_output().unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let mut clients: Vec<_> = (0..8).map(|_| stress(&[])).collect();
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::thread::sleep(Duration::from_millis(100));
        for client in &mut clients {
            assert!(
                client.try_wait().unwrap().is_none(),
                "a client has given up"
            );
        }
    }
    for client in &mut clients {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    let verified = stress(&["--verify"]).wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success(), "{stderr}");
    let commits = server.log().matches("cut off").count();
    assert_eq!(commits, 0, "{}", server.log());
    let checked = server.stop_and_check();
    assert_eq!(checked["dangling"], 0);
}

//! The programs of `examples/`, on stores of their own and through a server.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use rustix::process::Signal;

use crate::kit::{Server, engines};

/// Where cargo has put the programs. They are built along with all tests; where only these are run, here. For the whole
/// workspace, as with all tests: for one package alone features of dependencies differ, and all would be compiled anew.
static PROGRAMS: LazyLock<PathBuf> = LazyLock::new(|| {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--examples", "--workspace"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.unwrap().success(), "the examples cannot be built");
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples")
});

fn start(home: &Path, example: &str, arguments: &[&str]) -> Child {
    Command::new(PROGRAMS.join(example))
        .args(arguments)
        .current_dir(home)
        .env_remove("DURUM_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the program has written on standard output, and on standard error where it failed.
fn end(child: Child) -> Result<String, String> {
    let output = child.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

fn run(home: &Path, example: &str, arguments: &[&str]) -> Result<String, String> {
    end(start(home, example, arguments))
}

#[test]
fn eight_threads_transfer_money_and_none_is_lost() {
    for engine in engines() {
        let home = tempfile::tempdir().unwrap();
        let url = format!("{engine}:bank");
        for _ in 0..2 {
            let said = run(home.path(), "bank", &[&url, "20"]).unwrap();
            assert!(said.ends_with("sum: 10000\n"), "{engine}: {said}");
        }
    }
}

#[test]
fn two_programs_transfer_money_through_a_server_and_none_is_lost() {
    for engine in engines() {
        let server = Server::start(&engine, &[]);
        let url = format!("durus+tcp://{}", server.address);
        let programs: Vec<_> = (0..2)
            .map(|_| start(server.home.path(), "bank", &[&url, "20"]))
            .collect();
        for program in programs {
            let said = end(program).unwrap();
            assert!(said.ends_with("sum: 10000\n"), "{engine}: {said}");
        }
        server.stop_and_check();
    }
}

#[test]
fn a_bank_goes_on_when_its_server_is_killed() {
    let mut server = Server::new(&[]);
    let url = format!("durus+tcp://{}", server.address);
    let program = start(server.home.path(), "bank", &[&url, "300"]);
    for _ in 0..3 {
        std::thread::sleep(std::time::Duration::from_millis(300));
        server.signal(Signal::KILL);
        server.wait();
        server.restart();
    }
    let said = end(program).unwrap();
    assert!(said.ends_with("sum: 10000\n"), "{said}");
    server.stop_and_check();
}

#[test]
fn a_type_is_upgraded_across_two_versions_of_a_program() {
    let home = tempfile::tempdir().unwrap();
    let upgrade = |version| run(home.path(), "upgrade", &[version, "file:library"]);
    let gray = "Transaction Processing by Jim Gray";
    assert!(
        upgrade("first")
            .unwrap()
            .contains(&format!("{gray}; Andreas Reuter\n"))
    );
    let second = upgrade("second").unwrap();
    assert!(
        second.contains(&format!("{gray} and Andreas Reuter, read: false\n")),
        "{second}"
    );
    // One object is stored in the new form now, the other as it was.
    let again = upgrade("second").unwrap();
    assert!(again.contains("Reuter, read: true\n"), "{again}");
    assert!(again.contains("Chris Okasaki, read: false\n"), "{again}");
    let refused = upgrade("first").unwrap_err();
    assert!(
        refused.contains("written by version 2 of library.Book"),
        "{refused}"
    );
}

#[test]
fn a_cache_is_shared_by_two_clients() {
    for engine in engines() {
        let server = Server::start(&engine, &[]);
        let url = format!("durus+tcp://{}", server.address);
        let said = run(server.home.path(), "shared_cache", &[&url]).unwrap();
        let expected = "Bob reads milk, bread, pepper\n\
                        Bob reads milk, rye bread, pepper\n\
                        Ada reads milk (Ada) (Bob), rye bread, pepper\n";
        assert_eq!(said, expected, "{engine}");
        server.stop_and_check();
    }
}

#[test]
fn documents_are_found_by_title_and_word() {
    for engine in engines() {
        let server = Server::start(&engine, &[]);
        let url = format!("durus+tcp://{}", server.address);
        let documents = |arguments: &[&str]| {
            let arguments = [&[url.as_str()], arguments].concat();
            run(server.home.path(), "documents", &arguments).unwrap()
        };
        documents(&["add", "Notes", "The engine weaves algebraic patterns"]);
        documents(&["add", "Loom", "A loom weaves flowers and leaves"]);
        let said = documents(&["add", "Notes", "The Engine can arrange and combine"]);
        assert_eq!(said, "2 documents\n", "{engine}");
        let found = documents(&["find", "WEAVES"]);
        let expected = "Loom: A loom weaves flowers and leaves\n2 documents\n";
        assert_eq!(found, expected, "{engine}");
        assert_eq!(documents(&["list", "M", "O"]), "Notes\n2 documents\n");
        assert_eq!(documents(&["remove", "Loom"]), "1 documents\n");
        assert_eq!(documents(&["find", "weaves"]), "1 documents\n");
        server.stop_and_check();
    }
}

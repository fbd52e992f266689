//! Migrations from servers that speak only Durus's own protocol: Durus's own, and some that only pretend.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use durum_core::Oid;
use durum_migrate::durus::{DurusObject, DurusWriter, Format};
use durum_testkit::{durus_python, names, python_script, run_python};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::kit::{Home, Run, engines, spawn};

/// Durus's own server.
struct Served {
    child: Child,
    /// It ends when this does.
    _input: ChildStdin,
    /// Its port, or the path of its socket.
    place: String,
}

impl Served {
    fn start(python: &Path, file: &Path, options: &[&str]) -> Served {
        let mut command = Command::new(python);
        command.arg(python_script("durus_serve.py")).arg(file);
        command.args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(&mut command);
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let place = line.trim().to_owned();
        assert_ne!(place, "", "Durus's server does not start");
        let input = child.stdin.take().unwrap();
        Served {
            child,
            _input: input,
            place,
        }
    }

    fn url(&self) -> String {
        format!("durus+tcp://127.0.0.1:{}", self.place)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn make(python: &Path, home: &Home, script: &str, name: &str, options: &[&str]) {
    let file = home.path(name).display().to_string();
    run_python(python, script, &[&[&*file], options].concat());
}

/// The directory has nothing but these.
fn only(home: &Home, expected: &[&str]) {
    assert_eq!(names(&home.path("")), expected);
}

/// Files of Durus with superseded records, garbage and cycles: the copy has what the root reaches, as a copy of
/// the file itself has.
#[test]
fn what_the_root_reaches_is_copied() {
    let Some(python) = durus_python() else { return };
    for (number, engine) in engines().iter().enumerate() {
        let format = ["shelf", "dfs20", "sqlite"][number % 3];
        let home = Home::new();
        make(
            &python,
            &home,
            "make_sample.py",
            "old",
            &["--format", format],
        );
        let whole = home.json(&["migrate", "durus:old", "file:whole"]);
        let direct = home.json(&["migrate", "durus:old", "file:direct", "--reachable-only"]);
        assert!(direct["objects"].as_u64() < whole["objects"].as_u64());
        let socket = home.path("socket").display().to_string();
        let (options, on_unix) = match number % 2 {
            0 => (vec![], false),
            _ => (vec!["--unix", &*socket], true),
        };
        let served = Served::start(&python, &home.path("old"), &options);
        let url = match on_unix {
            true => format!("durus+unix:{}", served.place),
            false => served.url(),
        };
        let plan = home.json(&["migrate", &url, "file:none", "--dry-run"]);
        assert_eq!(plan["objects"], direct["objects"]);

        let to = format!("{0}:to", engine.name);
        for verify in ["digest", "full", "count", "none"] {
            let done = home.json(&["migrate", &url, &to, "--verify", verify]);
            for key in ["objects", "bytes", "dangling"] {
                assert_eq!(done[key], direct[key], "{url} to {to}: {key}");
            }
            assert_eq!(
                home.json(&["digest", &to])["digest"],
                direct["digest"],
                "{to}"
            );
            let checked = home.json(&["check", &to]);
            assert_eq!(checked["unreachable"], json!(0), "{to}");
            fs::remove_dir_all(home.path("to")).unwrap();
        }
        let back = home.json(&["migrate", &url, "durus:back"]);
        assert_eq!(back["digest"], direct["digest"]);
        let again = home.json(&["migrate", "durus:back", "file:again"]);
        assert_eq!(again["digest"], direct["digest"]);
    }
}

/// A reference that leads nowhere is copied as it is; a server without a root has nothing.
#[test]
fn what_is_missing_is_counted() {
    let Some(python) = durus_python() else { return };
    let home = Home::new();
    let object = |oid, refs: &[u64]| DurusObject {
        oid: Oid(oid),
        refs: refs.iter().copied().map(Oid).collect(),
        data: b"data".to_vec(),
    };
    for (name, objects, expected) in [
        (
            "dangling",
            vec![object(0, &[1, 7]), object(1, &[0, 7, 8]), object(9, &[0])],
            (2, 3),
        ),
        ("rootless", vec![object(3, &[3])], (0, 0)),
        ("empty", vec![], (0, 0)),
    ] {
        let mut writer = DurusWriter::create(home.path(name), Format::Dfs20).unwrap();
        objects
            .iter()
            .for_each(|object| writer.push(object).unwrap());
        writer.finish().unwrap();
        let served = Served::start(&python, &home.path(name), &[]);
        let to = format!("file:{name}-to");
        let done = home.json(&["migrate", &served.url(), &to]);
        let found = (done["objects"].as_u64(), done["dangling"].as_u64());
        assert_eq!(
            found,
            (Some(expected.0), Some(expected.1)),
            "{name}: {done}"
        );
    }
}

/// Begins a migration of a graph, and waits until a part of it is there.
fn begin(home: &Home, arguments: &[&str]) -> Child {
    let mut command = home.command(&[arguments, &["--rate", "2MiB"]].concat());
    let child = spawn(command.stderr(Stdio::piped()));
    let is_begun = |name: &String| {
        let note = home.path(name).join("staged");
        name.contains(".new-") && fs::read(note).is_ok_and(|bytes| !bytes.is_empty())
    };
    let end = Instant::now() + Duration::from_secs(60);
    while !names(&home.path("")).iter().any(is_begun) {
        assert!(Instant::now() < end, "no batch is written");
        thread::sleep(Duration::from_millis(5));
    }
    child
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
}

fn wait(mut child: Child) -> (Option<i32>, String) {
    let mut said = String::new();
    let stderr = child.stderr.as_mut().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

/// A graph of some megabytes, which takes a while at the rate of [`begin`].
fn graph(python: &Path, home: &Home) {
    let options = ["--objects", "30000", "--format", "dfs20"];
    make(python, home, "make_graph.py", "old", &options);
}

/// Begins to copy, and sleeps while others commit.
fn copy_while(home: &Home, python: &Path, served: &Served, what: &[&str]) -> (Option<i32>, String) {
    let child = begin(home, &["migrate", &served.url(), "file:to"]);
    signal(&child, Signal::STOP);
    let arguments = [&[&*served.place], what].concat();
    run_python(python, "durus_change_all.py", &arguments);
    signal(&child, Signal::CONT);
    wait(child)
}

/// What others do to objects that were copied already, and those that they create, are no harm.
#[test]
fn the_copy_is_of_the_beginning() {
    let Some(python) = durus_python() else { return };
    let home = Home::new();
    graph(&python, &home);
    let direct = home.json(&["migrate", "durus:old", "file:direct", "--reachable-only"]);
    let served = Served::start(&python, &home.path("old"), &[]);
    let (code, said) = copy_while(&home, &python, &served, &["root"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        home.json(&["digest", "file:to"])["digest"],
        direct["digest"]
    );
    drop(served);
    let after = home.json(&["migrate", "durus:old", "file:after", "--reachable-only"]);
    assert_ne!(after["digest"], direct["digest"]);
}

/// What they do to others ends it: there is no state to be copied any more.
#[test]
fn others_commit_meanwhile() {
    let Some(python) = durus_python() else { return };
    let home = Home::new();
    graph(&python, &home);
    let served = Served::start(&python, &home.path("old"), &[]);
    let (code, said) = copy_while(&home, &python, &served, &[]);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("others have committed meanwhile"), "{said}");
    assert!(!said.contains("--resume"), "{said}");
    only(&home, &["old"]);

    // Once more, and everything is as they have left it.
    let done = home.json(&["migrate", &served.url(), "file:to"]);
    drop(served);
    let direct = home.json(&["migrate", "durus:old", "file:direct", "--reachable-only"]);
    assert_eq!(done["digest"], direct["digest"]);
}

/// The state is known again by what it holds, on another port too, and a later one is another one.
#[test]
fn a_migration_is_gone_on_with_where_nothing_has_changed() {
    let Some(python) = durus_python() else { return };
    let home = Home::new();
    graph(&python, &home);
    let direct = home.json(&["migrate", "durus:old", "file:direct", "--reachable-only"]);
    let mut served = Served::start(&python, &home.path("old"), &[]);
    for kill in [Signal::KILL, Signal::INT] {
        let child = begin(&home, &["migrate", &served.url(), "file:to"]);
        signal(&child, kill);
        let code = if kill == Signal::INT { Some(8) } else { None };
        assert_eq!(wait(child).0, code);
        drop(served);
        served = Served::start(&python, &home.path("old"), &[]);
        let done = home.json(&["migrate", &served.url(), "file:to", "--resume"]);
        assert_eq!(done["resumed"], json!(true));
        assert_eq!(
            (&done["digest"], &done["objects"]),
            (&direct["digest"], &direct["objects"])
        );
        assert_eq!(
            home.json(&["digest", "file:to"])["digest"],
            direct["digest"]
        );
        fs::remove_dir_all(home.path("to")).unwrap();
    }

    // The server goes away: what there is is kept.
    let child = begin(&home, &["migrate", &served.url(), "file:to"]);
    drop(served);
    let (code, said) = wait(child);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("--resume"), "{said}");

    let served = Served::start(&python, &home.path("old"), &[]);
    run_python(&python, "durus_change_all.py", &[&served.place]);
    let refused = home.run(&["migrate", &served.url(), "file:to", "--resume"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("the source has changed"),
        "{}",
        refused.stderr
    );
    let anew = home.json(&["migrate", &served.url(), "file:to"]);
    assert_eq!(anew["resumed"], json!(false));
    assert_ne!(anew["digest"], direct["digest"]);
}

/// Ten times as many objects take no more memory. The database in the destination has a cache of fixed size.
#[test]
fn memory_does_not_grow_with_the_objects() {
    let Some(python) = durus_python() else { return };
    let home = Home::new();
    let mut peaks = Vec::new();
    for objects in ["10000", "100000"] {
        let name = format!("old-{objects}");
        let options = ["--objects", objects, "--format", "shelf"];
        make(&python, &home, "make_graph.py", &name, &options);
        let served = Served::start(&python, &home.path(&name), &[]);
        let to = format!("sqlite:to-{objects}");
        let done = home.json(&["migrate", &served.url(), &to, "--memory", "4MiB"]);
        assert_eq!(done["objects"].to_string(), objects);
        peaks.push(done["peak_memory"].as_u64().unwrap());
    }
    println!("peaks: {peaks:?}");
    assert!(peaks[1] < 48 << 20, "{peaks:?}");
    assert!(peaks[1] < peaks[0] + (16 << 20), "{peaks:?}");
}

#[test]
fn it_cannot_be_followed_or_written_to() {
    let Some(python) = durus_python() else { return };
    let home = Home::new();
    make(
        &python,
        &home,
        "make_sample.py",
        "old",
        &["--format", "dfs20"],
    );
    fs::copy(home.path("old"), home.path("older")).unwrap();
    let served = Served::start(&python, &home.path("old"), &[]);
    let refused = |arguments: &[&str], part: &str| {
        let Run { code, stderr, .. } = home.run(arguments);
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
    };
    refused(
        &["migrate", &served.url(), "file:to", "--follow"],
        "--follow",
    );
    let into = ["migrate", "durus:older", &served.url()];
    refused(&into, "speaks only Durus's own protocol");
    refused(&["stat", &served.url()], "durum migrate");
    let names = names(&home.path(""));
    assert!(
        names.iter().all(|name| name.starts_with("old")),
        "{names:?}"
    );
}

/// Speaks protocol 1 like a server: `answer` says what it sends for an object, or none to hang up. Serves
/// as many connections as come.
fn pretend(answer: impl Fn(u64) -> Option<Vec<u8>> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("durus+tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap(), &answer);
        }
    });
    url
}

/// Until the client leaves, or there is no answer.
fn serve(mut stream: TcpStream, answer: &dyn Fn(u64) -> Option<Vec<u8>>) -> Option<()> {
    stream.set_nodelay(true).unwrap();
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).ok()?;
        let number = u32::from_be_bytes(head[1..].try_into().unwrap());
        if head[0] == b'V' {
            stream.write_all(&1_u32.to_be_bytes()).ok()?;
            // As Durus does.
            (number == 1).then_some(())?;
            continue;
        }
        assert_eq!(head[0], b'B', "only bulk loads are expected");
        for _ in 0..number {
            let mut oid = [0; 8];
            stream.read_exact(&mut oid).ok()?;
            stream.write_all(&answer(u64::from_be_bytes(oid))?).ok()?;
        }
    }
}

/// An answer with an object that refers to the next one.
fn object(oid: u64) -> Vec<u8> {
    let data = [7; 100];
    let record = [
        &oid.to_be_bytes()[..],
        &(data.len() as u32).to_be_bytes(),
        &data,
        &(oid + 1).to_be_bytes(),
    ]
    .concat();
    [b"O", &(record.len() as u32).to_be_bytes()[..], &record].concat()
}

/// Whatever a server does, nothing appears, and nothing is left.
#[test]
fn servers_that_are_none_are_refused() {
    type Answer = Box<dyn Fn(u64) -> Option<Vec<u8>> + Send>;
    let at = |place: u64, bytes: Option<&'static [u8]>| -> Answer {
        Box::new(move |oid| match oid == place {
            true => bytes.map(<[u8]>::to_vec),
            false => Some(object(oid)),
        })
    };
    let cases: Vec<(&str, Answer, i32, &str)> = vec![
        ("nonsense", at(0, Some(b"NONSENSE")), 1, "makes no sense"),
        ("nonsense later", at(30, Some(b"\0")), 1, "makes no sense"),
        (
            "giant",
            at(7, Some(b"O\xff\xff\xff\xf0")),
            1,
            "makes no sense",
        ),
        ("ends", at(7, None), 3, "closed the connection"),
        (
            "of no object",
            at(7, Some(b"O\0\0\0\x0c\0\0\0\0\0\0\0\x07\0\0\0\x09")),
            7,
            "9 bytes of data in 0 bytes",
        ),
        ("changed", at(12, Some(b"I")), 5, "others have committed"),
        (
            "another",
            Box::new(|oid| Some(object(oid.min(5)))),
            7,
            "that of object 5",
        ),
    ];
    for (what, answer, code, part) in cases {
        let home = Home::new();
        let run = home.run(&["migrate", &pretend(answer), "file:to"]);
        assert_eq!(run.code, code, "{what}: {}", run.stderr);
        assert!(run.stderr.contains(part), "{what}: {}", run.stderr);
        only(&home, &[]);
    }
}

/// One whose objects have no end is left when the time is over; an object that is asked for a second time is
/// gone; and one that is silent does not keep anybody from stopping.
#[test]
fn servers_that_take_time_can_be_left() {
    let home = Home::new();
    let endless = pretend(|oid| Some(object(oid)));
    let run = home.run(&["migrate", &endless, "file:to", "--max-duration", "1s"]);
    assert_eq!(run.code, 8, "{}", run.stderr);
    // A destination that is there already is found before.
    fs::write(home.path("there"), "there").unwrap();
    for to in ["file:there", "durus:there"] {
        let run = home.run(&["migrate", &endless, to]);
        assert_eq!(run.code, 4, "{}", run.stderr);
    }
    fs::remove_file(home.path("there")).unwrap();
    let silent = pretend(|oid| {
        if oid > 0 {
            thread::park();
        }
        Some(object(oid))
    });
    let run = home.run(&["migrate", &silent, "file:to", "--max-duration", "1s"]);
    assert_eq!(run.code, 8, "{}", run.stderr);
    only(&home, &[]);

    let seen = std::sync::Mutex::new(std::collections::BTreeSet::new());
    let forgetful = pretend(move |oid| {
        let first = seen.lock().unwrap().insert(oid);
        Some(match oid < 40 && (first || oid != 20) {
            true => object(oid),
            false => b"K".to_vec(),
        })
    });
    let run = home.run(&["migrate", &forgetful, "file:to"]);
    assert_eq!(run.code, 7, "{}", run.stderr);
    assert!(run.stderr.contains("object 20"), "{}", run.stderr);
    assert!(!home.path("to").exists());
}

/// Progress is told while the objects are found.
#[test]
fn the_walk_is_told() {
    let home = Home::new();
    let server = pretend(|oid| {
        // Long enough for the line that comes each second.
        thread::sleep(Duration::from_millis(3));
        Some(if oid < 700 {
            object(oid)
        } else {
            b"K".to_vec()
        })
    });
    let run = home.run(&["migrate", &server, "file:to", "--progress", "json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let lines = run.stderr.lines();
    let told: Vec<Value> = lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert!(
        told.iter().any(|line| line["phase"] == json!("walk")),
        "{}",
        run.stderr
    );
}

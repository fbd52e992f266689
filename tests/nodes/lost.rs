//! Dictionaries while nodes are down, and when their disks are lost.

use std::time::{Duration, Instant};

use durum_dictionaries::{Class, Dictionaries, ErrorKind, Fields, IndexType, Offline};
use fastrand::Rng;
use rustix::process::Signal;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::keys::{Writers, Written, check, check_found, check_large, left, put_large};
use crate::kit::{Nodes, durum, signal};
use crate::relay::Relays;

/// Half a second is what is promised on a machine that has time.
const LONGEST: Duration = Duration::from_secs(5);
/// On lines that long, copying all takes a minute. For so long they are.
const LAG: Duration = Duration::from_millis(50);
const SLOW_FOR: Duration = Duration::from_secs(10);
/// What a node says when it has its role in the cluster of three copies.
const ROLE_OF_THREE: &str = "this node has its role copies=3";

/// Classes of three copies, one of which is read from a copy beside the program where too few nodes are there, and of
/// one copy; and what was written to them.
struct Classes {
    url: String,
    home: Dictionaries,
    with_copy: Dictionaries,
    random: Rng,
    three: Written,
    read: Written,
    one: Written,
    large: Vec<Vec<u8>>,
}

impl Classes {
    fn define(nodes: &Nodes) -> Classes {
        let dir = nodes.invite_client("lost");
        let url = format!("garage:{}", dir.display());
        let home = Dictionaries::open(&url).unwrap();
        for (name, copies) in [("three", 3), ("read", 3), ("one", 1), ("large", 3)] {
            let offline = match name {
                "read" => Offline::Read,
                _ => Offline::Refuse,
            };
            let class = Class::new(name).copies(copies).offline(offline);
            home.define(class.index("n", IndexType::Int)).unwrap();
        }
        let copy = format!("{url}?copy=lmdb:{}", dir.join("copy").display());
        let mut random = Rng::with_seed(durum_testkit::seed());
        let large = put_large(&home, "large", &mut random);
        let mut write = |class: &str| {
            let (mut written, writers) =
                (Written::new(), Writers::start(&url, class, 4, &mut random));
            writers.more(100);
            writers.end(class, &mut written);
            written
        };
        let (three, read, one) = (write("three"), write("read"), write("one"));
        let with_copy = Dictionaries::open(&copy).unwrap();
        // The copy follows.
        with_copy.heal(None).unwrap();
        Classes {
            url,
            home,
            with_copy,
            random,
            three,
            read,
            one,
            large,
        }
    }

    fn check_three(&self) {
        check(&self.home, "three", &self.three);
        check(&self.home, "read", &self.read);
        check_large(&self.home, "large", &self.large);
    }

    /// What the program says of a dictionary, by a process that knows nothing of nodes that are down: its exit
    /// code, and its words.
    fn get(&self, class: &str, written: &Written) -> (i32, String) {
        let mut command = durum();
        command.args(["dict", "get", &self.url, class]);
        command.arg(written.first_key_value().unwrap().0);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), said)
    }
}

fn all_up(nodes: &Nodes) {
    for index in 0..3 {
        nodes.wait_for(index, |clusters| {
            let complete = clusters.iter().all(|it| it["partitions_complete"] == 256);
            complete && clusters.iter().all(|it| it["serves"] == true)
        });
    }
}

#[test]
fn classes_with_fewer_nodes_and_with_new_disks() {
    let runtime = Runtime::new().unwrap();
    let Some(mut nodes) = runtime.block_on(Nodes::start(3)) else {
        return;
    };
    let mut classes = Classes::define(&nodes);
    one_node_is_killed(&mut nodes, &mut classes);
    two_nodes_are_killed(&mut nodes, &classes);
    all_nodes_are_killed(&mut nodes, &classes);
    for index in 0..3 {
        nodes.run(index);
    }
    all_up(&nodes);
    classes.check_three();
    check(&classes.home, "one", &classes.one);
    disks_are_replaced(&mut nodes, &mut classes);
}

/// Nobody notices but those whose only copy it has.
fn one_node_is_killed(nodes: &mut Nodes, classes: &mut Classes) {
    let writers = Writers::start(&classes.url, "three", 4, &mut classes.random);
    writers.more(100);
    nodes.kill(2);
    writers.more(300);
    let longest = writers.end("a node is killed", &mut classes.three);
    assert!(longest < LONGEST);
    classes.check_three();
    let some: Vec<_> = classes.one.iter().take(32).collect();
    let some = some.into_iter().map(|(key, n)| (key.clone(), *n)).collect();
    let [found, failed, lost] = left(&classes.home, "one", &some);
    println!("of one copy, with one node of three down: {found} found, {failed} errors");
    assert!(found > 0 && lost == 0, "{found}, {failed}, {lost}");
}

fn two_nodes_are_killed(nodes: &mut Nodes, classes: &Classes) {
    nodes.kill(1);
    let key = classes.three.first_key_value().unwrap().0;
    for (home, class) in [(&classes.home, "three"), (&classes.with_copy, "read")] {
        let begun = Instant::now();
        let error = home.get("three", key).unwrap_err();
        println!("after {:?}: {error}", begun.elapsed());
        assert_eq!(error.kind(), ErrorKind::NoQuorum, "{error}");
        let text = error.to_string();
        for index in 0..3 {
            assert!(text.contains(&nodes.address(index)), "{index}: {text}");
        }
        assert!(error.advice().unwrap().contains("durum node remove"));
        let error = home.put(class, key, Fields::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoQuorum, "{class}: {error}");
    }
    let (code, said) = classes.get("three", &classes.three);
    assert_eq!(code, 5, "{said}");
    for index in 0..3 {
        assert!(said.contains(&nodes.address(index)), "{index}: {said}");
    }
    assert!(said.contains("durum node remove"), "{said}");

    // The copy beside the program has all, where the class wants that, and says from when it is.
    let begun = Instant::now();
    let found = classes.with_copy.all("read").unwrap();
    let found: Vec<_> = found.map(Result::unwrap).collect();
    assert!(found.iter().all(|it| it.as_of.is_some()));
    println!("the copy gave {} after {:?}", found.len(), begun.elapsed());
    check_found(found, &classes.read);
    let (key, _) = classes.read.first_key_value().unwrap();
    let found = classes.with_copy.get("read", key).unwrap().unwrap();
    assert!(found.as_of.is_some());
}

fn all_nodes_are_killed(nodes: &mut Nodes, classes: &Classes) {
    nodes.kill(0);
    let key = classes.three.first_key_value().unwrap().0;
    let error = classes.home.get("three", key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    let (code, said) = classes.get("three", &classes.three);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("durum node status"), "{said}");
}

/// The first node gets an empty disk, and is given all that it had; then both others do at once, so that all comes from
/// the copies that the first was given.
fn disks_are_replaced(nodes: &mut Nodes, classes: &mut Classes) {
    replace(nodes, &[0], 1);
    classes.check_three();
    // Of one copy what was there is lost. Nothing fails, and nothing is wrong.
    let [found, failed, lost] = left(&classes.home, "one", &classes.one);
    println!("of one copy {found} are there, and {lost} were lost with a disk");
    assert!(found > 0 && failed == 0);
    replace(nodes, &[1, 2], 0);
    classes.check_three();
    for index in 0..3 {
        let log = nodes.log(index);
        assert!(!log.contains("Inconsistent"), "{log}");
    }
    let writers = Writers::start(&classes.url, "three", 2, &mut classes.random);
    writers.more(20);
    writers.end("all have new disks", &mut classes.three);
    classes.check_three();
}

/// Three nodes behind relays, a class of three copies on them, and what was written to it.
fn behind_relays(runtime: &Runtime) -> Option<(Nodes, Dictionaries, Written)> {
    let relays = Relays::new(runtime.handle());
    let nodes = runtime.block_on(Nodes::start_behind(3, Some(relays)))?;
    let url = format!("garage:{}", nodes.invite_client("slow").display());
    let home = Dictionaries::open(&url).unwrap();
    let class = Class::new("three").copies(3);
    home.define(class.index("n", IndexType::Int)).unwrap();
    let (mut written, mut random) = (Written::new(), Rng::with_seed(durum_testkit::seed()));
    let writers = Writers::start(&url, "three", 4, &mut random);
    writers.more(300);
    writers.end("all nodes run", &mut written);
    Some((nodes, home, written))
}

/// Waits until a node has its role in the cluster of three copies with its new disk, too.
fn wait_for_role(nodes: &Nodes, index: usize) {
    nodes.wait_for(0, |_| nodes.log(index).matches(ROLE_OF_THREE).count() == 2);
}

/// Nodes with new disks have nothing to give, and are done with giving at once: two of three are a quorum of those that
/// are done. What they are given, by one that takes longer, has to be waited for nevertheless.
#[test]
fn new_disks_are_complete_when_the_slowest_node_has_given_all() {
    let runtime = Runtime::new().unwrap();
    let Some((mut nodes, home, written)) = behind_relays(&runtime) else {
        return;
    };
    nodes.relays().slow_down(LAG);
    for index in [1, 2] {
        nodes.kill(index);
        nodes.wipe(index);
        nodes.run(index);
    }
    for index in [1, 2] {
        wait_for_role(&nodes, index);
    }
    let begun = Instant::now();
    nodes.wait_for(0, |clusters| {
        if begun.elapsed() > SLOW_FOR {
            nodes.relays().slow_down(Duration::ZERO);
        }
        let mut three = clusters.iter().filter(|it| it["copies"] == 3);
        three.all(|it| it["moving"] == false)
    });
    println!("all was given after {:?}", begun.elapsed());
    nodes.relays().slow_down(Duration::ZERO);
    check(&home, "three", &written);
}

/// What the others could not give a node because its Garage was gone for a moment it would get ten minutes later. It
/// asks once more; and then it has all, as both others show when they have nothing.
#[test]
#[ignore = "takes minutes: all data are copied three times, over slow lines"]
fn a_new_disk_is_complete_although_its_node_was_away_meanwhile() {
    let runtime = Runtime::new().unwrap();
    let Some((mut nodes, home, written)) = behind_relays(&runtime) else {
        return;
    };
    nodes.relays().slow_down(LAG);
    nodes.kill(2);
    nodes.wipe(2);
    nodes.run(2);
    wait_for_role(&nodes, 2);
    for pid in nodes.garages(2) {
        signal(pid, Signal::KILL);
    }
    nodes.relays().slow_down(Duration::ZERO);
    nodes.wait_for(2, |clusters| clusters.iter().all(complete));
    assert!(nodes.log(2).contains("a node was away"), "{}", nodes.log(2));
    give_new_disks(&mut nodes, &[0, 1], 2);
    check(&home, "three", &written);
}

/// Gives nodes new disks, after which they are the same nodes.
fn replace(nodes: &mut Nodes, which: &[usize], another: usize) {
    let list = nodes.ask("list", another).unwrap();
    give_new_disks(nodes, which, another);
    all_up(nodes);
    let again = nodes.ask("list", another).unwrap();
    let names = |list: &Value| {
        let nodes = list["nodes"].as_array().unwrap().clone();
        nodes
            .iter()
            .map(|it| (it["id"].clone(), it["address"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&list), names(&again), "they are the same nodes");
}

/// Gives nodes empty disks, and waits until they have their copies, which they say themselves, and then another one too.
fn give_new_disks(nodes: &mut Nodes, which: &[usize], another: usize) {
    for index in which {
        nodes.kill(*index);
        nodes.wipe(*index);
    }
    let begun = Instant::now();
    for index in which {
        nodes.run(*index);
    }
    for index in which.iter().chain([&another]) {
        nodes.wait_for(*index, |clusters| clusters.iter().all(complete));
    }
    println!(
        "{which:?} had their copies on new disks after {:?}",
        begun.elapsed()
    );
}

fn complete(cluster: &Value) -> bool {
    let there = cluster["moving"] == false && cluster["partitions_complete"] == 256;
    there && cluster["objects_waiting"] == 0
}

//! Dictionaries while nodes come and are removed: each that was acknowledged stays.

use std::time::Instant;

use durum_dictionaries::{Class, Dictionaries, IndexType};
use fastrand::Rng;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::keys::{Writers, Written, check, check_large, check_lists, left, put_large};
use crate::kit::{Nodes, durum, good};

/// As a cluster of so many nodes is, when all have what they have to have.
fn settled(clusters: &[Value], count: u64) -> bool {
    let all = |it: &Value| it["nodes"] == count && it["nodes_up"] == count;
    let complete = |it: &Value| it["partitions_complete"] == 256 && it["moving"] == false;
    let good = |it: &Value| all(it) && complete(it) && it["health"] == "healthy";
    clusters.len() == 2 && clusters.iter().all(good)
}

/// The shares of a node: of the cluster with one copy, and of that with three.
fn shares(nodes: &Nodes, of: usize) -> [u64; 2] {
    [1, 3].map(|copies| nodes.partitions(of, of, copies).unwrap())
}

/// Classes of three copies and of one, what was written to them, and who writes.
struct Classes {
    url: String,
    home: Dictionaries,
    random: Rng,
    three: Written,
    one: Written,
    large: Vec<Vec<u8>>,
    large_one: Vec<Vec<u8>>,
}

impl Classes {
    fn define(nodes: &Nodes) -> Classes {
        let url = format!("garage:{}", nodes.invite_client("share").display());
        let home = Dictionaries::open(&url).unwrap();
        for (name, copies) in [("three", 3), ("one", 1), ("large", 3), ("large_one", 1)] {
            let class = Class::new(name).copies(copies);
            home.define(class.index("n", IndexType::Int)).unwrap();
        }
        let mut random = Rng::with_seed(durum_testkit::seed());
        let large = put_large(&home, "large", &mut random);
        let large_one = put_large(&home, "large_one", &mut random);
        Classes {
            url,
            home,
            random,
            three: Written::new(),
            one: Written::new(),
            large,
            large_one,
        }
    }

    /// Runs something while four write the one class, and two the other.
    fn while_written(&mut self, what: &str, run: impl FnOnce()) {
        let three = Writers::start(&self.url, "three", 4, &mut self.random);
        let one = Writers::start(&self.url, "one", 2, &mut self.random);
        three.more(50);
        one.more(25);
        run();
        three.more(50);
        one.more(25);
        three.end(&format!("{what}, three copies"), &mut self.three);
        one.end(&format!("{what}, one copy"), &mut self.one);
    }

    fn check(&self) {
        check(&self.home, "three", &self.three);
        check(&self.home, "one", &self.one);
        check_large(&self.home, "large", &self.large);
        check_large(&self.home, "large_one", &self.large_one);
    }
}

fn remove(nodes: &Nodes, at: usize, node: usize) {
    let begun = Instant::now();
    let mut command = durum();
    command.args(["node", "remove", "--wait=3m", "--json"]);
    command.arg(nodes.path(at)).arg(nodes.address(node));
    let output = command.output().unwrap();
    good(&output);
    let removed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(removed["complete"], true);
    println!("its copies were elsewhere after {:?}", begun.elapsed());
}

/// A fourth node joins, and nobody says what goes where. Others write all the while, nothing fails, and afterwards each
/// dictionary is asked for.
fn a_fourth_joins(nodes: &mut Nodes, classes: &mut Classes) {
    classes.while_written("a fourth node joins", || {
        let begun = Instant::now();
        let fourth = nodes.add();
        nodes.run(fourth);
        nodes.wait_for(fourth, |clusters| settled(clusters, 4));
        println!("a fourth node had its share after {:?}", begun.elapsed());
        // A quarter, by what is free on disks, of which there can be less in the meantime.
        let [one, three] = shares(nodes, fourth);
        assert!(
            (56..=72).contains(&one) && (172..=212).contains(&three),
            "{one}, {three}"
        );
    });
    classes.check();
}

#[test]
fn all_that_was_acknowledged_stays_while_a_node_comes() {
    let runtime = Runtime::new().unwrap();
    let Some(mut nodes) = runtime.block_on(Nodes::start(3)) else {
        return;
    };
    let mut classes = Classes::define(&nodes);
    a_fourth_joins(&mut nodes, &mut classes);
}

/// After a fourth node a fifth joins; one of them all is removed as it lives, and one is lost, with its disk, and then removed.
///
/// What has one copy stays when its node is removed as it lives, for it gives its part away first. When a node is
/// lost its part of such a class is lost with it: that is what one copy means, and all others have to be there.
#[test]
#[ignore = "takes some minutes: Garage waits before it moves objects"]
fn all_that_was_acknowledged_stays_while_nodes_come_and_go() {
    let runtime = Runtime::new().unwrap();
    let Some(mut nodes) = runtime.block_on(Nodes::start(3)) else {
        return;
    };
    let mut classes = Classes::define(&nodes);
    a_fourth_joins(&mut nodes, &mut classes);
    let fifth = nodes.add();
    nodes.run(fifth);
    nodes.wait_for(fifth, |clusters| settled(clusters, 5));

    classes.while_written("a node is removed", || remove(&nodes, 0, 1));
    nodes.kill(1);
    std::fs::remove_dir_all(nodes.path(1)).unwrap();
    nodes.wait_for(0, |clusters| settled(clusters, 4));
    classes.check();

    // The class of one copy is not written to: what goes to the lost node fails.
    let three = Writers::start(&classes.url, "three", 4, &mut classes.random);
    three.more(50);
    nodes.kill(0);
    std::fs::remove_dir_all(nodes.path(0)).unwrap();
    three.more(50);
    remove(&nodes, 2, 0);
    three.more(50);
    three.end("a node is lost, and removed", &mut classes.three);
    nodes.wait_for(2, |clusters| settled(clusters, 3));
    for index in [2, 3, 4] {
        assert_eq!(nodes.partitions(2, index, 3), Some(256));
    }
    check(&classes.home, "three", &classes.three);
    check_large(&classes.home, "large", &classes.large);
    let [found, failed, lost] = left(&classes.home, "one", &classes.one);
    println!("of one copy {found} are there, and {lost} were lost with their node");
    assert!(found > 0 && failed == 0);
    classes.one.retain(|key, _| {
        let found = classes.home.get("one", key);
        found.unwrap().is_some()
    });
    check_lists(&classes.home, "one", &classes.one);
}

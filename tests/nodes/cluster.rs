//! Nodes that come, go, and are lost, while clients go on.

use std::time::{Duration, Instant};

use durum_cluster::{Load, TIME_MAX};
use durum_garage::K2v;
use rustix::process::Signal;
use serde_json::Value;

use crate::kit::{Nodes, durum, good, runs, signal};

/// Half a second is what is promised on a machine that has time.
const LONGEST: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_killed_and_clients_do_not_notice() {
    let Some(mut nodes) = Nodes::start(3).await else {
        return;
    };
    let client = nodes.client("load").await;
    client.create_bucket(3, "load").await.unwrap();
    let k2v = client.k2v(3, "load").unwrap();
    for index in 0..3 {
        assert!(
            !nodes.log(index).contains("Inconsistent"),
            "{}",
            nodes.log(index)
        );
    }

    let load = Load::start(&k2v, 8);
    load.more(200).await;
    assert!(load.end("all nodes run, through TLS").await < LONGEST);

    killed_processes_are_started_again(&nodes, &k2v).await;
    hanging_processes_are_started_again(&nodes, &k2v).await;
    no_process_is_left_of_a_killed_node(&mut nodes, &k2v).await;

    // Asked to end, a node ends, and Garage with it.
    let garages = nodes.garages(1);
    assert_eq!(nodes.end(1), Some(0));
    assert!(!garages.into_iter().any(runs));
}

async fn killed_processes_are_started_again(nodes: &Nodes, k2v: &K2v) {
    let before = nodes.garages(1);
    assert_eq!(before.len(), 2);
    let load = Load::start(k2v, 8);
    load.more(200).await;
    for pid in &before {
        signal(*pid, Signal::KILL);
    }
    load.more(500).await;
    nodes.wait_for(0, |all| all.iter().all(|it| it["nodes_up"] == 3));
    assert!(load.end("Garage is killed and started again").await < LONGEST);
    let after = nodes.garages(1);
    assert_eq!(after.len(), 2);
    assert!(!after.iter().any(|pid| before.contains(pid)));
}

async fn hanging_processes_are_started_again(nodes: &Nodes, k2v: &K2v) {
    let before = nodes.garages(0);
    let load = Load::start(k2v, 8);
    load.more(200).await;
    for pid in &before {
        signal(*pid, Signal::STOP);
    }
    let begun = Instant::now();
    while before.iter().any(|pid| runs(*pid)) {
        assert!(begun.elapsed() < TIME_MAX, "{}", nodes.log(0));
        load.more(1).await;
    }
    println!("what hangs is killed after {:?}", begun.elapsed());
    nodes.wait_for(1, |all| all.iter().all(|it| it["nodes_up"] == 3));
    assert!(load.end("Garage hangs and is started again").await < LONGEST);
}

async fn no_process_is_left_of_a_killed_node(nodes: &mut Nodes, k2v: &K2v) {
    let load = Load::start(k2v, 8);
    load.more(200).await;
    let begun = Instant::now();
    nodes.kill(2);
    println!("no process was left after {:?}", begun.elapsed());
    load.more(500).await;
    assert!(load.end("a node is killed").await < LONGEST);
    nodes.run(2);
    nodes.wait_for(0, |all| all.iter().all(|it| it["nodes_up"] == 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_by_itself_and_a_lost_one_is_replaced() {
    let Some(mut nodes) = Nodes::start(3).await else {
        return;
    };
    let client = nodes.client("load").await;
    client.create_bucket(3, "load").await.unwrap();
    let load = Load::start(&client.k2v(3, "load").unwrap(), 4);
    load.more(100).await;

    let begun = Instant::now();
    let fourth = nodes.add();
    nodes.run(fourth);
    let settled = |all: &[Value], count: u64| {
        let good = |it: &Value| it["health"] == "healthy" && it["moving"] == false;
        all.iter().all(|it| good(it) && it["nodes"] == count)
    };
    nodes.wait_for(fourth, |all| settled(all, 4));
    println!("a fourth node had its share after {:?}", begun.elapsed());
    // A quarter of 768, by what is free on disks, of which there can be less in the meantime.
    let share = nodes.partitions(0, fourth, 3).unwrap();
    assert!((172..=212).contains(&share), "{share}");
    load.more(100).await;

    nodes.kill(0);
    load.more(100).await;
    let begun = Instant::now();
    let lost = nodes.address(0);
    let removed = durum()
        .args(["node", "remove", "--wait=60s", "--json"])
        .arg(nodes.path(1))
        .arg(&lost)
        .output()
        .unwrap();
    good(&removed);
    println!("all copies were there again after {:?}", begun.elapsed());
    let removed: Value = serde_json::from_slice(&removed.stdout).unwrap();
    assert_eq!(removed["complete"], true);
    for index in [1, 2, 3] {
        assert_eq!(nodes.partitions(1, index, 3), Some(256));
    }
    nodes.wait_for(2, |all| settled(all, 3));
    load.more(100).await;
    load.end("a fourth node came, and the first was lost").await;

    // Too few would be left.
    let output = durum()
        .args(["node", "remove"])
        .arg(nodes.path(1))
        .arg(nodes.address(2))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("join first"), "{said}");

    // One that was removed does not come back by itself.
    nodes.run(0);
    let begun = Instant::now();
    while !nodes.log(0).contains("was removed from the cluster") {
        assert!(begun.elapsed() < TIME_MAX, "{}", nodes.log(0));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(nodes.partitions(1, 0, 3), None);
}

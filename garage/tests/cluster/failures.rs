//! Nodes that are killed, stopped, and strangers, under load.

use std::time::{Duration, Instant};

use durum_cluster::{Load, TestCluster};
use durum_core::ErrorKind;
use durum_garage::Insert;
use nix::sys::signal::Signal;

/// What is promised is half a second on a machine that has time. What these tests demand leaves room for one that
/// has none, and is far below the 30 seconds and more after which Garage itself notices.
const LONGEST: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_or_stopped_is_not_missed() {
    let Some(mut cluster) = TestCluster::start(3, 3).await else {
        return;
    };
    let client = cluster.cluster();
    client.create_bucket(3, "load").await.unwrap();
    let k2v = client.k2v(3, "load").unwrap();

    let load = Load::start(&k2v, 8);
    load.more(500).await;
    assert!(load.end("all nodes run").await < LONGEST);

    for victim in [0, 1, 2] {
        let load = Load::start(&k2v, 8);
        load.more(500).await;
        cluster.kill(victim);
        load.more(2000).await;
        assert!(load.end("one of three is killed").await < LONGEST);
        cluster.run(victim);
        cluster.wait_until_all_are_up().await;
    }
    for victim in [0, 1, 2] {
        let load = Load::start(&k2v, 8);
        load.more(500).await;
        cluster.signal(victim, Signal::SIGSTOP);
        // Where both others read from it by preference, every read is one past it: 0.4 s each.
        load.more(300).await;
        assert!(load.end("one of three is stopped").await < LONGEST);
        cluster.signal(victim, Signal::SIGCONT);
        cluster.wait_until_all_are_up().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_the_error_says_so() {
    let Some(mut cluster) = TestCluster::start(3, 3).await else {
        return;
    };
    let client = cluster.cluster();
    client.create_bucket(3, "quorum").await.unwrap();
    let k2v = client.k2v(3, "quorum").unwrap();
    k2v.insert(&[Insert::new("p", "s", "v")]).await.unwrap();
    cluster.kill(0);
    cluster.kill(1);
    let begun = Instant::now();
    let error = k2v.insert(&[Insert::new("p", "t", "v")]).await.unwrap_err();
    println!("after {:?}: {error}", begun.elapsed());
    assert_eq!(error.kind(), ErrorKind::NoQuorum, "{error}");
    assert_eq!(error.exit_code(), 5);
    assert!(error.retry());
    let error = k2v.read_item("p", "s").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoQuorum, "{error}");
    cluster.kill(2);
    let error = k2v.read_item("p", "s").await.unwrap_err();
    println!("{error}");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert_eq!(
        error.reason().matches("no connection").count(),
        3,
        "{error}"
    );
    for index in 0..3 {
        cluster.run(index);
    }
    cluster.wait_until_all_are_up().await;
    assert!(k2v.read_item("p", "s").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_secret_gets_nowhere() {
    let Some(mut cluster) = TestCluster::start(3, 3).await else {
        return;
    };
    let stranger = cluster.add_with_secret(&"ab".repeat(32));
    let admin = cluster.admin(stranger);
    let begun = Instant::now();
    while admin.status().await.is_err() {
        assert!(
            begun.elapsed() < durum_cluster::TIME_MAX,
            "{}",
            cluster.logs()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It is told to, and fails; and nobody has heard of it.
    let peers: Vec<String> = cluster.peers().into_iter().take(3).collect();
    let failed = admin.connect(&peers).await.unwrap();
    assert_eq!(failed.len(), 3, "{failed:?}");
    println!("{failed:?}");
    for index in 0..3 {
        let status = cluster.admin(index).status().await.unwrap();
        let known = status
            .nodes
            .iter()
            .find(|node| node.id == cluster.id(stranger));
        assert!(known.is_none_or(|node| !node.is_up), "{known:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_come_and_go_under_load() {
    let Some(mut cluster) = TestCluster::start(3, 3).await else {
        return;
    };
    let client = cluster.cluster();
    client.create_bucket(3, "load").await.unwrap();
    let k2v = client.k2v(3, "load").unwrap();
    let load = Load::start(&k2v, 4);
    load.more(200).await;
    let begun = Instant::now();
    let fourth = cluster.add_without_role();
    cluster.give_role(fourth).await;
    println!("a fourth node had its share after {:?}", begun.elapsed());
    let share = |layout: &durum_garage::admin::Layout, id: &str| {
        let role = layout.roles.iter().find(|role| role.id == id);
        role.and_then(|role| role.stored_partitions)
    };
    let layout = cluster.admin(0).layout().await.unwrap();
    assert_eq!(share(&layout, cluster.id(fourth)), Some(192));
    load.more(200).await;
    let begun = Instant::now();
    cluster.remove(0).await;
    println!("all copies were there again after {:?}", begun.elapsed());
    let layout = cluster.admin(1).layout().await.unwrap();
    for index in [1, 2, 3] {
        assert_eq!(share(&layout, cluster.id(index)), Some(256), "{layout:?}");
    }
    load.more(200).await;
    load.end("a fourth node came, and the first was lost").await;
}

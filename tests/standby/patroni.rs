//! PostgreSQL fails over below servers and clients that go on: three nodes that Patroni runs, of which the primary's is
//! lost, again and again, and the server that serves is killed in between.

use std::time::{Duration, Instant};

use durum_database::PatroniCluster;

use crate::clients::Clients;
use crate::kit::{REPLACED, Servers};

/// How often PostgreSQL fails over, unless `DURUM_FAILOVERS` says more.
const FAILOVERS: usize = 2;
/// Patroni waits 20 seconds before it gives a primary up; a server waits a minute for another.
const FAILOVER_TIME_MAX: Duration = Duration::from_secs(90);
const TAKEOVER_TIME_MAX: Duration = Duration::from_secs(30);
/// How often a node is asked what it is.
const ASK: Duration = Duration::from_millis(200);

/// Loses the primary's node. Either server may have the store then: which of them, the lock on the new primary decides.
fn fail_over(cluster: &mut PatroniCluster, servers: &mut Servers, clients: &mut Clients) -> usize {
    let primary = cluster.primary().unwrap();
    cluster.kill(primary);
    clients.fault();
    let (began, mut asked, mut promoted) = (Instant::now(), Instant::now(), None);
    let (first, last) = clients.wait_until_they_go_on(FAILOVER_TIME_MAX, || {
        if promoted.is_none() && asked.elapsed() > ASK {
            promoted = cluster.primary().map(|node| (node, began.elapsed()));
            asked = Instant::now();
        }
        for (index, code) in servers.start_those_that_have_ended() {
            assert_eq!(code, Some(REPLACED), "{}", servers.server(index).log());
            println!("server {index} has lost its store to the other");
        }
    });
    println!(
        "node {primary} was lost: node and time of the promotion, as seen five times a second: {promoted:?}; the \
         first client goes on after {first:?}, all after {last:?}"
    );
    primary
}

/// Kills the server that serves.
fn take_over(servers: &mut Servers, clients: &mut Clients) {
    let active = servers.active().unwrap();
    servers.server(active).kill();
    clients.fault();
    let (first, last) = clients.wait_until_they_go_on(TAKEOVER_TIME_MAX, || {});
    println!("killed: the first client goes on after {first:?}, all after {last:?}");
    servers.stand_by(active);
}

/// `DURUM_FAILOVERS` says how often.
#[test]
#[ignore = "it takes minutes, and needs Patroni and etcd: see docs/TESTING.md"]
fn all_go_on_when_patroni_fails_over() {
    let Some(mut cluster) = PatroniCluster::start() else {
        return;
    };
    let failovers = std::env::var("DURUM_FAILOVERS").map_or(FAILOVERS, |it| it.parse().unwrap());
    let mut servers = Servers::start(&cluster.address());
    let Some(mut clients) = Clients::start(&servers) else {
        return;
    };
    for _ in 0..failovers {
        let lost = fail_over(&mut cluster, &mut servers, &mut clients);
        take_over(&mut servers, &mut clients);
        let began = Instant::now();
        cluster.run(lost);
        cluster.wait_until_complete();
        println!("node {lost} is back after {:?}", began.elapsed());
        // With all three, while a standby catches up or takes its place.
        clients.fault();
        clients.wait_until_they_go_on(TAKEOVER_TIME_MAX, || {});
    }
    clients.end(&servers);
    servers.stop_and_check();
}

//! The server that serves is killed, again and again, and the one that stands by takes over, under four clients.

use std::time::Duration;

use durum_database::Server as Database;
use fastrand::Rng;

use crate::clients::Clients;
use crate::kit::Servers;

/// How often the server is killed, unless `DURUM_TAKEOVERS` says more.
const TAKEOVERS: usize = 4;
/// When clients have to go on at the latest. It takes a fraction of this: the figures are printed.
const GO_ON_MAX: Duration = Duration::from_secs(30);

/// `DURUM_TAKEOVERS` says how often.
#[test]
fn clients_go_on_when_a_standby_takes_over() {
    let Some(database) = Database::start() else {
        return;
    };
    let takeovers = std::env::var("DURUM_TAKEOVERS").map_or(TAKEOVERS, |it| it.parse().unwrap());
    let mut random = Rng::with_seed(durum_testkit::seed());
    let mut servers = Servers::on(&database);
    let Some(mut clients) = Clients::start(&servers) else {
        return;
    };
    let mut slowest = Duration::ZERO;
    for _ in 0..takeovers {
        std::thread::sleep(Duration::from_micros(random.u64(..400_000)));
        let active = servers.active().unwrap();
        servers.server(active).kill();
        clients.fault();
        let (first, last) = clients.wait_until_they_go_on(GO_ON_MAX, || {});
        println!("killed: the first client goes on after {first:?}, all after {last:?}");
        slowest = slowest.max(last);
        assert_eq!(servers.active(), Some(1 - active));
        servers.stand_by(active);
    }
    println!("{takeovers} takeovers, the slowest in {slowest:?}");
    clients.end(&servers);
    servers.stop_and_check();
}

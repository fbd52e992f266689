//! PostgreSQL itself is killed and started again, below servers and clients that do not end.

use std::time::Duration;

use durum_database::Server as Database;

use crate::clients::Clients;
use crate::kit::{REPLACED, Servers};

const KILLS: usize = 2;
const GO_ON_MAX: Duration = Duration::from_secs(60);

/// Either server may have the store then: which of them, the lock decides.
#[test]
fn all_go_on_when_postgresql_was_killed() {
    let Some(mut database) = Database::start() else {
        return;
    };
    let mut servers = Servers::on(&database);
    let Some(mut clients) = Clients::start(&servers) else {
        return;
    };
    for _ in 0..KILLS {
        database.kill();
        clients.fault();
        // Long enough to be noticed by whoever tries.
        std::thread::sleep(Duration::from_millis(500));
        database.run();
        let (first, last) = clients.wait_until_they_go_on(GO_ON_MAX, || {
            for (index, code) in servers.start_those_that_have_ended() {
                println!("server {index} has ended with {code:?}");
                assert_eq!(code, Some(REPLACED));
            }
        });
        println!(
            "PostgreSQL was killed: the first client goes on after {first:?}, all after {last:?}"
        );
    }
    clients.end(&servers);
    servers.stop_and_check();
}

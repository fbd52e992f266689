//! Clients that do nothing cost next to nothing.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::{Client, object};
use crate::kit::Server;

/// A thousand idle clients that have all done something, or as many as `DURUM_IDLE_CLIENTS` says: ten
/// thousand are to take less than 100 MB.
#[test]
fn idle_clients_take_little_memory() {
    let count = std::env::var("DURUM_IDLE_CLIENTS").map_or(1000, |text| text.parse().unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let server = Server::new(&[]);
    let mut busy = server.client();
    busy.new_oids(2);
    let data = vec![7; 100_000];
    assert!(busy.commit(&[(0, b"root", &[1]), (1, &data, &[])]));
    let before = server.memory();
    let mut idle: Vec<Client> = (0..count).map(|_| server.client()).collect();
    for client in &mut idle {
        // They have had buffers, and sessions.
        client.new_oid();
        assert_eq!(client.load(1), object(&data, &[]));
    }
    for round in 0..100u8 {
        assert!(busy.commit(&[(0, &[round], &[1])]));
    }
    let each = server.memory().saturating_sub(before) / count as u64;
    println!("{each} bytes for each of {count} idle clients");
    assert!(each < 10_000, "{each} bytes for each idle client");
    // They are as good as new.
    for client in &mut idle {
        assert_eq!(client.sync(), [0]);
    }
    server.stop_and_check();
}

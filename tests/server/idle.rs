//! Clients that do nothing cost next to nothing.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::certificates::{encrypted, serve};
use crate::client::{Client, object};
use crate::kit::Server;

/// A thousand idle clients that have all done something, or as many as `DURUM_IDLE_CLIENTS` says: ten
/// thousand are to take less than 100 MB.
#[test]
fn idle_clients_take_little_memory() {
    let server = Server::new(&[]);
    let each = memory_of_each(server, Server::client);
    assert!(each < 10_000, "{each} bytes for each idle client");
}

/// The same with TLS, which keeps keys and the state of two directions for each.
#[test]
fn idle_clients_with_tls_take_not_much_more() {
    let config = "[server]\ntls_cert = 'certs/server.pem'\ntls_key = 'certs/server.key'";
    let (server, certificates) = serve(config, &[]);
    let config = certificates.config(None);
    let each = memory_of_each(server, |server| encrypted(server, &config));
    assert!(each < 30_000, "{each} bytes for each idle client");
}

/// The server's memory for each client that does nothing any more.
fn memory_of_each(server: Server, connect: impl Fn(&Server) -> Client) -> u64 {
    let count = std::env::var("DURUM_IDLE_CLIENTS").map_or(1000, |text| text.parse().unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut busy = server.client();
    busy.new_oids(2);
    let data = vec![7; 100_000];
    assert!(busy.commit(&[(0, b"root", &[1]), (1, &data, &[])]));
    let before = server.memory();
    let mut idle: Vec<Client> = (0..count).map(|_| connect(&server)).collect();
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
    // They are as good as new.
    for client in &mut idle {
        assert_eq!(client.sync(), [0]);
    }
    server.stop_and_check();
    each
}

//! Servers that answer what no Garage would.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use durum_core::ErrorKind;
use durum_garage::{Cluster, Credentials, K2v, NodeAddress, Patience, Settings};
use durum_server::Address;

/// A bucket on a server that gives every request this answer, and hangs up.
fn answering(answer: Vec<u8>) -> K2v {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _some = stream.read(&mut request);
            let _gone = stream.write_all(&answer);
        }
    });
    let address = Address::Tcp {
        host: "127.0.0.1".to_owned(),
        port,
    };
    let credentials = Credentials {
        key_id: "GK".to_owned(),
        secret: "secret".to_owned(),
    };
    let settings = Settings {
        nodes: vec![NodeAddress::Direct {
            k2v: address.clone(),
            s3: address,
        }],
        access: BTreeMap::from([(3, credentials)]),
        tls: None,
        patience: Patience {
            keep_trying: Duration::from_millis(50),
            request_time_max: Duration::from_secs(5),
            ..Patience::default()
        },
    };
    Cluster::new(settings).unwrap().k2v(3, "bucket").unwrap()
}

fn json(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_an_error_and_no_more() {
    use ErrorKind::{Damaged, TooLarge, Unreachable};
    let item = r#"{"sk":"s","ct":"t","v":["%%%"]}"#;
    let more = r#"[{"items":[],"more":true,"nextStart":null}]"#;
    for (answer, kind) in [
        (Vec::new(), Unreachable),
        (b"\x15\x03\x01\x00\x02\x02\x16".to_vec(), Unreachable),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[".to_vec(),
            Unreachable,
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n[".to_vec(),
            TooLarge,
        ),
        (
            b"HTTP/1.1 500 No\r\ncontent-length: 3\r\n\r\n\xff\x00\n".to_vec(),
            Unreachable,
        ),
        (json(""), Damaged),
        (json("[]"), Damaged),
        (json("{}"), Damaged),
        (json(&"[".repeat(100_000)), Damaged),
        (json(more), Damaged),
        (
            json(&format!(
                r#"[{{"items":[{item}],"more":false,"nextStart":null}}]"#
            )),
            Damaged,
        ),
    ] {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(80)]).into_owned();
        let error = answering(answer).read_item("p", "s").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{shown:?}: {error}");
        assert!(error.to_string().len() < 1000, "{error}");
    }
}

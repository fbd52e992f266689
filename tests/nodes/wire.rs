//! What somebody on the line sees of dictionaries: nothing.

use durum_dictionaries::{Class, Dictionaries, Fields, IndexType, Merger, NAMESPACE, Query, Value};
use durum_garage::{Cluster, NodeAddress, Settings};
use durum_server::Address;
use fastrand::Rng;
use tokio::runtime::Runtime;

use crate::keys::LARGE;
use crate::kit::{Nodes, durum, good};
use crate::relay::{Heard, RELAY_HOST, Relays, connections_to, find};

/// How many dictionaries are written, and how many of those are large.
const DICTIONARIES: usize = 12;
const LARGE_ONES: usize = 3;
const WORD: usize = 24;

/// Words that nothing else has, and that stand in what is written.
struct Words {
    class: String,
    key: String,
    field: String,
    value: String,
    indexed: String,
    /// Incompressible, and the word in it again and again.
    large: Vec<u8>,
    in_large: String,
}

impl Words {
    fn new(random: &mut Rng) -> Words {
        let mut word = || -> String {
            let letters = std::iter::repeat_with(|| random.alphanumeric());
            // Names of classes begin with a letter.
            ["w".to_owned(), letters.take(WORD).collect()].concat()
        };
        let [class, key, field, value, indexed, in_large] = std::array::from_fn(|_| word());
        let mut large = Vec::new();
        while large.len() < LARGE {
            large.extend(std::iter::repeat_with(|| random.u8(..)).take(64));
            large.extend_from_slice(in_large.as_bytes());
        }
        Words {
            class,
            key,
            field,
            value,
            indexed,
            large,
            in_large,
        }
    }

    fn all(&self) -> Vec<(&'static str, &[u8])> {
        vec![
            ("the class", self.class.as_bytes()),
            ("the key", self.key.as_bytes()),
            ("the field", self.field.as_bytes()),
            ("the value", self.value.as_bytes()),
            ("the value in the index", self.indexed.as_bytes()),
            ("the word in the large value", self.in_large.as_bytes()),
        ]
    }

    /// Writes and reads dictionaries with all of them.
    fn write_and_read(&self, home: &Dictionaries, copies: u32) {
        let class = Class::new(&self.class).copies(copies);
        home.define(class.index("index", IndexType::String))
            .unwrap();
        for number in 0..DICTIONARIES {
            let mut fields = Fields::from([
                (self.field.clone(), self.value.as_str().into()),
                ("index".to_owned(), self.indexed.as_str().into()),
            ]);
            if number < LARGE_ONES {
                // What is the same is not sent twice.
                let large = [&self.large[..], number.to_string().as_bytes()].concat();
                fields.insert("large".to_owned(), Value::Bytes(large));
            }
            let key = format!("{}-{number}", self.key);
            home.put(&self.class, &key, fields.clone()).unwrap();
            let found = home.get(&self.class, &key).unwrap().unwrap();
            assert_eq!(*found.fields(), fields);
        }
        let query = Query::Equals(self.indexed.as_str().into());
        let found = home.select(&self.class, "index", &query).unwrap();
        assert_eq!(found.map(Result::unwrap).count(), DICTIONARIES);
        let all = home.all(&self.class).unwrap();
        assert_eq!(all.map(Result::unwrap).count(), DICTIONARIES);
    }
}

/// All that goes to nodes, from clients and from other nodes, goes through relays that record it. None of what is
/// written is in that, and no secret; the same written past the fronts, which is the control, is found.
#[test]
fn nothing_can_be_read_on_the_wire() {
    let runtime = Runtime::new().unwrap();
    let relays = Relays::new(runtime.handle());
    let nodes = runtime.block_on(Nodes::start_behind(3, Some(relays)));
    let Some(nodes) = nodes else { return };
    let words = Words::new(&mut Rng::with_seed(durum_testkit::seed()));
    let dir = nodes.invite_client("wire");
    let url = format!("garage:{}", dir.display());
    let home = Dictionaries::open(&url).unwrap();
    words.write_and_read(&home, 3);
    let key = format!("{}-{}", words.key, DICTIONARIES - 1);
    let mut command = durum();
    let output = command
        .args(["dict", "get", &url, &words.class, &key])
        .output();
    let output = output.unwrap();
    good(&output);
    assert!(String::from_utf8_lossy(&output.stdout).contains(&words.value));

    // Nobody goes past the relays.
    let fronts: Vec<u16> = (0..3).map(|index| nodes.port(index)).collect();
    let others = |copies: u16| fronts.iter().map(move |port| port + copies);
    for ports in [fronts.clone(), others(1).collect(), others(3).collect()] {
        let (count, past) = connections_to(&ports);
        assert!(count > 0 && past.is_empty(), "{count}, {past:?}");
    }
    let secrets = std::fs::read_to_string(nodes.path(0).join("secrets.toml")).unwrap();
    let secrets: Vec<&str> = secrets.split('"').skip(1).step_by(2).collect();
    assert_eq!(
        secrets.len(),
        7,
        "of administration, and three of each cluster"
    );
    let mut sought = words.all();
    sought.extend(secrets.iter().map(|it| ("a secret", it.as_bytes())));

    let heard = nodes.relays().heard();
    let large = LARGE_ONES * LARGE;
    let sum = |ports: &mut dyn Iterator<Item = u16>| {
        let heard: Vec<&Heard> = ports.map(|port| &heard[&port]).collect();
        assert!(heard.iter().all(|it| it.sent > 0 && it.answered > 0));
        let sum = |of: fn(&Heard) -> usize| heard.iter().copied().map(of).sum::<usize>();
        (
            sum(|it| it.connections),
            sum(|it| it.sent),
            sum(|it| it.answered),
        )
    };
    let (connections, sent, answered) = sum(&mut fronts.iter().copied());
    println!("clients: {connections} connections, {sent} bytes sent, {answered} answered");
    assert!(
        sent > large && answered > 2 * large,
        "each was written and read twice"
    );
    let (connections, sent, answered) = sum(&mut others(3));
    println!("nodes: {connections} connections, {sent} bytes sent, {answered} answered");
    // Garage compresses, and the word comes again and again: the rest is random.
    assert!(
        sent + answered > large,
        "two of three copies have to travel"
    );
    let (_, sent, answered) = sum(&mut others(1));
    println!("nodes, for one copy: {sent} bytes sent, {answered} answered");
    let streams: Vec<&[u8]> = heard
        .values()
        .flat_map(|it| &it.streams)
        .map(Vec::as_slice)
        .collect();
    let found = find(&streams, &sought);
    assert!(found.is_empty(), "{found:?}");
    control(&nodes, &dir, &words);
}

/// The same dictionaries, written and read past the front of a node.
fn control(nodes: &Nodes, dir: &std::path::Path, words: &Words) {
    let relays = nodes.relays();
    let socket = |name: &str| {
        let path = nodes.path(0).join("garage-3").join(name);
        relays.add_socket(path)
    };
    let ports = [socket("k2v.sock"), socket("s3.sock")];
    let address = |port| Address::Tcp {
        host: RELAY_HOST.to_owned(),
        port,
    };
    let mut settings = Settings::read(dir).unwrap();
    settings.nodes = vec![NodeAddress::Direct {
        k2v: address(ports[0]),
        s3: address(ports[1]),
    }];
    settings.access.retain(|copies, _| *copies == 3);
    let access_key = settings.access[&3].key_id.clone();
    settings.tls = None;
    let cluster = Cluster::new(settings).unwrap();
    let home = Dictionaries::distributed(cluster, NAMESPACE, Merger::default()).unwrap();
    words.write_and_read(&home, 3);
    let heard = relays.heard();
    let streams: Vec<&[u8]> = ports
        .iter()
        .flat_map(|port| &heard[port].streams)
        .map(Vec::as_slice)
        .collect();
    let mut sought = words.all();
    sought.push(("the access key", access_key.as_bytes()));
    let found = find(&streams, &sought);
    println!("the control: {found:#?}");
    for (word, _) in sought {
        let is_found = found
            .keys()
            .any(|form| form.starts_with(&format!("{word} as ")));
        assert!(is_found, "{word}: {found:?}");
    }
}
